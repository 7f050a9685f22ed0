"""The bundle: one atomic unit of model, features, reference, configuration and evidence, and its store."""
