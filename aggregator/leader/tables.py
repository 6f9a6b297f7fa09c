"""Results as one tidy table for a BI tool: a row for each cell of each release, in CSV or Parquet.

Everything in it was released before: a table is post-processing and costs nothing.
"""

from __future__ import annotations

import asyncio
import csv
import io
import math
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from fastapi import Response
from fastapi.responses import StreamingResponse

from aggregator.leader import answers
from aggregator.leader.answers import StudyAccount, StudyResults
from aggregator.leader.coverage import CoverageEstimate
from aggregator.leader.desk import Desk
from models.queries.cells import cells_of
from models.queries.intervals import CONFIDENCE, critical
from models.wire.problems import ProblemError
from models.wire.studies import Study

CSV_MEDIA_TYPE: Final = "text/csv"
PARQUET_MEDIA_TYPE: Final = "application/vnd.apache.parquet"
PRIVACY_UNIT: Final = "device, zero-out"
_FORMS: Final = {"json": None, "csv": CSV_MEDIA_TYPE, "parquet": PARQUET_MEDIA_TYPE}
_JSON_TYPES: Final = ("application/json", "application/*", "*/*")
_SERVERS: Final = 2
_FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "|", "%")


class TableRow(NamedTuple):
    """One cell of one release; docs/studies.md describes each column."""

    study_id: str
    question: str
    round: int
    released_at_ms: int
    part: str
    cell: int
    label: str
    value: float
    standard_error: float
    low: float
    high: float
    unit: str
    reports: int
    epsilon_of_rounds_opened: float
    delta: float
    privacy_unit: str
    coverage: str
    not_granted_at_most: float | None


_TEXTS: Final = frozenset({"study_id", "question", "part", "label", "unit", "privacy_unit", "coverage"})
_WHOLE: Final = frozenset({"round", "released_at_ms", "cell", "reports"})


def rows_of(account: StudyAccount, results: StudyResults, epsilons: dict[int, float]) -> Iterator[TableRow]:
    """The table's rows, by round and cell.

    Args:
        account: of the study.
        results: its releases.
        epsilons: by round, what the rounds opened up to it, abandoned ones included, cost a device that took part in
            each (device level, zero-out, the study's delta).
    """
    study, coverage = account.study, results.coverage
    cells, deviation = cells_of(study.query, study.plan.dimension), _noise_deviation(study)
    known = isinstance(coverage, CoverageEstimate)
    at_most = coverage.not_granted_at_most if isinstance(coverage, CoverageEstimate) else None
    for item in results.rounds:
        for index, (cell, value) in enumerate(zip(cells, item.values, strict=True)):
            error, figure = deviation * cell.factor, value * cell.factor
            yield TableRow(
                study_id=study.study_id,
                question=study.query.question,
                round=item.round,
                released_at_ms=item.released_at_ms,
                part=cell.part,
                cell=index,
                label=cell.label,
                value=figure,
                standard_error=error,
                low=figure - critical(CONFIDENCE) * error,
                high=figure + critical(CONFIDENCE) * error,
                unit=cell.unit,
                reports=item.opened,
                epsilon_of_rounds_opened=epsilons[item.round],
                delta=study.delta,
                privacy_unit=PRIVACY_UNIT,
                coverage="estimated" if known else "not estimated",
                not_granted_at_most=at_most,
            )


async def answer(desk: Desk, study_id: str, media_type: str) -> Response:
    """A study's releases as a table of this media type.

    Raises:
        ProblemError: ``unknown-study``, or ``not-acceptable``.
    """
    account, results = await answers.account(desk, study_id), await answers.results(desk, study_id)
    epsilons = await asyncio.to_thread(_epsilons, desk, account)
    rows = rows_of(account, results, epsilons)
    ending = "csv" if media_type == CSV_MEDIA_TYPE else "parquet"
    headers = {"content-disposition": f'attachment; filename="{study_id}.{ending}"'}
    if media_type == CSV_MEDIA_TYPE:
        return StreamingResponse(
            to_csv(rows), media_type=f"{media_type}; charset=utf-8; header=present", headers=headers
        )
    return Response(await asyncio.to_thread(to_parquet, rows), media_type=media_type, headers=headers)


def wanted(form: str, accept: str) -> str | None:
    """The table's media type that a request asks for, None for the JSON document; ``format`` outweighs ``Accept``.

    Raises:
        ProblemError: ``not-acceptable``, naming what there is.
    """
    if form:
        if form not in _FORMS:
            raise ProblemError("not-acceptable", f"expected format json, csv or parquet, got {form[:32]!r}")
        return _FORMS[form]
    offered = [part.split(";")[0].strip().lower() for part in accept.split(",") if part.strip()]
    for name in offered:
        if name in _JSON_TYPES:
            return None
        if name in (CSV_MEDIA_TYPE, PARQUET_MEDIA_TYPE):
            return name
    if offered:
        raise ProblemError("not-acceptable", f"expected application/json, {CSV_MEDIA_TYPE} or {PARQUET_MEDIA_TYPE}")
    return None


def _epsilons(desk: Desk, account: StudyAccount) -> dict[int, float]:
    return {item.round: desk.budget.epsilon_of(account.study, opened) for opened, item in enumerate(account.rounds, 1)}


def to_csv(rows: Iterator[TableRow]) -> Iterator[bytes]:
    """CSV (RFC 4180, UTF-8), piece by piece; no text in it can be taken for a formula by a spreadsheet."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(TableRow._fields)
    for row in rows:
        writer.writerow([_plain(value) if isinstance(value, str) else _number(value) for value in row])
        if buffer.tell() > 65_536:  # noqa: PLR2004  # a piece of the answer
            yield buffer.getvalue().encode()
            buffer.seek(0)
            buffer.truncate()
    yield buffer.getvalue().encode()


def to_parquet(rows: Iterator[TableRow]) -> bytes:
    """One Parquet file with the columns' own types.

    Raises:
        ProblemError: ``not-acceptable``: pyarrow is not installed here.
    """
    try:
        import pyarrow as pa  # type: ignore[import-untyped]  # it ships no types
        import pyarrow.parquet as pq  # type: ignore[import-untyped]  # likewise
    except ModuleNotFoundError:
        raise ProblemError(
            "not-acceptable", "Parquet needs pyarrow on the leader: pip install 'hearthside[tables]'; CSV is there"
        ) from None
    columns: Sequence[Sequence[Any]] = list(zip(*rows, strict=True)) or [()] * len(TableRow._fields)
    kinds = [_kind(pa, name) for name in TableRow._fields]
    arrays = [pa.array(column, kind) for column, kind in zip(columns, kinds, strict=True)]
    target = io.BytesIO()
    pq.write_table(pa.table(dict(zip(TableRow._fields, arrays, strict=True))), target)
    return target.getvalue()


def _kind(pa: Any, name: str) -> Any:
    if name in _TEXTS:
        return pa.string()
    return pa.int64() if name in _WHOLE else pa.float64()


def _noise_deviation(study: Study) -> float:
    """Standard deviation of both servers' noise in one entry, in the vector's unit: a study constant."""
    params = study.plan.parameters()
    return math.sqrt(_SERVERS) * params.noise_sigma / params.scale


def _plain(text: str) -> str:
    """Text that no spreadsheet computes: an apostrophe before what could begin a formula."""
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text


def _number(value: float | None) -> str:
    return "" if value is None else repr(value)
