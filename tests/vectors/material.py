"""What the vectors are made of: fixed keys, one round of four devices, and the input of each call."""

from __future__ import annotations

import hashlib
from typing import Any

from privacy.crypto import MerkleTree, SealPrivateKey, SigningKey
from privacy.secure_sum.reports import seal_info
from tests.vectors import hpke
from tests.vectors.ours import Json, bits_of, context, run

NOW = 1_900_000_000


def secret(label: str, count: int = 32) -> bytes:
    """Fixed bytes that stand for random ones."""
    return hashlib.shake_256(b"hearthside vectors: " + label.encode()).digest(count)


PARAMETERS = {
    "dimension": 13,
    "clip_norm": bits_of(1.0),
    "sensitivity": 65_536,
    "noise_multiplier": bits_of(1.0),
    "maximum_cohort": 20,
    "minimum_cohort": 2,
}
WIDE = PARAMETERS | {"maximum_cohort": 2**32}
CONTEXT = {
    "study_hash": secret("study").hex(),
    "round": 7,
    "model_hash": secret("model").hex(),
    "leader_key": secret("leader").hex(),
    "helper_key": secret("helper").hex(),
    "policy_hash": secret("policy").hex(),
    "bucket": 0,
}
ROUND_KEY = SealPrivateKey(secret("round key", 96))
DEVICES = [SigningKey(secret(f"device {index}")) for index in range(4)]


def values(index: int) -> list[str]:
    return [str((index + 1) * (entry - 6) * (-1) ** entry) for entry in range(13)]


def report_given(index: int, **changes: Any) -> Json:
    return {
        "parameters": PARAMETERS,
        "context": CONTEXT,
        "values": values(index),
        "round_public": ROUND_KEY.public.raw.hex(),
        "seal_randomness": secret(f"seal {index}", 64).hex(),
        "seed": secret(f"seed {index}").hex(),
        "withdrawal_token": secret(f"token {index}").hex(),
        "expires_at": NOW + 60,
        "device_secret": DEVICES[index].seed().hex(),
    } | changes


def report(index: int, **changes: Any) -> Json:
    return run("make_report", report_given(index, **changes))


REPORTS = sorted((report(index) for index in range(4)), key=lambda item: item["report_id"])
SIGNERS = {report(index)["report_id"]: DEVICES[index] for index in range(4)}
TOKENS = {report(index)["report_id"]: secret(f"token {index}") for index in range(4)}


def verify_given(item: Json, **changes: Any) -> Json:
    parts = {name: item[name] for name in ("context", "seal", "masked", "signature")}
    signer = SIGNERS[item["report_id"]]
    return {
        "parameters": PARAMETERS,
        "context": CONTEXT,
        "device_public": signer.verify_key.raw.hex(),
        "report": parts | changes,
    }


def by_id(seals: list[str]) -> list[str]:
    return sorted(seals, key=lambda seal: hashlib.sha256(bytes.fromhex(seal)).digest())


def helper_given(seals: list[str], **changes: Any) -> Json:
    return {
        "parameters": PARAMETERS,
        "context": CONTEXT,
        "round_private": ROUND_KEY.private_bytes().hex(),
        "now": NOW,
        "withdrawn": {},
        "seals": seals,
    } | changes


def payload_seal(payload: bytes) -> str:
    info = seal_info(context(CONTEXT))
    return hpke.seal_hybrid(ROUND_KEY.public.raw, payload, info, secret("payload", 64)).hex()


def flip(text: str, at: int = -1) -> str:
    data = bytearray.fromhex(text)
    data[at] ^= 1
    return data.hex()


def noise_key(server: str, batch: str) -> Json:
    return {"server": server, "secret": secret(f"{server} noise").hex(), "batch": batch}


def document_given(**changes: Any) -> Json:
    made = {"secret": DEVICES[0].seed().hex(), "type": "hearthside-test+jwt", "document": {"rounds": 3}}
    token = run("sign_document", made)["token"]
    accepted = [DEVICES[0].verify_key.raw.hex()]
    return {"token": token, "type": "hearthside-test+jwt", "accepted": accepted} | changes


def request_given() -> Json:
    return {
        "secret": DEVICES[0].seed().hex(),
        "method": "POST",
        "target": "/v1/rounds?a=1",
        "body": b'{"a":1}'.hex(),
        "at": NOW,
        "nonce": secret("nonce", 16).hex(),
        "audience": "helper",
    }


def verify_request_given(**changes: Any) -> Json:
    given = request_given()
    headers = run("sign_request", given)["headers"]
    kept = {name: given[name] for name in ("method", "target", "body", "audience")}
    accepted = [DEVICES[0].verify_key.raw.hex()]
    return kept | {"headers": headers, "now": NOW + 30, "accepted": accepted} | changes


def tree() -> MerkleTree:
    return MerkleTree(secret(f"entry {index}", index + 1) for index in range(7))


def inclusion_given(**changes: Any) -> Json:
    path = [node.hex() for node in tree().inclusion_proof(4)]
    entry = secret("entry 4", 5).hex()
    return {"entry": entry, "index": 4, "size": 7, "path": path, "root": tree().root().hex()} | changes


def consistency_given(**changes: Any) -> Json:
    path = [node.hex() for node in tree().consistency_proof(3)]
    roots = {"old_root": tree().root(3).hex(), "root": tree().root().hex()}
    return {"old_size": 3, "size": 7, "path": path} | roots | changes
