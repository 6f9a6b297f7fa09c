"""TC strings: what is accepted, what is refused and why, and that decoding is strict and total."""

import itertools
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consent.signals import SignalError, SignalMalformed, SignalUnsupported, read_tcf
from tests.consent.tc_strings import (
    ALPHABET,
    CREATED,
    DISCLOSED,
    TcCore,
    fibonacci,
    in_bit_field,
    in_ranges,
    number,
    pack,
    tc_string,
)

ids = st.lists(st.integers(1, 300), unique=True, max_size=40).map(sorted)
purposes = st.lists(st.integers(1, 24), unique=True, max_size=24).map(sorted)
lists = st.sampled_from([in_bit_field, in_ranges])
two_letters = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ", min_size=2, max_size=2)


@given(
    st.integers(CREATED, 2**36 - 1), st.integers(1, 4095), two_letters, two_letters, purposes, purposes, ids, ids, ids,
    lists, st.booleans(), st.lists(st.tuples(st.integers(1, 24), st.integers(0, 2)), unique=True, max_size=5),
)  # fmt: skip
def test_what_is_written_is_read(
    updated, cmp, language, country, consents, interests, agreed, claimed, shown, write, specific, restricted
):
    """Every field of a core and its disclosed vendors comes back, in both encodings of vendors."""
    core = TcCore(
        updated=updated, cmp=cmp, language=language, country=country, consents=consents, interests=interests,
        specific=specific, vendor_consents=write(agreed), vendor_interests=write(claimed),
        restrictions=[(purpose, kind, [(3, 5), (9, 9)]) for purpose, kind in restricted],
    )  # fmt: skip
    reading = read_tcf(tc_string(core, pack(number(1, 3) + write(shown))))
    decoded = reading.decoded
    assert reading.accepted is specific
    assert (decoded["cmpId"], decoded["consentLanguage"], decoded["publisherCountryCode"]) == (cmp, language, country)
    assert (decoded["purposeConsents"], decoded["purposeLegitimateInterests"]) == (consents, interests)
    assert (decoded["vendorConsents"], decoded["vendorLegitimateInterests"]) == (agreed, claimed)
    assert (decoded["vendorsDisclosed"], decoded["vendorsAllowed"]) == (shown, [])
    assert decoded["lastUpdated"].endswith(f"{updated % 10}00Z")
    assert decoded["publisherRestrictions"] == [
        {"purposeId": purpose, "restrictionType": kind, "vendors": [3, 4, 5, 9]} for purpose, kind in restricted
    ]


def test_segments_come_in_any_order():
    """Publisher purposes with custom ones, allowed and disclosed vendors, in each order, say the same."""
    publisher = pack(number(3, 3) + "1" + "0" * 23 + "01" + "0" * 22 + number(3, 6) + "101" + "010")
    allowed = pack(number(2, 3) + in_ranges([2, 3, 4]))
    orders = itertools.permutations([DISCLOSED, allowed, publisher])
    first, *rest = [read_tcf(tc_string(None, *order)).decoded for order in orders]
    assert all(decoded == first for decoded in rest)
    assert first["vendorsAllowed"] == [2, 3, 4]
    assert (first["publisherConsents"], first["publisherLegitimateInterests"]) == ([1], [2])
    assert first["numCustomPurposes"] == 3
    assert (first["publisherCustomConsents"], first["publisherCustomLegitimateInterests"]) == ([1, 3], [2])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (TcCore().text(), "DisclosedVendors"),
        (tc_string(TcCore(specific=False)), "IsServiceSpecific is 0"),
        (tc_string(TcCore(updated=CREATED + 10_000)), "future"),
    ],
    ids=["no disclosed vendors", "global scope", "from the future"],
)
def test_what_the_framework_refuses_today_decodes_with_the_reason(text, reason):
    """A string that was once valid is readable, not accepted, and says why."""
    reading = read_tcf(text, now=CREATED // 10)
    assert not reading.accepted
    assert reason in reading.reason
    assert reading.decoded["cmpId"] == 880


def test_all_reasons_are_given():
    """Two faults, two reasons."""
    assert read_tcf(TcCore(specific=False).text()).reason.count(";") == 1


CORE = TcCore().bits()


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("", "Core"),
        ("C", "Core.Created"),
        (tc_string() + "=", "DisclosedVendors"),
        (tc_string().replace("A", "+", 1), "Core"),
        (tc_string() + "\n", "DisclosedVendors"),
        (tc_string() + ".", "segment"),
        ("." + tc_string(), "Core"),
        (pack(CORE[:-10]), "Core.PubRestrictions.NumPubRestrictions"),
        (pack(CORE + "000001"), "Core.end"),
        (pack(CORE + "0" * 24), "Core.end"),
        (tc_string(TcCore(cmp=0)), "Core.CmpId"),
        (tc_string(TcCore(updated=CREATED - 1)), "Core.LastUpdated"),
        (tc_string(TcCore(created=0)), "Core.Created"),
        (tc_string(TcCore(language="E[")), "Core.ConsentLanguage"),
        (tc_string(TcCore(vendor_consents=number(5, 16) + "1" + number(1, 12) + "0" + number(6, 16))), "Core.Vendor"),
        (tc_string(TcCore(vendor_consents=number(5, 16) + "1" + number(1, 12) + "0" + number(0, 16))), "Core.Vendor"),
        (tc_string(TcCore(vendor_consents=number(5, 16) + "1" + number(1, 12) + "1" + number(4, 16) + number(3, 16))),
         "Core.VendorConsent.EndVendorId"),
        (tc_string(TcCore(vendor_consents=number(65_535, 16) + "0")), "Core.VendorConsent.BitField"),
        (tc_string(TcCore(restrictions=[(0, 0, [])])), "Core.PubRestrictions.PurposeId"),
        (tc_string(TcCore(restrictions=[(25, 0, [])])), "Core.PubRestrictions.PurposeId"),
        (tc_string(TcCore(restrictions=[(1, 3, [])])), "Core.PubRestrictions.RestrictionType"),
        (tc_string(TcCore(restrictions=[(1, 1, [(1, 1)]), (1, 1, [(2, 2)])])), "Core.PubRestrictions"),
        (tc_string(None, DISCLOSED, DISCLOSED), "DisclosedVendors"),
        (tc_string(None, pack(number(0, 3) + in_bit_field([1]))), "segment.SegmentType"),
        (tc_string(None, pack(number(4, 3) + in_bit_field([1]))), "segment.SegmentType"),
        (tc_string(None, pack(number(3, 3) + "0" * 48 + number(9, 6))), "PublisherTC.CustomPurposes"),
        ("C" * 65_537, "TC string"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(text, field):
    """Each fault is an error that says where, what was expected and what was got, without repeating the string."""
    with pytest.raises(SignalMalformed) as caught:
        read_tcf(text)
    assert caught.value.field.startswith(field)
    assert caught.value.expected
    assert caught.value.got
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("version", [0, 1, 3, 63])
def test_other_versions_are_unsupported(version):
    """A string of any version but 2 is refused as such, whatever follows."""
    with pytest.raises(SignalUnsupported, match=f"expected 2, got {version}"):
        read_tcf(tc_string(TcCore(version=version)) + "=")


def test_a_short_string_cannot_ask_for_gigabytes():
    """Ranges that would expand to millions of vendors are refused before they are listed."""
    everybody = [(1, 65_535)]
    few = tc_string(TcCore(restrictions=[(purpose, 0, everybody) for purpose in range(1, 11)]))
    assert len(read_tcf(few).decoded["publisherRestrictions"]) == 10
    with pytest.raises(SignalMalformed, match="1048576 ids in all"):
        read_tcf(tc_string(TcCore(restrictions=[(purpose, 0, everybody) for purpose in range(1, 25)])))
    with pytest.raises(SignalMalformed, match="1048576 ids in all"):
        read_tcf(tc_string(TcCore(restrictions=[(1, 0, everybody * 4_000)])))


beginnings = st.text(ALPHABET, max_size=200).map("CQSbk4AQSbk4ANwAAAENAwCgAAAAAAAAAA".__add__)


@settings(max_examples=200)
@given(st.one_of(st.text(max_size=80), st.text(ALPHABET + ".=", max_size=200), beginnings))
def test_decoding_is_total(text):
    """Any text gives a reading or a typed error."""
    with suppress(SignalError):
        assert read_tcf(text).reason


@given(st.integers(0, len(tc_string()) - 1), st.sampled_from(ALPHABET))
def test_a_changed_character_changes_what_is_read(at, character):
    """No bit of the string is ignored but padding: a change is refused or shows."""
    text = tc_string()
    changed = text[:at] + character + text[at + 1 :]
    try:
        reading = read_tcf(changed)
    except SignalError:
        return
    assert (reading.decoded == read_tcf(text).decoded) is (changed == text)


@given(st.integers(1, 65_535))
def test_fibonacci_codes_of_the_writer_end_as_codes_do(value):
    """The tests' own writer: a code holds two ones in a row, at its end alone."""
    code = fibonacci(value)
    assert code.endswith("11")
    assert "11" not in code[:-1]
