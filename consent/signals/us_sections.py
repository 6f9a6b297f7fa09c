"""The GPP's sections for the United States: one table, one reader.

Field tables after the section specifications of the Global Privacy Platform (IAB Tech Lab, Sections/US-National and
Sections/US-States). A section is a core of a 6-bit version and 2-bit fields; after it a segment of sensitive data in
the newest sections, and a segment that repeats the browser's Global Privacy Control.

The specifications of Maryland, Indiana, Kentucky and Rhode Island put a section header before the core; the reference
encoder writes none, and neither do the strings in circulation. This reads what is written.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from consent.signals.bits import Bits
from consent.signals.errors import SignalMalformed, SignalUnsupported

_MSPA: Final = "MspaCoveredTransaction MspaOptOutOptionMode MspaServiceProviderMode"
_MSPA_MODE: Final = "MspaCoveredTransaction MspaMode"
_NOTICES: Final = "SaleOptOutNotice TargetedAdvertisingOptOutNotice"
_OPT_OUTS: Final = "SaleOptOut TargetedAdvertisingOptOut"
_MODERN: Final = f"{_MSPA_MODE} ProcessingNotice {_NOTICES} {_OPT_OUTS}"
_CHILD: Final = "KnownChildSensitiveDataConsents"
_ADDITIONAL: Final = "AdditionalDataProcessingConsent"
_SENSITIVE: Final = "SensitiveDataProcessing"
_NATIONAL: Final = (
    "SharingNotice SaleOptOutNotice SharingOptOutNotice TargetedAdvertisingOptOutNotice "
    "SensitiveDataProcessingOptOutNotice SensitiveDataLimitUseNotice "
    "SaleOptOut SharingOptOut TargetedAdvertisingOptOut"
)
_CALIFORNIA: Final = (
    "SaleOptOutNotice SharingOptOutNotice SensitiveDataLimitUseNotice SaleOptOut SharingOptOut "
    f"{_SENSITIVE}*9 {_CHILD}*2 PersonalDataConsents {_MSPA}"
)
_GPC_SEGMENT: Final = 1


@dataclass(frozen=True, slots=True)
class Layout:
    """How a section is written.

    Attributes:
        id: the section's number in the GPP's registry.
        versions: the core's fields in order, by the version that the core begins with; ``name*n`` is a list of n.
        gpc: whether a Global Privacy Control segment may follow.
        sensitive: the fields of the segment of sensitive data; empty where the section has none.
        version_field: what the version is called.
    """

    id: int
    versions: dict[int, str]
    gpc: bool = True
    sensitive: str = ""
    version_field: str = "Version"


def _state(section: int, notices: str, lists: str, gpc: bool = True) -> Layout:  # noqa: FBT001, FBT002  # a table's column
    return Layout(section, {1: f"{notices} {lists} {_MSPA}"}, gpc)


def _usual(sensitive: int, children: int) -> str:
    child = _CHILD if children == 1 else f"{_CHILD}*{children}"
    return f"{_OPT_OUTS} {_SENSITIVE}*{sensitive} {child}"


def _newest(section: int) -> Layout:
    fields = f"{_MODERN} {_CHILD} {_ADDITIONAL}"
    return Layout(section, {1: fields}, gpc=False, sensitive=f"{_SENSITIVE}*8", version_field="MspaVersion")


_PROCESSING: Final = f"ProcessingNotice {_NOTICES}"
_SHARING: Final = f"SharingNotice {_NOTICES}"

LAYOUTS: Final[dict[str, Layout]] = {
    "usnat": Layout(
        7,
        {
            1: f"{_NATIONAL} {_SENSITIVE}*12 {_CHILD}*2 PersonalDataConsents {_MSPA}",
            2: f"{_NATIONAL} {_SENSITIVE}*16 {_CHILD}*3 PersonalDataConsents {_MSPA}",
        },
    ),
    "usca": Layout(8, {1: _CALIFORNIA}),
    "usva": _state(9, _SHARING, _usual(8, 1), gpc=False),
    "usco": _state(10, _SHARING, _usual(7, 1)),
    "usut": _state(11, f"{_SHARING} SensitiveDataProcessingOptOutNotice", _usual(8, 1), gpc=False),
    "usct": _state(12, _SHARING, _usual(8, 3)),
    "usfl": _state(13, _PROCESSING, f"{_usual(8, 3)} {_ADDITIONAL}", gpc=False),
    "usmt": _state(14, _SHARING, f"{_usual(8, 3)} {_ADDITIONAL}"),
    "usor": _state(15, _PROCESSING, f"{_usual(11, 3)} {_ADDITIONAL}"),
    "ustx": _state(16, _PROCESSING, f"{_usual(8, 1)} {_ADDITIONAL}"),
    "usde": _state(17, _PROCESSING, f"{_usual(9, 5)} {_ADDITIONAL}"),
    "usia": _state(18, f"{_PROCESSING} SensitiveDataOptOutNotice", _usual(8, 1)),
    "usne": _state(19, _PROCESSING, f"{_usual(8, 1)} {_ADDITIONAL}"),
    "usnh": _state(20, _PROCESSING, f"{_usual(8, 3)} {_ADDITIONAL}"),
    "usnj": _state(21, _PROCESSING, f"{_usual(10, 5)} {_ADDITIONAL}"),
    "ustn": _state(22, _PROCESSING, f"{_usual(8, 1)} {_ADDITIONAL}"),
    "usmn": _state(23, _PROCESSING, f"{_usual(8, 1)} {_ADDITIONAL}"),
    "usmd": Layout(24, {1: f"{_MODERN} {_ADDITIONAL}"}, version_field="MspaVersion"),
    "usin": _newest(25),
    "usky": _newest(26),
    "usri": _newest(27),
}
"""Every section of the United States but the older us_privacy (``uspv1``), by its name in the GPP."""


def read_us_section(name: str, text: str) -> dict[str, Any]:
    """Decode one section into its fields, in their order.

    Args:
        name: a key of ``LAYOUTS``.
        text: the section, its segments joined by dots.

    Raises:
        SignalMalformed: damaged, an undefined value, or a segment that the section does not have.
        SignalUnsupported: another version of the section.
    """
    layout = LAYOUTS[name]
    core, *others = text.split(".")
    fields = _core(Bits(core, "Core"), layout)
    if layout.sensitive and others:
        fields |= _sensitive(Bits(others.pop(0), "SensitiveData"), layout)
    if layout.gpc and others:
        fields |= _gpc(Bits(others.pop(0), "Gpc"))
    if others:
        most = _most(layout)
        raise SignalMalformed("segments", f"at most {most}", most + len(others))
    return fields


def _most(layout: Layout) -> int:
    return 1 + layout.gpc + bool(layout.sensitive)


def _core(bits: Bits, layout: Layout) -> dict[str, Any]:
    version = bits.integer(6, layout.version_field)
    if version not in layout.versions:
        known = " or ".join(map(str, layout.versions))
        raise SignalUnsupported(f"Core.{layout.version_field}", known, version)
    written = _written(layout, bits.left)
    fields = _two_bit_fields(bits, written)
    bits.finish()
    for field, values in fields.items():
        if isinstance(values, list):
            fields[field] = _fit(bits, field, values, _counts(layout.versions[version])[field])
    return {layout.version_field: version} | fields


def _written(layout: Layout, bits_left: int) -> str:
    """The longest of a section's layouts for which there are bits.

    Version numbers do not tell: when the national section's lists grew, platforms wrote the old layout as version 2 and
    the new one as version 1. The reference decoder goes by the length too.
    """
    fitting = [names for names in layout.versions.values() if 2 * sum(_counts(names).values()) <= bits_left]
    return fitting[-1] if fitting else layout.versions[1]


def _fit(bits: Bits, field: str, values: list[int], count: int) -> list[int]:
    """A list as long as its version has it: what is not written is not applicable; what has no place must be that."""
    if any(values[count:]):
        raise bits.fault(field, f"{count} categories in this version", "more of them")
    return (values + [0] * count)[:count]


def _counts(names: str) -> dict[str, int]:
    entries = (entry.partition("*") for entry in names.split())
    return {name: int(count or 1) for name, _, count in entries}


def _two_bit_fields(bits: Bits, names: str) -> dict[str, Any]:
    """0 not applicable, 1 and 2 the two answers; 3 is undefined. Whether the MSPA covers has no "not applicable"."""
    fields: dict[str, Any] = {}
    for entry in names.split():
        name, _, count = entry.partition("*")
        least = 1 if name == "MspaCoveredTransaction" else 0
        values = [bits.between(least, 2, 2, name) for _ in range(int(count or 1))]
        fields[name] = values if count else values[0]
    return fields


def _sensitive(bits: Bits, layout: Layout) -> dict[str, Any]:
    fields = _two_bit_fields(bits, layout.sensitive)
    bits.finish()
    return fields


def _gpc(bits: Bits) -> dict[str, Any]:
    kind = bits.between(_GPC_SEGMENT, _GPC_SEGMENT, 2, "GpcSegmentType")
    fields = {"GpcSegmentType": kind, "Gpc": bits.boolean("Gpc")}
    bits.finish()
    return fields
