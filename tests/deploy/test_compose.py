"""docker-compose.yml: nothing without health check, limit or restart; no default password; few ports."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]

from service.settings import Settings
from tests.deploy.shipped import COMPOSE as TEXT
from tests.deploy.shipped import SERVICES, expanded
from tests.service.running import ROOT

PASSWORDS = ("REDIS_PASSWORD", "GRAFANA_PASSWORD", "METRICS_KEY")
IMAGE = ("compass", "compass-gpu")
"""The services of our own image, which brings its health check."""
FRONTS = ("front-1", "front-2")
RAY = ("ray-head", "ray-worker", *FRONTS)
"""The services of that image with Ray."""
SECRET = {
    f"COMPASS_{name.upper()}"
    for name, field in Settings.model_fields.items()
    if "SecretStr" in str(field.annotation)
}
"""The settings that are keys and passwords."""


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_restarted_limited_and_locked_down(name):
    service = SERVICES[name]
    assert service["restart"] == "unless-stopped"
    assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory", "pids"}
    assert service["logging"] == {"driver": "local", "options": {"max-size": "20m", "max-file": "5"}}
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "healthcheck" in service or name in (*IMAGE, *FRONTS)


def test_the_image_has_a_health_check():
    dockerfile = (ROOT / "docker/Dockerfile").read_text()
    assert "HEALTHCHECK" in dockerfile
    assert re.search(r"^USER 10001:10001$", dockerfile, re.MULTILINE)


def test_every_package_has_hashes_in_the_image_as_well():
    """The lines of the Dockerfile, run here: all that is pinned but Triton, and HEIC, with their hashes."""
    dockerfile = (ROOT / "docker/Dockerfile").read_text()
    assert "pip install --no-deps --require-hashes -r image.txt" in dockerfile
    found = [
        subprocess.run(["awk", program, ROOT / file], capture_output=True, text=True, check=True).stdout
        for program, file in re.findall(r"awk '([^']+)' (requirements(?:-dev)?\.txt)", dockerfile)
    ]
    packages = re.findall(
        r"^([^ =]+)==[^ ]+ [^\n]*\\\n(?: +--hash=sha256:[0-9a-f]{64}(?: \\)?\n)+", "".join(found), re.M
    )
    pinned = re.findall(r"^([^ =]+)==", (ROOT / "requirements.txt").read_text(), re.M)
    assert set(packages) == {*pinned, "pillow-heif"} - {"triton"}


def test_ray_comes_with_its_hashes_where_it_is_wanted():
    dockerfile = (ROOT / "docker/Dockerfile").read_text()
    (program,) = re.findall(r"awk '([^']+)' requirements-ray\.txt", dockerfile)
    assert "pip install --no-deps --require-hashes -r ray.txt" in dockerfile
    file = ROOT / "requirements-ray.txt"
    kept = subprocess.run(["awk", program, file], capture_output=True, text=True, check=True).stdout
    names, pinned = (re.findall(r"^([^ =]+)==", text, re.M) for text in (kept, file.read_text()))
    assert set(names) == set(pinned) - {"triton"}
    assert "ray" in names
    for name in RAY:
        assert SERVICES[name]["build"]["args"]["RAY"] == "on"


def test_a_cluster_has_its_own_network_and_two_front_ends_behind_nginx():
    assert {name for name in SERVICES if SERVICES[name].get("profiles") == ["cluster"]} == {*RAY, "nginx"}
    for name in RAY:
        service = SERVICES[name]
        assert service["environment"]["COMPASS_RAY_ADDRESS"] == "ray-head:6379"
        assert {"ray", "store"} <= set(service["networks"])
        assert not service["ports"]
    assert yaml.safe_load(TEXT)["networks"]["ray"] == {"internal": True}
    config = (ROOT / "docker/nginx/compass.conf").read_text()
    assert re.findall(r"server (front-\d):8000 ", config) == list(FRONTS)
    assert SERVICES["front-1"] == SERVICES["front-2"]
    assert SERVICES["front-1"]["networks"]["default"] == {"aliases": ["compass"]}  # where Prometheus looks
    assert (ROOT / "docker" / Path(SERVICES["front-1"]["entrypoint"][-1]).name).is_file()


def test_redis_is_a_version_without_known_holes():
    """7.4.6 and 7.2.11 mended the hole through which a script could run any program (CVE-2025-49844)."""
    image = re.fullmatch(r"\$\{REDIS_IMAGE:-redis:([0-9.]+)-bookworm\}", SERVICES["redis"]["image"])
    assert image
    version = image[1]
    assert tuple(map(int, version.split("."))) >= (7, 4, 6)


def test_every_image_can_be_pinned_by_its_digest():
    example = (ROOT / "docker/example.env").read_text()
    assert SERVICES["redis-replica"]["image"] == SERVICES["redis"]["image"]
    for name in set(SERVICES) - {*IMAGE, *RAY, "redis-replica"}:
        variable = f"{name.upper()}_IMAGE"
        default = SERVICES[name]["image"].removeprefix(f"${{{variable}:-").removesuffix("}")
        assert re.fullmatch(r"[a-z/]+:v?[0-9.]+(-bookworm)?", default)
        assert f"\n#{variable}={default}@sha256:...\n" in example


def test_the_service_waits_for_a_healthy_store():
    for name in IMAGE:
        assert SERVICES[name]["depends_on"] == {"redis": {"condition": "service_healthy"}}


def test_only_service_and_dashboard_are_published_and_on_this_host_alone():
    assert {name for name in SERVICES if SERVICES[name].get("ports")} == {*IMAGE, "nginx", "grafana"}
    for name in IMAGE:
        assert SERVICES[name]["ports"] == ["${COMPASS_PUBLISH:-127.0.0.1:8000}:8000"]
    assert SERVICES["nginx"]["ports"] == ["${COMPASS_PUBLISH:-127.0.0.1:8000}:80"]
    assert SERVICES["grafana"]["ports"] == ["${GRAFANA_PUBLISH:-127.0.0.1:3000}:3000"]
    assert SERVICES["redis"]["networks"] == ["store"]
    assert yaml.safe_load(TEXT)["networks"]["store"] == {"internal": True}


def test_primary_and_replica_differ_in_their_roles_only():
    primary, replica = dict(SERVICES["redis"]), dict(SERVICES["redis-replica"])
    assert replica.pop("profiles") == ["replica"]
    leading, following = dict(primary.pop("environment")), dict(replica.pop("environment"))
    roles = leading.pop("REDIS_PRIMARY"), following.pop("REDIS_PRIMARY")
    assert leading == following
    assert [expanded(role) for role in roles] == ["", "redis 6379"]
    after = {"REDIS_PRIMARY": "", "REDIS_NEW_PRIMARY": "redis-replica 6379"}  # as docs/deployment.md tells
    assert [expanded(role, **after) for role in roles] == ["redis-replica 6379", ""]
    first, second = primary.pop("volumes"), replica.pop("volumes")
    assert (first[0], second[0]) == ("redis:/data", "redis-replica:/data")
    assert first[1:] == second[1:]
    assert primary == replica
    assert {"redis", "redis-replica"} <= set(yaml.safe_load(TEXT)["volumes"])


def test_cpu_and_gpu_differ_in_the_device_only():
    cpu, gpu = (dict(SERVICES[name]) for name in IMAGE)
    assert cpu.pop("profiles") == ["cpu"]
    assert gpu.pop("profiles") == ["gpu"]
    assert "reservations" not in cpu.pop("deploy")["resources"]
    (device,) = gpu.pop("deploy")["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}
    assert cpu.pop("environment") | {"COMPASS_DEVICE": "cuda"} == gpu.pop("environment")
    assert cpu == gpu


def test_no_password_has_a_default():
    for name in PASSWORDS:
        uses = re.findall(rf"\$\{{{name}[^}}]*\}}", TEXT)
        assert len(uses) == 1  # where it is asked for; no container's environment has it
        assert all(use.startswith(f"${{{name}:?") and "docker/example.env" in use for use in uses)
        assert f"\n{name}=\n" in (ROOT / "docker/example.env").read_text()


def test_secrets_are_files():
    """No container's environment has a password; Prometheus has a key that opens the metrics alone."""
    assert yaml.safe_load(TEXT)["secrets"] == {
        name.lower(): {"environment": name} for name in ("METRICS_KEY", "REDIS_PASSWORD", "GRAFANA_PASSWORD")
    }
    for name in (*IMAGE, *FRONTS):
        assert SERVICES[name]["secrets"] == [
            {"source": "metrics_key", "target": "compass_metrics_keys"},
            {"source": "redis_password", "target": "compass_redis_password"},
        ]
    assert SERVICES["redis"]["secrets"] == ["redis_password"]
    assert SERVICES["grafana"]["secrets"] == ["grafana_password"]
    grafana = SERVICES["grafana"]["environment"]
    assert grafana["GF_SECURITY_ADMIN_PASSWORD__FILE"] == "/run/secrets/grafana_password"
    assert SERVICES["prometheus"]["secrets"] == ["metrics_key"]
    config = yaml.safe_load((ROOT / "docker/prometheus/prometheus.yml").read_text())
    assert config["scrape_configs"][0]["authorization"] == {"credentials_file": "/run/secrets/metrics_key"}


def test_workers_of_a_cluster_have_no_keys():
    """They open pictures of strangers: the store's password, as on Kubernetes, is all that they have."""
    assert {"COMPASS_API_KEYS", "COMPASS_URL_KEYS", "COMPASS_S3_SECRET_ACCESS_KEY"} <= SECRET
    for name in set(RAY) - set(FRONTS):
        assert SECRET.isdisjoint(SERVICES[name]["environment"])
        password = {"source": "redis_password", "target": "compass_redis_password"}
        assert SERVICES[name]["secrets"] == [password]


def test_who_answers_clients_gets_all_keys_and_passwords_that_are_set():
    files = {f"COMPASS_{name}" for name in ("METRICS_KEYS", "REDIS_PASSWORD")}
    for name in (*IMAGE, *FRONTS):
        environment = SERVICES[name]["environment"]
        assert files | set(environment) >= SECRET
        assert {expanded(environment[variable]) for variable in SECRET - files} == {""}


def test_who_reads_a_bucket_knows_its_region():
    """Passed on only where it is set: an empty one would count."""
    for name in (*IMAGE, *RAY):
        environment = SERVICES[name]["environment"]
        assert "AWS_REGION" in environment
        assert environment["AWS_REGION"] is None


def test_mounted_files_exist():
    mounts = re.findall(r"- (\./[^:]+):", TEXT)
    assert len(mounts) >= 6
    assert [mount for mount in mounts if not (ROOT / mount).exists()] == []


def _compose() -> list[str]:
    if (
        shutil.which("docker")
        and not subprocess.run(["docker", "compose", "version"], capture_output=True).returncode
    ):
        return ["docker", "compose"]
    if shutil.which("docker-compose"):
        return ["docker-compose"]
    pytest.skip("neither docker compose nor docker-compose is installed")


def _config(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    (folder / "empty.env").touch()  # so that no file of the repository is read
    kept = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}
    command = [*_compose(), "-f", "docker-compose.yml", "--env-file", f"{folder}/empty.env", "config"]
    return subprocess.run(command, cwd=ROOT, env=kept | environment, capture_output=True, text=True)


@pytest.mark.slow
@pytest.mark.parametrize("profile", ["cpu", "gpu", "cpu,replica", "cluster"])
def test_docker_compose_accepts_it(profile, tmp_path):
    done = _config(
        tmp_path, REDIS_PASSWORD="a1", GRAFANA_PASSWORD="b2", METRICS_KEY="c3", COMPOSE_PROFILES=profile
    )
    assert done.returncode == 0, done.stderr
    assert "redis://redis:6379/0" in done.stdout
    assert ("redis-replica:" in done.stdout) == ("replica" in profile)


@pytest.mark.slow
@pytest.mark.parametrize("missing", PASSWORDS)
def test_docker_compose_says_which_password_is_missing(missing, tmp_path):
    given = {name: "x" for name in PASSWORDS if name != missing}
    done = _config(tmp_path, **given)
    assert done.returncode != 0
    assert f"copy docker/example.env to .env and set {missing}" in done.stderr
