"""One registry of the public data sets: what each is, whence it comes, under which licence, what it is used for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from simulations.datasets.errors import DatasetMissing

DATA_VARIABLE: Final = "HEARTHSIDE_DATA"
CC_BY: Final = "CC BY 4.0"


@dataclass(frozen=True, slots=True)
class DataSet:
    """A catalogue entry.

    Attributes:
        name: identifier, and the folder's name under the data folder.
        title: the publisher's name for it.
        source: where to get it.
        licence: as stated by the publisher.
        devices: what one device is, and how many there are.
        use: which studies it serves.
        files: file names inside the folder.
        loaded: whether a loader exists in this package.
    """

    name: str
    title: str
    source: str
    licence: str
    devices: str
    use: tuple[str, ...]
    files: tuple[str, ...]
    loaded: bool = False


_ENTRIES: Final = (
    DataSet(
        name="online_shoppers",
        title="UCI 468, Online Shoppers Purchasing Intention (Sakar et al. 2018)",
        source="https://archive.ics.uci.edu/dataset/468",
        licence=CC_BY,
        devices="12,330 sessions, one a user: a device is a row",
        use=("intent",),
        files=("online_shoppers_intention.csv",),
        loaded=True,
    ),
    DataSet(
        name="msnbc",
        title="UCI 133, MSNBC.com Anonymous Web Data (Heckerman)",
        source="https://archive.ics.uci.edu/dataset/133",
        licence=CC_BY,
        devices="989,818 users, one sequence of page categories each",
        use=("next_action", "persona", "measurement"),
        files=("msnbc990928.seq.gz",),
        loaded=True,
    ),
    DataSet(
        name="eshop_clothing",
        title="UCI 553, Clickstream data for online shopping (Lapczynski and Bialowas 2013)",
        source="https://archive.ics.uci.edu/dataset/553",
        licence=CC_BY,
        devices="24,026 sessions of ordered clicks",
        use=("next_action", "persona"),
        files=("eshop_clothing_2008.uci553.zip",),
    ),
    DataSet(
        name="oulad",
        title="Open University Learning Analytics (Kuzilek et al. 2017)",
        source="https://analyse.kmi.open.ac.uk/open-dataset",
        licence=CC_BY,
        devices="2,515 students of three complete presentations",
        use=("churn",),
        files=("studentVle.csv.gz", "vle.csv.gz", "studentInfo.csv.gz", "studentRegistration.csv.gz", "courses.csv"),
    ),
    DataSet(
        name="upworthy",
        title="Upworthy Research Archive, half of the exploratory set (Matias et al. 2021)",
        source="https://osf.io/jd64p/",
        licence=CC_BY,
        devices="2,491 tests; impressions and clicks per arm, no single users",
        use=("experiments",),
        files=("upworthy_half.csv.gz",),
    ),
    DataSet(
        name="otto_fixture",
        title="OTTO recommender data set, test fixture",
        source="https://github.com/otto-de/recsys-dataset",
        licence="CC BY 4.0 (data), MIT (code)",
        devices="20 sessions",
        use=("event vocabulary",),
        files=("train.jsonl",),
    ),
)

CATALOGUE: Final[Mapping[str, DataSet]] = {entry.name: entry for entry in _ENTRIES}


def data_folder(environment: Mapping[str, str], repository: Path) -> Path:
    """Return where the data sets lie: ``HEARTHSIDE_DATA``, or ``shared/data`` beside the repository."""
    stated = environment.get(DATA_VARIABLE)
    return Path(stated) if stated else repository.parent / "shared" / "data"


def locate(folder: Path, name: str, file: str | None = None) -> Path:
    """Return the path of a set's file (its first, unless named).

    Args:
        folder: the data folder, with one folder a set.
        name: of the set.
        file: one of the set's files.

    Raises:
        DatasetMissing: the set is not in the catalogue or its file is not there; one line that says how to get it.
    """
    entry = CATALOGUE.get(name)
    if entry is None:
        raise DatasetMissing(f"no data set of that name; the catalogue has {', '.join(CATALOGUE)}")
    path = folder / name / (file or entry.files[0])
    if not path.is_file():
        raise DatasetMissing(
            f"data set {name}: expected the file {path.name} in {path.parent}; get it from {entry.source} "
            f"({entry.licence}) and put it there, or set {DATA_VARIABLE} to the folder that holds {name}/"
        )
    return path
