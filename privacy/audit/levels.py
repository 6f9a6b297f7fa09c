"""What every audit is given besides its counts: delta, and the probability with which the bound may be wrong."""

from __future__ import annotations

from privacy.audit.errors import AuditInvalid


def check_levels(delta: float, significance: float) -> None:
    """Insist on delta in [0, 1) and significance in (0, 1/2).

    Raises:
        AuditInvalid: one of them is outside its range.
    """
    if not 0 <= delta < 1:
        raise AuditInvalid(f"expected delta in [0, 1), got {delta!r}")
    if not 0 < significance < 0.5:  # noqa: PLR2004  # documented range: at 1/2 a bound is a coin
        raise AuditInvalid(f"expected a significance in (0, 1/2), got {significance!r}")


def check_part(name: str, part: int, whole_name: str, whole: int) -> None:
    """Insist on ``0 <= part <= whole``.

    Raises:
        AuditInvalid: it is not so.
    """
    if not 0 <= part <= whole:
        raise AuditInvalid(f"expected {name} from 0 to {whole_name} ({whole}), got {part}")
