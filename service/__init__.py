"""The image server around the COMPASS codec; see ``docs/architecture.md``."""
