"""The process between the HTTP process and the cluster: a driver of Ray, with the socket of a worker.

Started as ``python -m service.cluster.bridge --socket FD --parent PID``, and ends with the socket. It is a
process of its own because Ray ends the process that speaks to it when it loses the cluster for a while, and
because Ray unpickles what workers answer; what the HTTP process reads are frames that it checks.
"""

import argparse
import asyncio
import logging
import os
import signal
import socket
from hashlib import sha256
from typing import Any

import ray
from ray import serve
from ray.exceptions import RayActorError, RayError
from ray.serve.config import RequestRouterConfig
from ray.serve.exceptions import RayServeException
from ray.serve.schema import ApplicationStatusOverview

from service.cluster.replica import Replica
from service.engine.cluster import ongoing
from service.errors import WorkerFailed
from service.messages import protocol
from service.messages.jobs import Recode, Recoded, Refine, Refined, Rendered, Upload, Uploaded
from service.messages.plans import RenderPlan
from service.messages.protocol import (
    Begin,
    Cancel,
    Crew,
    Died,
    Failure,
    Message,
    PlanWork,
    RecodeAnswer,
    RecodeWork,
    RefineAnswer,
    RefineWork,
    RenderAnswer,
    UploadAnswer,
    UploadWork,
)
from service.settings import Settings

APPLICATION = "compass"
ROUTER = "ray.serve.experimental.consistent_hash_router.ConsistentHashRouter"
"""Gives a session, which here is a picture, always to the same replica while that has room."""
BULK_CORES = 0.01
"""The part of a core, of those that Ray counts, that is left to workers which stand back for all others."""
LOOK_SECONDS = 1.0
"""How often the cluster is asked how many replicas it has."""
ANSWER_SECONDS = 3.0
"""How long it may take to answer that."""
MISSES_UNREADY, MISSES_LOST = 2, 10
"""After so many questions without an answer no more work is given, and the connection is made anew."""
EXIT_LOST = 72

log = logging.getLogger("compass.bridge")

Work = Upload | RenderPlan | Refine | Recode
"""What a bridge passes on; of each but a plan the replica's method has the name."""


class Cluster:
    """The application on the cluster. Its methods block; each raises what Ray raises."""

    application = APPLICATION

    def __init__(self, settings: Settings, tasks: str) -> None:
        self._settings = settings
        self._tasks = tasks
        self._name = ""
        self.handle: Any = None

    def connect(self) -> None:
        """Join the cluster as a driver."""
        ray.init(
            address=self._settings.ray_address,
            namespace=APPLICATION,
            log_to_driver=False,
            logging_level=logging.WARNING,
            configure_logging=False,
        )
        serve.start(proxy_location="Disabled")
        self._deploy_if_other(at_start=True)

    def replicas(self) -> int:
        """How many replicas take work. Deploys the application if it is gone."""
        self._deploy_if_other(at_start=False)
        found = crew_of(serve.status().applications.get(self.application))
        if found is None:
            return 0
        name, running = found
        if name != self._name:
            self._name, self.handle = name, serve.get_app_handle(self.application)
        return running

    async def model_id(self) -> bytes:
        """Id of the weights that replicas code with."""
        return bytes(await self.handle.model_id.remote())

    def _deploy_if_other(self, at_start: bool) -> None:
        """Deploy the application if there is none; at the start also if it has other settings than ours: so
        the last front end to start decides.
        """
        application = serve.status().applications.get(self.application)
        deployed = list(application.deployments) if application else []
        wanted = self._wanted
        if deployed and (wanted in deployed or not at_start):
            return
        log.warning("deploying the workers on the cluster")
        serve.api._run(self.build(), _blocking=False, name=self.application, route_prefix=None)

    def build(self) -> serve.Application:
        """The application that our settings ask for."""
        return self._application(self._wanted)

    @property
    def _wanted(self) -> str:
        """The name of the deployment, which tells what it was made of."""
        return f"worker-{self._digest()}"

    def _replica_settings(self) -> Settings:
        """What replicas are told: no secrets but those of the store."""
        device = "auto" if self._settings.ray_gpus else "cpu"
        return self._settings.for_replicas.model_copy(update={"device": device})

    def _digest(self) -> str:
        told = self._replica_settings().for_cluster  # with secrets in the clear: another one counts, too
        made_of = repr((told, self._tasks, self._bounds(), self._settings.drain_seconds))
        return sha256(made_of.encode()).hexdigest()[:8]

    def _bounds(self) -> tuple[int, int, float]:
        return self._settings.ray_min_replicas, self._settings.ray_max_replicas, self._settings.ray_gpus

    def _application(self, name: str) -> serve.Application:
        least, most, gpus = self._bounds()
        jobs = ongoing(self._settings)
        scaling = {"min_replicas": least, "max_replicas": most, "target_ongoing_requests": jobs // 2}
        deployment = serve.deployment(Replica).options(
            name=name,
            max_ongoing_requests=jobs,
            request_router_config=RequestRouterConfig(
                request_router_class=ROUTER, request_router_kwargs={"num_fallback_replicas": most - 1}
            ),
            autoscaling_config=scaling,
            ray_actor_options={"num_cpus": 1 - BULK_CORES, "num_gpus": gpus},
            health_check_period_s=5,
            health_check_timeout_s=30,
            graceful_shutdown_timeout_s=self._settings.drain_seconds,
        )
        return deployment.bind(self._replica_settings(), self._tasks)


def crew_of(application: ApplicationStatusOverview | None) -> tuple[str, int] | None:
    """The name of an application's deployment, and how many of its replicas take work.

    None where Ray lists no deployment, as it may while the application comes or goes.
    """
    for name, deployment in application.deployments.items() if application else ():
        return name, int(deployment.replica_states.get("RUNNING", 0))
    return None


class Bridge:
    """Passes jobs to the cluster and answers back, and tells how many replicas there are."""

    def __init__(self, cluster: Cluster, writer: asyncio.StreamWriter) -> None:
        self._cluster = cluster
        self._writer = writer
        self._jobs: dict[int, asyncio.Task[None]] = {}

    async def receive(self, reader: asyncio.StreamReader) -> None:
        """Take messages until the socket closes."""
        while message := await protocol.read(reader, protocol.MAX_PAYLOAD_BYTES):
            if isinstance(message, UploadWork | RefineWork | RecodeWork):
                self._begin(message.number, message.job)
            elif isinstance(message, PlanWork):
                self._begin(message.number, message.plan)
            elif isinstance(message, Cancel) and message.number in self._jobs:
                self._jobs[message.number].cancel()

    async def watch(self) -> None:
        """Join the cluster, then tell how many replicas there are whenever that changes. Returns when the
        cluster is lost.
        """
        await asyncio.to_thread(self._cluster.connect)
        told, misses, model_id = 0, 0, b""
        while misses < MISSES_LOST:
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    count = await asyncio.to_thread(self._cluster.replicas)
                    if count and not model_id:
                        model_id = await self._cluster.model_id()
                misses = 0
            except (RayError, RayServeException, TimeoutError) as error:
                misses += 1
                log.warning("the cluster does not answer: %s", str(error).splitlines()[:1] or "too late")
                count = 0 if misses >= MISSES_UNREADY else told
            if count != told:
                told = count
                self._send(Crew(count, model_id))
            await asyncio.sleep(LOOK_SECONDS)

    def _begin(self, number: int, job: Work) -> None:
        task = self._jobs[number] = asyncio.create_task(self._do(number, job))
        task.add_done_callback(lambda done: self._ended(number, done))

    def _ended(self, number: int, task: asyncio.Task[None]) -> None:
        """Also called for a task that was cancelled before it began, none of whose code ever runs."""
        del self._jobs[number]
        if task.cancelled():
            self._send(_failure(number, "given up"))

    async def _do(self, number: int, job: Work) -> None:
        try:
            answer = await self._answer(number, job)
            if answer is not None:
                self._send(answer)
        except Exception as error:
            if not isinstance(error, RayError | RayServeException):
                log.exception("a job was lost")
            self._send(_failure(number, "the cluster could not finish this job"))

    async def _answer(self, number: int, job: Work) -> Message | None:
        """The answer to a job; None if its replica died, which is told.

        Whatever changes nothing is tried once more when its replica dies, by another one.
        """
        again = not isinstance(job, Upload)
        while True:
            handle = self._cluster.handle
            if handle is None:
                return _failure(number, "no worker of the cluster is ready")
            response = _asked(handle, job)
            try:
                return _checked(number, await response)
            except asyncio.CancelledError:
                response.cancel()
                raise
            except RayActorError:
                self._send(Died(number, again))
                if not again:
                    return None
                again = False

    def _send(self, message: Message) -> None:
        self._writer.writelines(protocol.encode(message))


def _asked(handle: Any, job: Work) -> Any:
    """Ray's response to a job. Plans of a picture go where its lower layers are decoded already; uploads
    leave nothing behind that anybody could use.
    """
    if isinstance(job, RenderPlan):
        return handle.options(method_name="carry_out", session_id=job.picture).remote(job)
    return handle.options(method_name=type(job).__name__.lower()).remote(job)


def _checked(number: int, result: object) -> Message:
    """The answer that a replica gave, under the number of its job."""
    match result:
        case Rendered():
            return RenderAnswer(number, result)
        case Uploaded():
            return UploadAnswer(number, result)
        case Refined():
            return RefineAnswer(number, result)
        case Recoded():
            return RecodeAnswer(number, result)
        case Failure():
            return Failure(number, result.error, result.detail, result.retry_after)
    return _failure(number, "the worker gave an answer of another kind")


def _failure(number: int, detail: str) -> Failure:
    return Failure.of(WorkerFailed(detail), number)


async def _main(descriptor: int, kind: type[Cluster]) -> None:
    reader, writer = await asyncio.open_connection(sock=socket.socket(fileno=descriptor), limit=2**20)
    begin = await protocol.read(reader, protocol.MAX_PAYLOAD_BYTES)
    if not isinstance(begin, Begin):
        return
    bridge = Bridge(kind(Settings(), begin.tasks), writer)
    tasks = asyncio.create_task(bridge.receive(reader)), asyncio.create_task(bridge.watch())
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        if error := task.exception():
            log.error("the cluster cannot be used: %s", error)
    _leave(EXIT_LOST if tasks[1] in done else 0)


def _leave(status: int) -> None:
    os._exit(status)  # Ray's own end may wait for a cluster that is gone


def main(kind: type[Cluster] = Cluster) -> None:
    """Work until the socket closes or the cluster is lost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--socket", type=int, required=True)
    parser.add_argument("--parent", type=int, required=True)
    options = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):  # the HTTP process decides when we end
        signal.signal(number, signal.SIG_IGN)
    logging.basicConfig(format=f"bridge {os.getpid()} %(levelname)s %(message)s")
    asyncio.run(_main(options.socket, kind))


if __name__ == "__main__":
    main()
