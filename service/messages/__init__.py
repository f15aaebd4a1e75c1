"""All that crosses the process boundary: jobs, their results, and their form on the wire."""
