"""What every request passes: access, limits, connections, conditional answers, problems."""
