"""Weight files are found by their profile and by the id of their content."""

import shutil

import pytest

from model.errors import UnknownModel, WeightsError
from model.installed import installed, model_id, path_of_model, path_of_profile, weight_file
from model.network.config import PROFILES


def test_models_are_found_by_their_id(tiny_weights, tmp_path):
    shutil.copy(tiny_weights, tmp_path / "lite.safetensors")
    (tmp_path / "notes.txt").write_text("not weights")
    installed.cache_clear()
    try:
        identity = model_id(tiny_weights)
        assert path_of_profile("lite", tmp_path) == tmp_path / "lite.safetensors"
        assert path_of_model(identity, tmp_path) == tmp_path / "lite.safetensors"
        with pytest.raises(UnknownModel):
            path_of_model(b"\0" * 8, tmp_path)
    finally:
        installed.cache_clear()


@pytest.mark.parametrize("profile", PROFILES)
def test_a_profile_without_weights_is_named(profile, tmp_path):
    with pytest.raises(WeightsError, match=f"no weights for profile '{profile}' in {tmp_path}"):
        path_of_profile(profile, tmp_path)


def test_a_weight_file_may_be_named_itself(tiny_weights):
    assert weight_file(str(tiny_weights)) == tiny_weights
    assert weight_file("lite") == path_of_profile("lite")
