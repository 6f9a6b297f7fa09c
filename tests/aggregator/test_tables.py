"""Results for a BI tool: one tidy table, read back with the readers that such tools use."""

import csv
import io
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest

from aggregator.leader.tables import TableRow, to_csv, to_parquet, wanted
from models.queries.cells import cells_of
from models.queries.summaries import purpose_title
from models.wire.problems import ProblemError
from models.wire.studies import CoverageQuery, Features, PersonasQuery, TransitionsQuery
from privacy.secure_sum import encode

from .world import code, in_world, vectors

ROW = TableRow(
    "moves", "transitions", 1, 5, "transition", 0, "a > b", -1.5, 0.1, -1.7, -1.3, "shares", 7, 0.5, 1e-6,
    "device, zero-out", "not estimated", None,
)  # fmt: skip


@in_world()
async def test_csv_and_parquet_hold_what_json_holds(world):
    """Every cell of every release, with its name, noise, cost and coverage; three forms, the same figures."""
    async with world.up():
        study, devices = world.study(query={
            "question": "transitions", "categories": ["home", "shop"], "dwell_edges_seconds": [5.0, 30.0],
            "dwell_share": 0.5,
        }, plan={"dimension": 7}), await world.devices(5)  # fmt: skip
        await world.run(study)
        _, opening = await world.work()
        given = vectors(5, 7)
        await world.send(*[(d, world.report(d, study, opening, v)) for d, v in zip(devices, given, strict=True)])
        await world.until(study, "finished")
        path = f"/v1/studies/{study.study_id}/results"
        document = (await world.leader.get(path)).json()
        values = document["rounds"][0]["values"]
        text = await world.leader.get(path, params={"format": "csv"})
        assert text.headers["content-type"].startswith("text/csv")
        assert (await world.leader.get(path, headers={"accept": "text/csv"})).content == text.content
        rows = list(csv.DictReader(io.StringIO(text.text)))
        assert tuple(rows[0]) == TableRow._fields
        assert [float(row["value"]) for row in rows] == values
        assert [row["label"] for row in rows] == [
            "home > home", "home > shop", "shop > home", "shop > shop",
            "under 5 s", "5 s to under 30 s", "30 s or more",
        ]  # fmt: skip
        packed = await world.leader.get(path, headers={"accept": "application/vnd.apache.parquet, */*;q=0.1"})
        table = pq.read_table(io.BytesIO(packed.content))
        assert table.column_names == list(TableRow._fields)
        assert table.column("value").to_pylist() == values
        assert table.column("label").to_pylist() == [row["label"] for row in rows]
        assert set(table.column("reports").to_pylist()) == {5}
        account = (await world.leader.get(f"/v1/studies/{study.study_id}")).json()
        assert table.column("epsilon_of_rounds_opened").to_pylist() == [account["epsilon_spent"]] * 7
        assert set(table.column("coverage").to_pylist()) == {"not estimated"}
        for wrong in ({"params": {"format": "xlsx"}}, {"headers": {"accept": "image/png"}}):
            assert code(await world.leader.get(path, **wrong)) == "not-acceptable"
        assert code(await world.leader.get("/v1/studies/nothing/results?format=csv")) == "unknown-study"


@in_world()
async def test_the_error_in_a_table_is_that_of_both_servers_noise(world):
    """Against noise that is drawn here from what the study says, and against what two real servers added."""
    categories = [f"page-{letter}" for letter in "abcdefghijklmnopqrstuvwx"]
    async with world.up():
        devices = await world.devices(5)
        study = world.study(
            query={"question": "transitions", "categories": categories}, plan={"dimension": len(categories) ** 2}
        )
        await world.run(study)
        _, opening = await world.work()
        given = vectors(5, len(categories) ** 2)
        await world.send(*[(d, world.report(d, study, opening, v)) for d, v in zip(devices, given, strict=True)])
        await world.until(study, "finished")
        answer = await world.leader.get(f"/v1/studies/{study.study_id}/results?format=csv")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    (error,) = {float(row["standard_error"]) for row in rows}
    # Each server's noise is so many sensitivities; one unit of the vector is as many steps as a vector of 1 encodes to.
    drawn = np.random.default_rng(5).normal(0.0, study.plan.noise_multiplier * study.plan.sensitivity, (2, 200_000))
    (steps,) = encode(np.ones(1), study.plan.model_copy(update={"dimension": 1}).parameters())
    assert error == pytest.approx(drawn.sum(axis=0).std() / steps, rel=0.01)
    added = np.array([float(row["value"]) for row in rows]) - given.sum(axis=0)
    assert added.std() == pytest.approx(error, rel=0.15), "576 entries tell it to 3 %"
    within = np.mean(
        [float(row["low"]) <= truth <= float(row["high"]) for row, truth in zip(rows, given.sum(axis=0), strict=True)]
    )
    assert 0.90 < within < 0.99


@in_world()
async def test_a_device_paid_for_rounds_that_came_to_nothing(world):
    """It pays when a round opens: two abandoned rounds cost as much as one that is released, and the table says so."""
    wall, study = world.turnable(), world.study(rounds=3)
    async with world.up():
        bearer = await world.bearer("analyst")
        check = await world.leader.post("/v1/studies/check", json=study.document(), headers=bearer)
        planned = check.json()["cost"]["epsilon"]
        devices = await world.devices(5)
        await world.run(study)
        for number in (1, 2):
            await world.work(number)
            account = (await world.leader.get(f"/v1/studies/{study.study_id}")).json()
            assert 0 < account["epsilon_spent"] < planned
            wall.seconds += study.window_seconds + 1
        _, opening = await world.work(3)
        reports = [world.report(d, study, opening, v) for d, v in zip(devices, vectors(5), strict=True)]
        await world.send(*zip(devices, reports, strict=True))
        account = await world.until(study, "finished")
        assert [item["state"] for item in account["rounds"]] == ["abandoned", "abandoned", "released"]
        assert [charge["round"] for charge in account["charges"]] == [3]
        table = await world.leader.get(f"/v1/studies/{study.study_id}/results?format=csv")
        (epsilon,) = {row["epsilon_of_rounds_opened"] for row in csv.DictReader(io.StringIO(table.text))}
        assert (float(epsilon), account["epsilon_spent"]) == (planned, planned)


def test_text_in_a_table_is_never_a_formula():
    """A spreadsheet that opens the file computes nothing that an analyst wrote; numbers stay numbers."""
    for start in ("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "|cmd"):
        (written,) = to_csv(iter([ROW._replace(label=start)]))
        row = next(csv.DictReader(io.StringIO(written.decode(), newline="")))
        assert row["label"] == "'" + start
        assert row["value"] == "-1.5"
        assert row["not_granted_at_most"] == ""


def test_parquet_without_pyarrow_says_what_to_install(monkeypatch):
    """The leader runs without it; who asks for Parquet is told what is missing, and what there is instead."""
    assert to_parquet(iter([ROW]))[:4] == b"PAR1"
    assert pq.read_table(io.BytesIO(to_parquet(iter([])))).num_rows == 0
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ProblemError, match=r"hearthside\[tables\]") as caught:
        to_parquet(iter([ROW]))
    assert caught.value.code == "not-acceptable"


@pytest.mark.parametrize(
    ("form", "accept", "expected"),
    [
        ("", "", None),
        ("", "*/*", None),
        ("", "text/html, application/json;q=0.9", None),
        ("csv", "application/json", "text/csv"),
        ("", "text/csv;q=1", "text/csv"),
        ("json", "text/csv", None),
    ],
)
def test_the_parameter_outweighs_the_header(form, accept, expected):
    """A link in a browser gives what it names, whatever the browser accepts."""
    assert wanted(form, accept) == expected


def test_every_cell_of_every_question_has_a_name_of_its_own():
    """As many cells as the vector is long, no two alike; counts come out in devices."""
    features = Features(version="profile/1", names=("dwell:home", "dwell:cart"))
    personas = PersonasQuery(clusters=3, features=features, least_count=5.0)
    coverage = CoverageQuery(purposes=("persona", "intent"), visit_edges=(2, 4))
    moves = TransitionsQuery(categories=("a", "b"), dwell_edges_seconds=(5.0,), dwell_share=0.5)
    for query, length in ((personas, 9), (coverage, 9), (moves, 6)):
        cells = cells_of(query, length)
        assert len(cells) == length
        assert len({(cell.part, cell.label) for cell in cells}) == length
    from models.queries.answers import coverage_question
    from models.queries.coverage import encode

    vector = encode(coverage_question(coverage), 3, [True, False])
    named = {cell.label: value * cell.factor for cell, value in zip(cells_of(coverage, 9), vector, strict=True)}
    assert named["2 to 3 visits"] == pytest.approx(1.0)
    assert named["2 to 3 visits: persona"] == 1.0
    assert named["2 to 3 visits: intent"] == -1.0
    assert purpose_title("intent") != "intent"
