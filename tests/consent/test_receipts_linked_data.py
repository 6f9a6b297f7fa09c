"""Receipts as linked data: what a JSON-LD processor makes of them, and whether every term exists."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from pyld import jsonld

from consent import INTENT, PERSONA, PURPOSES, Receipt, decline, grant, notice, open_ledger, record
from consent.receipts import MAXIMUM_RECEIPT_CHARACTERS
from tests.consent.scenes import NOW, PARTIES, SITE, a_grant, signed
from tests.consent.vocabulary import DPV, RECEIPT_TERMS, exists

PAGE = Path(__file__).resolve().parents[2] / "docs" / "consent-receipts.md"

VERSIONS = ((INTENT, 1), (PERSONA, 1))


def no_network(url: str, _options: Any) -> Any:
    raise AssertionError(f"expected a receipt to need no other document, it asked for {url}")


def expanded(receipt: Receipt) -> list[Any]:
    result: list[Any] = jsonld.expand(receipt.document(), {"documentLoader": no_network})
    return result


def everything(purposes: list[str] | None = None) -> Receipt:
    return a_grant(purposes=purposes or [purpose.id for purpose in PURPOSES])


def a_withdrawal() -> Receipt:
    state, _ = record(open_ledger(PARTIES), signed(a_grant()), NOW)
    return decline(state, [INTENT], notice=notice(SITE, "en"), issued_at=NOW)


def a_refusal() -> Receipt:
    return decline(open_ledger(PARTIES), [INTENT, PERSONA], notice=notice(SITE, "de"), issued_at=NOW)


RECEIPTS = {"grant": everything, "withdrawal": a_withdrawal, "refusal": a_refusal}


def nodes(value: Any) -> list[dict[str, Any]]:
    """Every object of a JSON value, its context apart."""
    if isinstance(value, list):
        return [node for part in value for node in nodes(part)]
    if not isinstance(value, dict):
        return []
    return [value] + [node for key, part in value.items() if key != "@context" for node in nodes(part)]


def facts(document: Any) -> int:
    """How many (key, value) pairs a document states, the values of a list counted apart."""
    keys = [(key, part) for node in nodes(document) for key, part in node.items()]
    return sum(
        max(1, len(part)) if isinstance(part, list) else 1 for key, part in keys if key not in {"@context", "@value"}
    )


def iris(value: Any) -> set[str]:
    """Every IRI that a document uses as a property, a type or a value."""
    found: set[str] = set()
    for node in nodes(value):
        found |= {key for key in node if not key.startswith("@")}
        found |= set(node.get("@type", []))
        found |= {node["@id"]} if "@id" in node else set()
    return found


def known(iri: str) -> bool:
    own = r"urn:hearthside:(receipt:1|notice:[0-9a-f]{64}|purpose:[a-z_]+:[0-9]+)"
    return exists(iri) or re.fullmatch(own, iri) is not None


@pytest.mark.parametrize("kind", RECEIPTS)
def test_a_json_ld_processor_drops_nothing(kind):
    """Every key means something: as many facts come out as went in, and nothing outside is asked for."""
    receipt = RECEIPTS[kind]()
    assert receipt.kind == kind
    assert facts(expanded(receipt)) == facts(receipt.document())


@pytest.mark.parametrize("kind", RECEIPTS)
def test_every_term_exists(kind):
    """Types, properties and values are IRIs of vocabularies that have them; none is a prefix that was not resolved."""
    assert {iri for iri in iris(expanded(RECEIPTS[kind]())) if not known(iri)} == set()


def test_a_term_that_does_not_exist_is_found():
    """The two checks above can fail: an invented term, a name without a vocabulary, a prefix without a meaning."""
    for invented in ("dpv:hasConsentReceipt", "fingerprint", "elsewhere:term"):
        document = {**everything().document(), invented: "x"}
        result = jsonld.expand(document, {"documentLoader": no_network})
        assert facts(result) != facts(document) or not all(known(iri) for iri in iris(result))


def test_no_vocabulary_is_declared_that_is_not_used():
    """The context is signed with every receipt, so that it holds no more than it must."""
    document = everything().document()
    text = json.dumps({key: value for key, value in document.items() if key != "@context"})
    assert [prefix for prefix in document["@context"] if f'"{prefix}:' not in text] == []
    used = {iri.removeprefix(DPV) for kind in RECEIPTS.values() for iri in iris(expanded(kind()))}
    assert used >= RECEIPT_TERMS


def test_values_of_the_vocabulary_are_references_not_words():
    """What DPV names by IRI is an IRI here: legal basis, jurisdiction, who indicated, the schema, the notice."""
    (node,) = expanded(everything())
    assert node[DPV + "hasLegalBasis"] == [{"@id": DPV.replace("#", "/legal/eu/gdpr#") + "A6-1-a"}]
    assert node[DPV + "hasJurisdiction"] == [{"@id": "https://w3id.org/dpv/loc#EU"}]
    assert node[DPV + "hasConsentStatus"][0][DPV + "isIndicatedBy"] == [{"@id": DPV + "DataSubject"}]
    assert {"@id": "https://w3id.org/dpv/schema/dpv-27560#receipt"} in node["http://purl.org/dc/terms/conformsTo"]
    assert node[DPV + "hasNotice"][0]["@id"].startswith("urn:hearthside:notice:")


def test_a_receipt_of_every_purpose_stays_small():
    """The largest honest receipt is far below what a verifier takes in."""
    assert len(PURPOSES) >= 7
    assert len(signed(everything())) < MAXIMUM_RECEIPT_CHARACTERS // 3


def test_each_receipt_has_an_identifier_of_its_own():
    """Two refusals in one second and one epoch differ by what they refuse; a grant and a withdrawal by their epoch."""
    state = open_ledger(PARTIES)
    shown = notice(SITE, "en")
    refusals = [decline(state, [name], notice=shown, issued_at=NOW) for name in (INTENT, PERSONA)]
    granted = grant(state, [INTENT], notice=shown, issued_at=NOW)
    names = [receipt.identifier for receipt in (*refusals, granted, a_withdrawal())]
    assert len(set(names)) == len(names)


def test_the_page_shows_a_receipt_as_it_is_written():
    """The example in docs/consent-receipts.md is what the code makes of the tests' fixed keys."""
    shown = re.search(r"```json\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert shown is not None
    example = a_grant(purposes=(INTENT, PERSONA), notice_hash=bytes(range(32)), purpose_versions=VERSIONS)
    assert json.loads(shown[1]) == example.document()


def test_the_page_names_every_field():
    """Every property of a receipt is in the page's table, so that none is added without saying what it is."""
    text = PAGE.read_text(encoding="utf-8").split("```json")[0]
    properties = {key for node in nodes(everything().document()) for key in node if not key.startswith("@")}
    assert [name for name in sorted(properties) if f"`{name}`" not in text] == []
