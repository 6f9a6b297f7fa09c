"""The main job by its own command: real processes, a real fleet, one report; and Ctrl-C in the middle of it."""

import math
import signal
import time

import pytest

from tests.system.demo_runs import run_demo, start_demo

pytestmark = [pytest.mark.xdist_group("demo"), pytest.mark.timeout(400)]
DEVICES, SEED = 300, 7
PROCESSES = 8
"""The command, leader, helper, two fleets, the shop, two people's agents."""
METRICS = {"measure": {"top_1", "cost_ratio", "half_width"}, "train": {"auc", "auc_no_page_values"}}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """One run: (report, what it printed, the run)."""
    return run_demo(tmp_path_factory.mktemp("demo"), SEED, DEVICES)


@pytest.fixture(scope="module")
def report(finished):
    return finished[0]


def test_nothing_is_left_running_or_lying_about(finished):
    """Every process that it started has ended, and its folder with keys and stores is gone."""
    _, _, run = finished
    assert run.running() == {}
    assert [path.name for path in run.folder.iterdir()] == ["report.json"]


def test_the_report_says_what_was_run(report):
    """Seed and size as asked; consents and refusals add up, and both are there, as are withdrawals."""
    check_report(report, SEED, DEVICES)


def check_report(report: dict, seed: int, devices: int) -> None:
    """What holds in every run, whatever the seed."""
    assert (report["seed"], report["devices"]) == (seed, devices)
    assert report["consented"] + report["refused"] == devices
    assert 0.85 * devices <= report["consented"] < devices
    assert 0 < report["withdrawn"] < 0.1 * devices
    assert report["spent_at_start"] >= 0.01 * devices
    assert report["canary_hits"] == 0
    assert report["seconds"] > 0
    check_budget(report)
    for study in report["studies"]:
        check_study(study, report)


def check_budget(report: dict) -> None:
    """The composed spend lies between the dearest study and the contract."""
    budget = report["budget"]
    dearest = max(study["epsilon_user"] for study in report["studies"])
    assert dearest <= budget["spent"] <= budget["cap"]
    assert budget["delta"] <= 1e-5


def check_study(study: dict, report: dict) -> None:
    """Ranges of one study's figures."""
    assert 0 < study["epsilon_user"] <= report["budget"]["cap"]
    assert 0 < study["delta"] <= 1e-5
    assert (study["epsilon_local"] is None) == (study["kind"] == "measure")
    assert study["epsilon_local"] is None or study["epsilon_local"] > 0
    # Nulls are counted among the accepted reports: those over budget, tails, and nobody's real report twice.
    assert 0 < study["null_reports"] < study["reports"] <= report["devices"] * study["rounds"]
    assert study["bytes_per_device"] > 0
    assert study["quality"]["metric"] in METRICS[study["kind"]]
    assert all(math.isfinite(study["quality"][name]) for name in ("value", "central"))


def test_four_studies_ran_one_of_each_kind_of_question(report):
    """Coverage, a measurement, personas, intent, all rounds released; local noise is on in the training study alone."""
    rounds = {study["name"]: study["rounds"] for study in report["studies"]}
    assert rounds == {"coverage": 1, "measurement": 1, "personas": 5, "intent": 14}


@pytest.mark.parametrize(
    ("name", "rate"), [("coverage", 0.5), ("measurement", 0.5), ("personas", 0.5), ("intent", 0.2)]
)
def test_null_reports_are_what_coins_and_budgets_leave(report, name, rate):
    """With heads at a rate of q, at most about q of the accepted reports are real; six standard deviations of slack."""
    study = next(study for study in report["studies"] if study["name"] == name)
    real = study["reports"] - study["null_reports"]
    slack = 6 * math.sqrt(study["reports"] * rate * (1 - rate))
    assert 0 < real <= rate * study["reports"] + slack


def check_coverage(report: dict) -> None:
    """Beside every result stands which share granted its use, from the coverage study, with truth and interval."""
    cost = next(study["epsilon_user"] for study in report["studies"] if study["name"] == "coverage")
    for study in report["studies"]:
        coverage = study["coverage"]
        assert (coverage["status"], coverage["study"]) == ("estimated", "coverage")
        assert coverage["epsilon"] == pytest.approx(cost)
        assert "refused measurement" in coverage["unknown"]
        assert (coverage["figure"] == "make-up") == (study["purpose"] == "measurement")
        assert len(coverage["bands"]) == 4 + (coverage["figure"] == "granted")
        for band in coverage["bands"]:
            assert 0 <= band["low"] <= band["high"] <= 1
            assert 0 < band["truth"] <= 1
            assert band["share"] is None or band["low"] <= band["share"] <= band["high"]


def test_every_result_says_who_is_missing_from_it(report):
    """Coverage, with its interval, beside each. A run of twenty may be wrong about a purpose, but not about most."""
    check_coverage(report)
    bands = [band for study in report["studies"] for band in study["coverage"]["bands"]]
    inside = sum(band["low"] <= band["truth"] <= band["high"] for band in bands)
    assert inside >= len(bands) - 5


def test_the_planted_bias_is_there(report):
    """Of those who come least often a smaller share granted persona and intent than of those who come most."""
    for study in report["studies"]:
        if study["coverage"]["figure"] == "granted":
            first, *_, last, _all = study["coverage"]["bands"]
            assert first["truth"] < last["truth"]


def test_different_people_are_shown_different_modules(report):
    """At least two personas see different content, chosen on their devices, whatever noise the two servers drew.

    The study alone, with noise drawn 1,000 times at 300 devices, always left three modules or more, and no persona
    with more than 82 % of the devices; see ``tests/statistics/test_personas.py``.
    """
    shown = report["modules_shown"]
    assert len(set(shown.values())) >= 2
    if {"sneaker lover", "bargain hunter"} <= shown.keys():
        assert shown["sneaker lover"] != shown["bargain hunter"]


def test_the_bundle_is_named_by_its_digest(report):
    """Version 1, and a SHA-256 that anybody can compare."""
    assert report["bundle"]["version"] == 1
    assert len(bytes.fromhex(report["bundle"]["sha256"])) == 32


def test_bytes_that_left_are_told_by_purpose(report):
    """Only the purposes of the studies sent anything, and each sent something."""
    assert report["bytes_by_purpose"].keys() == {"measurement", "persona", "intent"}
    assert min(report["bytes_by_purpose"].values()) > 0


def test_the_table_names_epsilons_and_pages(finished):
    """A person reads both epsilons, what the data are, which share granted, and three kinds of pages' addresses."""
    report, printed, _ = finished
    assert "synthetic" in report["data"]
    for word in (
        "epsilon",
        "measurement",
        "personas",
        "intent",
        "shop,",
        "own page,",
        "officer's console",
        "who granted it",
        "simulated",
        "http://",
    ):
        assert word in printed


def test_ctrl_c_in_the_middle_stops_everything(tmp_path):
    """Interrupted with all processes up, it says so in one line, exits 130, and leaves neither process nor folder."""
    run = start_demo(tmp_path, "--once", "--devices", "200")
    deadline = time.monotonic() + 90
    while len(run.running()) < PROCESSES and time.monotonic() < deadline:
        assert run.process.poll() is None, run.process.stderr.read()
        time.sleep(0.1)
    assert len(run.running()) >= PROCESSES
    time.sleep(1.0)
    run.process.send_signal(signal.SIGINT)
    _, errors = run.process.communicate(timeout=60)
    assert run.process.returncode == 130
    assert errors.splitlines() == ["hearthside: interrupted"]
    assert run.running() == {}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(1, 11))
def test_every_seed_ends_well(tmp_path, seed):
    """Ten other populations of 500 devices each: the same ranges, different content for different people."""
    report, _, run = run_demo(tmp_path, seed, 500, seconds=500)
    check_report(report, seed, 500)
    check_coverage(report)
    assert len(set(report["modules_shown"].values())) >= 2
    assert run.running() == {}
