"""The risks that the impact assessment weighs: what could happen, what stops it, and the test that holds the measure.

English only: the list names code and tests, and the assessment's own reader is an officer. A test checks that every
named test exists, and that everything that the project says it does not promise is among the limits here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Level = Literal["low", "medium", "high"]
_SESSIONS: Final = "tests/client_agent/gateway/test_sessions.py"


@dataclass(frozen=True, slots=True)
class Risk:
    """One risk to people.

    Attributes:
        id: short name.
        what: what could happen, and through whom.
        harm: what it would mean for a person.
        severity: of the harm, before any measure.
        measures: what stops or lessens it.
        tests: ids of the tests that fail when a measure stops working.
        likelihood: that it happens with the measures in place.
        residual: what remains.
    """

    id: str
    what: str
    harm: str
    severity: Level
    measures: tuple[str, ...]
    tests: tuple[str, ...]
    likelihood: Level
    residual: str


@dataclass(frozen=True, slots=True)
class Question:
    """Something that only the controller can answer.

    Attributes:
        asks: the question.
        because: why nobody else can answer it.
    """

    asks: str
    because: str


RISKS: Final = (
    Risk(
        "no-consent",
        "Data is recorded, used or reported without a yes, or after a no.",
        "Loss of control; profiling that a person refused.",
        "high",
        (
            "Every purpose is off until granted; one decision at four gates: collect, use, contribute, accept.",
            "A ledger that does not verify, or was restored, means no consent; a new version of a purpose asks again.",
        ),
        (
            "tests/consent/test_latest_choice.py::test_no_sequence_lets_a_contribution_through_against_the_latest_choice",
            "tests/consent/test_registry.py::test_every_purpose_is_off_by_default_and_rests_on_consent",
            "tests/consent/test_policy.py::test_a_faulty_ledger_shuts_every_gate",
            "tests/client_agent/gateway/test_door.py::test_nothing_is_stored_before_consent",
            "tests/client_agent/test_restored_consent.py::test_a_restored_store_grants_nothing_at_any_gate_to_anybody",
        ),
        "low",
        "An agent whose code somebody changed on the device obeys nobody.",
    ),
    Risk(
        "withdrawal-ignored",
        "A yes is taken back, and reports leave or are added up all the same.",
        "Loss of control; a right that exists on paper only.",
        "high",
        (
            "The withdrawal is in force on the device at once, without a network; what is queued is deleted with it.",
            "Both services drop what they hold of open rounds; the helper hears it directly, whatever the leader does.",
            "No clock, version or changed notice stops a withdrawal.",
        ),
        (
            "tests/client_agent/test_federation.py::test_a_withdrawal_stops_what_is_queued_and_tells_both_services",
            "tests/consent/test_ledger.py::test_a_wrong_clock_never_stops_a_withdrawal",
            "tests/privacy/secure_sum/test_exchange.py::test_a_withdrawn_report_is_in_neither_half",
        ),
        "low",
        "What is part of a released sum stays there; differential privacy bounds what it can say.",
    ),
    Risk(
        "forged-proof",
        "Somebody invents, edits or replays a consent.",
        "Processing under a consent that was never given.",
        "high",
        (
            "Receipts are signed by the device and countersigned; the ledger is hash-chained and mirrored.",
            "Anybody can verify a record of it, offline, with the leader's fingerprint.",
            "Each seal is bound to the digest of all purposes, texts included.",
        ),
        (
            "tests/consent/test_ledger.py::test_an_edited_row_ends_in_no_consent_with_the_reason",
            "tests/consent/test_ledger.py::test_a_replayed_or_reordered_receipt_is_refused",
            "tests/consent/test_records.py::test_a_forged_row_is_named_with_its_reason",
            "tests/consent/test_registry.py::test_the_policy_hash_changes_with_anything_that_is_promised",
        ),
        "low",
        "Whoever controls the device can press its buttons.",
    ),
    Risk(
        "leader-reads",
        "The site's operator reads one person's report, alone or by clever questions.",
        "Behaviour on the site becomes known; inferences about a person.",
        "high",
        (
            "Reports are masked; the helper answers one batch per round, ever, and adds noise of its own.",
            "A share opens only the batch, model, study and policy that it was made for; a minimum cohort.",
        ),
        (
            "tests/attacks/test_questions.py::test_the_double_question",
            "tests/attacks/test_questions.py::test_averaging_retries",
            "tests/attacks/test_devices.py::test_the_leaders_own_key",
            "tests/attacks/test_reports.py::test_a_report_replayed_elsewhere",
        ),
        "low",
        "A leader with many devices of its own meets the helper's noise alone: the stated epsilon, and no more.",
    ),
    Risk(
        "results-tell",
        "Released results, taken together, tell something about one person.",
        "Inference of behaviour or membership.",
        "medium",
        (
            "One budget on the device for everything that is released, in epsilon and delta (device level, zero-out).",
            "Each server's noise alone meets the claim; the device charges before anything leaves, and stops in time.",
        ),
        (
            "tests/statistics/test_audit.py::test_one_round_with_the_declared_noise_stays_below_the_claim",
            "tests/statistics/test_audit.py::test_many_trials_with_half_the_noise_exceed_the_claim",
            "tests/privacy/secure_sum/test_parameters.py::test_noise_is_rounded_up_never_down",
        ),
        "low",
        "The contract's epsilon is not zero: what it allows stands in the description above.",
    ),
    Risk(
        "office-bypassed",
        "A question is asked that the privacy office did not approve, or goes on after its stop.",
        "Purpose creep.",
        "medium",
        (
            "No round opens, no device answers and no share exists without an officer's signature under a pinned key.",
            "A stop reaches agents through either service.",
        ),
        (
            "tests/attacks/test_rules.py::test_no_round_without_an_officer",
            "tests/attacks/test_devices.py::test_a_forged_approval",
            "tests/client_agent/test_stops.py::test_a_stop_that_the_leader_hides_is_heard_from_the_helper",
        ),
        "low",
        "An officer can approve a bad question; the budget still holds.",
    ),
    Risk(
        "device-stolen",
        "A thief or another user reads the agent's store, or a copy of it.",
        "Behaviour of weeks becomes known.",
        "medium",
        (
            "The store is encrypted, its key kept apart; events leave after their retention.",
            "Erasing removes everything personal but the spend counter, keys included.",
        ),
        (
            "tests/client_agent/test_store.py::test_nothing_on_the_disk_is_readable",
            "tests/client_agent/test_store.py::test_a_copied_store_without_its_keys_does_not_open",
            "tests/client_agent/test_store.py::test_erasing_removes_everything_personal_but_the_spend",
            "tests/client_agent/gateway/test_visitor.py::test_events_leave_after_their_retention",
        ),
        "low",
        "Whoever is logged in as the person can read what the person can read, and can test a guessed name "
        "against the spend counter that an erasure leaves.",
    ),
    Risk(
        "servers-stolen",
        "A thief copies the servers' files, or restores an old back-up of the helper.",
        "Reports of past rounds are unmasked.",
        "high",
        (
            "Masked reports go with the release; a round's key and noise secret are destroyed with the answer.",
            "A restored store is noticed by its head, and has no keys.",
        ),
        (
            "tests/attacks/test_questions.py::test_a_stolen_helper_after_the_round",
            "tests/attacks/test_questions.py::test_a_restored_helper_asked_again",
            "tests/aggregator/test_storage.py::test_every_commit_is_on_disk_and_deleted_bytes_are_overwritten",
        ),
        "low",
        "A back-up that holds store, keys and head together is not noticed; operation must keep them apart.",
    ),
    Risk(
        "page-infers",
        "The page infers from the variant shown which group a visitor was counted to.",
        "Profiling by inference; different treatment.",
        "medium",
        (
            "Personalisation is a purpose of its own, off until granted; without it every page is the usual one.",
            "A page gets a module and its markup, and nothing personal: no scores, no reasons.",
        ),
        (
            "tests/client_agent/gateway/test_page.py::test_without_consent_to_personalisation_nothing_is_concluded",
            "tests/client_agent/gateway/test_door.py::test_a_decision_holds_a_module_and_its_markup_and_nothing_personal",
        ),
        "medium",
        "Limited, not prevented, and no epsilon covers it: the notice says so before the choice.",
    ),
    Risk(
        "children",
        "A child or somebody unknown on a shared device is profiled.",
        "Profiling of people who did not or cannot consent.",
        "high",
        (
            "A child or an unknown person passes no gate, whatever was granted on the device.",
            "A browser is nobody's until somebody says who they are there; then the former person's page is shut.",
        ),
        (
            "tests/consent/test_policy.py::test_a_child_or_an_unknown_person_gets_no_profile_whatever_was_granted",
            "tests/client_agent/test_people.py::test_marking_somebody_as_a_child_withdraws_and_erases_everything",
            _SESSIONS + "::test_a_browser_of_nobody_is_told_nothing_and_leaves_nothing",
            _SESSIONS + "::test_somebody_else_at_the_same_browser_ends_the_former_at_once",
        ),
        "medium",
        "The agent knows a child only if somebody said so.",
    ),
    Risk(
        "nudged",
        "The page of choices makes yes easier than no.",
        "Consent that is not freely given.",
        "medium",
        ("Yes and no are one press each and weigh the same; nothing is ticked in advance.",),
        (
            "tests/consent/test_notices.py::test_yes_and_no_weigh_the_same",
            "tests/client_agent/gateway/test_page.py::test_yes_and_no_are_drawn_alike",
        ),
        "low",
        "What the site itself writes around it is the controller's.",
    ),
    Risk(
        "bias",
        "Results are read as if everybody had taken part, and those who said no are forgotten.",
        "Decisions that fit some groups and not others.",
        "medium",
        ("Each result says which share of the counted devices allowed its use: same budget, with an interval.",),
        (
            "tests/statistics/test_coverage.py::test_bands_and_total_hold_together_as_promised",
            "tests/models/queries/test_coverage.py::test_who_is_missing_is_named_beyond_chance_only",
        ),
        "medium",
        "Who refuses measurement as well is in no figure: of them nothing is known, and nothing may be.",
    ),
    Risk(
        "poisoned",
        "A device sends false data, or spoils a round for everybody.",
        "Wrong conclusions; lost budget. No data of a person becomes known.",
        "low",
        ("Honest devices are bounded; bad reports are left out one by one.",),
        ("tests/attacks/test_leader.py::test_one_hostile_device_does_not_end_a_study",),
        "medium",
        "A device with other code can spoil a sum; it learns nothing by it.",
    ),
)

LIMITS: Final = (
    ("Leader and helper together.", "If they pool what they hold, single contributions can be read."),
    ("Presence.", "That a device is enrolled, what it consented to and that it reported is visible to the operator."),
    ("Time and size of traffic.", "The network sees that a device talks to the servers, when and how much."),
    ("One person with many devices", "has the figure of a group, not the contract's."),
    ("A malicious device can spoil a sum.", "There are no proofs of validity yet."),
    ("Sybils defeat the minimum cohort.", "Then the helper's noise alone protects."),
    ("What a page shows is disclosed to that page,", "and to every request or click that it causes."),
    ("A gateway run by the site.", "In site-edge mode the visitor trusts that box."),
    (
        "A server under the agent's own host name.",
        "On the agent's machine, where the operator allows it, it can learn the agent's cookies.",
    ),
    ("A device that is not the visitor's.", "Whoever controls it can read its store and change its agent."),
    ("Correctness.", "A lying helper can spoil a result. It cannot unmask one."),
    ("Audits prove nothing.", "A bound below the claim is no evidence beyond the attacks that were tried."),
)
"""What is not promised: the points of ``docs/privacy.md``, in a sentence each."""

NECESSITY: Final = Question(
    "Are these studies needed for this site, and would a milder means do?",
    "necessity depends on what the site is for; the software knows only how little a study can be made to ask",
)
QUESTIONS: Final = (
    Question(
        "Who else decides on means and purposes: the maker of the agent, the household behind a gateway, a group?",
        "controllership follows from contracts and facts that no code can see",
    ),
    Question(
        "Is the privacy office independent of the operator in staff, instructions and systems?",
        "the separation of leader and helper is what keeps reports unreadable, and it is an organisation's",
    ),
    NECESSITY,
    Question(
        "Do the contract's epsilon and delta fit the sensitivity of this site's subject?",
        "the same figures mean more on a site about health than on one about shoes",
    ),
    Question(
        "Do the pages' kinds reveal special categories of data (Art. 9), or do children use the site?",
        "what a page is about is known to whoever makes it",
    ),
    Question(
        "How long must proof of an ended consent be kept, and does the leader's setting say the same?",
        "the leader deletes it after receipt_retention_days: how long proof is needed is a legal judgement",
    ),
    Question(
        "What do web server, hosting and delivery network log, and for how long?",
        "they stand before the leader, and their logs are not Hearthside's",
    ),
    Question(
        "What did the people concerned, or their representatives, say (Art. 35(9))?",
        "only the controller can ask them",
    ),
    Question(
        "What does the data protection officer advise (Art. 35(2)), and does the rest need a consultation (Art. 36)?",
        "both are decisions of people",
    ),
)
