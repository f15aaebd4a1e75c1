"""The bridge for what nobody waits for: pictures that are refined or coded anew, by workers that stand back.

Started as :mod:`service.cluster.bridge` is. Its application has no worker as long as there is nothing to do,
and at most one on each machine.
"""

from ray import serve

from service.cluster.bridge import APPLICATION, BULK_CORES, Cluster, main
from service.cluster.standby import Standby

IDLE_SECONDS = 60.0
"""A worker that has had nothing to do for so long is ended."""


class Bulk(Cluster):
    """The application for it. A worker is started when there is work, which waits for it."""

    application = f"{APPLICATION}-bulk"

    def replicas(self) -> int:
        """As many as there may be: each may be had."""
        super().replicas()
        return self._settings.ray_max_replicas if self.handle is not None else 0

    async def model_id(self) -> bytes:
        """Nothing: to ask for it a worker would have to be started."""
        return b""

    def _application(self, name: str) -> serve.Application:
        scaling = {
            "min_replicas": 0,
            "max_replicas": self._settings.ray_max_replicas,
            "target_ongoing_requests": 1,
            "upscale_delay_s": 0,
            "downscale_delay_s": IDLE_SECONDS,
        }
        deployment = serve.deployment(Standby).options(
            name=name,
            max_ongoing_requests=1,
            max_replicas_per_node=1,
            autoscaling_config=scaling,
            ray_actor_options={"num_cpus": BULK_CORES},
            health_check_period_s=30,
            health_check_timeout_s=300,
            graceful_shutdown_timeout_s=0,
        )
        return deployment.bind(self._replica_settings().model_copy(update={"device": "cpu"}), self._tasks)


if __name__ == "__main__":
    main(Bulk)
