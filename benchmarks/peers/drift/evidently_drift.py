"""Evidently: reports on two data frames.

python evidently_drift.py DIRECTORY REPEATS
"""

from __future__ import annotations

import pandas as pd
from evidently import DataDefinition, Dataset, Report
from evidently.presets import DataDriftPreset
from meter import NAMES, Meter


def main() -> None:
    meter = Meter()
    known = DataDefinition(numerical_columns=NAMES)
    current, reference = (
        Dataset.from_pandas(pd.DataFrame(x, columns=NAMES), data_definition=known)
        for x in (meter.current, meter.reference)
    )

    def judge(**options: str) -> list[str]:
        metrics = Report([DataDriftPreset(**options)]).run(current, reference).dict()["metrics"]
        found = [(one["config"], one["value"]) for one in metrics if one["config"]["type"].endswith(":ValueDrift")]
        return [config["column"] for config, value in found if value >= config["threshold"]]

    meter.report("Evidently, DataDriftPreset", judge)
    meter.report("Evidently, DataDriftPreset, PSI", lambda: judge(method="psi"))
    meter.done()


if __name__ == "__main__":
    main()
