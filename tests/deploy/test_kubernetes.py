"""docker/kubernetes: every manifest against its schema, and all of them against one another.

The schemas are those of Kubernetes (kubernetes-validate) and, of what operators bring, our own.
"""

import copy
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml  # type: ignore[import-untyped]

from service.settings import SECRETS, Settings
from tests.deploy.shipped import DOCKER

FOLDER = DOCKER / "kubernetes"
SCHEMAS = Path(__file__).parent / "schemas"
VERSION = "1.31"
Manifest = dict[str, Any]


def manifests() -> Iterator[Manifest]:
    for file in sorted(FOLDER.glob("*.yaml")):
        if file.name != "kustomization.yaml":
            yield from yaml.safe_load_all(file.read_text())


MANIFESTS = {(one["kind"], one["metadata"]["name"]): one for one in manifests()}
KINDS = {
    *("ConfigMap", "Deployment", "Service", "HorizontalPodAutoscaler", "PodDisruptionBudget"),
    *("NetworkPolicy", "RayService", "ServiceMonitor"),
}


def pods(manifest: Manifest) -> Iterator[Manifest]:
    """The templates of pods in a manifest, wherever they are."""
    if manifest["kind"] == "Deployment":
        yield manifest["spec"]["template"]
    if manifest["kind"] == "RayService":
        cluster = manifest["spec"]["rayClusterConfig"]
        yield cluster["headGroupSpec"]["template"]
        yield from (group["template"] for group in cluster["workerGroupSpecs"])


def check(manifest: Manifest) -> None:
    """Raise ValidationError unless a manifest fits its schema, with no field that it does not know."""
    own = SCHEMAS / f"{manifest['kind']}.json"
    if own.exists():
        jsonschema.validate(manifest["spec"], json.loads(own.read_text()))
    else:
        kubernetes_validate.validate(manifest, VERSION, strict=True)
    for template in pods(manifest):
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": template["spec"]}
        kubernetes_validate.validate(pod, VERSION, strict=True)


PODS = [template for manifest in MANIFESTS.values() for template in pods(manifest)]
FRONT = MANIFESTS["Deployment", "compass-front"]
RAY_PODS = list(pods(MANIFESTS["RayService", "compass"]))
RAY = MANIFESTS["NetworkPolicy", "compass-ray"]["spec"]["podSelector"]["matchLabels"]
CONFIG = MANIFESTS["ConfigMap", "compass"]["data"]


@pytest.mark.parametrize("name", MANIFESTS)
def test_every_manifest_fits_its_schema(name: tuple[str, str]) -> None:
    check(MANIFESTS[name])


def test_all_kinds_are_there() -> None:
    assert {kind for kind, _ in MANIFESTS} == KINDS
    listed = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())["resources"]
    assert sorted(listed) == sorted(f.name for f in FOLDER.glob("*.yaml") if f.name != "kustomization.yaml")


@pytest.mark.parametrize("name", [name for name in MANIFESTS if name[0] != "ConfigMap"])
def test_a_field_that_nobody_knows_is_found(name: tuple[str, str]) -> None:
    broken = copy.deepcopy(MANIFESTS[name])
    broken["spec"]["replicaz"] = 3
    with pytest.raises((jsonschema.ValidationError, kubernetes_validate.ValidationError)):
        check(broken)


def test_a_mistake_in_a_worker_is_found() -> None:
    broken = copy.deepcopy(MANIFESTS["RayService", "compass"])
    group = broken["spec"]["rayClusterConfig"]["workerGroupSpecs"][0]
    group["template"]["spec"]["containers"][0]["resource"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        check(broken)


def test_settings_are_those_of_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in CONFIG.items():
        monkeypatch.setenv(name, value)
    settings = Settings()
    unknown = [n for n in CONFIG if n.startswith("COMPASS_") and n[8:].lower() not in Settings.model_fields]
    assert unknown == []
    assert settings.engine == "ray"
    host, _, port = CONFIG["COMPASS_RAY_ADDRESS"].partition(":")
    assert (host, port) == (
        "compass-head-svc",
        "6379",
    )  # KubeRay's name for the head of `compass`


def test_names_that_manifests_refer_to_exist() -> None:
    labels = FRONT["spec"]["template"]["metadata"]["labels"]
    selectors = [
        FRONT["spec"]["selector"]["matchLabels"],
        MANIFESTS["Service", "compass"]["spec"]["selector"],
        MANIFESTS["PodDisruptionBudget", "compass-front"]["spec"]["selector"]["matchLabels"],
        MANIFESTS["NetworkPolicy", "compass-front"]["spec"]["podSelector"]["matchLabels"],
    ]
    assert all(selector.items() <= labels.items() for selector in selectors)
    monitor = MANIFESTS["ServiceMonitor", "compass"]["spec"]
    service = MANIFESTS["Service", "compass"]
    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert monitor["endpoints"][0]["port"] in [port["name"] for port in service["spec"]["ports"]]
    assert service["metadata"]["labels"][monitor["jobLabel"]] == "compass"  # the job that rules.yml names
    target = MANIFESTS["HorizontalPodAutoscaler", "compass-front"]["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) in MANIFESTS
    assert all(RAY.items() <= pod["metadata"]["labels"].items() for pod in RAY_PODS)
    assert not RAY.items() <= labels.items()


def test_services_of_the_operator_find_the_head() -> None:
    for pod in RAY_PODS:  # the operator's own labels, by which its service of the head selects
        labels = pod["metadata"]["labels"]
        assert {"app.kubernetes.io/name", "app.kubernetes.io/created-by"}.isdisjoint(labels)
        assert not [name for name in labels if name.startswith("ray.io/")]
    (head,) = RAY_PODS[0]["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in head["ports"]}
    assert ports["serve"] == 8000  # without it the operator makes no service at all
    assert ports["gcs"] == int(CONFIG["COMPASS_RAY_ADDRESS"].rpartition(":")[2])


def test_pods_of_ray_have_probes_that_need_no_program_of_the_image() -> None:
    """Without one the operator puts in its own, which call wget and, in workers, ask Serve's proxy."""
    for pod in RAY_PODS:
        (container,) = pod["spec"]["containers"]
        for name in ("livenessProbe", "readinessProbe"):
            assert container[name]["httpGet"] == {"path": "/api/healthz", "port": 52365}


def test_ray_answers_these_probes() -> None:
    agent = pytest.importorskip("ray.dashboard.modules.reporter.healthz_agent", exc_type=ImportError)
    constants = pytest.importorskip("ray._private.ray_constants", exc_type=ImportError)
    assert agent.HealthzAgent.unified_health.__route_path__ == "/api/healthz"
    assert constants.DEFAULT_DASHBOARD_AGENT_LISTEN_PORT == 52365


def test_pods_are_locked_down() -> None:
    for pod in PODS:
        assert pod["spec"]["securityContext"]["runAsNonRoot"]
        for container in pod["spec"]["containers"]:
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            assert not container["securityContext"]["allowPrivilegeEscalation"]
            assert "memory" in container["resources"]["limits"]
            assert "env" not in container  # secrets are files


def test_the_token_of_the_service_account_can_be_mounted() -> None:
    for pod in PODS:  # it goes to /var/run/secrets/kubernetes.io, and in Debian /var/run is /run
        if pod["spec"].get("automountServiceAccountToken", True):
            mounts = [mount for container in pod["spec"]["containers"] for mount in container["volumeMounts"]]
            assert {"/run/secrets", "/var/run/secrets"}.isdisjoint(mount["mountPath"] for mount in mounts)


def test_ray_has_no_keys_but_that_of_the_store() -> None:
    for pod in RAY_PODS:
        (volume,) = (volume for volume in pod["spec"]["volumes"] if "secret" in volume)
        (item,) = volume["secret"]["items"]
        assert item["key"] == "compass_redis_password"
        for container in pod["spec"]["containers"]:
            (mount,) = (one for one in container["volumeMounts"] if one["name"] == volume["name"])
            assert mount["subPath"] == item["path"]
            assert mount["mountPath"] == f"{SECRETS}/compass_redis_password"
            assert mount["readOnly"]


def test_pods_that_open_pictures_have_no_token() -> None:
    head, *workers = RAY_PODS
    assert head["spec"].get("automountServiceAccountToken", True)  # of the autoscaler beside it
    for pod in (*workers, FRONT["spec"]["template"]):
        assert pod["spec"]["automountServiceAccountToken"] is False


def admitted(rule: Manifest) -> list[dict[str, str]]:
    """The labels of the pods of this namespace that a rule admits; it may admit nobody else."""
    assert all(
        set(peer) == {"podSelector"} and set(peer["podSelector"]) == {"matchLabels"} for peer in rule["from"]
    )
    return [peer["podSelector"]["matchLabels"] for peer in rule["from"]]


def test_nobody_but_pods_of_the_cluster_reaches_ray() -> None:
    first, operator = MANIFESTS["NetworkPolicy", "compass-ray"]["spec"]["ingress"]
    assert admitted(first) == [RAY, FRONT["spec"]["selector"]["matchLabels"]]
    assert first["from"] == MANIFESTS["NetworkPolicy", "compass-front"]["spec"]["ingress"][1]["from"]
    (peer,) = operator[
        "from"
    ]  # anywhere, as KubeRay's chart labels it; "kuberay" are the pods of all clusters
    assert peer == {
        "namespaceSelector": {},
        "podSelector": {"matchLabels": {"app.kubernetes.io/component": "kuberay-operator"}},
    }
    assert operator["ports"] == [{"protocol": "TCP", "port": 8265}]


def test_the_application_is_the_one_that_front_ends_look_for() -> None:
    bridge = pytest.importorskip("service.cluster.bridge", exc_type=ImportError)
    config = yaml.safe_load(MANIFESTS["RayService", "compass"]["spec"]["serveConfigV2"])
    (application,) = config["applications"]
    assert application["name"] == bridge.APPLICATION
    assert application["route_prefix"] is None
    module, _, attribute = application["import_path"].partition(":")
    assert callable(getattr(__import__(module, fromlist=[attribute]), attribute))


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
def test_kustomize_puts_them_together() -> None:
    done = subprocess.run(["kubectl", "kustomize", str(FOLDER)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    built = list(yaml.safe_load_all(done.stdout))
    assert {(one["kind"], one["metadata"]["name"]) for one in built} == set(MANIFESTS)
