"""Stored pictures of older models are coded anew with the current one (``compass recode``)."""
