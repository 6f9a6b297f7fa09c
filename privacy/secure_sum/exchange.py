"""The whole protocol in one function, for tests and for readers. Production runs the same calls with I/O between."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from privacy.crypto import SealPrivateKey, SigningKey
from privacy.mechanisms import RandomStream, discrete_gaussian
from privacy.secure_sum.batches import batch_digest
from privacy.secure_sum.context import SumContext
from privacy.secure_sum.encoding import decode, encode
from privacy.secure_sum.errors import ShareInvalid
from privacy.secure_sum.helper import HelperSum, noised_share
from privacy.secure_sum.leader import LeaderSum, unmask
from privacy.secure_sum.parameters import SumParameters
from privacy.secure_sum.reports import Report, make_report, verify_report

_ROUND_SECONDS = 3_600
_SEAL_KEY_BYTES = 96


@dataclass(frozen=True, slots=True)
class Release:
    """What everyone learns: the noisy sum on the grid (int64[d]), in its own unit (float64[d]), and the count."""

    total: NDArray[np.int64]
    values: NDArray[np.float64]
    opened: int
    failed: tuple[bytes, ...]


def exchange(
    vectors: Sequence[NDArray[np.float64] | None],
    params: SumParameters,
    context: SumContext,
    *,
    devices: RandomStream,
    helper: RandomStream,
    leader: RandomStream,
    now: int,
    withdrawn: Collection[int] = (),
) -> Release:
    """Run one round from the opening to the release, in one process.

    Args:
        vectors: one float64[d] per device, or None for a null report.
        params: the study's parameters.
        context: the round's context.
        devices: randomness of all devices (keys, seeds, tokens).
        helper: randomness of the helper: its round key, then its noise.
        leader: randomness of the leader: its noise.
        now: Unix seconds.
        withdrawn: indices of devices that take their report back after sending it.

    Raises:
        SecureSumError: as the step that refused; nothing is released then.
    """
    # Round opening (helper): a fresh sealing key, signed in production together with the context.
    round_key = SealPrivateKey(helper.bytes(_SEAL_KEY_BYTES))

    # Report (each device): encode, mask, seal, sign, store, send. A null is a vector of zeros, made the same way.
    arrived: dict[bytes, Report] = {}
    tokens: dict[bytes, bytes] = {}
    for index, vector in enumerate(vectors):
        signer = SigningKey(devices.bytes(32))
        values = np.zeros(params.dimension, dtype=np.int64) if vector is None else encode(vector, params)
        seed, token = devices.bytes(32), devices.bytes(32)
        report = make_report(
            values,
            params,
            context,
            round_key.public,
            seed=seed,
            withdrawal_token=token,
            expires_at=now + _ROUND_SECONDS,
            signer=signer,
        )
        # Batch (leader): checked on arrival, kept under the id that the seal gives.
        verify_report(report, params, context, signer.verify_key)
        arrived[report.report_id] = report
        if index in withdrawn:
            tokens[report.report_id] = token

    # The leader closes the batch: from here on it is one ordered set of ids.
    batch = sorted(arrived)
    closed = batch_digest(context, batch)

    # Share (helper): in production the batch is marked and charged durably before the first seal is opened.
    masks = HelperSum(params, context, round_key, now=now, withdrawn=tokens)
    for report_id in batch:
        masks.add(arrived[report_id].seal)
    if masks.batch != closed:
        raise ShareInvalid("expected the seals of the closed batch, got others")
    share = noised_share(masks.total, discrete_gaussian(params.noise_sigma, params.dimension, helper), params)

    # Release (leader): sum what the helper counted, take the masks off, add its own noise, decode.
    left_out = set(masks.failed)
    received = LeaderSum(params)
    for report_id in batch:
        if report_id not in left_out:
            received.add(arrived[report_id].masked)
    if received.count != masks.opened:
        raise ShareInvalid(f"expected a share of {received.count} reports, got one of {masks.opened}")
    noise = discrete_gaussian(params.noise_sigma, params.dimension, leader)
    total = unmask(received.total, share, noise, params)
    return Release(total, decode(total, params), masks.opened, tuple(masks.failed))
