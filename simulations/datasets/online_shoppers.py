"""UCI 468 as devices: one session a user, one row a device, label = the session ended in a purchase.

The features are fixed transformations with public constants: logarithms cut at round numbers, one-hot codes with
known vocabularies. No mean, variance or maximum of the rows is used, because a private pipeline cannot look at the
data for them without paying. The round numbers lie just above the maxima that the data's authors print (Sakar et al.
2018, table 1). Which transformations to use was settled by a non-private look at this file, as for any public
benchmark; on a shop's own data that choice would have to be made before looking.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from simulations.datasets.catalogue import locate
from simulations.datasets.errors import DatasetMalformed
from simulations.datasets.splits import HELD_OUT_SHARE, split_devices

# Column: value at which the scaled logarithm reaches 1.
LOG_TOPS: Final[dict[str, float]] = {
    "Administrative": 30.0,
    "Informational": 30.0,
    "ProductRelated": 700.0,
    "Administrative_Duration": 3_600.0,
    "Informational_Duration": 3_600.0,
    "ProductRelated_Duration": 36_000.0,
}
RATE_TOP: Final = 0.2  # the published range of bounce and exit rates is [0, .2]
RATE_ZOOM: Final = 1_000.0  # the logarithm that tells small rates apart
PAGE_VALUE_TOP: Final = 400.0
MONTHS: Final = ("Feb", "Mar", "May", "June", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
VISITOR_TYPES: Final = ("Returning_Visitor", "New_Visitor")
# Codes beyond these are rare and share the all-zero code.
CODES: Final[dict[str, int]] = {"TrafficType": 13, "OperatingSystems": 4, "Browser": 6}
_COLUMNS: Final = (
    *LOG_TOPS, "BounceRates", "ExitRates", "PageValues", "SpecialDay", "Month", "VisitorType", "Weekend", *CODES,
    "Revenue",
)  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """One row a device: features float64[n, f] in [0, 1], labels float64[n] (0 or 1), names of the features."""

    features: NDArray[np.float64]
    labels: NDArray[np.float64]
    names: tuple[str, ...]

    def __len__(self) -> int:
        """Return the number of devices."""
        return int(self.labels.size)

    def split(self, seed: int, held_out_share: float = HELD_OUT_SHARE) -> tuple[Rows, Rows]:
        """Split into devices that train and devices held out (a fifth), fixed by the seed."""
        train, held_out = split_devices(len(self), seed, held_out_share)
        return self._take(train), self._take(held_out)

    def _take(self, devices: NDArray[np.int64]) -> Rows:
        return Rows(self.features[devices], self.labels[devices], self.names)


def load_online_shoppers(folder: Path, *, page_values: bool) -> Rows:
    """Load every session as a device.

    Args:
        folder: the data folder (the one that holds ``online_shoppers/``).
        page_values: whether to use PageValues. It nearly gives the answer away (it is computed from transactions),
            so both variants are to be reported.

    Returns:
        12,330 rows in the file's order, 125 of them exact duplicates that the publisher left in; 50 features without
        PageValues and 52 with.

    Raises:
        DatasetMissing: the file is not there.
        DatasetMalformed: columns are missing, or a value is not of its column's kind.
    """
    columns = _read_columns(locate(folder, "online_shoppers"))
    try:
        features = _features(columns, page_values=page_values)
    except ValueError as error:
        raise DatasetMalformed("online_shoppers: expected numbers in the numeric columns, got other text") from error
    if not {*columns["Revenue"], *columns["Weekend"]} <= {"TRUE", "FALSE"}:
        raise DatasetMalformed("online_shoppers: expected TRUE or FALSE in Revenue and Weekend, got other text")
    labels = _equal(columns["Revenue"], "TRUE")
    return Rows(np.stack(list(features.values()), axis=1), labels, tuple(features))


def _read_columns(path: Path) -> dict[str, list[str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        reader = csv.DictReader(stream)
        missing = [name for name in _COLUMNS if name not in (reader.fieldnames or ())]
        if missing:
            raise DatasetMalformed(f"online_shoppers: expected the columns {', '.join(missing)}, got none of that name")
        rows = list(reader)
    if not rows or any(row[name] is None for row in rows for name in _COLUMNS):
        raise DatasetMalformed("online_shoppers: expected complete rows, got an empty or truncated file")
    return {name: [row[name] for row in rows] for name in _COLUMNS}


def _features(columns: dict[str, list[str]], *, page_values: bool) -> dict[str, NDArray[np.float64]]:
    features = {name: _scaled_log(_numbers(columns[name]), top) for name, top in LOG_TOPS.items()}
    for name in ("BounceRates", "ExitRates"):
        rate = np.clip(_numbers(columns[name]) / RATE_TOP, 0.0, 1.0)
        features |= {name: rate, f"{name}:log": _scaled_log(RATE_ZOOM * rate, RATE_ZOOM)}
    features["BounceRates:zero"] = (features["BounceRates"] == 0).astype(np.float64)
    for name in ("Administrative", "Informational"):
        features[f"{name}:any"] = (features[name] > 0).astype(np.float64)
    features["SpecialDay"] = np.clip(_numbers(columns["SpecialDay"]), 0.0, 1.0)
    features |= {f"Month:{month}": _equal(columns["Month"], month) for month in MONTHS}
    features |= {f"VisitorType:{kind}": _equal(columns["VisitorType"], kind) for kind in VISITOR_TYPES}
    features["Weekend"] = _equal(columns["Weekend"], "TRUE")
    for name, codes in CODES.items():
        features |= {f"{name}:{code}": _equal(columns[name], str(code)) for code in range(1, codes + 1)}
    if page_values:
        value = _numbers(columns["PageValues"])
        features |= {"PageValues:any": (value > 0).astype(np.float64), "PageValues": _scaled_log(value, PAGE_VALUE_TOP)}
    return features


def _numbers(texts: Sequence[str]) -> NDArray[np.float64]:
    values = np.array(texts, dtype=np.float64)
    if not np.isfinite(values).all() or (values < 0).any():
        raise ValueError("expected finite numbers of at least 0")
    return values


def _equal(texts: Sequence[str], text: str) -> NDArray[np.float64]:
    return np.array([value == text for value in texts], dtype=np.float64)


def _scaled_log(values: NDArray[np.float64], top: float) -> NDArray[np.float64]:
    return np.asarray(np.minimum(1.0, np.log1p(values) / np.log1p(top)), dtype=np.float64)
