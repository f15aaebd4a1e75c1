"""Seconds of the codec and its parts."""
