"""whylogs: profiles by data frame and by row, and its drift scores.

python whylogs_drift.py DIRECTORY REPEATS
"""

from __future__ import annotations

import pandas as pd
import whylogs as why
from meter import NAMES, Meter
from whylogs.viz.drift.column_drift_algorithms import calculate_drift_scores

FEW = {1: 200, 32: 640, 1024: 10_240}
"""Rows, by how many of them come at a time."""


def main() -> None:
    meter = Meter()
    current, reference = (pd.DataFrame(x, columns=NAMES) for x in (meter.current, meter.reference))
    meter.count("whylogs, why.log(DataFrame)", lambda a, b: why.log(current[a:b]), len(current), len(current))
    profile = why.log(current[:1]).profile()
    records = current[: FEW[1]].to_dict("records")
    meter.count("whylogs, track(row)", lambda a, _: profile.track(row=records[a]), FEW[1], 1)
    for batch in (32, 1024):
        meter.count("whylogs, track(DataFrame)", lambda a, b: profile.track(pandas=current[a:b]), FEW[batch], batch)
    now, before = why.log(current).view(), why.log(reference).view()

    def judge() -> list[str]:
        scores = calculate_drift_scores(now, before, with_thresholds=True)
        return [name for name, score in scores.items() if score["drift_category"] == "DRIFT"]

    meter.report("whylogs, KS of two profiles", judge)
    meter.done()


if __name__ == "__main__":
    main()
