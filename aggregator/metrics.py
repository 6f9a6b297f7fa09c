"""Prometheus metrics of one service, in a registry of its own."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST


class Metrics:
    """Counts and times; nothing is labelled by device, person or report."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "hearthside_requests", "Requests by route and status", ("route", "status"), registry=self.registry
        )
        self.request_seconds = Histogram(
            "hearthside_request_seconds", "Time to answer", ("route",), registry=self.registry
        )
        self.body_bytes = Counter(
            "hearthside_body_bytes", "Bytes of request bodies", ("route",), registry=self.registry
        )
        self.reports = Counter("hearthside_reports", "Reports by outcome", ("outcome",), registry=self.registry)
        self.rounds = Counter("hearthside_rounds", "Rounds by final state", ("state",), registry=self.registry)
        self.open_rounds = Gauge("hearthside_open_rounds", "Rounds that take reports", registry=self.registry)
        self.devices = Gauge("hearthside_devices", "Enrolled devices", registry=self.registry)
        self.slowed = Counter(
            "hearthside_slowed_requests", "Requests that were told to wait, by kind", ("kind",), registry=self.registry
        )
        self.refused_credentials = Counter(
            "hearthside_refused_credentials", "Tokens that were refused, by reason", ("reason",), registry=self.registry
        )
        self.helper_failures = Counter(
            "hearthside_helper_failures", "Calls to the helper that failed", registry=self.registry
        )
        self.epsilon = Gauge(
            "hearthside_budget_spent_epsilon", "The filter's figure, device level, zero-out", registry=self.registry
        )

    def exposition(self) -> bytes:
        """The text that Prometheus scrapes."""
        return generate_latest(self.registry)
