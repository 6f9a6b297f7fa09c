"""The public vectors of TC strings, GPP strings and us_privacy strings: every one, field for field."""

import pytest

from consent.signals import SignalError, SignalUnsupported, read_gpp, read_tcf, read_us_privacy
from tests.consent.signal_vectors import FOLDER, GPP, SEC_GPC, TCF_V1, TCF_V2, US_PRIVACY, shown

pytestmark = pytest.mark.realdata


def test_no_vector_is_skipped():
    """What the parametrised tests run over is what the files hold."""
    strings = ('"tc_string":', '"string":', '"gpp_string":', '"s":', '"headers":')
    files = ("tcf_v2_vectors", "tcf_v1_vectors", "gpp_vectors", "usprivacy_gpc_vectors", "usprivacy_gpc_vectors")
    counts = [
        (FOLDER / f"{file}.json").read_text(encoding="utf-8").count(key)
        for file, key in zip(files, strings, strict=True)
    ]
    assert [len(cases) for cases in (TCF_V2, TCF_V1, GPP, US_PRIVACY, SEC_GPC)] == counts == [30, 21, 15, 6, 8]


@pytest.mark.parametrize("vector", TCF_V2, ids=lambda v: shown(v["tc_string"]))
def test_tc_strings_decode_exactly_or_are_refused(vector):
    """Fields, number of segments and validity under the specification in force; bad strings are typed errors."""
    if not vector["ok"]:
        with pytest.raises(SignalError):
            read_tcf(vector["tc_string"])
        return
    reading = read_tcf(vector["tc_string"])
    assert reading.decoded == vector["decoded"]
    assert reading.accepted is vector["valid_under_current_spec"]
    assert list(reading.document()["decoded"]) == list(vector["decoded"])


@pytest.mark.parametrize("vector", TCF_V1, ids=lambda v: shown(v["string"]))
def test_strings_of_version_1_are_refused_as_such(vector):
    """Never read as version 2, and the error says which version was expected and which came."""
    with pytest.raises(SignalUnsupported, match=r"Version: expected 2, got 1"):
        read_tcf(vector["string"])


@pytest.mark.parametrize("vector", GPP, ids=lambda v: shown(v["gpp_string"]))
def test_gpp_strings_decode_exactly_or_are_refused(vector):
    """Header and every field of every section, in order; bad strings are typed errors."""
    if not vector["ok"]:
        with pytest.raises(SignalError):
            read_gpp(vector["gpp_string"])
        return
    decoded = read_gpp(vector["gpp_string"]).decoded
    assert decoded == {"sectionIds": vector["sectionIds"], "sections": vector["sections"]}
    for name, fields in vector["sections"].items():
        assert list(decoded["sections"][name]) == list(fields)


@pytest.mark.parametrize("vector", US_PRIVACY, ids=lambda v: v["s"])
def test_us_privacy_strings_decode_exactly(vector):
    """The named answers, or that the law does not apply."""
    assert read_us_privacy(vector["s"]).decoded == {name: value for name, value in vector.items() if name != "s"}
