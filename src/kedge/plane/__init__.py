"""Answering requests and counting them: the contract, and the planes that keep it."""
