"""``hearthside bench secure-sum``: what one report, one round and a large round cost, Flower's SecAgg+ beside them.

The study is one that a data scientist would write: 100,000 entries, at most 1,000 devices, a sensitivity of 2^17 grid
steps. Then rounding has a standard deviation of 1/sqrt(12) steps a device and the two servers' noise one of 185,000, so
more steps would buy nothing but bits: at 2^17 an entry takes 28. Where the noiseless mean itself must be accurate to
1e-6 C for any weights, s is at least 2^19 / C (two bits more), which has a row of its own.

Floors are the primitives alone, in the same run: the keystream, one seal or opening, and the addition.
"""

from __future__ import annotations

import hashlib
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

from privacy.crypto import SealPrivateKey, SigningKey
from privacy.mechanisms import RandomStream, discrete_gaussian
from privacy.secure_sum import HelperSum, Report, SumContext, SumParameters, encode, make_report
from privacy.secure_sum.reports import PAYLOAD_BYTES, seal_info
from simulations.bench.crowd import crowd_parameters, prepare, run_round
from simulations.bench.peers import PeerUnavailable, run_peer
from simulations.bench.rows import Measured, Row, beside, measure, row

ENTRIES = 100_000
REPORTS = 1_000
SAMPLED_REPORTS = 200
SENSITIVITY = 2**17
FINE_SENSITIVITY = 2**19 + 159
"""Delta with s = (Delta - sqrt(d)/2) / C of at least 2^19 / C at 100,000 entries."""
PEER_CLIENTS = 128
PEER_SECONDS = 240.0
CROWD_REPORTS = 1_000_000
CROWD_PART = 40_000
CROWD_ENTRIES = 300
CROWD_TARGET_SECONDS = 120.0
_EXPIRY = 2**40
_FRAME_BYTES = 122
"""Device, epoch, context, lengths and signature around a report (``models.wire.frames``)."""

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Options:
    """How much is run.

    Attributes:
        full: open all of the million reports, not a part of them.
        peer_runs: how often the peer runs, as long as ``PEER_SECONDS`` allow; 0 leaves it out, and its rows not ok.
        tell: is told what is being measured.
    """

    full: bool = False
    peer_runs: int = 5
    tell: Tell = lambda _: None


class Bench:
    """One study of ``ENTRIES`` entries, and what is measured of it."""

    def __init__(self, sensitivity: int = SENSITIVITY) -> None:
        self.params = parameters(sensitivity)
        self.context = SumContext(bytes(32), 1, bytes(32), bytes(32), bytes(32), bytes(32))
        self.round_key, self.signer = SealPrivateKey.generate(), SigningKey.generate()
        self.vector = np.random.default_rng(1).standard_normal(ENTRIES)  # the values do not matter to the time
        self.values = encode(self.vector, self.params)
        self._words = np.empty(ENTRIES, dtype="<u4")
        self._zeros = bytes(self._words.nbytes)

    def report(self) -> Report:
        """One report, as a device makes it."""
        return make_report(
            self.values,
            self.params,
            self.context,
            self.round_key.public,
            seed=os.urandom(32),
            withdrawal_token=os.urandom(32),
            expires_at=_EXPIRY,
            signer=self.signer,
        )

    def device(self) -> Row:
        """Mask, pack, seal, sign."""
        payload, info = bytes(PAYLOAD_BYTES), seal_info(self.context)

        def primitives() -> None:
            self.round_key.public.seal(payload, info)
            self._keystream()

        name = f"report of {ENTRIES:,} entries, device"
        return row(name, "ms CPU", measure(self.report), target=1.0, floor=measure(primitives).value)

    def helper(self) -> Row:
        """Open, expand, add."""
        seals = sorted((self.report().seal for _ in range(SAMPLED_REPORTS)), key=_id_of)
        info = seal_info(self.context)

        def share() -> None:
            total = HelperSum(self.params, self.context, self.round_key, now=0, withdrawn={})
            for seal in seals:
                total.add(seal)

        def primitives() -> None:
            for seal in seals:
                self.round_key.open(seal, info)
                self._keystream()

        return row(
            f"share of {REPORTS:,} reports of {ENTRIES:,} entries, helper",
            "ms CPU",
            measure(share, per=len(seals)).times(REPORTS),
            target=250.0,
            floor=measure(primitives, per=len(seals)).times(REPORTS).value,
            note=f"measured on {len(seals)} reports, times {REPORTS // len(seals)}",
        )

    def encoding(self) -> Row:
        """Clip, scale, round, check in integers: every scheme has it."""
        figure = measure(lambda: encode(self.vector, self.params))
        return row(f"encoding of {ENTRIES:,} entries, device", "ms CPU", figure)

    def _keystream(self) -> None:
        """One mask of d words, expanded and added, with a key at hand: the floor of device and helper."""
        words = self._words
        cipher = Cipher(AES(bytes(16)), CTR(bytes(16))).encryptor()
        cipher.update_into(self._zeros, words.data.cast("B"))
        words += words


def parameters(sensitivity: int) -> SumParameters:
    """The study's parameters at a sensitivity in grid steps."""
    return SumParameters(
        dimension=ENTRIES,
        clip_norm=1.0,
        sensitivity=sensitivity,
        noise_multiplier=1.0,
        minimum_cohort=2,
        maximum_cohort=REPORTS,
    )


def run(options: Options | None = None) -> list[Row]:
    """Measure ours, then the peer."""
    chosen = options or Options()
    chosen.tell("one report, one share")
    bench = Bench()
    device, helper, encoding = bench.device(), bench.helper(), bench.encoding()
    size, fine = _size(bench), _size(Bench(FINE_SENSITIVITY))
    noise = _noise()
    crowd = _crowd(chosen)
    chosen.tell(f"Flower's SecAgg+, N={PEER_CLIENTS}; its first run installs it")
    device, helper, size = _beside_flower(device, helper, size, chosen)
    return [device, helper, noise, encoding, size, fine, crowd]


def _noise() -> Row:
    stream = RandomStream(os.urandom(32))
    return row(
        "discrete Gaussian, 100,000 samples, sigma 50,000",
        "ms CPU",
        measure(lambda: discrete_gaussian(50_000, 100_000, stream)),
        target=25.0,
        floor=measure(lambda: stream.uint64(2 * 100_000)).value,
    )


def _size(bench: Bench) -> Row:
    params, report = bench.params, bench.report()
    size = len(report.masked) + len(report.seal) + _FRAME_BYTES
    return Row(
        f"bytes of a report of {ENTRIES:,} entries at {params.modulus_bits} bits",
        "bytes",
        size,
        0.0,
        target=1.1 * ENTRIES * params.modulus_bits / 8 + 2_000,
        floor=ENTRIES * params.modulus_bits / 8,
        ok=size <= 1.1 * ENTRIES * params.modulus_bits / 8 + 2_000,
        note=f"cohort {REPORTS:,}, s = {params.scale:,.0f} / C",
    )


def _crowd(options: Options) -> Row:
    reports, workers = (CROWD_REPORTS if options.full else CROWD_PART), os.cpu_count() or 1
    params = crowd_parameters(CROWD_ENTRIES, CROWD_REPORTS)
    with tempfile.TemporaryDirectory(prefix="hearthside-bench-") as name:
        prepare(Path(name), params, reports, workers, options.tell)
        options.tell(f"{reports:,} reports of {CROWD_ENTRIES} entries, leader and helper")
        leader, helper = run_round(Path(name), params, reports, workers)
    opened = _opening_seconds(CROWD_REPORTS) / workers
    scaled = "all of them" if options.full else f"measured on {reports:,}, times {CROWD_REPORTS // reports}"
    used = f"{(leader.cpu_seconds + helper.cpu_seconds) * CROWD_REPORTS / reports:.0f} s CPU"
    sizes = {"leader": leader.peak_bytes, "helper": helper.peak_bytes, "worker": helper.worker_peak_bytes}
    peaks = ", ".join(f"{who} {size / 2**20:.0f}" for who, size in sizes.items())
    return row(
        f"{CROWD_REPORTS:,} reports of {CROWD_ENTRIES} entries, leader and helper, {workers} cores",
        "s wall",
        Measured((leader.wall_seconds + helper.wall_seconds) * CROWD_REPORTS / reports, 0.0),
        target=CROWD_TARGET_SECONDS,
        floor=opened,
        note=f"{scaled}; {used}; peak MiB: {peaks}",
    )


def _opening_seconds(count: int) -> float:
    key, info = SealPrivateKey.generate(), seal_info(SumContext(bytes(32), 1, *(bytes(32),) * 4))
    seal = key.public.seal(bytes(PAYLOAD_BYTES), info)
    return measure(lambda: [key.open(seal, info) for _ in range(500)], per=500).value / 1e3 * count


def _beside_flower(device: Row, helper: Row, size: Row, options: Options) -> tuple[Row, Row, Row]:
    figures: list[dict[str, Any]] = []
    until, failure = time.monotonic() + PEER_SECONDS, "not asked for"
    while len(figures) < options.peer_runs and time.monotonic() < until:
        try:
            figures.append(run_peer("flower", "flower_secagg.py", str(PEER_CLIENTS), str(ENTRIES)))
        except PeerUnavailable as error:
            failure = str(error)
            break
        options.tell(f"Flower's SecAgg+, N={PEER_CLIENTS}, run {len(figures)} of at most {options.peer_runs}")
    if not figures:
        absent = f"Flower SecAgg+ ({failure})"
        return beside(device, absent, None), beside(helper, absent, None), beside(size, absent, None)
    client, server, upload = (
        statistics.median(float(item[name]) for item in figures) for name in ("client_ms", "server_ms", "upload_bytes")
    )
    note = f"peer: median of {len(figures)} run{'s' if len(figures) > 1 else ''}"
    name = f"Flower SecAgg+, N={PEER_CLIENTS}"
    return (
        beside(device, name, client, note),
        beside(helper, f"Flower SecAgg+ server, N={PEER_CLIENTS} (not {REPORTS:,})", server, note),
        beside(size, f"{name}, one upload", upload, note),
    )


def _id_of(seal: bytes) -> bytes:
    return hashlib.sha256(seal).digest()
