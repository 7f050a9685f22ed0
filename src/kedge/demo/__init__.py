"""The main job on real data: flights out of New York, from raw columns to drift."""
