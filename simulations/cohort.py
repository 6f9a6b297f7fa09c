"""Leader, helper and officer of one study as plain calls around real devices: one round of ``PrivateSum`` in process.

Each device's ClientApp answers with a masked report, and the roles of ``privacy.secure_sum`` are called directly. What
a device checks is all there: approval, opening, log proof, consent, budget, coin. Not here: the durable stores and
ledgers of the two services, and time (slots are drawn and not waited for).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from aggregator.leader.strategy import CONFIG, METRICS, MODEL, OPENED, ROUND, SUM
from client_agent.connection import LeaderConnection
from client_agent.enrolment import Pins
from client_agent.federation.app import Data, build_client_app, participant_context, round_message
from client_agent.federation.federation import Federation
from client_agent.federation.mods import REPORT
from models.queries.answers import to_model_bytes
from models.wire.frames import decode_batch, join_reports
from models.wire.message import to_base64
from models.wire.rounds import (
    CHECKPOINT_TYPE,
    OPENING_TYPE,
    Checkpoint,
    Inclusion,
    Opening,
    RoundWork,
    Work,
    model_hash,
    study_entry,
    sum_context,
)
from models.wire.studies import APPROVAL_TYPE, Decision, Study
from privacy.crypto import SealPrivateKey, SigningKey, sign_document
from privacy.crypto.merkle import MerkleTree
from privacy.mechanisms import RandomStream, discrete_gaussian
from privacy.secure_sum import HelperSum, LeaderSum, Report, decode, noised_share, unmask, verify_report

from flwr.app import ArrayRecord, Message, MetricRecord, RecordDict  # isort: skip - the mods have switched telemetry off


class RoundBoard(LeaderConnection):
    """What devices poll, without a leader behind it: the round that is up, and its model."""

    def __init__(self) -> None:
        super().__init__("http://in-process.invalid")
        self._up = Work(rounds=(), stopped=(), checkpoint=None, bundle_version=0)
        self._models: dict[str, bytes] = {}

    def put_up(self, item: RoundWork, checkpoint: str, model: bytes) -> None:
        """Show one round."""
        self._up = Work(rounds=(item,), stopped=(), checkpoint=checkpoint, bundle_version=0)
        self._models[model_hash(model).hex()] = model

    def work(self) -> Work:
        """What is up."""
        return self._up

    def model(self, model_hash: str) -> bytes:
        """The model by its digest."""
        return self._models[model_hash]


@dataclass
class PrivateCohort:
    """Leader, helper and officer of one study around a fleet in this process: a node for ``PrivateSum``.

    Args:
        study: what is asked; it names the two servers' keys.
        leader: signs the log.
        helper: signs openings.
        officer: approves the study.
        federation: the devices, polling ``board``.
        board: where rounds are put up.
        data: a participant's own data.
        now_ms: Unix milliseconds.
        helper_noise: the helper's randomness.
        leader_noise: the leader's.

    Attributes:
        reports: those of the last round, as the leader saw them.
    """

    study: Study
    leader: SigningKey
    helper: SigningKey
    officer: SigningKey
    federation: Federation
    board: RoundBoard
    data: Data
    now_ms: Callable[[], int]
    helper_noise: RandomStream
    leader_noise: RandomStream
    reports: list[Report] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Approve and log the study, and build the one app."""
        self._log = MerkleTree([study_entry(self.study)])
        self._app = build_client_app(self.federation, self.data)
        approval = Decision(
            study_id=self.study.study_id,
            study_hash=self.study.study_hash().hex(),
            decision="approve",
            reason="a simulation",
            decided_at_ms=self.now_ms(),
        )
        self._approval = sign_document(self.officer, APPROVAL_TYPE, approval.document())

    @property
    def pins(self) -> Pins:
        """What devices must have been given out of band."""
        keys = self.leader.verify_key, self.helper.verify_key, (self.officer.verify_key,)
        return Pins(*keys, self.study.site)

    def __call__(self, message: Message) -> Message:
        """One round: open, ask every device's app, share, release."""
        number = int(message.content[CONFIG][ROUND])
        model = to_model_bytes(message.content[MODEL].to_numpy_ndarrays()[0])
        round_key = SealPrivateKey.generate()
        self._open(number, model, round_key)
        self.reports = self._collect()
        total, opened = self._release(number, model, round_key)
        content = RecordDict({SUM: ArrayRecord([total]), METRICS: MetricRecord({OPENED: opened})})
        return Message(content, reply_to=message)

    def _open(self, number: int, model: bytes, round_key: SealPrivateKey) -> None:
        now_ms, study = self.now_ms(), self.study
        checkpoint = Checkpoint(size=len(self._log), root=self._log.root().hex(), at_ms=now_ms)
        opening = Opening(
            study_id=study.study_id,
            study_hash=study.study_hash().hex(),
            round=number,
            model_hash=model_hash(model).hex(),
            round_key=to_base64(round_key.public.raw),
            opens_at_ms=now_ms,
            closes_at_ms=now_ms + int(study.window_seconds * 1_000),
            issued_at_ms=now_ms,
            checkpoint=checkpoint,
        )
        item = RoundWork(
            study=study,
            approval=self._approval,
            opening=sign_document(self.helper, OPENING_TYPE, opening.document()),
            inclusion=Inclusion(index=0, path=tuple(node.hex() for node in self._log.inclusion_proof(0))),
        )
        self.board.put_up(item, sign_document(self.leader, CHECKPOINT_TYPE, checkpoint.document()), model)

    def _collect(self) -> list[Report]:
        """Every participant's app, as its own device would run it; signatures are checked as the leader does."""
        (found,) = self.federation.open_rounds()
        reports = []
        for member in self.federation.participants(found):
            reply = self._app(round_message(found, 1), participant_context(member.participant_id))
            if REPORT in reply.content:
                report = decode_batch(join_reports([bytes(reply.content[REPORT]["frame"])]))[0].report
                verify_report(report, found.parameters, found.context, member.key.verify_key)
                reports.append(report)
        return sorted(reports, key=lambda report: report.report_id)

    def _release(self, number: int, model: bytes, round_key: SealPrivateKey) -> tuple[NDArray[np.float64], int]:
        params, context = self.study.plan.parameters(), sum_context(self.study, number, model_hash(model))
        masked, masks = (
            LeaderSum(params),
            HelperSum(params, context, round_key, now=self.now_ms() // 1_000, withdrawn={}),
        )
        for report in self.reports:
            masked.add(report.masked)
            masks.add(report.seal)
        noises = [
            discrete_gaussian(params.noise_sigma, params.dimension, stream)
            for stream in (self.helper_noise, self.leader_noise)
        ]
        share = noised_share(masks.total, noises[0], params)
        return decode(unmask(masked.total, share, noises[1], params), params), masks.opened
