"""Settings come from the environment, and their page in docs/ is what the code says."""

from typing import get_args

import pytest
from pydantic import ValidationError

from model.network.config import PROFILES
from service.settings import Profile, Settings, as_markdown
from tests.service.running import ROOT


def test_from_the_environment(monkeypatch):
    monkeypatch.setenv("COMPASS_WIDTHS", "100, 200")
    monkeypatch.setenv("COMPASS_API_KEYS", "a,b")
    monkeypatch.setenv("COMPASS_REDIS_URL", "")
    settings = Settings()
    assert settings.widths == (100, 200)
    assert [key.get_secret_value() for key in settings.api_keys] == ["a", "b"]
    assert settings.redis_url is None
    assert "a" not in str(settings.api_keys)


def test_secrets_may_be_files(tmp_path, monkeypatch):
    """No list of processes and no inspection of a container shows them; a variable comes first."""
    (tmp_path / "compass_api_keys").write_text("a, b\n")
    (tmp_path / "compass_redis_url").write_text("redis://:secret@redis:6379/0\n")
    settings = Settings(_secrets_dir=tmp_path)
    assert [key.get_secret_value() for key in settings.api_keys] == ["a", "b"]
    assert settings.redis_url == "redis://:secret@redis:6379/0"
    monkeypatch.setenv("COMPASS_API_KEYS", "c")
    assert [key.get_secret_value() for key in Settings(_secrets_dir=tmp_path).api_keys] == ["c"]


@pytest.mark.parametrize(
    ("name", "value"),
    [("WIDTHS", "0"), ("WIDTHS", "x"), ("QUALITY", "101"), ("PORT", "-1"), ("PROFILE", "huge")],
)
def test_bad_values_are_refused(monkeypatch, name, value):
    monkeypatch.setenv(f"COMPASS_{name}", value)
    with pytest.raises(ValidationError):
        Settings()


def test_every_network_that_can_be_trained_can_serve():
    """Written down twice, since settings are read without torch."""
    assert set(get_args(Profile)) == set(PROFILES)


RAY = {"engine": "ray", "ray_address": "head:6379", "redis_url": "redis://store"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"ray_address": None}, "needs COMPASS_RAY_ADDRESS"),
        ({"redis_url": None}, "needs COMPASS_REDIS_URL"),
        ({"ray_min_replicas": 3, "ray_max_replicas": 2}, "COMPASS_RAY_MAX_REPLICAS is less"),
    ],
)
def test_a_cluster_needs_an_address_a_store_and_bounds(change, said):
    assert Settings(**RAY).engine == "ray"
    with pytest.raises(ValidationError, match=said):
        Settings(**{**RAY, **change})


def test_every_setting_is_described():
    assert all(field.description for field in Settings.model_fields.values())
    assert (ROOT / "docs/settings.md").read_text() == as_markdown()
