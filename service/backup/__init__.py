"""Backups of a running store, streams and originals, in a folder or a bucket (``compass backup``,
``restore``).
"""
