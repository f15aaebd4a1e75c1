"""The store's configuration, read by a real server."""

import pytest
import redis


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("appendonly", "yes"),
        ("appendfsync", "always"),
        ("maxmemory-policy", "noeviction"),
        ("maxmemory", str(256 * 2**20)),
        ("save", ""),
    ],
)
def test_settings(shipped_redis, name, value):
    assert shipped_redis.client.config_get(name)[name] == value


def test_nobody_gets_in_without_the_password(shipped_redis):
    with pytest.raises(redis.AuthenticationError):
        redis.Redis(port=shipped_redis.port).ping()
