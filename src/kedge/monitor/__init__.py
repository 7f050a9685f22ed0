"""Counts over time, and what they say: panes and windows, rules and charts, the evaluator and its verdicts."""
