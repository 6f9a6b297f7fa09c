"""Write our own vectors: ``python -m tests.vectors.generate``. Deterministic; a test compares what it would write.

Good files hold cases of ``given`` and ``gives``. Each ``bad_*`` file holds one defect: ``refused`` is the code of the
error that stops it, or ``dropped`` the reason for which the helper leaves one report out and goes on.
"""

from __future__ import annotations

import copy
import json

from tests.vectors.bad import bad, dropped
from tests.vectors.files import FOLDER
from tests.vectors.material import (
    CONTEXT,
    DEVICES,
    PARAMETERS,
    REPORTS,
    WIDE,
    consistency_given,
    document_given,
    helper_given,
    inclusion_given,
    noise_key,
    report_given,
    request_given,
    secret,
    verify_given,
    verify_request_given,
)
from tests.vectors.ours import Json, Refused, bits_of, run

OWN = FOLDER / "secure_sum"


def good() -> dict[str, tuple[str, str, list[Json]]]:
    """Name: (what it shows, kind, inputs)."""
    seals = [item["seal"] for item in REPORTS]
    outcome = run("helper", helper_given(seals))
    share_given = {"parameters": PARAMETERS, "total": [int(w) for w in outcome["total"]]}
    helper_noise = run("noise_key", noise_key("helper", outcome["batch"]))["key"]
    leader_noise = run("noise_key", noise_key("leader", outcome["batch"]))["key"]
    share = run("share", share_given | {"noise_key": helper_noise})["share"]
    entries = [secret(f"entry {index}", index + 1).hex() for index in range(7)]
    return {
        "parameters": (
            "What a study's parameters imply: noise per server, bits per value, bytes per vector, scale.",
            "parameters",
            [PARAMETERS, WIDE, PARAMETERS | {"dimension": 1_000, "noise_multiplier": bits_of(2.5)}],
        ),
        "digest": (
            "Domain-separated SHA-256 over length-prefixed parts.",
            "digest",
            [{"domain": "a", "parts": []}, {"domain": "a", "parts": ["", ""]}, {"domain": "b/c", "parts": ["00ff"]}],
        ),
        "fingerprint": (
            "A public key as a person compares it.",
            "fingerprint",
            [{"public": device.verify_key.raw.hex()} for device in DEVICES[:2]],
        ),
        "context": (
            "The digest that every derivation binds; the bucket is not in it.",
            "context",
            [CONTEXT, CONTEXT | {"round": 8}, CONTEXT | {"bucket": 3}, CONTEXT | {"policy_hash": "00" * 32}],
        ),
        "mask": (
            "A seed's mask under a context: words of 4 bytes up to b = 32, else of 8.",
            "mask",
            [{"parameters": each, "context": CONTEXT, "seed": secret("seed 0").hex()} for each in (PARAMETERS, WIDE)],
        ),
        "encode": (
            "Clip, scale and round a vector of doubles; ties go to even.",
            "encode",
            [
                {"parameters": PARAMETERS, "vector": [bits_of(value) for value in vector]}
                for vector in (
                    [0.0] * 13,
                    [0.1 * entry for entry in range(13)],
                    [-1e300] + [1e300] * 12,
                    [5e-324] * 13,
                    [1.0] + [0.0] * 12,
                )
            ],
        ),
        "pack": (
            "Values of b bits as planes of bytes, then planes of bits.",
            "pack",
            [
                {"bits": bits, "words": [str((2**bits - 1) // (entry + 1)) for entry in range(11)]}
                for bits in (1, 7, 8, 13, 22, 32, 33, 55, 62)
            ],
        ),
        "report": (
            "A device's report, with the seal's randomness given; the seal is HPKE base mode, MLKEM768-X25519.",
            "make_report",
            [report_given(0), report_given(1, values=["0"] * 13)],
        ),
        "verify_report": ("A report that the leader accepts.", "verify_report", [verify_given(REPORTS[0])]),
        "batch": (
            "The digest of a batch of strictly increasing report ids, with the bucket.",
            "batch",
            [
                {"context": each, "ids": ids}
                for each in (CONTEXT, CONTEXT | {"bucket": 3})
                for ids in ([], [item["report_id"] for item in REPORTS])
            ],
        ),
        "helper": (
            "The sum of the masks, without noise: what the helper never sends. A stranger's token changes nothing.",
            "helper",
            [helper_given(seals), helper_given(seals, withdrawn={REPORTS[1]["report_id"]: "00" * 32})],
        ),
        "noise_key": (
            "The key of a server's noise: a function of its stored secret and the batch, so that it is never redrawn.",
            "noise_key",
            [noise_key("helper", outcome["batch"]), noise_key("leader", outcome["batch"])],
        ),
        "share": ("The helper's answer.", "share", [share_given | {"noise_key": helper_noise}]),
        "release": (
            "The noisy sum from masked vectors and the helper's share.",
            "release",
            [
                {
                    "parameters": PARAMETERS,
                    "masked": [item["masked"] for item in REPORTS],
                    "share": share,
                    "noise_key": leader_noise,
                }
            ],
        ),
        "discrete_gaussian": (
            "The sampler's output for a key, at scales that take one table, two and more.",
            "noise",
            [
                {"key": secret("noise").hex(), "sigma": bits_of(sigma), "count": 16}
                for sigma in (0.25, 3.5, 256.0, 1_000.0, 65_536.0, 2.0**40)
            ],
        ),
        "coin": (
            "Heads when the token, a big-endian integer, is below floor(q 2^64).",
            "coin",
            [
                {"rate": bits_of(rate), "token": token}
                for rate, token in (
                    (0.0, "00" * 8),
                    (1.0, "ff" * 8),
                    (0.5, "7f" + "ff" * 7),
                    (0.5, "80" + "00" * 7),
                    (2.0**-64, "00" * 8),
                    (2.0**-64, "00" * 7 + "01"),
                )
            ],
        ),
        "canonical_json": (
            "RFC 8785 as our documents use it.",
            "canonical",
            [{"value": value} for value in ({"b": 1, "a": [True, None, "é"]}, [0.1, 1e21, -0.0], "\u2028\n")],
        ),
        "document": (
            "A signed document: compact JWS, Ed25519, a type, the signer's fingerprint as kid.",
            "sign_document",
            [{"secret": DEVICES[0].seed().hex(), "type": "hearthside-test+jwt", "document": {"rounds": 3, "a": "b"}}],
        ),
        "verify_document": ("A document that verifies.", "verify_document", [document_given()]),
        "request": ("A signed request: RFC 9421 in one fixed profile.", "sign_request", [request_given()]),
        "verify_request": ("A request that verifies.", "verify_request", [verify_request_given()]),
        "merkle": ("Root and all proofs of a log of seven entries.", "merkle", [{"entries": entries}]),
        "verify_inclusion": ("A path that holds.", "verify_inclusion", [inclusion_given()]),
        "verify_consistency": ("A log that grew.", "verify_consistency", [consistency_given()]),
        "report_frame": (
            "A batch of one report on the wire.",
            "report_frame",
            [{"device_id": secret("name", 16).hex(), "consent_epoch": 4, "report": verify_given(REPORTS[0])["report"]}],
        ),
        "seal_frame": ("A batch of seals on the wire.", "seal_frame", [{"seals": ["00" * 5, "ff"]}]),
    }


def refusal(kind: str, given: Json) -> str:
    """The code with which our implementation refuses."""
    try:
        run(kind, copy.deepcopy(given))
    except Refused as error:
        return error.code
    raise AssertionError(f"expected a refusal of this {kind}")


def files() -> dict[str, Json]:
    """Every file by name."""
    made: dict[str, Json] = {}
    for name, (about, kind, inputs) in good().items():
        cases = [{"given": given, "gives": run(kind, given)} for given in inputs]
        made[name] = {"about": about, "kind": kind, "cases": cases}
    for name, (about, kind, given) in bad().items():
        made[name] = {"about": about, "kind": kind, "given": given, "refused": refusal(kind, given)}
    for name, (about, kind, given) in dropped().items():
        gives = run(kind, given)
        (failure,) = gives["failures"]
        made[name] = {"about": about, "kind": kind, "given": given, "dropped": failure["reason"], "gives": gives}
    return made


def text_of(document: Json) -> str:
    """A file's text."""
    return json.dumps(document, indent=1, ensure_ascii=True) + "\n"


def main() -> None:
    """Write every file, and remove those that are no longer made."""
    made = files()
    for path in OWN.glob("*.json"):
        if path.stem not in made:
            path.unlink()
    for name, document in made.items():
        (OWN / f"{name}.json").write_text(text_of(document), "utf-8")


if __name__ == "__main__":
    main()
