"""What is counted on the request path: one contract, three implementations, one snapshot format."""
