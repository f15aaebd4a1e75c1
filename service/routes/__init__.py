"""What each URL does: one module per group of routes."""
