from __future__ import annotations

import gzip

import numpy as np
import pytest

from simulations.datasets import (
    CATALOGUE,
    DatasetMalformed,
    DatasetMissing,
    count_transitions,
    data_folder,
    load_msnbc,
    load_online_shoppers,
    locate,
    next_page_top_k,
    popularity_top_1,
    split_devices,
)
from simulations.datasets.online_shoppers import _COLUMNS

ROW = dict.fromkeys(_COLUMNS, "0") | {
    "ProductRelated": "12",
    "ExitRates": "0.05",
    "PageValues": "9.5",
    "Month": "Nov",
    "VisitorType": "New_Visitor",
    "Weekend": "TRUE",
    "TrafficType": "2",
    "Revenue": "TRUE",
}


def write_shoppers(folder, rows, columns=_COLUMNS):
    path = folder / "online_shoppers" / "online_shoppers_intention.csv"
    path.parent.mkdir(exist_ok=True)
    lines = [",".join(columns), *(",".join(row[name] for name in columns) for row in rows)]
    path.write_text("\r\n".join(lines) + "\r\n", encoding="utf-8")
    return folder


def write_msnbc(folder, body, header=b"% x\n\nnews\n\n% Sequences:\n\n"):
    path = folder / "msnbc" / "msnbc990928.seq.gz"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(gzip.compress(header + body))
    return folder


def test_a_missing_set_says_in_one_line_what_and_how(tmp_path):
    """The message names the set, the file, where to get it and the variable."""
    for load in (lambda: load_online_shoppers(tmp_path, page_values=True), lambda: load_msnbc(tmp_path, 10, 7)):
        with pytest.raises(DatasetMissing) as caught:
            load()
        message = str(caught.value)
        assert "\n" not in message
        assert all(word in message for word in ("https://archive.ics.uci.edu", "HEARTHSIDE_DATA", "expected the file"))
    with pytest.raises(DatasetMissing, match="online_shoppers, msnbc"):
        locate(tmp_path, "nonesuch")


def test_the_data_folder_is_the_variable_or_beside_the_repository(tmp_path):
    """HEARTHSIDE_DATA wins; without it, shared/data beside the repository's root."""
    assert data_folder({"HEARTHSIDE_DATA": "/elsewhere"}, tmp_path).as_posix() == "/elsewhere"
    assert data_folder({}, tmp_path / "repo") == tmp_path / "shared" / "data"


def test_a_shopper_becomes_a_bounded_row(tmp_path):
    """Features are fixed transformations: they do not depend on who else is in the file."""
    alone = load_online_shoppers(write_shoppers(tmp_path, [ROW]), page_values=True)
    other = ROW | {"ProductRelated": "700", "Revenue": "FALSE", "Month": "Feb", "ExitRates": "0.2"}
    crowd = load_online_shoppers(write_shoppers(tmp_path, [other, ROW, other]), page_values=True)
    assert np.array_equal(crowd.features[1], alone.features[0])
    values = dict(zip(alone.names, alone.features[0].tolist(), strict=True))
    assert (values["Month:Nov"], values["Month:Dec"], values["TrafficType:2"], values["Weekend"]) == (1, 0, 1, 1)
    assert values["ExitRates"] == pytest.approx(0.25)
    assert values["ProductRelated"] == pytest.approx(np.log(13) / np.log(701))
    assert crowd.labels.tolist() == [0, 1, 0]


def test_without_page_values_no_feature_tells_them(tmp_path):
    """The honest variant does not move when PageValues does."""
    rich = load_online_shoppers(write_shoppers(tmp_path, [ROW]), page_values=False)
    poor = load_online_shoppers(write_shoppers(tmp_path, [ROW | {"PageValues": "0"}]), page_values=False)
    assert np.array_equal(rich.features, poor.features)
    assert not any("PageValues" in name for name in rich.names)


@pytest.mark.parametrize(
    "change", [{"ExitRates": "x"}, {"PageValues": "nan"}, {"ProductRelated": "-1"}, {"Revenue": "maybe"}]
)
def test_a_shopper_with_a_bad_value_is_refused(tmp_path, change):
    """Text, NaN, negative counts and unknown flags are a malformed file, in one line without the value."""
    with pytest.raises(DatasetMalformed, match="online_shoppers: expected") as caught:
        load_online_shoppers(write_shoppers(tmp_path, [ROW, ROW | change]), page_values=True)
    assert "maybe" not in str(caught.value)


def test_a_file_without_its_columns_is_refused(tmp_path):
    """The missing columns are named."""
    with pytest.raises(DatasetMalformed, match="Revenue"):
        load_online_shoppers(write_shoppers(tmp_path, [ROW], _COLUMNS[:-1]), page_values=True)
    with pytest.raises(DatasetMalformed, match="complete rows"):
        load_online_shoppers(write_shoppers(tmp_path, []), page_values=True)


def test_sequences_are_clipped_and_counted_from_zero(tmp_path):
    """Users are drawn without replacement, cut at the maximum length, indices start at 0."""
    write_msnbc(tmp_path, b"1 1 \n17 \n" + b"3 " * 150 + b"\n2 4 6 \n")
    drawn = load_msnbc(tmp_path, 3, 7, held_out=1)
    everyone = sorted(tuple(sequence.tolist()) for sequence in drawn.train + drawn.held_out)
    assert everyone == [(0, 0), (1, 3, 5), (2,) * 100, (16,)]
    assert all(sequence.dtype == np.int8 for sequence in drawn.train)


def test_a_seed_fixes_who_is_drawn(tmp_path):
    """The same seed draws the same users; train and held-out never share one."""
    write_msnbc(tmp_path, b"".join(b"%d %d %d \n" % (i % 17 + 1, i // 17 % 17 + 1, i // 289 + 1) for i in range(600)))
    one, again, other = (load_msnbc(tmp_path, 200, seed) for seed in (7, 7, 8))
    key = lambda sequences: [tuple(s.tolist()) for s in sequences]  # noqa: E731 - a two-word name for a one-word idea
    assert key(one.train) == key(again.train) != key(other.train)
    assert len(one.held_out) == 50
    assert not set(key(one.train)) & set(key(one.held_out))


@pytest.mark.parametrize("body", [b"1 2 \n18 \n", b"1 two \n3 \n", b"0 \n1 \n", b"1 \n"])
def test_a_broken_sequence_file_is_refused(tmp_path, body):
    """Unknown categories, text, and too few users are a malformed file."""
    with pytest.raises(DatasetMalformed, match="msnbc: expected"):
        load_msnbc(write_msnbc(tmp_path, body), 1, 7, held_out=1)


def test_a_damaged_archive_is_refused(tmp_path):
    """A truncated gzip and a file without the header's end are malformed."""
    with pytest.raises(DatasetMalformed, match="Sequences"):
        load_msnbc(write_msnbc(tmp_path, b"1 \n", header=b""), 1, 7, held_out=0)
    path = tmp_path / "msnbc" / "msnbc990928.seq.gz"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DatasetMalformed, match="gzip"):
        load_msnbc(tmp_path, 1, 7, held_out=0)


def test_transitions_and_accuracy_on_a_known_chain():
    """Three pairs, one of them surprising."""
    train = [np.array([0, 1, 2], np.int8), np.array([0, 1], np.int8), np.array([2], np.int8)]
    counts = count_transitions(train, 3)
    assert counts.tolist() == [[0, 2, 0], [0, 0, 1], [0, 0, 0]]
    assert count_transitions(train, 3, weight_cap=1).sum() == 2
    held_out = [np.array([0, 1, 0, 1], np.int8)]
    assert next_page_top_k(counts, held_out) == pytest.approx(2 / 3)
    assert next_page_top_k(counts, held_out, k=3) == 1.0
    assert popularity_top_1(train, held_out, 3) == pytest.approx(2 / 3)


def test_a_split_is_a_partition_fixed_by_its_seed():
    """Every device is on one side, a fifth held out, another seed splits otherwise."""
    train, held_out = split_devices(101, 7)
    assert sorted([*train.tolist(), *held_out.tolist()]) == list(range(101))
    assert held_out.size == 20
    assert np.array_equal(split_devices(101, 7)[1], held_out)
    assert not np.array_equal(split_devices(101, 8)[1], held_out)


def test_the_catalogue_tells_all_there_is_to_tell():
    """Each set has a source, a licence, devices, a use and files."""
    for entry in CATALOGUE.values():
        assert all(
            (entry.title, entry.source.startswith("https://"), entry.licence, entry.devices, entry.use, entry.files)
        )
    assert {name for name, entry in CATALOGUE.items() if entry.loaded} == {"online_shoppers", "msnbc"}
