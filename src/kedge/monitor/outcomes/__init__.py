"""Outcomes: labels that come back for predictions, counted once each and judged by the time of the prediction.

No store of predictions is needed: what was predicted comes back sealed in the prediction id. `book` takes labels in,
`ledger` remembers which, `counts` adds up, `figures` and `judge` say what it amounts to, `report` gathers all of it.
`sliced` and `slice_judge` do the same by slice.
"""
