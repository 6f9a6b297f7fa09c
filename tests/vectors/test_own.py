"""Our own vectors: every file through our code, as through any other; and no file drifts from its maker."""

from __future__ import annotations

import copy
import hashlib
import hmac
import json

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB

from tests.vectors import generate, material, ours

FILES = {path.stem: json.loads(path.read_text("utf-8")) for path in sorted(generate.OWN.glob("*.json"))}
GOOD = [
    pytest.param(file["kind"], case, id=f"{name}-{index}")
    for name, file in FILES.items()
    for index, case in enumerate(file.get("cases", ()))
]
BAD = [pytest.param(file, id=name) for name, file in FILES.items() if name.startswith("bad_")]


@pytest.mark.parametrize(("kind", "case"), GOOD)
def test_good(kind, case):
    """What is given gives exactly what the file says."""
    assert ours.run(kind, copy.deepcopy(case["given"])) == case["gives"]


@pytest.mark.parametrize("file", BAD)
def test_bad(file):
    """One defect, one code: the whole call is refused, or the helper drops that report alone and says why."""
    if "dropped" in file:
        gives = ours.run(file["kind"], copy.deepcopy(file["given"]))
        assert [item["reason"] for item in gives["failures"]] == [file["dropped"]]
        assert gives == file["gives"]
        return
    with pytest.raises(ours.Refused) as refusal:
        ours.run(file["kind"], copy.deepcopy(file["given"]))
    assert refusal.value.code == file["refused"]


def test_the_files_are_what_the_generator_writes():
    """The same names, the same bytes: a change of a derivation or an error code shows here."""
    made = {name: generate.text_of(document) for name, document in generate.files().items()}
    assert made == {path.stem: path.read_text("utf-8") for path in generate.OWN.glob("*.json")}


def test_every_kind_has_a_good_file():
    """No call of the runner is without a vector, and each of those that can refuse has a bad file."""
    kinds = {file["kind"] for name, file in FILES.items() if not name.startswith("bad_")}
    assert kinds | {"unpack", "parse_canonical", "read_seal_frame"} == ours.KINDS
    assert len(BAD) >= 60


@pytest.mark.parametrize("case", FILES["mask"]["cases"], ids=["narrow", "wide"])
def test_masks_by_definition(case):
    """HMAC, then single AES blocks of a counter: none of our code."""
    given = case["given"]
    context = FILES["context"]["cases"][0]["gives"]["digest"]
    prk = hmac.digest(bytes(32), bytes.fromhex(given["seed"]), hashlib.sha256)
    info = b"hearthside/1/secure-sum/mask" + bytes.fromhex(context)
    keys = hmac.digest(prk, info + b"\x01", hashlib.sha256)
    counter, cipher = int.from_bytes(keys[16:], "big"), Cipher(AES(keys[:16]), ECB()).encryptor()
    stream = b"".join(cipher.update(((counter + i) % 2**128).to_bytes(16, "big")) for i in range(7))
    wide = given["parameters"]["maximum_cohort"] > 20
    bits, width = (FILES["parameters"]["cases"][int(wide)]["gives"]["modulus_bits"], 8 if wide else 4)
    words = [int.from_bytes(stream[at : at + width], "little") % 2**bits for at in range(0, 13 * width, width)]
    assert [str(word) for word in words] == case["gives"]["words"]


@pytest.mark.parametrize("case", FILES["pack"]["cases"], ids=lambda case: str(case["given"]["bits"]))
def test_packing_by_definition(case):
    """Planes of 4, 2 and 1 bytes for what b contains of 32, 16 and 8; the rest as bit planes of groups of eight."""
    bits, words = case["given"]["bits"], [int(word) for word in case["given"]["words"]]
    out, shift = b"", 0
    for width in (32, 16, 8):
        if bits & width:
            out += b"".join((word >> shift & (2**width - 1)).to_bytes(width // 8, "little") for word in words)
            shift += width
    rest, groups = bits % 8, -(-len(words) // 8)
    lanes = [word >> shift for word in words] + [0] * (8 * groups - len(words))
    squeezed = [
        sum(lanes[8 * group + lane] << rest * lane for lane in range(8)).to_bytes(rest, "little")
        for group in range(groups)
    ]
    out += b"".join(bytes(each[plane] for each in squeezed) for plane in range(rest))
    assert out.hex() == case["gives"]["packed"]


def test_the_files_tell_one_story():
    """Reports, helper's total, share and release of one round: the release is the sum of the values and both noises."""
    noise = [ours.run("noise", noise_of(case["gives"]["key"]))["values"] for case in FILES["noise_key"]["cases"]]
    truth = [sum(int(material.values(index)[entry]) for index in range(4)) for entry in range(13)]
    total = FILES["release"]["cases"][0]["gives"]["total"]
    assert [int(t) - int(h) - int(lead) for t, h, lead in zip(total, *noise, strict=True)] == truth


def noise_of(key: str) -> dict:
    sigma = FILES["parameters"]["cases"][0]["gives"]["noise_sigma"]
    return {"key": key, "sigma": ours.bits_of(float(sigma)), "count": 13}
