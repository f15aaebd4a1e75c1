"""The work on a Ray cluster: what runs there, and the process that speaks to it. The only place with Ray."""
