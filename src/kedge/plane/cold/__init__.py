"""Cold RPCs, written once for every plane: metadata, configuration, statistics, repository, Watch, reflection."""
