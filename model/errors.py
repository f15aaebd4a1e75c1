"""Every error the codec raises on purpose, as one tree.

CompassError
├── StreamError            the bytes are not a stream this program can decode
│   ├── NotAStream             they do not begin with the magic number
│   ├── UnsupportedVersion     a format version this program does not know
│   ├── UnknownModel           coded with weights that are not installed here
│   ├── TruncatedStream        they end before the layer that was asked for
│   ├── ChecksumMismatch       a stored CRC-32 does not fit the bytes
│   └── InvalidStream          the fields contradict each other or a limit
├── WeightsError           a weight file is missing, damaged or of another shape
└── EncodeError            the picture or the parameters cannot be coded
"""


class CompassError(Exception):
    """Base class of all errors raised by :mod:`model`."""


class StreamError(CompassError):
    """The bytes are not a stream that can be decoded here."""


class NotAStream(StreamError):
    """The bytes do not begin with the COMPASS magic number."""


class UnsupportedVersion(StreamError):
    """The stream's format version is unknown to this program."""


class UnknownModel(StreamError):
    """The stream was coded with weights that are not installed here."""


class TruncatedStream(StreamError):
    """The bytes end before the header, or before the layer that was asked for."""


class ChecksumMismatch(StreamError):
    """A stored CRC-32 does not fit the bytes it protects."""


class InvalidStream(StreamError):
    """Fields of the stream contradict each other or exceed a limit."""


class WeightsError(CompassError):
    """A weight file is missing, damaged, or does not fit its configuration."""


class EncodeError(CompassError):
    """The picture or the coding parameters cannot be coded."""
