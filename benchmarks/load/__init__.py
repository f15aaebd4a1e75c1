"""The service under load, and what its answers should be."""
