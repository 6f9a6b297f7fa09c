"""Secrets stay secret in the small: compared in constant time, and in no repr and no error's message."""

from __future__ import annotations

import ast
import base64
import hashlib
import pickle
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from aggregator.helper.ranges import Job
from aggregator.helper.shares import Marked
from client_agent.federation.contribution import Participant, Reservation
from client_agent.keys import FileKeyring
from client_agent.store.reports import StoredReport
from consent import Parties, open_ledger
from models.wire.enrolment import make_enrolment
from models.wire.frames import ReportFrame
from models.wire.rounds import WithdrawalNotice
from privacy.crypto import SealPrivateKey, SigningKey
from privacy.mechanisms import RandomStream
from privacy.secure_sum import HelperSum, LeaderSum, MergedSum, Role, SumContext, SumParameters, make_report
from privacy.secure_sum.reports import SealedPayload

ROOT = Path(__file__).resolve().parents[3]
SECRET = re.compile(
    r"seed|secret|token|private|withdrawal_|\bnoise\b|\bmask(ed)?\b|payload|nonce|\bmac\b|passw|\braw\b|key\b",
    re.IGNORECASE,
)
PUBLIC = {
    "other.raw == self.raw": "public keys: VerifyKey holds nothing else",
    "raw[:-1] + bytes([raw[-1] & ~_SIGN_BIT]) in _SMALL_ORDER": "a public key, before it is taken",
    "leader.verify_key != state.parties.leader_key": "public keys",
    "receipt.device_key != key.verify_key": "public keys",
    "receipt.device_key != device_key": "public keys",
    "receipt.leader != parties.leader_key.fingerprint": "fingerprints of public keys",
    "key.verify_key != parties.device_key": "public keys",
    "state.parties.device_key != parties.device_key": "public keys",
    "rotation.old != state.parties.device_key": "public keys",
    "receipt.device_key != parties.device_key": "public keys",
    "receipt.device_key == state.parties.device_key": "public keys",
    "key != new": "public keys, of a device's changes of key",
    "key.fingerprint != fingerprint": "fingerprints of public keys",
    "key.fingerprint == found['keyid']": "fingerprints of public keys, to choose which to verify with",
    "key.fingerprint == header['kid']": "fingerprints of public keys, to choose which to verify with",
    "names == (parties.leader_key.fingerprint, parties.site, parties.person)": "names of a ledger's parties",
    "key.fingerprint == head.keyid": "fingerprints of public keys, to choose which to verify with",
}
"""Comparisons that name something like a secret and compare what everybody may know."""


def quick_comparisons(source: str) -> list[str]:
    """``==``, ``!=`` and ``in`` on what sounds secret; lengths and literals are not."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.Eq | ast.NotEq | ast.In | ast.NotIn):
            sides = [node.left, *node.comparators]
            if any(_is_length(side) or isinstance(side, ast.Constant) for side in sides):
                continue
            if any(SECRET.search(ast.unparse(side)) for side in sides):
                found.append(ast.unparse(node))
    return found


def _is_length(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "len"


def test_secrets_are_compared_in_constant_time():
    """What sounds secret in privacy and consent goes through hmac.compare_digest, or is listed with a reason."""
    sources = [path for folder in ("privacy", "consent") for path in sorted((ROOT / folder).rglob("*.py"))]
    assert len(sources) > 40
    quick = {text for path in sources for text in quick_comparisons(path.read_text("utf-8"))}
    assert quick - PUBLIC.keys() == set()


@pytest.mark.parametrize("line", ["if token == kept: pass", "x = seed != other", "ok = secret in seen", "a.mac == b"])
def test_a_quick_comparison_is_found(line):
    """The sweep sees what it is for."""
    assert quick_comparisons(line)
    assert not quick_comparisons("if len(token) != 32: pass\nif token is None: pass\nif round == 3: pass")


def fill(label: str, count: int = 32) -> bytes:
    """Bytes that occur nowhere by chance."""
    return hashlib.shake_256(label.encode()).digest(count)


SEED, TOKEN, KEY, PRIVATE = fill("seed"), fill("token"), fill("key"), fill("private", 96)
NOISE = fill("noise")
PARAMS = SumParameters(8, 1.0, 4_096, 1.0, 10, 2)
CONTEXT = SumContext(b"s" * 32, 1, b"m" * 32, b"l" * 32, b"h" * 32, b"p" * 32)


def leaks(text: str, *secrets: bytes) -> list[str]:
    """Windows of eight bytes of a secret that stand in a text, as hex, base64, a list or Python's bytes."""
    found = []
    for secret in secrets:
        for at in range(len(secret) - 7):
            window = secret[at : at + 8]
            spellings = (window.hex(), window.hex().upper(), repr(window)[2:-1], str(list(window))[1:-1])
            encoded = base64.b64encode(secret[at : at + 9])[:12].decode()
            found += [spelling for spelling in (*spellings, encoded) if spelling in text]
    return found


def holders() -> dict[str, tuple[object, tuple[bytes, ...]]]:
    """One object of every public class that holds a secret, and the secrets in it."""
    signer, opener = SigningKey(KEY), SealPrivateKey(PRIVATE)
    values = np.arange(8, dtype=np.int64)
    report = make_report(
        values, PARAMS, CONTEXT, opener.public, seed=SEED, withdrawal_token=TOKEN, expires_at=2**40, signer=signer
    )
    payload = SealedPayload(SEED, CONTEXT.policy_hash, 2**40, hashlib.sha256(TOKEN).digest())
    helper = HelperSum(PARAMS, CONTEXT, opener, now=1, withdrawn={report.report_id: TOKEN})
    helper.add(report.seal)
    leader = LeaderSum(PARAMS)
    leader.add(report.masked)
    parties = Parties(signer.verify_key, SigningKey(fill("leader")).verify_key, "shop", "p")
    person = Participant("one", signer, bytes(16), open_ledger(parties), None)
    stored = StoredReport(bytes(32), 1, "one", report.report_id, TOKEN, "reserved", 0, report.masked)
    marked = Marked(1, None, CONTEXT, bytes(32), opener, NOISE, 0, {report.report_id: [TOKEN]})
    held = Reservation(person, None, 0, report, TOKEN, "paid", (), None, None, 1)
    part = helper.partial()
    merged = MergedSum(Role.HELPER, PARAMS, CONTEXT, [part.span])
    merged.add(part)
    job = Job(PARAMS, CONTEXT, part.span, Path("batch"), 0, 1, PRIVATE, {report.report_id: TOKEN})
    wire = (report.masked, report.seal)
    return {
        "SigningKey": (signer, (KEY,)),
        "SealPrivateKey": (opener, (PRIVATE,)),
        "RandomStream": (RandomStream(KEY), (KEY,)),
        "SealedPayload": (payload, (SEED, payload.withdrawal_hash)),
        "Report": (report, (SEED, TOKEN, *wire)),
        "ReportFrame": (ReportFrame(bytes(16), 1, report), (SEED, TOKEN, *wire)),
        "HelperSum": (helper, (PRIVATE, SEED, TOKEN, helper._words.tobytes())),
        "LeaderSum": (leader, (report.masked, leader._words.tobytes())),
        "PartialSum": (part, (part.words,)),
        "MergedSum": (merged, (part.words,)),
        "Job": (job, (PRIVATE, TOKEN)),
        "Marked": (marked, (PRIVATE, NOISE, TOKEN)),
        "Participant": (person, (KEY,)),
        "StoredReport": (stored, (TOKEN, report.masked)),
        "Reservation": (held, (KEY, TOKEN, *wire)),
        "WithdrawalNotice": (WithdrawalNotice(report_id=report.report_id.hex(), token=TOKEN.hex()), (TOKEN,)),
        "Enrolment": (make_enrolment(signer, signer.verify_key, TOKEN.hex(), bytes(16), 0), (TOKEN,)),
    }


@pytest.mark.parametrize("name", holders())
def test_no_repr_shows_a_secret(name):
    """Neither repr nor str nor an f-string of it has eight bytes of a secret in any spelling."""
    item, secrets = holders()[name]
    assert leaks(f"{item!r} {item} {[item]}", *secrets) == []


def test_the_search_finds_secrets():
    """As hex, as Python's bytes, as a list and in base64."""
    for text in (SEED.hex(), repr(SEED), str(list(SEED)), base64.b64encode(SEED).decode()):
        assert leaks(f"x {text} y", SEED)


def bad_calls(folder: Path) -> dict[str, Callable[[], object]]:
    """Calls with a secret that is amiss."""
    opener, signer = SealPrivateKey(PRIVATE), SigningKey(KEY)
    values = np.zeros(8, dtype=np.int64)

    def report(**changes: bytes) -> object:
        given = {"seed": SEED, "withdrawal_token": TOKEN, "expires_at": 2**40, "signer": signer} | changes
        return make_report(values, PARAMS, CONTEXT, opener.public, **given)

    return {
        "signing key": lambda: SigningKey(KEY + b"x"),
        "sealing key": lambda: SealPrivateKey(PRIVATE[:-1]),
        "stream key": lambda: RandomStream(KEY[:-1]),
        "seed": lambda: report(seed=SEED[:-1]),
        "token": lambda: report(withdrawal_token=TOKEN + b"x"),
        "payload": lambda: SealedPayload.parse(SEED + TOKEN),
        "seal": lambda: opener.open(opener.public.seal(SEED, b"a"), b"b"),
        "signature": lambda: signer.verify_key.verify(SEED + TOKEN, SEED),
        "pickled key": lambda: pickle.dumps(opener),
        "keyring": lambda: _damaged(folder),
    }


def _damaged(folder: Path) -> bytes | None:
    (folder / "keys.json").write_text('{"store": "' + SEED.hex() + '!"}')
    return FileKeyring(folder).read("store")


def test_no_error_shows_a_secret(tmp_path):
    """A key, seed or token that is amiss is described by its length, in the error and in whatever caused it."""
    for name, call in bad_calls(tmp_path).items():
        with pytest.raises(Exception, match=r".+") as refusal:
            call()
        error: BaseException | None = refusal.value
        while error is not None:
            assert leaks(f"{error!r} {error}", SEED, TOKEN, KEY, PRIVATE) == [], name
            error = error.__cause__
