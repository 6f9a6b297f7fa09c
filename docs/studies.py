"""Draw the tables and diagrams of ``docs/studies.md`` from the code (``make docs``)."""

from __future__ import annotations

from pathlib import Path

from aggregator.diagrams import place

TARGET = Path(__file__).with_name("studies.md")

if __name__ == "__main__":
    TARGET.write_text(place(TARGET.read_text(encoding="utf-8")), encoding="utf-8")
