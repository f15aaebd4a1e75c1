"""What the application is made of, and what Ray says of it, without a cluster."""

import pickle

import pytest

from service.settings import Settings

bridge = pytest.importorskip("service.cluster.bridge")
schema = pytest.importorskip("ray.serve.schema")


def application(status, **replicas):
    """One whose deployments have replicas in these states."""
    deployments = {
        name: schema.DeploymentStatusOverview("UPDATING", "CONFIG_UPDATE_STARTED", states, "")
        for name, states in replicas.items()
    }
    return schema.ApplicationStatusOverview(status, "", 0.0, deployments)


@pytest.mark.parametrize("status", ["DEPLOYING", "DELETING"])
def test_an_application_may_have_no_deployment_yet_or_any_more(status):
    assert bridge.crew_of(application(status)) is None


def test_without_an_application_there_is_nothing():
    assert bridge.crew_of(None) is None


def test_only_replicas_that_run_take_work():
    found = application("RUNNING", worker={"RUNNING": 2, "STARTING": 1})
    assert bridge.crew_of(found) == ("worker", 2)
    assert bridge.crew_of(application("DEPLOYING", worker={"STARTING": 1})) == ("worker", 0)


COMMON = {
    "engine": "ray",
    "ray_address": "head:6379",
    "redis_url": "redis://store",
    "cold": "s3://bucket/cold",
    "redis_password": "one",
}


def deployed(**settings):
    """The name of the deployment of a front end with these settings."""
    return bridge.Cluster(Settings(**{**COMMON, **settings}), "module:Tasks").build()._bound_deployment.name


@pytest.mark.parametrize(
    "change",
    [
        {"cold": None},
        {"cold": "s3://bucket/other"},
        {"cold_width": 640},
        {"s3_endpoint": "http://s3:9000"},
        {"s3_secret_access_key": "secret"},
        {"object_timeout": 5},
        {"store_timeout": 1},
        {"store_connections": 7},
        {"header_cache": 7},
        {"redis_url": "redis://other"},
        {"redis_password": "other"},
        {"profile": "paper"},
        {"worker_cache_bytes": 7},
        {"gamut": "keep"},
        {"ray_max_replicas": 3},
        {"ray_gpus": 0.5},
        {"drain_seconds": 7},
    ],
)
def test_a_front_end_with_other_settings_for_replicas_deploys_anew(change):
    assert deployed(**change) != deployed()


@pytest.mark.parametrize(
    "change",
    [
        {"port": 9000},
        {"host": "0.0.0.0"},
        {"device": "cpu"},
        {"rate_limit": 60},
        {"cors_origins": "https://example.org"},
        {"presets": "card:width=480"},
        {"api_keys": "key"},
        {"originals": "s3://bucket/originals"},
        {"cold_width": 1280},
        {"cache_bytes": 0},
        {"ray_address": "10.0.0.7:6379"},
    ],
)
def test_front_ends_that_differ_for_clients_only_do_not_deploy_each_other_anew(change):
    assert deployed(**change) == deployed()


def test_replicas_are_told_nothing_that_concerns_front_ends_alone():
    """So whatever makes a difference for a replica stands in the name of its deployment."""
    cluster = bridge.Cluster(Settings(**COMMON, api_keys="key", port=9000, cold_width=640), "module:Tasks")
    (told, _) = pickle.loads(pickle.dumps(cluster.build()._bound_deployment.init_args))
    assert (told.api_keys, told.port) == ((), 8000)
    assert (told.cold, told.cold_width) == ("s3://bucket/cold", 640)
    assert told.redis_password.get_secret_value() == "one"
