"""GPP strings: a header that lists sections in Fibonacci code, then the sections, joined by tildes.

After the "Global Privacy Platform String" specification (IAB Tech Lab, Core/Consent String Specification). Sections
that are not in the tables here are refused with their number: a statement that is not understood may not be skipped.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from consent.signals.bits import Bits, check_length
from consent.signals.errors import SignalError, SignalMalformed, SignalUnsupported
from consent.signals.reading import Reading, verdict
from consent.signals.tcf_sections import read_tcf_canada, read_tcf_europe
from consent.signals.us_privacy import parse_us_privacy
from consent.signals.us_sections import LAYOUTS, read_us_section
from consent.signals.vendors import fibonacci_ranges

_TYPE: Final = 3
_VERSION: Final = 1
_LAST_ID: Final = 63
"""Section ids have six bits where they are written plainly."""
NAMES: Final[dict[int, str]] = {2: "tcfeuv2", 5: "tcfcav1", 6: "uspv1"} | {
    layout.id: name for name, layout in LAYOUTS.items()
}
"""Every section that is read here, by its number in the GPP's registry."""


def read_gpp(text: str, now: int | None = None) -> Reading:
    """Decode a GPP string with all its sections, and say whether the specifications in force accept it.

    Args:
        text: the string as a page or request carries it.
        now: Unix seconds, to refuse strings from the future; None where no clock can be trusted.

    Raises:
        SignalMalformed: damaged anywhere, or another number of sections than the header lists.
        SignalUnsupported: a version or section that is not read here.
    """
    check_length(text, "GPP string")
    header, *bodies = text.split("~")
    ids = section_ids(header)
    if len(bodies) != len(ids):
        raise SignalMalformed("GPP string", f"{len(ids)} sections, as the header lists", len(bodies))
    sections: dict[str, dict[str, Any]] = {}
    objections = [] if ids else ["it has no section, and so says nothing"]
    for section, body in zip(ids, bodies, strict=True):
        name = NAMES[section]
        sections[name], against = _read_section(section, body, now)
        objections += [f"{name}: {objection}" for objection in against]
    accepted, reason = verdict(objections, "every section is valid; no consent to any purpose here")
    opts_out = any(fields.get("Gpc") is True for fields in sections.values())
    return Reading("gpp", accepted, reason, {"sectionIds": ids, "sections": sections}, opts_out)


def section_ids(header: str) -> list[int]:
    """The sections that a header lists, in their order.

    Raises:
        SignalMalformed: not a GPP header.
        SignalUnsupported: another version of it, or a section that is not read here.
    """
    bits = Bits(header, "header")
    kind, version = bits.integer(6, "Type"), bits.integer(6, "Version")
    if kind != _TYPE:
        raise bits.fault("Type", f"{_TYPE}", kind)
    if version != _VERSION:
        raise SignalUnsupported("header.Version", f"{_VERSION}", version)
    ids = fibonacci_ranges(bits, "Sections", _LAST_ID)
    bits.finish()
    for section in ids:
        if section not in NAMES:
            raise SignalUnsupported("header.Sections", f"sections of {sorted(NAMES)}", section)
    return ids


_Section = tuple[dict[str, Any], list[str]]


def _read_section(section: int, body: str, now: int | None) -> _Section:
    try:
        if section in _TCF:
            return _TCF[section](body, now)
        return (_usp(body) if NAMES[section] == "uspv1" else read_us_section(NAMES[section], body)), []
    except SignalError as error:
        raise type(error)(f"{NAMES[section]}.{error.field}", error.expected, error.got) from error


def _usp(body: str) -> dict[str, Any]:
    version, notice, opt_out, covered = parse_us_privacy(body)
    return {"Version": int(version), "Notice": notice, "OptOutSale": opt_out, "LspaCovered": covered}


_TCF: Final[dict[int, Callable[[str, int | None], _Section]]] = {2: read_tcf_europe, 5: read_tcf_canada}
