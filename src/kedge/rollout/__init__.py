"""What is live: the state directory, the record of live bundles, and the routes that follow from it."""
