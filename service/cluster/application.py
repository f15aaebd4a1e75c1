"""The application as a cluster's own configuration names it, such as that of a RayService on Kubernetes:
``service.cluster.application:application``. Front ends with the same settings find it, and deploy nothing.
"""

from ray import serve

from service.cluster.bridge import Cluster
from service.settings import Settings

TASKS = "service.worker.tasks:Tasks"


def application(arguments: dict[str, str]) -> serve.Application:
    """The workers that the variables ``COMPASS_*`` of the head ask for. ``arguments`` are ignored: Ray gives
    those of the configuration.
    """
    return Cluster(Settings(), TASKS).build()
