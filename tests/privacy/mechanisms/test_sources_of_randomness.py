"""Nothing released draws from a general-purpose generator: the syntax trees of everything outside simulations."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PACKAGES = ("privacy", "consent", "models", "client_agent", "aggregator")
MODULES = {"random", "numpy.random", "torch.random", "torch.distributions", "jax.random"}
"""General-purpose generators. (``secrets`` and ``os.urandom`` are the operating system's CSPRNG.)"""
CALLS = {
    *("default_rng", "RandomState", "standard_normal", "normal", "laplace", "standard_exponential", "rvs", "gauss"),
    *("normalvariate", "randn", "rand", "randint", "randperm", "randn_like", "rand_like", "randint_like", "bernoulli"),
    *("multinomial", "poisson", "manual_seed", "normal_", "uniform_", "bernoulli_", "random_", "exponential_"),
    *("log_normal_", "cauchy_", "geometric_"),
}
"""Names by which numpy, scipy, torch and the standard library draw, whatever they are called on."""
PUBLIC = {
    (
        "models/learning/nets.py",
        "initial",
    ): "starting weights: a function of the study's public seed, no data behind them",
    ("models/queries/personas.py", "spread_start"): "starting centroids: likewise",
}


def draws(source: str) -> Iterator[tuple[str, str]]:
    """(enclosing function, what it uses) for each use of a general-purpose generator."""
    yield from _visit(ast.parse(source), "")


def _visit(node: ast.AST, function: str) -> Iterator[tuple[str, str]]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        function = node.name
    for name in _names(node):
        yield function, name
    for child in ast.iter_child_nodes(node):
        yield from _visit(child, function)


def _names(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names if alias.name in MODULES]
    if isinstance(node, ast.ImportFrom) and node.module and not node.level:
        found = [f"{node.module}.{alias.name}" for alias in node.names]
        outside = node.module.partition(".")[0] in {"random", "numpy", "scipy", "torch"}
        return [
            name for name in found if node.module in MODULES or name in MODULES or (outside and _last(name) in CALLS)
        ]
    if isinstance(node, ast.Attribute) and node.attr in CALLS:
        return [node.attr]
    if isinstance(node, ast.Attribute) and node.attr == "random" and isinstance(node.value, ast.Name):
        return [f"{node.value.id}.random"]
    return []


def _last(name: str) -> str:
    return name.rpartition(".")[2]


def test_nothing_outside_simulations_uses_a_general_purpose_generator() -> None:
    """No file of the five packages draws from numpy.random, random or torch, two public starting points apart."""
    found = {
        (path.relative_to(ROOT).as_posix(), function): name
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
        for function, name in draws(path.read_text(encoding="utf-8"))
    }
    assert {place: name for place, name in found.items() if place not in PUBLIC} == {}
    assert set(PUBLIC) <= set(found), "an exception that nothing needs"


@pytest.mark.parametrize(
    "source",
    [
        "import random",
        "from random import gauss",
        "import numpy.random",
        "from numpy.random import default_rng",
        "from numpy import random",
        "import numpy as np\ndef release(x): return x + np.random.normal(size=3)",
        "import numpy as n\nn.random.seed(1)",
        "noise = generator.standard_normal(5)",
        "import torch\ntorch.randn(3)",
        "from torch import randn_like",
        "weights.normal_(0, 1)",
        "from scipy import stats\nstats.norm.rvs(size=3)",
        "from torch.distributions import Normal",
    ],
)
def test_each_way_to_draw_is_found(source: str) -> None:
    """The check can fail: every spelling of a general-purpose generator is reported."""
    assert list(draws(source))


@pytest.mark.parametrize(
    "source",
    ["import secrets", "os.urandom(32)", "stream.uint64(3)", "from privacy.mechanisms import discrete_gaussian"],
)
def test_the_house_s_own_randomness_is_no_fault(source: str) -> None:
    """The operating system and the keyed stream are what may be used."""
    assert not list(draws(source))
