"""Addresses of Redis: one server, a primary that Sentinels watch, or a cluster.

``redis://host:port/db``, ``rediss://…`` (TLS), ``unix://path``        one server
``redis+sentinel://host:port,host:port/name/db``, ``rediss+sentinel``  the Sentinels, and their primary's name
``redis+cluster://host:port,host:port``, ``rediss+cluster``            some nodes of a cluster

All may have ``user:password@`` before the hosts, and redis-py's options after a ``?``, such as
``ssl_ca_certs=/path``; they are those of the servers that hold pictures.
"""

from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import unquote, urlsplit

Kind = Literal["server", "sentinel", "cluster"]
Host = tuple[str, int]
"""A name or number, and a TCP port."""

_PORTS = {"sentinel": 26379, "cluster": 6379}
_FORMS = (
    "redis://host:port/db, rediss://host:port/db, unix://path, "
    "redis+sentinel://host:port,host:port/name/db or redis+cluster://host:port,host:port"
)


class _Unfit(ValueError):
    """Why a text is no address, in words that do not repeat it."""


@dataclass(frozen=True)
class Address:
    """An address, understood. ``hosts`` are the Sentinels or the nodes that are asked first, ``name`` what
    the Sentinels call their primary; :meth:`server` takes the rest of ``text``, where passwords may stand.
    """

    kind: Kind
    hosts: tuple[Host, ...]
    name: str
    text: str = field(repr=False)

    @property
    def tls(self) -> bool:
        """Whether all connections are encrypted."""
        return self.text.startswith("rediss")

    def server(self, host: Host | None = None) -> str:
        """The address of one server, as redis-py understands it: the only one, or this one."""
        if host is None:
            return self.text
        parts = urlsplit(self.text)
        user, at, _ = parts.netloc.rpartition("@")
        name = f"[{host[0]}]" if ":" in host[0] else host[0]
        database = parts.path.strip("/").partition("/")[2] if self.kind == "sentinel" else ""
        return parts._replace(
            scheme=parts.scheme.partition("+")[0],
            netloc=f"{user}{at}{name}:{host[1]}",
            path=f"/{database}" if database else "",
        ).geturl()


def parse(text: str) -> Address:
    """Understand an address. Raises ValueError, which does not repeat it: a password may stand in it."""
    try:
        address = _parsed(text)
        if address.kind == "server":
            _ = urlsplit(text).port  # which raises what is wrong with it
    except _Unfit as error:
        raise ValueError(f"the address of Redis: {error}") from None
    except ValueError:
        raise ValueError(f"the address of Redis cannot be read; it must be {_FORMS}") from None
    return address


def _parsed(text: str) -> Address:
    """Raises ValueError."""
    parts = urlsplit(text)
    if parts.scheme in ("redis", "rediss", "unix"):
        return Address("server", (), "", text)
    scheme, _, variant = parts.scheme.partition("+")
    if scheme not in ("redis", "rediss") or variant not in _PORTS:
        raise _Unfit(f"it must be {_FORMS}")
    names = parts.netloc.rpartition("@")[2].split(",")
    hosts = tuple(_host(name, _PORTS[variant]) for name in names)
    path = parts.path.strip("/")
    if variant == "cluster":
        if path not in ("", "0"):
            raise _Unfit("a cluster has no databases but 0")
        return Address("cluster", hosts, "", text)
    name, _, database = path.partition("/")
    if not name or (database and not database.isdecimal()):
        raise _Unfit("after the Sentinels it needs their primary's name, and perhaps a database's number")
    return Address("sentinel", hosts, unquote(name), text)


def _host(text: str, port: int) -> Host:
    """A host with its port, or the usual one. Raises ValueError."""
    parts = urlsplit(f"//{text}")
    if not parts.hostname or parts.path or parts.query:
        raise _Unfit("between commas there must be host:port")
    return parts.hostname, parts.port or port
