"""The public vectors of consent signals, for parametrised tests; none where the data is not there."""

from __future__ import annotations

import json
from typing import Any

from tests.conftest import DATA

FOLDER = DATA / "consent"


def vectors(name: str, *inside: str) -> list[dict[str, Any]]:
    """The cases of one file; ``inside`` names the members on the way to them."""
    path = FOLDER / name
    if not path.is_file():
        return []
    found = json.loads(path.read_text(encoding="utf-8"))
    for member in inside:
        found = found[member]
    return found["vectors"]


def shown(text: str) -> str:
    """A string as a test's id."""
    return text if len(text) <= 60 else f"{text[:40]}..{text[-8:]}({len(text)})"


TCF_V2 = vectors("tcf_v2_vectors.json")
TCF_V1 = vectors("tcf_v1_vectors.json")
GPP = vectors("gpp_vectors.json")
US_PRIVACY = vectors("usprivacy_gpc_vectors.json", "us_privacy")
SEC_GPC = vectors("usprivacy_gpc_vectors.json", "sec_gpc_header")
