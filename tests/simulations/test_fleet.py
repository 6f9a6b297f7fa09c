"""What a simulated fleet knows about its own reports: nulls among the accepted ones, and answers that came too late."""

from dataclasses import replace

from client_agent.federation.contribution import Slots
from simulations.demo.plans import measurement
from simulations.fleet.fleet import FleetReport, merge
from simulations.populations.choices import Withdrawal
from tests.system.in_process import EVERYTHING, town

PEOPLE = 12
LEAVING = replace(EVERYTHING, withdrawal=Withdrawal("measurement", 0))
SPENT = replace(EVERYTHING, budget_spent=True)


def run(folder, rate: float, **options) -> FleetReport:
    """One measurement of one round."""
    with town(folder, PEOPLE, **options) as place:
        place.run(place.study(measurement(), sampling_rate=rate))
        return place.fleet.report()


def test_a_null_that_was_taken_back_is_not_counted(tmp_path):
    """Three of twelve withdraw with their nulls made: nine reports are accepted, and those nine are nulls."""
    report = run(tmp_path, 1e-6, choices=dict.fromkeys(range(3), LEAVING))
    row = report.tallies["measurement"]
    assert (row["sent_reports"], row["null_reports"]) == (9, 9)
    assert (report.withdrawn, report.heads, report.late) == (3, 0, 0)


def test_a_spent_budget_is_a_null_and_everybody_else_is_real(tmp_path):
    """With every coin heads, exactly those who cannot pay send nulls."""
    report = run(tmp_path, 1.0, choices=dict.fromkeys(range(4), SPENT))
    row = report.tallies["measurement"]
    assert (row["sent_reports"], row["null_reports"]) == (PEOPLE, 4)
    assert (report.spent_at_start, report.heads, report.late) == (4, PEOPLE - 4, 0)
    assert report.spent_epsilon > 0


def test_an_answer_after_its_slot_is_late_and_goes_out_as_a_null(tmp_path):
    """With all slots at the very beginning no answer is ready: twelve heads, twelve nulls, nobody missing."""
    report = run(tmp_path, 1.0, slots=Slots(0.0, 0.0))
    row = report.tallies["measurement"]
    assert (row["sent_reports"], row["null_reports"]) == (PEOPLE, PEOPLE)
    assert (report.heads, report.late) == (PEOPLE, PEOPLE)


def test_two_fleets_reports_add_up(tmp_path):
    """Counts are summed, budgets are those of the device charged most."""
    one = run(tmp_path, 1.0)
    both = merge([one, replace(one, spent_epsilon=one.spent_epsilon + 1.0)])
    assert both.devices == 2 * PEOPLE
    assert both.tallies["measurement"]["sent_bytes"] == 2 * one.tallies["measurement"]["sent_bytes"]
    assert both.spent_epsilon == one.spent_epsilon + 1.0
    assert both.charged == one.charged
