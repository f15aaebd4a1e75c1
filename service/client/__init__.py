"""The Python client and the import of folders; needs nothing but urllib3."""
