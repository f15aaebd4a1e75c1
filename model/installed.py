"""Which weight files are installed, and what names them. No torch.

A file's SHA-256 names the model: its first 8 bytes stand in every stream. ``model/weights/`` holds
``<profile>.safetensors``, which new pictures are coded with, and older files that stored streams may still
need.
"""

import hashlib
from functools import cache
from pathlib import Path

from model.errors import UnknownModel, WeightsError
from model.stream.container import MODEL_ID_BYTES

FOLDER = Path(__file__).parent / "weights"


def model_id(path: Path) -> bytes:
    """The first 8 bytes of a weight file's SHA-256; raises WeightsError if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()[:MODEL_ID_BYTES]
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror}") from error


@cache
def installed(folder: Path = FOLDER) -> dict[bytes, Path]:
    """Every weight file in ``folder`` by its model id."""
    return {model_id(path): path for path in sorted(folder.glob("*.safetensors"))}


def path_of_profile(profile: str, folder: Path = FOLDER) -> Path:
    """The weight file that new pictures are coded with; raises WeightsError if there is none."""
    path = folder / f"{profile}.safetensors"
    if not path.is_file():
        raise WeightsError(f"no weights for profile {profile!r} in {folder}")
    return path


def weight_file(profile: str) -> Path:
    """A profile's weight file, or ``profile`` itself where it is such a path; raises WeightsError."""
    return Path(profile) if profile.endswith(".safetensors") else path_of_profile(profile)


def path_of_model(identity: bytes, folder: Path = FOLDER) -> Path:
    """The weight file of a stream's model id; raises UnknownModel if it is not installed."""
    try:
        return installed(folder)[identity]
    except KeyError:
        raise UnknownModel(f"the weights of model {identity.hex()} are not installed") from None
