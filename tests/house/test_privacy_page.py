"""The page of privacy claims: every claim is complete, every named test exists, every epsilon has its unit."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "privacy.md").read_text()
PARTS = ("Claim", "Why", "Assumes", "Held by")
TEST = re.compile(r"`(tests/[\w/]+\.py)::([\w:]+)`")
GOOD = """## Claims

### A
- **Claim.** Epsilon is 1 (device level, zero-out).
- **Why.** A theorem.
- **Assumes.** Nothing.
- **Held by.** `tests/house/test_privacy_page.py::test_every_claim_is_held`.

## Built, not yet claimed
| what | where |
|---|---|
| a thing | `privacy/audit/one_run.py` |
"""


def section(page: str, title: str) -> str:
    """The text under a second-level heading, up to the next one."""
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
    return found.group(1) if found else ""


def claims(page: str) -> dict[str, str]:
    """Claims by title."""
    blocks = re.split(r"^### ", section(page, "Claims"), flags=re.MULTILINE)[1:]
    return {title.strip(): body for title, _, body in (block.partition("\n") for block in blocks)}


@cache
def names_in(path: Path) -> frozenset[str]:
    """Names of a file's tests, as pytest would write them after the path."""
    names: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ClassDef) and node.name.startswith("Test"):
            names |= {f"{node.name}::{item.name}" for item in node.body if _is_test(item)}
        elif _is_test(node):
            names.add(node.name)
        elif isinstance(node, ast.Assign):  # a state machine's ``TestMachine = Machine.TestCase``
            names |= {to.id for to in node.targets if isinstance(to, ast.Name) and to.id.startswith("Test")}
    return frozenset(names)


def _is_test(node: ast.AST) -> bool:
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")


def faults(page: str) -> list[str]:
    """What is wrong with a page of claims; empty for a good one."""
    found = [] if claims(page) else ["no claims"]
    for title, body in claims(page).items():
        found += [f"{title}: no {part!r}" for part in PARTS if f"- **{part}.** " not in body]
        held_by = body.partition("- **Held by.** ")[2]
        if not TEST.search(held_by):
            found.append(f"{title}: no test holds it")
        claim = " ".join(body.partition("- **Why.**")[0].lower().split())  # wherever a line ends
        unit = "device level" in claim or "per training row" in claim
        if "epsilon" in claim and not (unit and "zero-out" in claim):
            found.append(f"{title}: an epsilon without unit or neighbouring relation")
    found += [f"no test {path}::{name}" for path, name in TEST.findall(page) if not _exists(path, name)]
    if page.count("`tests/") != len(TEST.findall(page)):
        found.append("a test is named without `path::name`")
    waiting = re.findall(r"`([\w/]+\.py)`", section(page, "Built, not yet claimed"))
    found += [f"no code at {path}" for path in waiting if not (ROOT / path).is_file()]
    return found


def _exists(path: str, name: str) -> bool:
    return (ROOT / path).is_file() and name in names_in(ROOT / path)


def test_every_claim_is_held() -> None:
    """Each claim has a reason, assumptions and tests that exist; each epsilon names unit and neighbouring relation."""
    assert faults(PAGE) == []


def test_a_good_page_has_no_faults() -> None:
    """The smallest page that says everything passes."""
    assert faults(GOOD) == []


@pytest.mark.parametrize(
    ("before", "after", "fault"),
    [
        ("::test_every_claim_is_held`", "::test_that_nobody_wrote`", "no test tests/house"),
        ("test_privacy_page.py::", "test_gone.py::", "no test tests/house/test_gone.py"),
        ("`tests/house/test_privacy_page.py::test_every_claim_is_held`", "our confidence", "no test holds it"),
        ("::test_every_claim_is_held`", "`", "without `path::name`"),
        ("- **Assumes.** Nothing.\n", "", "no 'Assumes'"),
        ("zero-out", "somehow", "an epsilon without unit"),
        ("device level", "somebody", "an epsilon without unit"),
        ("one_run.py", "two_runs.py", "no code at"),
        ("## Claims", "## Hopes", "no claims"),
    ],
)
def test_a_bad_page_is_found(before: str, after: str, fault: str) -> None:
    """The check can fail: a missing test, file, reason or unit is reported."""
    assert before in GOOD
    assert any(fault in item for item in faults(GOOD.replace(before, after)))


def test_the_stated_contract_is_the_installed_one() -> None:
    """The epsilon and delta on the page are those that the agent ships with."""
    from client_agent.policy import INSTALLED_CONTRACT
    from models.wire.limits import PROMISED_DAYS, WINDOW_SECONDS

    assert INSTALLED_CONTRACT.delta == 1e-6
    assert f"epsilon {INSTALLED_CONTRACT.epsilon:g} and\ndelta 10^-6 (device level, zero-out)" in PAGE
    assert f"in any {PROMISED_DAYS} days" in PAGE
    assert INSTALLED_CONTRACT.window_seconds == WINDOW_SECONDS > PROMISED_DAYS * 86_400


def test_the_page_says_what_is_not_promised() -> None:
    """Collusion, presence, traffic, Sybils, malicious devices and rendered pages are named as not covered."""
    limits = section(PAGE, "Not promised").lower()
    for word in ("together", "presence", "traffic", "sybils", "malicious device", "page shows", "trusted hardware"):
        assert word in limits
