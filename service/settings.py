"""Every setting of the service; each one is an environment variable ``COMPASS_<NAME>``."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from model.stream.ladder import Ladder
from service.addresses import parse

MIB = 2**20
SECRETS = Path("/run/secrets")
"""Where containers get their secrets as files, such as ``compass_api_keys``; variables come first."""


FOR_REPLICAS = frozenset(
    (
        *("profile", "device", "max_pixels", "graphics", "gamut"),
        *("worker_cache_bytes", "worker_niceness", "ray_gpus"),
        *("redis_url", "redis_password", "sentinel_password", "store_connections", "store_timeout"),
        *("header_cache", "cold", "cold_width", "object_timeout"),
        *("s3_endpoint", "s3_access_key_id", "s3_secret_access_key"),
    )
)
"""What workers of a cluster are told: how to code, and where pictures are read."""


def _split(text: object) -> object:
    return [part.strip() for part in text.split(",") if part.strip()] if isinstance(text, str) else text


def _variable(value: object) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, tuple):
        return ",".join(map(_variable, value))
    return "" if value is None else str(value)


Profile = Literal["lite", "large", "paper"]
"""The networks there are: see model.network.config.PROFILES."""
Device = Literal["auto", "cpu", "cuda"]
"""Where they run; auto takes CUDA if there is one."""
Gamut = Literal["srgb", "keep"]
"""The colours that pictures are kept in."""
EngineKind = Literal["local", "ray"]
"""Who codes and renders: worker processes of this machine, or a Ray cluster."""

ObjectAddress = Annotated[
    str, Field(pattern=r"^(file:///[^?#\s]+|s3://[a-z0-9][a-z0-9.-]{1,62}(/[^?#\s]*)?)$")
]
"""A folder, or a bucket and a prefix in it: never with a password."""


@dataclass(frozen=True)
class WorkerSettings:
    """The settings that a worker needs, and nothing else: it touches hostile pictures.

    ``max_pixels`` bounds an upload, ``worker_cache_bytes`` the decoded layers that are kept;
    ``niceness`` is how far the process stands back for others; ``graphics``: whether drawings are kept as
    picture files; ``gamut``: whether pictures keep their own colour profile.
    """

    profile: Profile
    device: Device
    max_pixels: int
    worker_cache_bytes: int
    niceness: int
    graphics: bool
    gamut: Gamut


class Settings(BaseSettings):
    """The settings, read once at start from variables and from files in SECRETS; bytes, pixels and seconds
    unless a field says otherwise.

    Raises pydantic.ValidationError for a value out of range.
    """

    model_config = SettingsConfigDict(
        env_prefix="COMPASS_",
        frozen=True,
        env_ignore_empty=True,
        secrets_dir=SECRETS if SECRETS.is_dir() else None,
    )

    # where
    host: str = Field(default="127.0.0.1", description="address to listen on")
    port: int = Field(default=8000, ge=0, le=65535, description="port to listen on; 0 picks a free one")
    data: Path = Field(default=Path("data"), description="folder of the embedded store and its lock files")
    redis_url: str | None = Field(
        default=None,
        description="Redis to store in: redis://host:port/db, redis+sentinel://host:port,host:port/name/db "
        "or redis+cluster://host:port,host:port, rediss for TLS, or unix://path; unset: the embedded Valkey",
    )
    redis_password: SecretStr | None = Field(
        default=None, description="password of that Redis, where the address itself has none"
    )
    sentinel_password: SecretStr | None = Field(
        default=None, description="password of the Sentinels that watch that Redis, where they have one"
    )
    public_url: str = Field(
        default="", description="prefix of URLs in answers, such as https://img.example.org"
    )

    # coding
    profile: Profile = Field(
        default="lite", description="weights that code new pictures; `large`: fewer bytes, twice the time"
    )
    device: Device = Field(default="auto", description="auto takes CUDA if there is one")
    widths: Annotated[tuple[Annotated[int, Field(ge=1, le=65535)], ...], NoDecode] = Field(
        default=(320, 640, 1280, 2560), description="layer widths of an upload that names none, in pixels"
    )
    single_layer_below: int = Field(
        default=512,
        ge=0,
        description="an upload that names no widths has one layer if its picture is narrower, in pixels",
    )
    quality: int = Field(default=80, ge=1, le=100, description="quality of an upload that names none, 1-100")

    refine: Literal["off", "fast", "best"] = Field(
        default="off",
        description="search for a smaller stream of each upload while nothing else is to be done: some 25 "
        "(fast) or 75 (best) seconds of a core per megapixel, half as much again with three layers",
    )
    refine_bytes: int = Field(
        default=512 * MIB,
        ge=0,
        description="bytes of uploads that wait in the store to be refined; beyond, pictures are not refined",
    )
    graphics: bool = Field(
        default=True,
        description="keep drawings, text and screenshots as one picture file where that takes fewer bytes; "
        "on or off",
    )

    gamut: Gamut = Field(
        default="srgb",
        description="srgb converts all pictures; keep leaves those with another RGB display profile, such as "
        "Display P3, in it, and gives the profile back in every format",
    )

    # limits on what comes in and goes out
    max_upload_bytes: int = Field(default=64 * MIB, ge=1, description="largest upload, in bytes")
    max_pixels: int = Field(
        default=50_000_000, ge=1, le=178_000_000, description="largest picture, in pixels"
    )
    max_layers: int = Field(default=8, ge=1, le=16, description="most layers a client may ask for")
    max_output_pixels: int = Field(default=50_000_000, ge=1, description="largest answer, in pixels")
    max_ttl: int = Field(
        default=10 * 365 * 86400, ge=1, description="longest time to live of an upload, in seconds"
    )
    upload_seconds: float = Field(
        default=120, gt=0, description="longest time an upload's body may take to arrive"
    )
    max_uploads: int = Field(
        default=16, ge=1, description="uploads at work at once; bodies in memory: so many of the largest"
    )
    max_connections: int = Field(
        default=800, ge=1, description="open connections; a request on a further one is answered 503"
    )
    stall_seconds: float = Field(
        default=30,
        gt=0,
        description="a connection is dropped if so long no request's headers end, or no answer is taken in",
    )

    min_rate: int = Field(
        default=2048,
        ge=0,
        description="bytes a second; a client that reads an answer, or sends a body, more slowly is dropped",
    )
    unsent_bytes: int = Field(
        default=256 * MIB,
        ge=1,
        description="bytes of answers that clients have not taken in yet; for more the slowest are dropped",
    )

    check_hours: float = Field(
        default=24, ge=0, description="hours between checks of every stored checksum; 0: never"
    )

    # the worker pool
    workers: int = Field(
        default=0, ge=0, description="worker processes; 0: one a CUDA device, or one a CPU core"
    )
    spare_workers: int = Field(
        default=1,
        ge=0,
        description="further processes that have loaded and wait to replace one that ends; CPU only",
    )
    worker_threads: int = Field(default=0, ge=0, description="torch threads of a worker; 0: cores / workers")
    worker_cache_bytes: int = Field(
        default=256 * MIB, ge=0, description="decoded layers a worker keeps, in bytes"
    )
    worker_memory_bytes: int = Field(
        default=4096 * MIB, ge=0, description="a worker over this much memory is replaced; 0: no limit"
    )
    worker_niceness: int = Field(
        default=0,
        ge=0,
        le=19,
        description="how far workers stand back for other processes of the machine, 19 the furthest",
    )
    read_queue: int = Field(default=64, ge=1, description="renderings that may wait")
    upload_queue: int = Field(default=16, ge=1, description="uploads that may wait")
    read_deadline: float = Field(
        default=30,
        gt=0,
        description="seconds until a rendering is given up; larger than 8 megapixels: in proportion",
    )
    upload_deadline: float = Field(default=600, gt=0, description="seconds until an upload is given up")
    drain_seconds: float = Field(default=30, ge=0, description="seconds given to running jobs at shutdown")

    # the cluster
    engine: EngineKind = Field(
        default="local",
        description="who codes and renders: local, worker processes of this machine; ray, a Ray cluster "
        "whose workers read the store themselves (`docs/scale.md`)",
    )
    engine_fallback: Literal["none", "local"] = Field(
        default="none",
        description="who works while the cluster cannot: none, requests get 503; local, worker processes of "
        "this machine, which then wait loaded",
    )
    ray_address: str | None = Field(
        default=None,
        description="address of the cluster's head, as host:port; this machine is one of its nodes",
    )
    ray_min_replicas: int = Field(default=1, ge=1, description="workers in the cluster at least")
    ray_max_replicas: int = Field(
        default=1, ge=1, description="workers in the cluster at most; between both by what waits"
    )
    ray_gpus: float = Field(
        default=0, ge=0, le=1, description="GPUs of each worker, or part of one; 0: a CPU core each"
    )

    # answers
    cache_bytes: int = Field(
        default=128 * MIB,
        ge=0,
        description="encoded answers kept in memory, in bytes; an eighth more for requests",
    )
    header_cache: int = Field(
        default=10_000, ge=0, description="stored pictures whose headers are kept in memory"
    )
    max_age: int = Field(
        default=31_536_000, ge=0, description="Cache-Control max-age of a picture, in seconds"
    )
    jpeg_quality: int | None = Field(
        default=None,
        ge=1,
        le=100,
        description="output quality of JPEG, 1-100; unset: what the stream is worth",
    )
    webp_quality: int | None = Field(
        default=None,
        ge=1,
        le=100,
        description="output quality of WebP, 1-100; unset: what the stream is worth",
    )
    avif_quality: int | None = Field(
        default=None,
        ge=1,
        le=100,
        description="output quality of AVIF, 1-100; unset: what the stream is worth",
    )
    purge_url: str | None = Field(
        default=None,
        pattern=r"^https?://[^@\s]*\{id\}[^@\s]*$",
        description="address that a cache in front is asked at, with method PURGE, to drop a picture that "
        "was deleted or replaced; {id} stands for the picture; unset: nobody is asked",
    )
    client_hints: bool = Field(
        default=False,
        description="heed Sec-CH-DPR, Sec-CH-Width and Save-Data where a URL leaves open what they say",
    )

    # protection
    api_keys: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        default=(), description="keys that may write, separated by commas; unset: anybody may"
    )
    url_keys: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        default=(), description="keys that sign picture URLs, separated by commas; unset: no signatures"
    )
    metrics_keys: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        default=(),
        description="keys that open /metrics alone, beside the API keys; unset, and no API keys: anybody may",
    )
    presets: str = Field(
        default="",
        description="names for parameters of pictures, for ?preset=card, such as "
        "card:width=480,height=480,fit=cover;hero:width=1600",
    )
    presets_only: bool = Field(
        default=False,
        description="without an API key or a signature pictures are shown by presets, at the widths of their "
        "layers and whole, in any format, and not otherwise: by no IIIF and by no stream; on or off",
    )
    rate_limit: int = Field(
        default=0,
        ge=0,
        description="requests a minute for each client address, health checks apart; 0: no limit. Behind a "
        "proxy that is not on this host all clients have the address of the proxy: limit them there",
    )
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="origins that browsers may call from, separated by commas, or *"
    )

    # the store
    store_connections: int = Field(default=64, ge=1, description="connections to each server of Redis")
    store_memory_bytes: int = Field(
        default=0, ge=0, description="most memory the embedded Valkey may use; 0: no limit"
    )
    store_disk_reserve: int = Field(
        default=256 * MIB,
        ge=0,
        description="bytes that stay free on the disk of the embedded Valkey; with less, uploads get 507",
    )
    store_replicas: int = Field(
        default=0,
        ge=0,
        description="replicas of Redis that must have an upload or a deletion before it is acknowledged; "
        "with fewer it is answered 503",
    )
    store_fsync: bool = Field(
        default=False,
        description="acknowledge only what is on disk in the append-only file of Redis, and in those of so "
        "many replicas",
    )
    store_timeout: float = Field(
        default=5, gt=0, description="seconds until an errand to Redis is given up, retries included"
    )

    # what lies in an object store: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION as everywhere
    originals: ObjectAddress | None = Field(
        default=None,
        description="keep uploads as they came, as file:///folder or s3://bucket/prefix; unset: off",
    )
    cold: ObjectAddress | None = Field(
        default=None,
        description="move large layers there, as file:///folder or s3://bucket/prefix; unset: off",
    )
    cold_width: int = Field(
        default=1280, ge=1, description="layers wider than this are moved, in pixels; the smallest never is"
    )
    cold_seconds: float = Field(
        default=3600, ge=0, description="seconds that a picture is stored before its large layers are moved"
    )
    s3_endpoint: str | None = Field(
        default=None,
        pattern=r"^https?://[^@?#\s]+$",
        description="address of the S3 service, where it is not AWS; credentials are the AWS_* variables",
    )
    s3_access_key_id: SecretStr | None = Field(
        default=None,
        description="credentials, where the variables AWS_ACCESS_KEY_ID and"
        " AWS_SECRET_ACCESS_KEY or the machine's role do not give them, such as from files",
    )
    s3_secret_access_key: SecretStr | None = Field(default=None, description="the secret that belongs to it")
    object_timeout: float = Field(
        default=30,
        gt=0,
        description="seconds until an errand to an object store is given up, retries included",
    )

    @field_validator("redis_url")
    @classmethod
    def _address(cls, text: str | None) -> str | None:
        if text is not None:
            parse(text)
        return text

    @field_validator("store_replicas")
    @classmethod
    def _of_redis(cls, replicas: int, info: ValidationInfo) -> int:
        if replicas and info.data.get("redis_url") is None:
            raise ValueError("the embedded Valkey has no replicas: COMPASS_REDIS_URL must name a Redis")
        return replicas

    @model_validator(mode="after")
    def _cluster(self) -> "Settings":
        if self.engine == "ray" and not self.ray_address:
            raise ValueError("COMPASS_ENGINE=ray needs COMPASS_RAY_ADDRESS")
        if self.engine == "ray" and not self.redis_url:
            raise ValueError("COMPASS_ENGINE=ray needs COMPASS_REDIS_URL: other machines read it, too")
        if self.ray_max_replicas < self.ray_min_replicas:
            raise ValueError("COMPASS_RAY_MAX_REPLICAS is less than COMPASS_RAY_MIN_REPLICAS")
        return self

    @property
    def for_worker(self) -> WorkerSettings:
        """The part of the settings that a worker is told."""
        cache, niceness = self.worker_cache_bytes, self.worker_niceness
        return WorkerSettings(
            self.profile, self.device, self.max_pixels, cache, niceness, self.graphics, self.gamut
        )

    @property
    def for_replicas(self) -> "Settings":
        """The settings that FOR_REPLICAS names, every other one at its default: no keys of clients, and
        nothing that may differ between front ends.
        """
        return self.model_construct(**{name: getattr(self, name) for name in FOR_REPLICAS})

    @property
    def for_cluster(self) -> dict[str, str]:
        """The variables from which a process that needs no keys of clients reads the same settings."""
        without = {"api_keys", "url_keys", "metrics_keys"}
        return {
            f"COMPASS_{name.upper()}": _variable(getattr(self, name))
            for name in sorted(self.model_fields_set - without)
        }

    @property
    def repeats_bytes(self) -> int:
        """Memory for requests that were answered a moment ago: an eighth of that for their answers."""
        return self.cache_bytes // 8

    def ladder_of(self, widths: Sequence[int] | None) -> Ladder:
        """The layers of an upload that names these widths, in pixels; None: that names none."""
        if widths is None:
            return Ladder(tuple(sorted(set(self.widths))), self.single_layer_below)
        return Ladder(tuple(sorted(set(widths))))

    def fixed_quality(self, name: str) -> int | None:
        """The quality of answers in a format, where the settings prescribe one."""
        fixed: int | None = getattr(self, f"{name}_quality", None)
        return fixed

    _lists = field_validator("widths", "api_keys", "url_keys", "metrics_keys", "cors_origins", mode="before")(
        _split
    )


def as_markdown() -> str:
    """The page ``docs/settings.md``: every setting with its default and meaning."""
    rows = []
    for name, field in Settings.model_fields.items():
        default = field.default
        text = ",".join(map(str, default)) if isinstance(default, tuple) else str(default)
        shown = f"`{text}`" if default is not None and text else "unset"
        rows.append(f"| `COMPASS_{name.upper()}` | {shown} | {field.description} |")
    head = "# Settings\n\nEvery setting is an environment variable, read once at start, or the content of a\n"
    head += (
        "file of that name in small letters in `/run/secrets`, such as `compass_api_keys`. Units are bytes,\n"
    )
    head += "pixels and seconds unless said otherwise. `compass settings` prints the values in use;\n"
    head += "this page is printed by `compass settings --markdown`.\n\n"
    return head + "| variable | default | meaning |\n|---|---|---|\n" + "\n".join(rows) + "\n"
