"""The devices of the load: keys, enrolments, receipts and reports, all real and made before the clock starts."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from consent import Parties, grant, notice, open_ledger, sign_receipt
from models.wire.enrolment import BATCH_MAXIMUM, device_id, make_enrolment
from models.wire.frames import ReportFrame, encode_report, join_reports
from models.wire.message import from_base64
from models.wire.rounds import Opening, sum_context
from models.wire.studies import Study
from privacy.crypto import SealPublicKey, SigningKey, VerifyKey
from privacy.secure_sum import make_report

Item = TypeVar("Item")
_GRACE_SECONDS = 3_600
_REAL_EVERY = 100
"""One report in a hundred is real, the others null: they cost the same, and the leader cannot tell."""


@dataclass(frozen=True)
class Crowd:
    """Where the devices belong, and the notice that they were shown.

    Attributes:
        leader: whose devices they are.
        site: of the notice and the receipts.
        token: lets them enrol.
        purposes: that each of them grants.
    """

    leader: VerifyKey
    site: str
    token: str
    purposes: tuple[str, ...]

    def devices(self, count: int) -> list[SigningKey]:
        """Keys of devices that nobody knows yet."""
        return [SigningKey.generate() for _ in range(count)]

    def enrolments(self, devices: Sequence[SigningKey], now_ms: int) -> bytes:
        """One request that enrols these devices."""
        items = [make_enrolment(key, self.leader, self.token, os.urandom(16), now_ms).document() for key in devices]
        return json.dumps({"enrolments": items}).encode()

    def receipts(self, devices: Sequence[SigningKey], now: int) -> bytes:
        """One request with what each of these devices grants."""
        shown, items = notice(self.site, "en"), []
        for key in devices:
            state = open_ledger(Parties(key.verify_key, self.leader, self.site, "bench"))
            receipt = sign_receipt(key, grant(state, self.purposes, notice=shown, issued_at=now))
            items.append({"device_id": device_id(self.leader, key.verify_key).hex(), "receipt": receipt})
        return json.dumps({"receipts": items}).encode()


@dataclass(frozen=True)
class Reporting:
    """An open round that devices report to.

    Attributes:
        leader: whose round it is.
        study: what is asked.
        opening: as the helper signed it.
    """

    leader: VerifyKey
    study: Study
    opening: Opening

    def reports(self, devices: Sequence[SigningKey]) -> Iterator[bytes]:
        """Each device's report as it stands in a batch: masked, sealed to the helper's key, signed."""
        params = self.study.plan.parameters()
        context = sum_context(self.study, self.opening.round, bytes.fromhex(self.opening.model_hash))
        round_key = SealPublicKey(from_base64(self.opening.round_key))
        for number, key in enumerate(devices):
            report = make_report(
                _values(params.dimension, real=number % _REAL_EVERY == 0),
                params,
                context,
                round_key,
                seed=os.urandom(32),
                withdrawal_token=os.urandom(32),
                expires_at=self.opening.closes_at_ms // 1_000 + _GRACE_SECONDS,
                signer=key,
            )
            yield encode_report(ReportFrame(device_id(self.leader, key.verify_key), 1, report))


def _values(dimension: int, *, real: bool) -> NDArray[np.int64]:
    entries = np.arange(dimension, dtype=np.int64)
    return entries % 3 - 1 if real else 0 * entries


def batches(items: Sequence[Item], size: int = BATCH_MAXIMUM) -> list[Sequence[Item]]:
    """A list in pieces, the last one perhaps shorter."""
    return [items[start : start + size] for start in range(0, len(items), size)]


def in_batches(reports: Sequence[bytes], size: int) -> list[bytes]:
    """Requests of so many reports each."""
    return [join_reports(part) for part in batches(reports, size)]
