"""Streams as bytes: the container, the ladder of layers, the entropy coder. No torch, no network."""
