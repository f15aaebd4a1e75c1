"""What the codec costs and gives, measured from real streams; each module is a `make bench-…`."""
