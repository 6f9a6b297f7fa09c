"""GPP and us_privacy strings: the header, the sections, what is accepted and that decoding is strict and total."""

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consent.signals import SignalError, SignalMalformed, SignalUnsupported, read_gpp, read_us_privacy
from consent.signals.gpp import NAMES, section_ids
from consent.signals.us_sections import LAYOUTS
from tests.consent.tc_strings import (
    ALPHABET,
    CREATED,
    TcCore,
    fibonacci,
    header,
    letters,
    number,
    pack,
    spans,
    tc_string,
)

CALIFORNIA = pack(number(1, 6) + "01" * 3 + "10" * 2 + "00" * 9 + "01" * 2 + "10" + "01" + "10" + "00")


def gpp(*sections):
    """A string of (id, text) pairs."""
    return "~".join([header([section for section, _ in sections]), *(text for _, text in sections)])


@given(st.lists(st.sampled_from(sorted(NAMES)), unique=True).map(sorted))
def test_a_header_lists_its_sections(ids):
    """Any set of sections comes back in order."""
    assert section_ids(header(ids)) == ids


def test_a_header_may_list_a_run_of_sections():
    """Groups say where they start and how many follow."""
    bits = number(3, 6) + number(1, 6) + number(2, 12) + "0" + fibonacci(2) + "1" + fibonacci(3) + fibonacci(22)
    assert section_ids(pack(bits)) == [2, *range(5, 28)]


def test_every_field_of_a_section_is_read_where_it_stands():
    """California with a different value in each group of fields."""
    decoded = read_gpp(gpp((8, f"{CALIFORNIA}.{pack('011')}"))).decoded
    assert decoded["sectionIds"] == [8]
    assert decoded["sections"]["usca"] == {
        "Version": 1, "SaleOptOutNotice": 1, "SharingOptOutNotice": 1, "SensitiveDataLimitUseNotice": 1,
        "SaleOptOut": 2, "SharingOptOut": 2, "SensitiveDataProcessing": [0] * 9,
        "KnownChildSensitiveDataConsents": [1, 1], "PersonalDataConsents": 2, "MspaCoveredTransaction": 1,
        "MspaOptOutOptionMode": 2, "MspaServiceProviderMode": 0, "GpcSegmentType": 1, "Gpc": True,
    }  # fmt: skip


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_section_of_the_united_states_round_trips(name):
    """Values that change from field to field come back in order, in every version of every section."""
    layout = LAYOUTS[name]
    for version, names in layout.versions.items():
        widths = [int(entry.partition("*")[2] or 1) for entry in names.split()]
        values = [1 + at % 2 for at in range(sum(widths))]
        core = pack(number(version, 6) + "".join(number(value, 2) for value in values))
        fields = read_gpp(gpp((layout.id, core))).decoded["sections"][name]
        flat = [v for value in list(fields.values())[1:] for v in (value if isinstance(value, list) else [value])]
        assert flat == values
        assert fields[layout.version_field] == version


def test_the_browsers_signal_inside_a_string_is_a_fact_for_the_policy():
    """A Gpc bit that is set, and nothing else, becomes an opt-out."""
    assert read_gpp(gpp((8, f"{CALIFORNIA}.{pack('011')}"))).signals.gpc
    assert not read_gpp(gpp((8, f"{CALIFORNIA}.{pack('010')}"))).signals.gpc
    assert not read_gpp(gpp((8, CALIFORNIA))).signals.gpc


CANADA = "BPSG_8APSG_8AAyACAENGdCgf_gfgAfgfgBhADVqxGAD0AILVgAA.fHHHA4444ao"


def test_canadas_restrictions_and_disclosed_vendors_are_read():
    """What the public strings leave empty: restrictions in optimised lists, and the disclosed vendors' segment."""
    optimised = number(9, 16) + "1" + number(2, 12) + "0" + fibonacci(3) + "1" + fibonacci(2) + fibonacci(4)
    meta = TcCore(version=1).bits()[: 6 + 36 + 36 + 12 + 12 + 6 + 12 + 12 + 6]
    empty = number(0, 16) + "0"
    core = meta + "0" * (1 + 12 + 24 + 24) + optimised + empty + number(1, 12) + number(4, 6) + number(2, 2) + optimised
    fields = read_gpp(gpp((5, f"{pack(core)}.{pack(number(1, 3) + optimised)}"))).decoded["sections"]["tcfcav1"]
    listed = [3, 5, 6, 7, 8, 9]
    assert fields["VendorExpressConsent"] == fields["DisclosedVendors"] == listed
    assert fields["PubRestrictions"] == [{"key": 4, "type": 2, "ids": listed}]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (header([]), "says nothing"),
        (gpp((2, TcCore().text())), "tcfeuv2: no DisclosedVendors"),
        (gpp((2, tc_string(TcCore(cmp=0)))), "tcfeuv2: CmpId is 0"),
        (gpp((2, tc_string(TcCore(specific=False)))), "tcfeuv2: IsServiceSpecific is 0"),
        (gpp((2, tc_string(TcCore(updated=CREATED + 10_000)))), "tcfeuv2: LastUpdated is in the future"),
        (gpp((5, pack(TcCore(version=1, updated=CREATED + 10_000).bits()[:138] + "0" * 107))), "tcfcav1: LastUpdated"),
    ],
)
def test_a_section_that_its_framework_refuses_is_named(text, reason):
    """It decodes, is not accepted, and the reason says which section."""
    reading = read_gpp(text, now=CREATED // 10)
    assert not reading.accepted
    assert reason in reading.reason


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("", "header"),
        ("DBAA=", "header"),
        ("CBAA", "header.Type"),
        ("DBAA~", "GPP string"),
        ("DBABLA", "GPP string"),
        (header([6]), "GPP string"),
        (pack(number(3, 6) + number(1, 6) + number(1, 12) + "0" + fibonacci(64)), "header.Sections"),
        (pack(number(3, 6) + number(1, 6) + number(9, 12)), "header.Sections"),
        (header([6]) + "C~1YNN", "header.end"),
        (gpp((6, "1YN")), "uspv1.us_privacy"),
        (gpp((7, "")), "usnat.Core"),
        (gpp((7, "BVQqAAAAAgA.QA.QA")), "usnat.segments"),
        (gpp((9, "BAAAABA.QA")), "usva.segments"),
        (gpp((7, "BVQqAAAAAgA.gA")), "usnat.Gpc.GpcSegmentType"),
        (gpp((7, "BVQqAAAAAgA.QB")), "usnat.Gpc.end"),
        (gpp((7, "B_QqAAAAAgA")), "usnat.Core.SharingNotice"),
        (gpp((7, "BVQqAAAAAAA")), "usnat.Core.MspaCoveredTransaction"),
        (gpp((7, "BVQqAAA")), "usnat.Core."),
        (gpp((7, pack(number(1, 6) + "01" * 32))), "usnat.Core.SensitiveDataProcessing"),
        (gpp((5, CANADA + ".QAAA")), "tcfcav1.AllowedVendors"),
        (gpp((2, tc_string(TcCore(updated=CREATED - 1)))), "tcfeuv2.Core.LastUpdated"),
    ],
)
def test_what_is_wrong_is_named(text, field):
    """Each fault is an error that says in which section and field."""
    with pytest.raises(SignalMalformed) as caught:
        read_gpp(text)
    assert caught.value.field.startswith(field)


@pytest.mark.parametrize(
    "text",
    [
        "DCAA", gpp((3, "AAAA")), gpp((28, "BAAA")), gpp((8, "CAAAAABA")), gpp((7, "DVQqAAAAAgA")),
        gpp((2, tc_string(TcCore(version=3)))), gpp((5, tc_string())),
    ],
)  # fmt: skip
def test_what_is_not_known_is_not_guessed(text):
    """Other versions of the header or of a section, and sections without a table."""
    with pytest.raises(SignalUnsupported):
        read_gpp(text)


def test_a_fibonacci_code_without_an_end_is_given_up_early():
    """Code words longer than any section or vendor needs are refused where they get too large."""
    with pytest.raises(SignalMalformed, match="a Fibonacci-coded number up to 65535, got a larger one"):
        section_ids(pack(number(3, 6) + number(1, 6) + number(1, 12) + "0" * 90 + "11"))


def test_fibonacci_ranges_stay_within_their_largest_id():
    """An optimised list that runs past what it announced is refused."""
    meta = TcCore(version=1).bits()[:138] + "0" * 61
    beyond = number(4, 16) + "1" + number(1, 12) + "1" + fibonacci(2) + fibonacci(3)
    with pytest.raises(SignalMalformed, match="ids up to 4"):
        read_gpp(gpp((5, pack(meta + beyond))))


@pytest.mark.parametrize(
    ("text", "accepted", "decoded"),
    [
        ("1ynn", True, {"notice": "Y", "opt_out_sale": "N", "lspa": "N"}),
        ("1Y-N", False, {"notice": "Y", "opt_out_sale": None, "lspa": "N"}),
        ("2YNN", False, {"notice": "Y", "opt_out_sale": "N", "lspa": "N"}),
        ("1---", False, {"applies": False}),
    ],
)
def test_us_privacy_is_accepted_as_published(text, accepted, decoded):
    """Only version 1 was published, and an opt-out of sale is never left open where the law applies."""
    reading = read_us_privacy(text)
    assert (reading.accepted, reading.decoded) == (accepted, decoded)


@pytest.mark.parametrize("text", ["", "1YN", "1YNNN", "3YNN", "YNNN", "1Y N", "1YNN\n", "１YNN", "1XNN"])
def test_us_privacy_of_another_form_is_refused(text):
    """Four characters of the grammar, nothing around them."""
    with pytest.raises(SignalMalformed):
        read_us_privacy(text)


@settings(max_examples=200)
@given(
    st.one_of(
        st.text(max_size=60),
        st.text(ALPHABET + ".~", max_size=120),
        st.tuples(st.sampled_from(sorted(NAMES)), st.text(ALPHABET + ".", max_size=80)).map(gpp),
    )
)
def test_decoding_is_total(text):
    """Any text gives a reading or a typed error."""
    for read in (read_gpp, read_us_privacy):
        with suppress(SignalError):
            assert read(text).reason


def test_ranges_of_the_writer_are_what_the_specification_shows():
    """The tests' own writer, against the specification's example of an integer range."""
    assert spans([(3, 3), (5, 8)]) == "000000000010" + "0" + number(3, 16) + "1" + number(5, 16) + number(8, 16)
    assert (fibonacci(1), fibonacci(4), fibonacci(7), letters("B")) == ("11", "1011", "01011", "000001")
    assert header([2, 6]) == "DBACNY"
