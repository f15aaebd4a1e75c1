"""Addresses of Redis: what each names, and what is refused."""

import pytest
from pydantic import ValidationError

from service.addresses import parse
from service.settings import Settings


@pytest.mark.parametrize(
    ("text", "kind", "hosts", "name", "server"),
    [
        ("redis://a:1/2", "server", (), "", "redis://a:1/2"),
        ("unix:///run/redis.sock", "server", (), "", "unix:///run/redis.sock"),
        (
            "redis+sentinel://a:1,b,[::1]:3/store/2",
            "sentinel",
            (("a", 1), ("b", 26379), ("::1", 3)),
            "store",
            "redis://host:7/2",
        ),
        (
            "rediss+sentinel://me:pass%40@a/my%20store?ssl_ca_certs=/ca.pem",
            "sentinel",
            (("a", 26379),),
            "my store",
            "rediss://me:pass%40@host:7?ssl_ca_certs=/ca.pem",
        ),
        ("redis+cluster://a:1,b:2", "cluster", (("a", 1), ("b", 2)), "", "redis://host:7"),
        ("rediss+cluster://:word@a/0", "cluster", (("a", 6379),), "", "rediss://:word@host:7"),
    ],
)
def test_what_an_address_names(text, kind, hosts, name, server):
    address = parse(text)
    assert (address.kind, address.hosts, address.name) == (kind, hosts, name)
    assert address.tls == text.startswith("rediss")
    assert address.server(("host", 7) if hosts else None) == server


def test_hosts_of_six_bytes_stand_in_brackets():
    assert parse("redis+cluster://a").server(("::1", 7)) == "redis://[::1]:7"


@pytest.mark.parametrize(
    "text",
    [
        "http://a",
        "redis+sentinel://a:1",
        "redis+sentinel://a:1/store/two",
        "redis+sentinel:///store",
        "redis+sentinel://a,,b/store",
        "redis+cluster://a:1/3",
        "redis+cluster://a:port",
        "redis+cluster://a:70000",
        "redis+cluster://secret@",
        "redis+ring://a",
        "redis://a:secret",
        "",
    ],
)
def test_what_is_no_address_is_refused_without_being_repeated(text):
    with pytest.raises(ValueError, match="the address of Redis") as told:
        parse(text)
    assert "secret" not in str(told.value)


def test_settings_refuse_what_cannot_be():
    with pytest.raises(ValidationError, match="redis_url"):
        Settings(redis_url="redis+cluster://a:1/3")
    with pytest.raises(ValidationError, match="the embedded Valkey has no replicas"):
        Settings(store_replicas=1)
    assert Settings(redis_url="redis://a", store_replicas=1).store_replicas == 1
