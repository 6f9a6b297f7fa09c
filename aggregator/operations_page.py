"""Tables of ``docs/operations.md``, made from the settings' and the metrics' own definitions."""

from __future__ import annotations

from collections.abc import Iterable

from aggregator.made_pages import fill
from aggregator.metrics import Metrics
from aggregator.setting_sources import setting_rows
from aggregator.settings import HelperSettings, LeaderSettings, ServiceSettings


def parts() -> dict[str, str]:
    """What the page takes from here, by the name of its place."""
    return {
        "settings of both": _settings(LeaderSettings, [*ServiceSettings.model_fields], prefix="…"),
        "settings of the leader": _settings(LeaderSettings, _own(LeaderSettings)),
        "settings of the helper": _settings(HelperSettings, _own(HelperSettings)),
        "metrics": _metrics(),
    }


def place(page: str) -> str:
    """A page with everything between its markers made anew.

    Raises:
        ValueError: the page lacks a place.
    """
    return fill(page, parts())


def families() -> dict[str, tuple[str, tuple[str, ...], str]]:
    """Every series: its kind, its labels, what it is."""
    metrics, found = Metrics(), {}
    for registry, more in ((metrics.registry, ("worker",)), (metrics.state, ())):
        for collector in registry._collector_to_names:  # noqa: SLF001 - a family without a sample yet is in no collection
            for family in collector.collect():
                labels = tuple(getattr(collector, "_labelnames", ()))
                found[family.name] = (family.type, (*labels, *more), family.documentation)
    return found


def _own(kind: type[ServiceSettings]) -> list[str]:
    return [name for name in kind.model_fields if name not in ServiceSettings.model_fields]


def _settings(kind: type[ServiceSettings], names: Iterable[str], prefix: str = "") -> str:
    wanted = set(names)
    rows = [row for row in setting_rows(kind) if row["name"] in wanted]
    head = ("setting", "meaning", "default", "unit", "range")
    service = str(kind.model_config["env_prefix"])
    return _table(
        head,
        (
            (
                f"`{row['variable'].replace(service, prefix) if prefix else row['variable']}`",
                row["text"].replace("``", "`").replace("|", "\\|"),
                f"`{row['default']}`" if row["default"] not in {"none", "required"} else row["default"],
                row["unit"],
                row["range"],
            )
            for row in rows
        ),
    )


def _metrics() -> str:
    suffix = {"counter": "_total", "info": "_info"}
    rows = (
        (f"`{name}{suffix.get(kind, '')}`", kind, ", ".join(f"`{label}`" for label in labels), text)
        for name, (kind, labels, text) in sorted(families().items())
    )
    return _table(("series", "kind", "labels", "what it is"), rows)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = (head, ("---",) * len(head), *rows)
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
