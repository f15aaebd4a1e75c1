"""What Ray says of the application, read without a cluster."""

import pytest

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
