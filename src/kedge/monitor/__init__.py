"""Counts over time, and what they say: panes, windows and drift against a bundle's reference."""
