"""``hearthside bench secure-sum``: what one report and one round cost, Flower's SecAgg+ beside it.

Floors on the machine that the design was written on: 0.08 ms for expanding and adding one mask of 100,000 words,
0.14 ms for one seal. Encoding (clipping and rounding) is measured apart: every scheme has it.
"""

from __future__ import annotations

import hashlib
import os

import numpy as np

from privacy.crypto import SealPrivateKey, SigningKey
from privacy.mechanisms import RandomStream, discrete_gaussian
from privacy.secure_sum import HelperSum, SumContext, SumParameters, encode, make_report
from simulations.bench.peers import PeerUnavailable, run_peer
from simulations.bench.rows import Row, beside, measure, row

ENTRIES = 100_000
REPORTS = 1_000
PEER_CLIENTS = 32
_EXPIRY = 2**40


def run() -> list[Row]:
    """Measure ours, then the peer."""
    params = SumParameters(
        dimension=ENTRIES,
        clip_norm=1.0,
        sensitivity=2**19,
        noise_multiplier=1.0,
        minimum_cohort=2,
        maximum_cohort=1_000,
    )
    context = SumContext(bytes(32), 1, bytes(32), bytes(32), bytes(32), bytes(32))
    round_key, signer = SealPrivateKey.generate(), SigningKey.generate()
    vector = np.random.default_rng(1).standard_normal(ENTRIES)  # the values do not matter to the time
    values = encode(vector, params)

    def report() -> bytes:
        made = make_report(
            values,
            params,
            context,
            round_key.public,
            seed=os.urandom(32),
            withdrawal_token=os.urandom(32),
            expires_at=_EXPIRY,
            signer=signer,
        )
        return made.seal

    seals = sorted((report() for _ in range(REPORTS // 5)), key=lambda seal: hashlib.sha256(seal).digest())

    def share() -> None:
        total = HelperSum(params, context, round_key, now=0, withdrawn={})
        for seal in seals:
            total.add(seal)

    stream = RandomStream(os.urandom(32))
    device = row("report of 100,000 entries, device", "ms CPU", measure(report), target=1.0)
    helper = row(
        "share of 1,000 reports of 100,000 entries, helper",
        "ms CPU",
        measure(share, per=len(seals)).times(REPORTS),
        target=250.0,
        note=f"measured on {len(seals)} reports, times {REPORTS // len(seals)}",
    )
    noise = row(
        "discrete Gaussian, 100,000 samples, sigma 50,000",
        "ms CPU",
        measure(lambda: discrete_gaussian(50_000, 100_000, stream)),
        target=25.0,
    )
    encoding = row("encoding of 100,000 entries, device", "ms CPU", measure(lambda: encode(vector, params)))
    size = Row("bytes of a report of 100,000 entries", "bytes", params.packed_bytes + len(seals[0]) + 118, 0.0)
    try:
        peer = run_peer("flower", "flower_secagg.py", str(PEER_CLIENTS), str(ENTRIES))
        device = beside(device, f"Flower SecAgg+, N={PEER_CLIENTS}", float(peer["client_ms"]))
        helper = beside(helper, f"Flower SecAgg+ server, N={PEER_CLIENTS} (not 1,000)", float(peer["server_ms"]))
    except PeerUnavailable as error:
        device, helper = (beside(item, f"Flower SecAgg+ ({error})", None) for item in (device, helper))
    return [device, helper, noise, encoding, size]
