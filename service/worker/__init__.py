"""The worker process: the only place with torch and pixels."""
