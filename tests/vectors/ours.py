"""Our implementation behind the vectors' one call: ``run(kind, given) -> gives``, or ``Refused`` with a code.

Whoever implements a role in another language writes this file again and runs the same JSON. Bytes are lower-case hex,
doubles are the 16 hex digits of their IEEE 754 bits, words and sums are decimal strings (they exceed 2^53).
"""

from __future__ import annotations

import hashlib
import re
import struct
from typing import Any

import numpy as np

from models.wire.frames import ReportFrame
from models.wire.problems import ProblemError
from privacy.crypto import (
    CryptoError,
    MerkleTree,
    SealPrivateKey,
    SigningKey,
    VerifyKey,
    canonical_json,
    digest,
    leaf_hash,
    parse_canonical,
    sign_document,
    sign_request,
    verify_consistency,
    verify_document,
    verify_inclusion,
    verify_request,
)
from privacy.mechanisms import MechanismError, RandomStream, discrete_gaussian, flip_coin
from privacy.secure_sum import (
    HelperSum,
    LeaderSum,
    Report,
    SecureSumError,
    SumContext,
    SumParameters,
    batch_digest,
    encode,
    make_report,
    noised_share,
    pack,
    unmask,
    unpack,
    verify_report,
)
from privacy.secure_sum.masking import expand_mask, reduced
from tests.frames import decode_seals, encode_batch, encode_seals
from tests.vectors import hpke

Json = dict[str, Any]
unhex = bytes.fromhex


class Refused(Exception):
    """The implementation refused; ``code`` is the error's stable name."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def run(kind: str, given: Json) -> Json:
    """One vector through our code."""
    try:
        return _KINDS[kind](given)
    except (SecureSumError, ProblemError) as error:
        raise Refused(error.code) from error
    except (CryptoError, MechanismError) as error:
        raise Refused(re.sub(r"(?<!^)(?=[A-Z])", "_", type(error).__name__).lower()) from error
    except ValueError as error:  # parse_canonical's one error
        raise Refused("not_canonical") from error


def double(text: str) -> float:
    return float(struct.unpack(">d", unhex(text))[0])


def bits_of(value: float) -> str:
    return struct.pack(">d", value).hex()


def parameters(given: Json) -> SumParameters:
    return SumParameters(
        dimension=given["dimension"],
        clip_norm=double(given["clip_norm"]),
        sensitivity=given["sensitivity"],
        noise_multiplier=double(given["noise_multiplier"]),
        maximum_cohort=given["maximum_cohort"],
        minimum_cohort=given["minimum_cohort"],
    )


def context(given: Json) -> SumContext:
    parts = {name: unhex(given[name]) for name in given if name not in ("round", "bucket")}
    return SumContext(round=given["round"], bucket=given.get("bucket", 0), **parts)


def integers(given: list[str]) -> np.ndarray:
    return np.array([int(text) for text in given], dtype=np.int64)


def texts(values: np.ndarray) -> list[str]:
    return [str(value) for value in values.tolist()]


def report(given: Json) -> Report:
    return Report(*(unhex(given[name]) for name in ("context", "seal", "masked", "signature")))


class _FixedSeal:
    """A round's public key whose seal has its randomness given."""

    def __init__(self, public: bytes, randomness: bytes) -> None:
        self._public, self._randomness = public, randomness

    def seal(self, plaintext: bytes, info: bytes) -> bytes:
        return hpke.seal_hybrid(self._public, plaintext, info, self._randomness)


def _parameters(given: Json) -> Json:
    params = parameters(given)
    derived = {name: getattr(params, name) for name in ("noise_sigma", "modulus_bits", "packed_bytes")}
    return derived | {"scale": bits_of(params.scale)}


def _digest(given: Json) -> Json:
    return {"digest": digest(given["domain"], *map(unhex, given["parts"])).hex()}


def _context(given: Json) -> Json:
    return {"digest": context(given).digest.hex()}


def _mask(given: Json) -> Json:
    params = parameters(given["parameters"])
    words = expand_mask(unhex(given["seed"]), params, context(given["context"]))
    return {"words": texts(reduced(words, params))}


def _encode(given: Json) -> Json:
    vector = np.array([double(text) for text in given["vector"]])
    return {"values": texts(encode(vector, parameters(given["parameters"])))}


def _pack(given: Json) -> Json:
    return {"packed": pack(np.array([int(w) for w in given["words"]], dtype=np.uint64), given["bits"]).hex()}


def _unpack(given: Json) -> Json:
    return {"words": texts(unpack(unhex(given["packed"]), given["count"], given["bits"]))}


def _make_report(given: Json) -> Json:
    made = make_report(
        integers(given["values"]),
        parameters(given["parameters"]),
        context(given["context"]),
        _FixedSeal(unhex(given["round_public"]), unhex(given["seal_randomness"])),
        seed=unhex(given["seed"]),
        withdrawal_token=unhex(given["withdrawal_token"]),
        expires_at=given["expires_at"],
        signer=SigningKey(unhex(given["device_secret"])),
    )
    parts = {name: getattr(made, name).hex() for name in ("context", "seal", "masked", "signature")}
    return parts | {"report_id": made.report_id.hex()}


def _verify_report(given: Json) -> Json:
    key = VerifyKey(unhex(given["device_public"]))
    verify_report(report(given["report"]), parameters(given["parameters"]), context(given["context"]), key)
    return {"accepted": True}


def _batch(given: Json) -> Json:
    return {"digest": batch_digest(context(given["context"]), map(unhex, given["ids"])).hex()}


def _helper(given: Json) -> Json:
    helper = HelperSum(
        parameters(given["parameters"]),
        context(given["context"]),
        SealPrivateKey(unhex(given["round_private"])),
        now=given["now"],
        withdrawn={unhex(name): unhex(token) for name, token in given["withdrawn"].items()},
    )
    for seal in given["seals"]:
        helper.add(unhex(seal))
    failures = [{"report_id": item.report_id.hex(), "reason": str(item.reason)} for item in helper.failures]
    total = texts(helper.total)
    return {"opened": helper.opened, "failures": failures, "batch": helper.batch.hex(), "total": total}


def _share(given: Json) -> Json:
    params = parameters(given["parameters"])
    noise = discrete_gaussian(params.noise_sigma, params.dimension, RandomStream(unhex(given["noise_key"])))
    return {"share": noised_share(np.array(given["total"], dtype=np.uint64), noise, params).hex()}


def _release(given: Json) -> Json:
    params = parameters(given["parameters"])
    received = LeaderSum(params)
    for masked in given["masked"]:
        received.add(unhex(masked))
    noise = discrete_gaussian(params.noise_sigma, params.dimension, RandomStream(unhex(given["noise_key"])))
    return {"total": texts(unmask(received.total, unhex(given["share"]), noise, params))}


def _noise(given: Json) -> Json:
    stream = RandomStream(unhex(given["key"]))
    return {"values": texts(discrete_gaussian(double(given["sigma"]), given["count"], stream))}


def _noise_key(given: Json) -> Json:
    parts = unhex(given["secret"]), unhex(given["batch"])
    return {"key": digest(f"{given['server']}-noise", *parts).hex()}


def _coin(given: Json) -> Json:
    return {"heads": flip_coin(double(given["rate"]), lambda: unhex(given["token"]))}


def _canonical(given: Json) -> Json:
    return {"bytes": canonical_json(given["value"]).hex()}


def _parse_canonical(given: Json) -> Json:
    return {"value": parse_canonical(unhex(given["bytes"]))}


def _sign_document(given: Json) -> Json:
    return {"token": sign_document(SigningKey(unhex(given["secret"])), given["type"], given["document"])}


def _verify_document(given: Json) -> Json:
    accepted = [VerifyKey(unhex(key)) for key in given["accepted"]]
    return {"document": verify_document(given["token"], given["type"], accepted)}


def _sign_request(given: Json) -> Json:
    key, body, nonce = SigningKey(unhex(given["secret"])), unhex(given["body"]), unhex(given["nonce"])
    headers = sign_request(key, given["method"], given["target"], body, given["at"], nonce, audience=given["audience"])
    return {"headers": headers}


def _verify_request(given: Json) -> Json:
    accepted = [VerifyKey(unhex(key)) for key in given["accepted"]]
    body, parts = unhex(given["body"]), (given["headers"], given["method"], given["target"])
    signer, nonce = verify_request(*parts, body, accepted, given["now"], audience=given["audience"])
    return {"signer": signer.fingerprint, "nonce": nonce.hex()}


def _merkle(given: Json) -> Json:
    tree = MerkleTree(map(unhex, given["entries"]))
    inclusion = [[node.hex() for node in tree.inclusion_proof(index)] for index in range(len(tree))]
    consistency = [[node.hex() for node in tree.consistency_proof(old)] for old in range(1, len(tree) + 1)]
    return {"root": tree.root().hex(), "inclusion": inclusion, "consistency": consistency}


def _verify_inclusion(given: Json) -> Json:
    path, leaf = map(unhex, given["path"]), leaf_hash(unhex(given["entry"]))
    verify_inclusion(leaf, given["index"], given["size"], list(path), unhex(given["root"]))
    return {"holds": True}


def _verify_consistency(given: Json) -> Json:
    path = list(map(unhex, given["path"]))
    verify_consistency(given["old_size"], unhex(given["old_root"]), given["size"], unhex(given["root"]), path)
    return {"holds": True}


def _report_frame(given: Json) -> Json:
    frame = ReportFrame(unhex(given["device_id"]), given["consent_epoch"], report(given["report"]))
    body = encode_batch([frame])
    return {"bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()}


def _seal_frame(given: Json) -> Json:
    return {"bytes": encode_seals([unhex(seal) for seal in given["seals"]]).hex()}


def _read_seal_frame(given: Json) -> Json:
    return {"seals": [seal.hex() for seal in decode_seals(unhex(given["bytes"]))]}


def _fingerprint(given: Json) -> Json:
    return {"fingerprint": VerifyKey(unhex(given["public"])).fingerprint}


_KINDS = {
    "parameters": _parameters,
    "digest": _digest,
    "context": _context,
    "mask": _mask,
    "encode": _encode,
    "pack": _pack,
    "unpack": _unpack,
    "make_report": _make_report,
    "verify_report": _verify_report,
    "batch": _batch,
    "helper": _helper,
    "share": _share,
    "release": _release,
    "noise": _noise,
    "noise_key": _noise_key,
    "coin": _coin,
    "canonical": _canonical,
    "parse_canonical": _parse_canonical,
    "sign_document": _sign_document,
    "verify_document": _verify_document,
    "sign_request": _sign_request,
    "verify_request": _verify_request,
    "merkle": _merkle,
    "verify_inclusion": _verify_inclusion,
    "verify_consistency": _verify_consistency,
    "report_frame": _report_frame,
    "seal_frame": _seal_frame,
    "read_seal_frame": _read_seal_frame,
    "fingerprint": _fingerprint,
}
KINDS = frozenset(_KINDS)
