"""Settings of both services: environment, then ``settings.json`` in the service's folder, then defaults.

There is no default secret: keys are files that ``hearthside-aggregator init`` makes, tokens come from ``token create``.
Secrets are settings in no other way than as the name of a file. What stands here is the one source of
``docs/operations.md``: a setting's meaning is the string below it, its range and default are its type's, an example of
a value that fits is given where the default is none.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    JsonConfigSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from aggregator.errors import SettingsInvalid
from aggregator.key_files import load_key, load_secret
from aggregator.setting_sources import SETTINGS_FILE, check_environment, read_settings
from aggregator.storage.engines import Patience
from aggregator.storage.report_bytes import REPORT_FOLDER, Storage
from aggregator.storage.vault import VAULT_FOLDER
from consent.receipts import MAXIMUM_VALID_DAYS
from models.wire.limits import LONGEST_KEY_LIFE_SECONDS, WINDOW_SECONDS
from models.wire.message import Hex32
from privacy.accounting import Contract, Quotas, suggest_order
from privacy.accounting.contract import Order
from privacy.crypto import KeyInvalid, SigningKey, VerifyKey

SHORTEST_RETENTION_DAYS = MAXIMUM_VALID_DAYS + 1
"""The longest that a yes can hold, and a day for clocks that differ: once a device's receipts are forgotten, none of
them can be taken in again."""
Seconds = Annotated[float, Field(gt=0, le=86_400)]
PerSecond = Annotated[float, Field(gt=0, le=10_000_000)]
Bytes = Annotated[int, Field(ge=1_024, le=2**34)]


def _split(value: Any) -> Any:
    """A list from the environment is written with commas."""
    return [item.strip() for item in value.split(",") if item.strip()] if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
Keys = Annotated[tuple[Hex32, ...], NoDecode, BeforeValidator(_split)]
_KEY_EXAMPLE = "8f3a" + 60 * "0"


def _public_key(name: str, text: str) -> VerifyKey:
    try:
        return VerifyKey(bytes.fromhex(text))
    except KeyInvalid:
        how = f"'hearthside-aggregator configure --dir DIR {name}=KEY'"
        raise SettingsInvalid(f"setting {name}: expected the public key that 'init' printed there; say {how}") from None


class ServiceSettings(BaseSettings):
    """What leader and helper have in common."""

    model_config = SettingsConfigDict(use_attribute_docstrings=True)

    directory: Annotated[Path, Field(examples=["/var/lib/hearthside/leader"])]
    """The service's own folder: key, store, settings; the command's ``--dir``."""
    key_file: Annotated[Path | None, Field(examples=["/run/secrets/service.key"])] = None
    """The service's key; ``DIRECTORY/service.key`` unless said."""
    database_url: Annotated[
        str, Field(repr=False, examples=["postgresql+asyncpg://hearthside@/leader?host=/run/pg"])
    ] = ""
    """SQLAlchemy URL; SQLite in the folder unless said, ``postgresql+asyncpg://...`` in production."""
    database_url_file: Annotated[Path | None, Field(examples=["/run/secrets/database-url"])] = None
    """File whose one line is the database's URL, for one that has a password; instead of ``database_url``."""
    database_idle_seconds: Annotated[float, Field(ge=0.1, le=600)] = 10.0
    """PostgreSQL: longest pause inside a change, after which the server ends it. For so long a worker that stops or
    vanishes inside one holds up the writes of all others."""
    database_lock_seconds: Annotated[float, Field(ge=0.1, le=3_600)] = 30.0
    """PostgreSQL: longest wait for another worker's change; above ``database_idle_seconds``."""
    database_command_seconds: Annotated[float, Field(ge=0.1, le=86_400)] = 120.0
    """PostgreSQL: longest wait for the answer to one statement; deleting a round's reports is one. Above
    ``database_lock_seconds``."""
    wrapping_directory: Annotated[Path | None, Field(examples=["/var/lib/hearthside/leader/wrapping"])] = None
    """Folder of the keys that wrap the secrets of rounds under way; ``wrapping`` beside the service's key unless said.
    Leave it out of back-ups. Processes behind one database must share it: one that does not find a round's wrapping
    key there ends the round."""
    site: str = "site"
    """Name of the site; studies and receipts are for it."""
    hosts: Annotated[Names, Field(examples=["leader.example,leader.example:8700"])] = ()
    """Host headers that are answered, exact, beside the address that the service listens on. A list has commas."""
    origins: Annotated[Names, Field(examples=["https://leader.example"])] = ()
    """Origins whose pages may cause a change."""
    budget_epsilon: Annotated[float, Field(gt=0, le=1_000)] = 4.0
    """Device-level epsilon (zero-out) that the service's own ledger allows within the window."""
    budget_delta: Annotated[float, Field(gt=0, lt=1)] = 1e-6
    """Delta of that budget."""
    budget_order: Annotated[int | tuple[int, ...] | Literal["zcdp"] | None, Field(examples=["9"])] = None
    """The privacy filter: an order of the Renyi filter (2 to 1,024), a list of several that share delta, or ``"zcdp"``
    where no study hides its sampling; one order, chosen from epsilon and delta, unless said."""
    budget_window_seconds: Annotated[int, Field(ge=1)] = WINDOW_SECONDS
    """How long a charge counts: 30 days, and two more for the way from a charge to its release."""
    budget_quotas: Annotated[dict[str, float], Field(examples=['{"intent": 0.5}'])] = {}
    """By purpose, the share of the budget, in (0, 1], that its rounds may take within the window, such as
    ``{"intent": 0.5}``; ``"*"`` is for every other purpose. None unless said."""
    study_epsilon_cap: Annotated[float, Field(gt=0, le=1e9)] | None = None
    """The most that one study may name as its own limit (device level, zero-out); the contract alone unless said. Like
    the budget itself it is raised by two officers."""
    minimum_cohort: Annotated[int, Field(ge=2)] = 2
    """The site's own minimum: a study whose rounds could be answered with fewer reports is refused. What protects
    people is the noise; a larger cohort makes figures worth reading, and chosen tiny cohorts pointless."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least level of the service's own log lines; ``debug`` has one for each request."""
    tls_certificate: Annotated[Path | None, Field(examples=["/etc/hearthside/leader.pem"])] = None
    """Certificate chain (PEM) for TLS without a proxy; with ``tls_key``."""
    tls_key: Annotated[Path | None, Field(examples=["/run/secrets/leader-tls.pem"])] = None
    """Private key (PEM) of the certificate."""
    proxy_trusted: Annotated[Names, Field(examples=["127.0.0.1"])] = ()
    """Addresses of reverse proxies whose ``X-Forwarded-Proto`` and ``X-Forwarded-For`` count; nobody's unless said."""
    metrics_token_file: Annotated[Path | None, Field(examples=["/run/secrets/metrics-token"])] = None
    """File with the bearer token that ``/metrics`` asks for; without one it answers to everybody who reaches it."""
    body_limit_bytes: Bytes = 64 * 2**20
    """Largest request body."""
    header_limit_bytes: Annotated[int, Field(ge=1_024, le=2**20)] = 32 * 2**10
    """Most bytes of a request's line and headers."""
    time_limit_seconds: Seconds = 120.0
    """Longest that a request may take."""
    address_requests_per_second: PerSecond = 5_000.0
    """Requests that one address may send each second, and twice as many at once, to each process; a gateway or a proxy
    is one address. Requests that may carry a withdrawal are counted apart from all others."""
    total_requests_per_second: PerSecond = 20_000.0
    """Requests that all addresses together may send each second, and twice as many at once, to each process."""
    failed_credentials_per_minute: PerSecond = 30.0
    """Wrong tokens from one address after which it is told to wait. A right one always passes."""
    header_seconds: Annotated[float, Field(ge=0.1, le=600)] = 10.0
    """Longest from a connection, or the first byte of a request on it, to the end of that request's headers."""
    body_pause_seconds: Annotated[float, Field(ge=0.1, le=600)] = 15.0
    """Longest wait for the next piece of a body; from then on the body must also have come at ``body_rate_bytes``."""
    body_rate_bytes: Annotated[int, Field(ge=0, le=2**30)] = 240
    """Bytes a second at which a body must come, on average over the time that was waited for it; an answer must be read
    at the same rate."""
    send_pause_seconds: Annotated[float, Field(ge=0.1, le=600)] = 30.0
    """Longest that a client may read nothing of an answer that waits for it; from then on it must also have read at
    ``body_rate_bytes``."""
    keep_alive_seconds: Annotated[int, Field(ge=1, le=600)] = 30
    """Longest that a connection may stay open between two requests."""
    connection_limit: Annotated[int, Field(ge=10, le=100_000)] = 2_000
    """Most connections of one worker; with one more, the one that has been idle longest is closed, or else the one that
    is slowest in sending a body or reading an answer."""
    address_connection_limit: Annotated[int, Field(ge=1, le=100_000)] = 1_000
    """Most connections of one address at one worker (an IPv6 subscriber is one address); the same way out. Raise it
    where a gateway brings more; proxies that are trusted have no limit of their own."""
    shutdown_seconds: Annotated[int, Field(ge=1, le=600)] = 5
    """Longest that requests under way may take after SIGTERM."""
    disk_least_bytes: Annotated[int, Field(ge=0, le=2**50)] = 64 * 2**20
    """Free space in the service's folder below which it is not ready."""

    def signing_key(self) -> SigningKey:
        """The service's key, from its file."""
        return load_key(self.key_file or self.directory / "service.key")

    def vault_folder(self) -> Path:
        """Where wrapping keys lie."""
        return self.wrapping_directory or (self.key_file or self.directory / "service.key").parent / VAULT_FOLDER

    def data_folders(self) -> tuple[Path, ...]:
        """Where the service keeps what grows."""
        return (self.directory,)

    def url(self) -> str:
        """The store's SQLAlchemy URL; it may carry a password.

        Raises:
            SettingsInvalid: ``database_url_file`` cannot be read.
        """
        if self.database_url_file is not None:
            return load_secret(self.database_url_file)
        return self.database_url or f"sqlite+aiosqlite:///{self.directory / 'store.sqlite3'}"

    def patience(self) -> Patience:
        """How long PostgreSQL is waited for."""
        return Patience(self.database_idle_seconds, self.database_lock_seconds, self.database_command_seconds)

    def contract(self, keep_order: Order | None = None) -> Contract:
        """The service's own budget; ``keep_order`` is the ledger's filter, where the settings name none."""
        order = self.budget_order or keep_order or suggest_order(self.budget_epsilon, self.budget_delta)
        return Contract(self.budget_epsilon, self.budget_delta, order, self.budget_window_seconds)

    def quotas(self) -> Quotas:
        """What each purpose may take of the budget."""
        return Quotas(self.budget_quotas)

    @field_validator("budget_quotas")
    @classmethod
    def _check_quotas(cls, shares: dict[str, float]) -> dict[str, float]:
        return dict(Quotas(shares).shares)

    @model_validator(mode="after")
    def _check_pairs(self) -> Self:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key belong together; expected both or neither")
        if self.database_url and self.database_url_file is not None:
            raise ValueError("expected database_url or database_url_file, got both")
        return self

    @model_validator(mode="after")
    def _check_contract(self) -> Self:
        self.contract()  # a filter that cannot be enforced is found before anything is opened
        return self

    @classmethod
    def read(cls, directory: Path, **explicit: Any) -> Self:
        """Settings of a folder: explicit arguments, environment, then the folder's ``settings.json``.

        Raises:
            SettingsInvalid: a setting that does not fit or that there is none of, where it stands, and one that fits.
        """
        given = {name: value for name, value in explicit.items() if value not in (None, ())}
        check_environment(cls)
        return read_settings(cls, directory, given)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then environment, then the folder's ``settings.json`` (a hook of pydantic-settings)."""
        del dotenv_settings, file_secret_settings
        folder = Path(init_settings()["directory"])
        return init_settings, env_settings, JsonConfigSettingsSource(settings_cls, folder / SETTINGS_FILE)


class LeaderSettings(ServiceSettings):
    """The leader's settings (``HEARTHSIDE_LEADER_*``)."""

    model_config = SettingsConfigDict(env_prefix="HEARTHSIDE_LEADER_", extra="forbid")

    helper_url: Annotated[
        str, Field(pattern=r"^(https?://[^\s/?#@]+(/[^\s?#]*)?)?$", examples=["https://helper.example"])
    ] = ""
    """Where the helper answers."""
    helper_authorities: Annotated[Path | None, Field(examples=["/etc/hearthside/authorities.pem"])] = None
    """Authorities (PEM) that may sign the helper's certificate; the usual ones unless said."""
    helper_key: Annotated[Hex32, Field(examples=[_KEY_EXAMPLE])] = "0" * 64
    """The helper's public key, compared out of band."""
    officers: Annotated[Keys, Field(examples=[_KEY_EXAMPLE])] = ()
    """Public keys of the privacy officers, compared out of band."""
    helper_timeout_seconds: Seconds = 120.0
    """Longest wait for one answer of the helper."""
    share_timeout_seconds: Seconds = 3_600.0
    """Longest wait for the helper's share: it opens every seal of the batch first."""
    helper_retry_seconds: Seconds = 5.0
    """Longest pause between two attempts to reach the helper while a round waits for it."""
    decision_poll_seconds: Seconds = 1.0
    """How often a running study asks the helper whether the privacy office has stopped it."""
    enrolment_window_seconds: Seconds = 300.0
    """How old a signed enrolment may be, and how far ahead of the leader's clock."""
    device_items_per_minute: PerSecond = 120.0
    """Reports and receipts that one device may send each minute, and as many at once, to each process; a gateway's
    people count each for themselves. A withdrawal is never held back by it."""
    token_enrolments_per_second: PerSecond = 2_000.0
    """Devices that one enrolment token may enrol each second, and five times as many at once, through each process."""
    receipt_retention_days: Annotated[int, Field(ge=SHORTEST_RETENTION_DAYS, le=36_500)] = 1_095
    """How long a device's receipts, and its enrolment, are kept after its last yes ended and its last answer; it is
    what ``retention.receipts_days`` promises in the documents."""
    lease_seconds: Annotated[float, Field(ge=0.5, le=600)] = 3.0
    """How long the worker that runs the studies may be silent before another one of the same store takes over."""
    report_storage: Storage = "database"
    """Where the seals and masked vectors of rounds under way lie: in the database, or in files that its rows name."""
    report_directory: Annotated[Path | None, Field(examples=["/var/lib/hearthside/reports"])] = None
    """Folder of those files; ``reports`` in the leader's folder unless said. One leader's workers must share it."""
    close_early: bool = True
    """Close a round once every device with consent has reported (presence is outside the contract)."""

    def authorities(self) -> ssl.SSLContext | bool:
        """Who may have signed the helper's certificate, as the HTTP client takes it.

        Raises:
            SettingsInvalid: ``helper_authorities`` cannot be read.
        """
        if self.helper_authorities is None:
            return True
        try:
            return ssl.create_default_context(cafile=self.helper_authorities)
        except OSError as error:
            path, why = self.helper_authorities, type(error).__name__
            raise SettingsInvalid(f"setting helper_authorities: {path} cannot be used ({why}); expected PEM") from None

    def report_folder(self) -> Path:
        """Where reports lie if they do not lie in the database."""
        return self.report_directory or self.directory / REPORT_FOLDER

    def data_folders(self) -> tuple[Path, ...]:
        """Where the leader keeps what grows, reports included."""
        return (self.directory, *([self.report_folder()] if self.report_storage == "directory" else []))

    def helper_verify_key(self) -> VerifyKey:
        """The helper's public key."""
        return _public_key("helper_key", self.helper_key)

    def officer_keys(self) -> tuple[VerifyKey, ...]:
        """The officers' public keys."""
        return tuple(_public_key("officers", key) for key in self.officers)


class HelperSettings(ServiceSettings):
    """The helper's settings (``HEARTHSIDE_HELPER_*``)."""

    model_config = SettingsConfigDict(env_prefix="HEARTHSIDE_HELPER_", extra="forbid")

    leader_key: Annotated[Hex32, Field(examples=[_KEY_EXAMPLE])] = "0" * 64
    """The leader's public key, compared out of band."""
    officers: Annotated[Keys, Field(examples=[_KEY_EXAMPLE])] = ()
    """Public keys of the privacy officers whose decisions count."""
    batch_limit_bytes: Bytes = 2**34
    """Largest batch of seals; a round's own limit follows from its study's maximum cohort and is never above this."""
    batch_time_limit_seconds: Seconds = 3_600.0
    """Longest that the request for a round's share may take: a million seals take minutes to arrive and to open."""
    workers: Annotated[int, Field(ge=0, le=256)] = 0
    """Processes that open a large batch's seals; 0: one per core, 1: none beside the service."""
    large_batch_reports: Annotated[int, Field(ge=1)] = 20_000
    """Batches of at least so many seals are opened by the workers."""
    round_key_seconds: Annotated[float, Field(gt=0, le=LONGEST_KEY_LIFE_SECONDS)] = 7_200.0
    """How long after its window a round's key lives, if no batch was answered; longer than the seals' own grace."""
    answer_early: bool = True
    """Answer a batch before its round's window is over, for a leader that closes once everybody has reported. Off, a
    leader that lies cannot end the time in which reports are taken back."""
    withdrawal_margin: Annotated[int, Field(ge=0)] = 10_000
    """Notices above its maximum cohort that a round may have; with one more it is never answered."""
    maximum_withdrawals: Annotated[int, Field(ge=1)] = 10_000
    """Most notices in the old form, without their seal, that are kept at a time."""
    withdrawal_retention_seconds: Annotated[int, Field(ge=60)] = 2 * 86_400
    """How long a withdrawal notice is kept."""

    def leader_verify_key(self) -> VerifyKey:
        """The leader's public key."""
        return _public_key("leader_key", self.leader_key)

    def officer_keys(self) -> tuple[VerifyKey, ...]:
        """The officers' public keys."""
        return tuple(_public_key("officers", key) for key in self.officers)
