"""A report is fixed in size, bound to its context and signed; nothing malformed is made or accepted."""

from dataclasses import replace

import numpy as np
import pytest

from privacy.crypto import SigningKey, digest
from privacy.secure_sum import ReportInvalid, SecureSumError, ValuesInvalid, encode, verify_report
from privacy.secure_sum.reports import SEAL_BYTES, SealedPayload, seal_info


def test_an_honest_report_verifies(round_: object) -> None:
    """The leader accepts what the device made, and its id is the hash of its seal."""
    report = round_.report(round_.values())
    verify_report(report, round_.params, round_.context, round_.device.verify_key)
    assert len(report.report_id) == 32
    assert report.report_id == replace(report, masked=b"", signature=b"").report_id


def test_null_and_real_reports_have_one_size(round_: object) -> None:
    """Nothing about the values shows in the lengths."""
    null, real = round_.report(), round_.report(round_.values())
    assert [len(part) for part in (null.seal, null.masked, null.signature)] == [
        SEAL_BYTES,
        round_.params.packed_bytes,
        64,
    ]
    assert [len(part) for part in (real.seal, real.masked)] == [len(null.seal), len(null.masked)]


def test_the_seal_holds_what_the_helper_checks(round_: object) -> None:
    """Seed, policy, expiry and the hash of the withdrawal token, 104 bytes."""
    report = round_.report(seed=b"s" * 32)
    payload = round_.round_key.open(report.seal, seal_info(round_.context))
    assert len(payload) == 104
    parsed = SealedPayload.parse(payload)
    assert (parsed.seed, parsed.policy_hash, parsed.expires_at) == (
        b"s" * 32,
        round_.context.policy_hash,
        round_.now + 60,
    )
    assert parsed.to_bytes() == payload


def test_nothing_secret_is_shown(round_: object) -> None:
    """Neither the report's nor the payload's repr has the seed, the seal or the vector."""
    report = round_.report()
    assert "seal=" not in repr(report)
    assert "masked=" not in repr(report)
    assert "seed=" not in repr(SealedPayload(b"s" * 32, b"p" * 32, 1, b"w" * 32))


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("masked", lambda old: bytes([old[0] ^ 1]) + old[1:]),
        ("masked", lambda old: old[:-1]),
        ("seal", lambda old: old[:-1] + bytes([old[-1] ^ 1])),
        ("seal", lambda old: old[:-1]),
        ("seal", lambda old: old + b"\0"),
        ("signature", lambda old: old[32:] + old[:32]),
        ("signature", lambda old: old[:63]),
        ("context", lambda old: old[::-1]),
    ],
)
def test_any_change_on_the_way_is_refused(round_: object, part: str, change: object) -> None:
    """Vector, seal, signature and context are all under the signature, and lengths are checked first."""
    report = round_.report(round_.values())
    with pytest.raises(ReportInvalid) as refusal:
        verify_report(
            replace(report, **{part: change(getattr(report, part))}),
            round_.params,
            round_.context,
            round_.device.verify_key,
        )
    assert refusal.value.reason
    assert refusal.value.code == "report_invalid"


def test_seals_of_two_reports_cannot_be_swapped(round_: object) -> None:
    """A leader that pairs one device's vector with another's seal has no signature for it."""
    one, two = round_.report(round_.values()), round_.report(round_.values())
    with pytest.raises(ReportInvalid, match="verify"):
        verify_report(replace(one, seal=two.seal), round_.params, round_.context, round_.device.verify_key)


def test_another_device_or_context_does_not_verify(round_: object) -> None:
    """A report counts for its signer and its round only; the signature has its own domain."""
    report = round_.report()
    with pytest.raises(ReportInvalid):
        verify_report(report, round_.params, round_.context, SigningKey(b"o" * 32).verify_key)
    with pytest.raises(ReportInvalid, match="context"):
        verify_report(report, round_.params, replace(round_.context, round=8), round_.device.verify_key)
    resigned = replace(report, signature=round_.device.sign(digest("other", report.context)))
    with pytest.raises(ReportInvalid):
        verify_report(resigned, round_.params, round_.context, round_.device.verify_key)


@pytest.mark.parametrize(
    "values",
    [
        np.zeros(12, dtype=np.int64),
        np.zeros((13, 1), dtype=np.int64),
        np.zeros(13, dtype=np.float64),
        np.zeros(13, dtype=np.int32),
        np.array([2**16 + 1] + [0] * 12),
        np.full(13, 2**15),
        np.full(13, -(2**63)),
    ],
)
def test_values_outside_the_sensitivity_are_not_masked(round_: object, values: np.ndarray) -> None:
    """Wrong shape, dtype or norm stops at the device."""
    with pytest.raises(ValuesInvalid):
        round_.report(values)


@pytest.mark.parametrize(
    "changes",
    [{"seed": b"short"}, {"withdrawal_token": b""}, {"expires_at": -1}, {"expires_at": 2**63}],
)
def test_malformed_secrets_and_times_are_refused(round_: object, changes: dict[str, object]) -> None:
    """A short seed would be a weak mask."""
    with pytest.raises(ValuesInvalid):
        round_.report(**changes)


@pytest.mark.parametrize("entry", [np.nan, np.inf, -np.inf])
def test_non_finite_vectors_are_refused_with_a_typed_error(round_: object, entry: float) -> None:
    """NaN and infinities raise ValuesInvalid, and the message does not carry the vector."""
    with pytest.raises(ValuesInvalid) as refusal:
        encode(np.full(13, entry), round_.params)
    assert isinstance(refusal.value, SecureSumError)
    with pytest.raises(ValuesInvalid, match="shape"):
        encode(np.zeros(14), round_.params)
