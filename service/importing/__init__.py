"""Folders of pictures put into a store without a service in between (``compass import --engine``)."""
