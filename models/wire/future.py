"""A newer leader's work, as far as this version can read it: enough to send nulls, never enough to answer.

A study of a newer form is read with everything that it brings, so that its digest, the officer's approval and the log's
proof are checked over the very bytes that were signed. What this version must know to make a null report of the right
size and for the right round (the plan of the sum, both keys, purpose, times) has to be in the form it knows; a round in
which it is not, or whose study has no digest, is passed over and counted. Only what was signed makes a study one of a
newer form: fields that are unknown around it are left out, and another spelling of a known study is that study. Which
rules let both ends change is in ``docs/decisions/0013``.
"""

from __future__ import annotations

import json
from typing import Any

from pydantic import ConfigDict, model_validator

from models.wire.message import Message
from models.wire.rounds import RoundWork, Work
from models.wire.studies import Study

_OPEN = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False, ser_json_inf_nan="null")


class FutureQuery(Message):
    """A question that this version does not know, or with parts that it does not know."""

    model_config = _OPEN

    question: str


class FutureStudy(Study):
    """A study of a newer form. Nobody here computes an answer to it."""

    model_config = _OPEN

    version: int  # type: ignore[assignment]  # a newer form has another number
    kind: str  # type: ignore[assignment]  # and may be of another kind
    query: FutureQuery  # type: ignore[assignment]  # and ask what is not known here

    @model_validator(mode="after")
    def _kind_fits_query(self) -> FutureStudy:
        """Which kinds fit which questions, a newer version knows."""
        return self


class FutureRound(RoundWork):
    """An open round of a study of a newer form."""

    model_config = _OPEN

    study: FutureStudy


def read_work(body: bytes) -> tuple[Work, int]:
    """Work of this or a newer leader; with it, how many of its rounds are in no form that can be read here.

    Raises:
        ValueError: it is no work at all.
    """
    try:
        work = Work.model_validate_json(body)
        for item in work.rounds:
            _hashed(item)
    except ValueError:
        pass
    else:
        return work, 0
    try:
        document = json.loads(body)
        items = list(document["rounds"])
        read = [_read_round(item) for item in items]
        found = [item for item in read if item is not None]
        known: dict[str, Any] = {name: document[name] for name in Work.model_fields if name in document}
        return Work.model_validate({**known, "rounds": tuple(found)}), len(items) - len(found)
    except (TypeError, KeyError, RecursionError) as error:
        raise ValueError("expected work") from error


def _read_round(item: object) -> RoundWork | None:
    """A round in this version's form or a newer one's; None where it is in neither.

    What stands around the study is not signed: a field that is unknown there is left out, and decides nothing.
    """
    if not isinstance(item, dict):
        return None
    body = json.dumps({name: item[name] for name in RoundWork.model_fields if name in item})
    try:
        return _hashed(RoundWork.model_validate_json(body))
    except (ValueError, RecursionError):
        pass
    try:
        return _known(_hashed(FutureRound.model_validate_json(body)))
    except (ValueError, RecursionError):
        return None


def _hashed(item: RoundWork) -> RoundWork:
    """The round, if its study has a digest at all: a number beyond 2^53 has none."""
    item.study.study_hash()
    return item


def _known(item: RoundWork) -> RoundWork:
    """The round with its study in this version's form, where its canonical bytes are of it.

    Another spelling of a known study (``"version": "1"``) is no newer form. Were it taken for one, whoever shows it
    could have a device send nulls for a study that the device knows.
    """
    signed = item.study.canonical()
    try:
        study = Study.model_validate_json(signed)
    except ValueError:
        return item
    if study.canonical() != signed:
        return item
    return RoundWork(study=study, approval=item.approval, opening=item.opening, inclusion=item.inclusion)
