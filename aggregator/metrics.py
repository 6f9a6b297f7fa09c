"""Prometheus series of one service. Nothing is labelled by device, person, report or study.

Two kinds. What a worker has counted itself is in ``registry`` and gets the label ``worker`` on its page. What is the
same for all workers, because the store says it, is in ``state``: it is read anew for each page and has no such label.
``exposition`` puts the pages of several workers together.
"""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info
from prometheus_client.exposition import CONTENT_TYPE_LATEST

_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0)
_GROUPS: Final = (1, 2, 4, 8, 16, 32, 64)
_BYTES: Final = (256, 4_096, 65_536, 2**20, 2**24, 2**28)


class Metrics:
    """Counts and times.

    Attributes:
        registry: what this worker has counted.
        state: what the store says.
    """

    content_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self.registry, self.state = CollectorRegistry(), CollectorRegistry()
        self._count_traffic()
        self._count_work()
        self._count_storage()
        self._state_of_rounds()
        self._state_of_store()
        self._state_of_promises()

    def cut(self, reason: str) -> None:
        """A connection was cut."""
        self.cut_connections.labels(reason).inc()

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"hearthside_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(f"hearthside_{name}", text, labels, buckets=buckets, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"hearthside_{name}", text, labels, registry=self.state)

    def _count_traffic(self) -> None:
        self.requests = self._counter("requests", "Requests by route and status", "route", "status")
        self.request_seconds = self._histogram("request_seconds", "Time to answer", _SECONDS, "route")
        self.body_bytes = self._counter("body_bytes", "Bytes of request bodies", "route")
        self.request_bytes = self._histogram("request_bytes", "Size of request bodies", _BYTES)
        self.cut_connections = self._counter("cut_connections", "Connections that were cut, by reason", "reason")
        self.slowed = self._counter("slowed_requests", "Requests that were told to wait, by kind", "kind")
        self.refused_credentials = self._counter("refused_credentials", "Tokens that were refused, by reason", "reason")

    def _count_work(self) -> None:
        self.reports = self._counter("reports", "Reports by outcome", "outcome")
        self.receipts = self._counter("receipts", "Consent receipts by outcome", "outcome")
        self.enrolments = self._counter("enrolments", "Enrolments by outcome", "outcome")
        self.withdrawals = self._counter("withdrawals", "Reports that were taken back, by outcome", "outcome")
        self.rounds = self._counter("rounds", "Rounds by final state", "state")
        self.unopened_seals = self._counter(
            "unopened_seals", "Seals of answered batches that did not count, by reason", "reason"
        )
        self.share_seconds = self._histogram("share_seconds", "Time that the helper takes for a batch", _SECONDS)
        self.helper_calls = self._counter("helper_calls", "Calls to the helper by call and outcome", "call", "outcome")
        self.helper_call_seconds = self._histogram(
            "helper_call_seconds", "Time of a call to the helper", _SECONDS, "call"
        )
        self.helper_failures = self._counter("helper_failures", "Calls to the helper that were not answered")
        self.duties = self._counter("lease_changes", "Times that this worker took or lost the studies", "change")

    def _count_storage(self) -> None:
        self.commit_seconds = self._histogram(
            "commit_seconds", "Time of a change, its wait for the lock apart", _SECONDS
        )
        self.commit_changes = self._histogram("commit_changes", "Small changes that shared one commit", _GROUPS)
        self.store_failures = self._counter("store_failures", "Requests that the store failed, by error", "error")
        self.build = Info("hearthside_build", "What runs here", registry=self.registry)
        self.build.info({"version": _version(), "python": platform.python_version()})

    def _state_of_rounds(self) -> None:
        self.studies = self._gauge("studies", "Studies by state", "state")
        self.rounds_in = self._gauge("rounds_under_way", "Rounds that are not over, by state", "state")
        self.oldest_round = self._gauge(
            "oldest_round_seconds",
            "Since the window of the oldest round in this state was over; negative before",
            "state",
        )
        self.open_rounds = self._gauge("open_rounds", "Rounds that take reports")
        self.devices = self._gauge("devices", "Enrolled devices")
        self.follower_lag = Gauge(
            "hearthside_follower_lag_seconds", "Since this worker last looked at the store", registry=self.registry
        )
        self.lease_held = self._gauge("lease_held", "1 where some worker runs the studies")
        self.lease_fence = self._gauge("lease_number", "Rises whenever another worker takes the studies over")

    def _state_of_store(self) -> None:
        self.store_bytes = self._gauge("store_bytes", "Size of the store")
        self.disk_free_bytes = self._gauge("disk_free_bytes", "Free space in the service's folder")
        self.log_entries = self._gauge("log_entries", "Entries of the transparency log")
        self.kept_notices = self._gauge("kept_notices", "Withdrawal notices that the helper keeps")
        self.clock_seconds = self._gauge("clock_seconds", "The service's own clock, Unix seconds")

    def _state_of_promises(self) -> None:
        self.epsilon = self._gauge("budget_spent_epsilon", "The filter's figure, device level, zero-out")
        self.epsilon_limit = self._gauge("budget_epsilon", "What the budget allows, device level, zero-out")
        self.spent_share = self._gauge(
            "budget_spent_share", "Part of the filter's budget that counts now, by purpose", "purpose"
        )
        self.quota_share = self._gauge("budget_quota_share", "Part of the budget that a purpose may take", "purpose")
        self.bundle_version = self._gauge("bundle_version", "Version of the published bundle")
        self.bundle_age = self._gauge("bundle_age_seconds", "Since the bundle was published")
        self.repository_expiry = self._gauge(
            "repository_expiry_seconds", "Until metadata of the bundles expires", "role"
        )
        self.certificate_expiry = self._gauge("certificate_expiry_seconds", "Until the TLS certificate expires")


def _version() -> str:
    try:
        return version("hearthside")
    except PackageNotFoundError:  # run from a checkout that was never installed
        return "0"
