"""Every error the service raises on purpose, as one tree; each knows its HTTP status and title.

ServiceError
├── BadRequest 400          the request cannot be understood
├── Unauthorized 401        no valid key for writing
├── Forbidden 403           the URL's signature is wrong or has expired
├── NotOffered 403          a rendering for holders of a key alone
├── NotFound 404            no such picture or layer
│   └── Expired 404         its life is over by the clock of this machine; the store may still have it
├── NotAcceptable 406       none of the formats in Accept can be given
├── RequestTimeout 408      the upload came too slowly
├── PictureTooLarge 413     too many bytes, or too many pixels
├── UnsupportedPicture 415  not a picture, or of a kind that is not read here
├── BadPicture 422          a picture, but damaged or truncated
├── BadParameter 422        a parameter that contradicts the picture or another one
├── Overloaded 429          the queue is full; come back after ``retry_after`` seconds
├── DamagedStream 500       the stored stream does not fit its checksums
├── NotImplementedHere 501  a valid request for something this service does not do
├── Replaced 503            the stored stream became another one while it was read, again and again
├── WeightsMissing 503      coded with weights that are not installed here
├── UnknownFormat 503       stored in a version of the format that is not read here
├── WorkerFailed 503        the worker process ended, twice, before it answered
│   └── Stopping 503        the service is stopping
├── Quarantined 503         this picture ended worker processes; it is not tried for some minutes
├── DeadlineExceeded 503    no answer within the time allowed
├── StoreUnavailable 503    Redis does not answer
├── ObjectsUnavailable 503  the object store does not answer: originals, or large layers, cannot be had
└── StoreFull 507           Redis has no room left
"""


class ServiceError(Exception):
    """Base class: ``detail`` is a sentence for the client, ``retry_after`` the seconds after which the same
    request may succeed, or None; who does not know better leaves it to the kind of error, its ``patience``.

    Instances can be pickled, so that a worker can send them to the HTTP process.
    """

    status = 500
    title = "Internal error"
    patience: float | None = None

    def __init__(self, detail: str = "", retry_after: float | None = None) -> None:
        super().__init__(detail, retry_after)
        self.detail = detail
        self.retry_after = self.patience if retry_after is None else retry_after

    def __str__(self) -> str:
        return self.detail or self.title


class BadRequest(ServiceError):
    """The request cannot be understood."""

    status, title = 400, "Bad request"


class Unauthorized(ServiceError):
    """Writing needs a valid API key."""

    status, title = 401, "API key required"


class Forbidden(ServiceError):
    """The URL's signature is wrong or has expired."""

    status, title = 403, "Signature refused"


class NotOffered(ServiceError):
    """A rendering or a stream that is there for holders of a key alone."""

    status, title = 403, "Not offered to everybody"


class NotFound(ServiceError):
    """No such picture or layer."""

    status, title = 404, "Not found"


class Expired(NotFound):
    """A picture's life is over by the clock of this machine, which may be wrong: the store, which deletes it
    by its own, may still have it. So nothing that belongs to it is deleted because of this alone.
    """


class NotAcceptable(ServiceError):
    """None of the formats in the Accept header can be given."""

    status, title = 406, "No acceptable format"


class RequestTimeout(ServiceError):
    """The upload's body came too slowly."""

    status, title = 408, "Upload too slow"


class PictureTooLarge(ServiceError):
    """The upload has too many bytes, or the picture too many pixels."""

    status, title = 413, "Picture too large"


class UnsupportedPicture(ServiceError):
    """The upload is not a picture, or of a kind that is not read here."""

    status, title = 415, "Unsupported picture"


class BadPicture(ServiceError):
    """The upload is a picture, but damaged or truncated."""

    status, title = 422, "Damaged picture"


class BadParameter(ServiceError):
    """A parameter contradicts the picture, a limit or another parameter."""

    status, title = 422, "Bad parameter"


class Quarantined(ServiceError):
    """The picture ended worker processes and is not tried again for ``retry_after`` seconds."""

    status, title = 503, "Picture in quarantine"


class Overloaded(ServiceError):
    """The queue is full; ``retry_after`` says in how many seconds to come back."""

    status, title = 429, "Too many requests"
    patience = 5


class NotImplementedHere(ServiceError):
    """A valid request for something this service does not do."""

    status, title = 501, "Not implemented"


class DamagedStream(ServiceError):
    """The stored stream does not fit its checksums."""

    status, title = 500, "Stored picture is damaged"


class Replaced(ServiceError):
    """The stored stream became another one while it was read."""

    status, title = 503, "Stored picture has changed"
    patience = 1


class WeightsMissing(ServiceError):
    """The picture was coded with weights that are not installed here."""

    status, title = 503, "Weights missing"


class UnknownFormat(ServiceError):
    """The picture is stored in a version of the stream's format that this program does not read."""

    status, title = 503, "Format not supported"


class WorkerFailed(ServiceError):
    """The worker process ended before it answered."""

    status, title = 503, "Worker failed"
    patience = 2


class Stopping(WorkerFailed):
    """The service is stopping; nothing is wrong with the picture."""

    title = "Service is stopping"
    patience = 5


class DeadlineExceeded(ServiceError):
    """No answer within the time allowed."""

    status, title = 503, "Deadline exceeded"
    patience = 5


class StoreUnavailable(ServiceError):
    """Redis does not answer."""

    status, title = 503, "Store unavailable"
    patience = 2


class ObjectsUnavailable(ServiceError):
    """The object store does not answer."""

    status, title = 503, "Object store unavailable"
    patience = 5


class StoreFull(ServiceError):
    """Redis has no room left."""

    status, title = 507, "Store full"


class CommandError(Exception):
    """Something that whoever runs a command can put right; printed as one line."""
