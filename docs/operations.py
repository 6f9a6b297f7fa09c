"""Write the tables of ``docs/operations.md`` from the code (``make docs``)."""

from __future__ import annotations

from pathlib import Path

from aggregator.operations_page import place

TARGET = Path(__file__).with_name("operations.md")

if __name__ == "__main__":
    TARGET.write_text(place(TARGET.read_text(encoding="utf-8")), encoding="utf-8")
