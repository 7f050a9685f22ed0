"""A year of flights through a server, as one picture: `python -m benchmarks.timeline`."""
