"""Evidence: what was decided, by whom and on what grounds, in a log that a stranger can verify offline."""
