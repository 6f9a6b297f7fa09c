"""The bad vectors: one defect each, and what our code says to it."""

from __future__ import annotations

import base64
import math
from typing import Any

from privacy.crypto import SealPrivateKey
from privacy.secure_sum.reports import SealedPayload
from tests.vectors.material import (
    CONTEXT,
    DEVICES,
    NOW,
    PARAMETERS,
    REPORTS,
    TOKENS,
    by_id,
    consistency_given,
    document_given,
    flip,
    helper_given,
    inclusion_given,
    payload_seal,
    report,
    report_given,
    secret,
    verify_given,
    verify_request_given,
)
from tests.vectors.ours import Json, bits_of, run

Bad = tuple[str, str, Json]


def bad() -> dict[str, Bad]:
    """Name: (the one defect, kind, input)."""
    groups = (_parameters(), _vectors(), _reports(), _batches(), _crypto())
    return {f"bad_{name}": item for group in groups for name, item in group.items()}


def dropped() -> dict[str, Bad]:
    """Name: (the one defect, kind, input) where the helper leaves one report out and goes on."""
    seals = [item["seal"] for item in REPORTS[:2]]
    victim = REPORTS[2]
    other = CONTEXT | {"study_hash": secret("another study").hex()}
    odd = {
        name: report(3, context=CONTEXT | {name: secret("x").hex()})["seal"] for name in ("model_hash", "leader_key")
    }
    wrong_key = report(3, round_public=SealPrivateKey(secret("another round", 96)).public.raw.hex())["seal"]
    policy = SealedPayload(secret("seed 0"), secret("old policy"), NOW + 60, bytes(32)).to_bytes()
    low_order = victim["seal"][: 2 * 1088] + "00" * 32 + victim["seal"][2 * 1120 :]

    def among(seal: str, **changes: Any) -> Json:
        return helper_given(by_id([*seals, seal]), **changes)

    mine = {victim["report_id"]: TOKENS[victim["report_id"]].hex()}
    found: dict[str, Bad] = {
        "seal_forged": ("A bit of the ciphertext is flipped.", "helper", among(flip(victim["seal"], 1130))),
        "seal_tag": ("A bit of the tag is flipped.", "helper", among(flip(victim["seal"]))),
        "seal_kem": ("A bit of the lattice ciphertext is flipped.", "helper", among(flip(victim["seal"], 5))),
        "seal_truncated": ("The seal lost a byte.", "helper", among(victim["seal"][:-2])),
        "seal_extended": ("The seal has a byte more.", "helper", among(victim["seal"] + "00")),
        "seal_empty": ("The seal is empty.", "helper", among("")),
        "seal_low_order_point": ("The seal's X25519 part is the point of order one.", "helper", among(low_order)),
        "seal_other_study": ("The seal is of another study.", "helper", among(report(3, context=other)["seal"])),
        "seal_other_round": (
            "The seal is of another round.",
            "helper",
            among(report(3, context=CONTEXT | {"round": 8})["seal"]),
        ),
        "seal_other_model": ("The device was shown another model.", "helper", among(odd["model_hash"])),
        "seal_other_leader": ("The seal names another leader.", "helper", among(odd["leader_key"])),
        "seal_wrong_helper_key": ("The seal is to another round key.", "helper", among(wrong_key)),
        "payload_short": ("The sealed payload lacks a byte.", "helper", among(payload_seal(policy[:-1]))),
        "payload_policy": ("Sealed under another consent policy.", "helper", among(payload_seal(policy))),
        "payload_expired": (
            "The report expires at this very second.",
            "helper",
            among(report(3, expires_at=NOW)["seal"]),
        ),
        "withdrawn": ("The right token takes the report back.", "helper", among(victim["seal"], withdrawn=mine)),
    }
    return {f"bad_{name}": item for name, item in found.items()}


def _parameters() -> dict[str, Bad]:
    def but(**changes: Any) -> Json:
        return PARAMETERS | changes

    return {
        "clip_norm_zero": ("A clipping norm of zero.", "parameters", but(clip_norm=bits_of(0.0))),
        "clip_norm_nan": ("A clipping norm that is no number.", "parameters", but(clip_norm=bits_of(math.nan))),
        "cohort_of_one": ("A minimum cohort of one.", "parameters", but(minimum_cohort=1)),
        "cohort_inverted": ("A maximum cohort below the minimum.", "parameters", but(maximum_cohort=1)),
        "noise_small": ("Noise below 1,000 grid steps.", "parameters", but(sensitivity=900)),
        "noise_infinite": ("An infinite noise multiplier.", "parameters", but(noise_multiplier=bits_of(math.inf))),
        "sensitivity_small": ("A sensitivity below sqrt(d).", "parameters", but(sensitivity=3)),
        "sum_could_wrap": ("A modulus above 62 bits.", "parameters", but(sensitivity=2**40, maximum_cohort=2**32)),
        "dimension_zero": ("No entries.", "parameters", but(dimension=0)),
        "context_hash_short": ("A study hash of 31 bytes.", "context", CONTEXT | {"study_hash": "00" * 31}),
        "context_round_negative": ("A round below zero.", "context", CONTEXT | {"round": -1}),
        "context_bucket_large": ("A bucket of 2^32.", "context", CONTEXT | {"bucket": 2**32}),
        "coin_rate": ("A rate above one.", "coin", {"rate": bits_of(1.5), "token": "00" * 8}),
        "coin_token": ("A token of seven bytes.", "coin", {"rate": bits_of(0.5), "token": "00" * 7}),
        "noise_sigma_nan": ("Noise of no scale.", "noise", {"key": "00" * 32, "sigma": bits_of(math.nan), "count": 1}),
        "noise_key_short": ("A noise key of 31 bytes.", "noise", {"key": "00" * 31, "sigma": bits_of(1.0), "count": 1}),
    }


def _vectors() -> dict[str, Bad]:
    def vector(*entries: float) -> Json:
        return {"parameters": PARAMETERS, "vector": [bits_of(value) for value in entries]}

    packed = run("pack", {"bits": 13, "words": ["8191"] * 11})["packed"]
    return {
        "vector_nan": ("An entry is no number.", "encode", vector(math.nan, *[0.0] * 12)),
        "vector_infinite": ("An entry is infinite.", "encode", vector(-math.inf, *[0.0] * 12)),
        "vector_short": ("A vector of twelve entries.", "encode", vector(*[0.0] * 12)),
        "word_large": ("A word of 2^b.", "pack", {"bits": 13, "words": ["8192"]}),
        "bits_zero": ("No bits.", "pack", {"bits": 0, "words": ["0"]}),
        "packed_short": ("A packed byte is missing.", "unpack", {"packed": packed[:-2], "bits": 13, "count": 11}),
        "packed_long": ("A packed byte too many.", "unpack", {"packed": packed + "00", "bits": 13, "count": 11}),
        "padding_bits": (
            "A bit is set in the padding.",
            "unpack",
            {"packed": packed[:-2] + "ff", "bits": 13, "count": 11},
        ),
    }


def _reports() -> dict[str, Bad]:
    one, two = REPORTS[:2]
    large = ["65537"] + ["0"] * 12
    resigned = report(0, device_secret=DEVICES[1].seed().hex())
    return {
        "values_oversize": ("Values beyond the sensitivity.", "make_report", report_given(0, values=large)),
        "values_short": ("Twelve values of thirteen.", "make_report", report_given(0, values=["0"] * 12)),
        "seed_short": ("A seed of 31 bytes.", "make_report", report_given(0, seed="00" * 31)),
        "token_short": ("A withdrawal token of no bytes.", "make_report", report_given(0, withdrawal_token="")),
        "expiry_negative": ("An expiry before 1970.", "make_report", report_given(0, expires_at=-1)),
        "report_context": ("Another context.", "verify_report", verify_given(one, context=flip(one["context"]))),
        "report_masked": ("A changed vector.", "verify_report", verify_given(one, masked=flip(one["masked"], 0))),
        "report_masked_short": (
            "A vector cut by a byte.",
            "verify_report",
            verify_given(one, masked=one["masked"][:-2]),
        ),
        "report_swapped_seal": ("The seal of another report.", "verify_report", verify_given(one, seal=two["seal"])),
        "report_seal_malleated": ("A changed seal.", "verify_report", verify_given(one, seal=flip(one["seal"], 9))),
        "report_seal_short": ("A seal cut by a byte.", "verify_report", verify_given(one, seal=one["seal"][:-2])),
        "report_signature": (
            "A changed signature.",
            "verify_report",
            verify_given(one, signature=flip(one["signature"])),
        ),
        "report_signature_short": (
            "A signature of 63 bytes.",
            "verify_report",
            verify_given(one, signature=one["signature"][:-2]),
        ),
        "report_other_device": (
            "Signed by another device.",
            "verify_report",
            verify_given(one, signature=resigned["signature"]),
        ),
    }


def _batches() -> dict[str, Bad]:
    ids, seals = [item["report_id"] for item in REPORTS], [item["seal"] for item in REPORTS]
    small = PARAMETERS | {"maximum_cohort": 3}
    mine = {REPORTS[1]["report_id"]: TOKENS[REPORTS[1]["report_id"]].hex()}
    share = {"parameters": PARAMETERS, "noise_key": secret("n").hex()}
    return {
        "id_reused": ("A report id twice.", "batch", {"context": CONTEXT, "ids": [ids[0], ids[0]]}),
        "ids_disordered": ("Report ids that fall.", "batch", {"context": CONTEXT, "ids": [ids[1], ids[0]]}),
        "id_short": ("A report id of 31 bytes.", "batch", {"context": CONTEXT, "ids": [ids[0][:-2]]}),
        "seal_reused": ("One seal twice.", "helper", helper_given([seals[0], seals[0]])),
        "seals_disordered": ("Seals out of the order of their ids.", "helper", helper_given(seals[::-1])),
        "cohort_small": ("One seal where two are needed.", "helper", helper_given(seals[:1])),
        "cohort_small_after_opening": (
            "Two seals, one of them forged.",
            "helper",
            helper_given(by_id([seals[0], flip(seals[1])])),
        ),
        "cohort_small_after_withdrawal": (
            "Two seals, one of them taken back.",
            "helper",
            helper_given(seals[:2], withdrawn=mine),
        ),
        "cohort_exceeded": ("Four seals where three are validated.", "helper", helper_given(seals, parameters=small)),
        "round_key_short": ("A round key of 95 bytes.", "helper", helper_given(seals, round_private="00" * 95)),
        "share_total_short": ("A total of twelve words.", "share", share | {"total": [0] * 12}),
        "share_truncated": (
            "The helper's share lost a byte.",
            "release",
            share | {"masked": [REPORTS[0]["masked"]], "share": REPORTS[0]["masked"][:-2]},
        ),
        "masked_truncated": (
            "A masked vector lost a byte.",
            "release",
            share | {"masked": [REPORTS[0]["masked"][:-2]], "share": REPORTS[0]["masked"]},
        ),
        "seal_frame_trailing": (
            "A byte after the last seal.",
            "read_seal_frame",
            {"bytes": run("seal_frame", {"seals": ["00"]})["bytes"] + "00"},
        ),
        "seal_frame_truncated": (
            "A seal that ends early.",
            "read_seal_frame",
            {"bytes": run("seal_frame", {"seals": ["0011"]})["bytes"][:-2]},
        ),
    }


def _crypto() -> dict[str, Bad]:
    header, payload, signature = document_given()["token"].split(".")
    none = base64.urlsafe_b64encode(b'{"alg":"none","typ":"hearthside-test+jwt"}').rstrip(b"=").decode()
    list_payload = {"secret": DEVICES[0].seed().hex(), "type": "hearthside-test+jwt", "document": [3]}
    listed = base64.urlsafe_b64encode(b'["alg","kid","typ"]').rstrip(b"=").decode()
    stranger = [DEVICES[1].verify_key.raw.hex()]
    inclusion, consistency = inclusion_given(), consistency_given()
    return {
        "json_spaced": ("The same value in another spelling.", "parse_canonical", {"bytes": b'{"a": 1}'.hex()}),
        "json_duplicate": ("A name twice.", "parse_canonical", {"bytes": b'{"a":1,"a":1}'.hex()}),
        "document_algorithm": (
            "A header that asks for no signature.",
            "verify_document",
            document_given(token=f"{none}.{payload}."),
        ),
        "document_header_list": (
            "A header that is a list of the three names.",
            "verify_document",
            document_given(token=f"{listed}.{payload}.{signature}"),
        ),
        "document_payload_list": (
            "A payload that is a list, well signed.",
            "verify_document",
            document_given(token=run("sign_document", list_payload)["token"]),
        ),
        "document_type": (
            "A document of another type.",
            "verify_document",
            document_given(type="hearthside-other+jwt"),
        ),
        "document_signer": ("A signer that is not accepted.", "verify_document", document_given(accepted=stranger)),
        "document_signature": (
            "A changed signature.",
            "verify_document",
            document_given(token=f"{header}.{payload}.{'A' + signature[1:]}"),
        ),
        "request_body": ("Another body.", "verify_request", verify_request_given(body=b'{"a":2}'.hex())),
        "request_target": ("Another target.", "verify_request", verify_request_given(target="/v1/rounds?a=2")),
        "request_method": ("Another method.", "verify_request", verify_request_given(method="PUT")),
        "request_late": ("A minute and a second old.", "verify_request", verify_request_given(now=NOW + 61)),
        "request_audience": ("Meant for another receiver.", "verify_request", verify_request_given(audience="leader")),
        "request_signer": ("A signer that is not accepted.", "verify_request", verify_request_given(accepted=stranger)),
        "key_short": ("A public key of 31 bytes.", "fingerprint", {"public": "00" * 31}),
        "key_small_order": ("A public key under which anybody signs.", "fingerprint", {"public": "01" + "00" * 31}),
        "inclusion_entry": ("Another entry.", "verify_inclusion", inclusion | {"entry": "00"}),
        "inclusion_index": ("Another index.", "verify_inclusion", inclusion | {"index": 3}),
        "inclusion_path_short": (
            "A path without its last hash.",
            "verify_inclusion",
            inclusion | {"path": inclusion["path"][:-1]},
        ),
        "consistency_old_root": (
            "A rewritten history.",
            "verify_consistency",
            consistency | {"old_root": flip(consistency["old_root"])},
        ),
        "consistency_path_long": (
            "A path with a hash too many.",
            "verify_consistency",
            consistency | {"path": [*consistency["path"], "00" * 32]},
        ),
    }
