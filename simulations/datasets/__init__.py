"""Public data sets as fleets of devices; what each is stands in the catalogue."""

from simulations.datasets.baselines import count_transitions, next_page_top_k, popularity_top_1
from simulations.datasets.catalogue import CATALOGUE, DATA_VARIABLE, DataSet, data_folder, locate
from simulations.datasets.errors import DatasetError, DatasetMalformed, DatasetMissing
from simulations.datasets.msnbc import PageSequences, load_msnbc
from simulations.datasets.online_shoppers import Rows, load_online_shoppers
from simulations.datasets.splits import split_devices

__all__ = [
    "CATALOGUE",
    "DATA_VARIABLE",
    "DataSet",
    "DatasetError",
    "DatasetMalformed",
    "DatasetMissing",
    "PageSequences",
    "Rows",
    "count_transitions",
    "data_folder",
    "load_msnbc",
    "load_online_shoppers",
    "locate",
    "next_page_top_k",
    "popularity_top_1",
    "split_devices",
]
