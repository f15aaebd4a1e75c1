"""From a request to what is to be made: sizes, formats, names. No I/O, no pixels."""
