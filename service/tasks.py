"""What a worker does with one job: pictures in, stream out; stream prefix in, picture out."""

from service.jobs import Render, Rendered, Upload, Uploaded
from service.settings import Settings


class Tasks:
    """Made once in each worker; loads the codec. Safe to call from several threads."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def upload(self, job: Upload) -> Uploaded:
        """Code an upload. Raises a :class:`service.errors.ServiceError` for bad input."""
        raise NotImplementedError

    def render(self, job: Render) -> Rendered:
        """Decode and write a layer. Raises a :class:`service.errors.ServiceError` for bad input."""
        raise NotImplementedError
