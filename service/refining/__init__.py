"""Stored pictures get smaller: in the background of the service, and by hand (``compass refine``)."""
