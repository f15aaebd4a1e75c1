"""Pictures in Redis, the embedded server, and the check of what is stored."""
