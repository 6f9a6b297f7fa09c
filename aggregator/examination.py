"""What can be seen of a service from outside, before it starts or while it runs; nothing is changed.

Each look gives one finding: fine, worth a look, or in the way, and what to do next.
"""

from __future__ import annotations

import datetime as dt
import shutil
import socket
import stat
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import httpx
from pydantic import ValidationError
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import create_async_engine

from aggregator.errors import AggregatorError
from aggregator.key_files import certificate_expiry
from aggregator.server import tls_context
from aggregator.settings import HelperSettings, LeaderSettings, ServiceSettings
from aggregator.storage.migration import check_schema
from models.wire.enrolment import ServiceIdentity
from models.wire.problems import ProblemError

_NO_KEY: Final = "0" * 64
_CALL_SECONDS: Final = 5.0
_CLOCK_WARN_SECONDS, _CLOCK_FAIL_SECONDS = 5.0, 60.0
_ROOMY: Final = 10
"""Free space of so many times the least is no matter of concern."""
_CERTIFICATE_DAYS: Final = 14


class Verdict(StrEnum):
    """How a finding is."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True)
class Finding:
    """One look.

    Attributes:
        name: what was looked at.
        verdict: how it is.
        text: what was found.
        advice: what to do next; empty where nothing is.
    """

    name: str
    verdict: Verdict
    text: str
    advice: str = ""


def _ok(name: str, found: str) -> Finding:
    return Finding(name, Verdict.OK, found)


async def examine(settings: ServiceSettings, port: int) -> AsyncIterator[Finding]:
    """Look at everything, in the order in which a start would meet it.

    Args:
        settings: of the service.
        port: where it listens, or will.
    """
    yield _key(settings)
    yield _folder(settings)
    yield _parties(settings)
    yield await _store(settings)
    yield _disk(settings)
    if settings.tls_certificate is not None:
        yield _certificate(settings, settings.tls_certificate)
    yield await _port(settings, port)
    if isinstance(settings, LeaderSettings):
        async for finding in _helper(settings):
            yield finding
        yield _repository(settings)
    else:
        yield _clock_alone(settings)


def _key(settings: ServiceSettings) -> Finding:
    try:
        key = settings.signing_key()
    except AggregatorError as error:
        return Finding("key", Verdict.FAIL, str(error), "restore the file from where it is kept, with mode 0600")
    return _ok("key", f"fingerprint {key.verify_key.fingerprint}")


def _folder(settings: ServiceSettings) -> Finding:
    loose = [
        path for path in (*settings.data_folders(), settings.vault_folder()) if path.exists() and _others_may(path)
    ]
    if loose:
        return Finding("folder", Verdict.WARN, f"{loose[0]} can be changed by others", f"chmod go-w {loose[0]}")
    return _ok("folder", str(settings.directory))


def _others_may(path: Path) -> bool:
    return bool(path.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH))


def _parties(settings: ServiceSettings) -> Finding:
    name, get = _other_party(settings)
    if getattr(settings, name) == _NO_KEY:
        advice = f"hearthside-aggregator configure --dir {settings.directory} {name}=KEY"
        return Finding("parties", Verdict.FAIL, f"{name} is not set", advice)
    try:
        other, officers = get(), settings.officer_keys()  # type: ignore[attr-defined]  # both services have it
    except AggregatorError as error:
        return Finding("parties", Verdict.FAIL, str(error), "compare the keys with the other parties")
    if not officers:
        advice = f"hearthside-aggregator configure --dir {settings.directory} officers=KEY,KEY"
        return Finding("parties", Verdict.WARN, "no officer is known: nothing can be approved", advice)
    return _ok("parties", f"{name} {other.fingerprint}, {len(officers)} officers")


def _other_party(settings: ServiceSettings) -> tuple[str, Callable[[], Any]]:
    if isinstance(settings, HelperSettings):
        return "leader_key", settings.leader_verify_key
    assert isinstance(settings, LeaderSettings), "there are two services"
    return "helper_key", settings.helper_verify_key


async def _store(settings: ServiceSettings) -> Finding:
    schema = "leader" if isinstance(settings, LeaderSettings) else "helper"
    path = settings.directory / "store.sqlite3"
    try:
        url = settings.url()
        own = url.startswith("sqlite") and url.endswith(str(path))
        if own and not path.exists():
            return Finding("store", Verdict.WARN, f"there is none at {path}", "the first start makes it")
        engine = create_async_engine(url.replace(str(path), f"file:{path}?mode=ro&uri=true") if own else url)
        try:
            async with engine.connect() as connection:
                if url.startswith("sqlite"):
                    found = (await connection.execute(text("PRAGMA quick_check(1)"))).scalar_one()
                    if found != "ok":
                        return Finding("store", Verdict.FAIL, f"it is damaged ({found})", "restore it from a back-up")
                current = await connection.run_sync(check_schema, schema)
        finally:
            await engine.dispose()
    except AggregatorError as error:
        return Finding("store", Verdict.FAIL, str(error), "see docs/storage.md, upgrades")
    except (SQLAlchemyError, OSError, ModuleNotFoundError) as error:
        why = f"it does not answer ({type(error).__name__})"
        return Finding("store", Verdict.FAIL, why, "is the database up, the URL right, the file whole?")
    if not current:
        return Finding("store", Verdict.WARN, "its schema is older", "back it up; the next start upgrades it")
    return _ok("store", "whole, of the newest schema")


def _disk(settings: ServiceSettings) -> Finding:
    free = min(shutil.disk_usage(folder).free for folder in settings.data_folders() if folder.exists())
    least = settings.disk_least_bytes
    text_ = f"{free // 2**20} MiB are free"
    if free < least:
        return Finding("disk", Verdict.FAIL, text_, f"make room: the service is not ready below {least // 2**20} MiB")
    if free < _ROOMY * least:
        return Finding("disk", Verdict.WARN, text_, "make room soon")
    return _ok("disk", text_)


def _certificate(settings: ServiceSettings, path: Path) -> Finding:
    try:
        tls_context(settings)
        until = certificate_expiry(path)
    except (AggregatorError, OSError, ValueError) as error:
        return Finding("certificate", Verdict.FAIL, str(error), "expected a chain and its key, both PEM, no password")
    days = (until - dt.datetime.now(dt.UTC)).days
    verdict = Verdict.FAIL if days < 0 else Verdict.WARN if days < _CERTIFICATE_DAYS else Verdict.OK
    advice = "" if verdict is Verdict.OK else "renew it and start the service again"
    return Finding("certificate", verdict, f"valid until {until:%Y-%m-%d}", advice)


async def _port(settings: ServiceSettings, port: int) -> Finding:
    scheme = "http" if settings.tls_certificate is None else "https"
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            pass
        else:
            return _ok("port", f"{port} is free; the service does not run there")
    try:
        identity, _ = await _identity(f"{scheme}://127.0.0.1:{port}", verify=False)
        if identity.key == settings.signing_key().verify_key.raw.hex():
            return _ok("port", f"this service answers at {port}")
    except (httpx.HTTPError, ValueError, AggregatorError):
        pass
    return Finding("port", Verdict.FAIL, f"{port} is taken by somebody else", "choose another with --port")


async def _identity(url: str, *, verify: Any) -> tuple[ServiceIdentity, float | None]:
    """Who answers there, and how far its clock is ahead of ours."""
    async with httpx.AsyncClient(trust_env=False, timeout=_CALL_SECONDS, verify=verify) as client:
        response = await client.get(f"{url.rstrip('/')}/v1/identity")
    response.raise_for_status()
    stated = response.headers.get("date")
    ahead = parsedate_to_datetime(stated).timestamp() - time.time() if stated else None
    return ServiceIdentity.model_validate_json(response.content), ahead


async def _helper(settings: LeaderSettings) -> AsyncIterator[Finding]:
    if not settings.helper_url:
        advice = f"hearthside-aggregator configure --dir {settings.directory} helper_url=https://helper.example"
        yield Finding("helper", Verdict.FAIL, "helper_url is not set", advice)
        return
    try:
        identity, ahead = await _identity(settings.helper_url, verify=settings.authorities())
    except (httpx.HTTPError, httpx.InvalidURL, ValidationError, OSError) as error:
        why = f"it does not answer as one ({type(error).__name__})"
        yield Finding("helper", Verdict.FAIL, why, "rounds wait for it; ask the privacy office, check helper_url")
        return
    yield _who(settings, identity)
    if ahead is not None:
        yield _clock(ahead)


def _who(settings: LeaderSettings, identity: ServiceIdentity) -> Finding:
    if identity.role != "helper" or identity.key != settings.helper_key:
        why = f"{settings.helper_url} answers as {identity.role} {identity.fingerprint}, which is not helper_key"
        return Finding("helper", Verdict.FAIL, why, "compare fingerprints with the privacy office; trust neither yet")
    if identity.site != settings.site:
        why = f"it is the helper of site {identity.site!r}, not of {settings.site!r}"
        return Finding("helper", Verdict.FAIL, why, "make both services of one site")
    if set(identity.officers) != set(settings.officers):
        why = "it knows other officers than this leader"
        return Finding("helper", Verdict.WARN, why, "compare 'officers' on both sides")
    return _ok("helper", f"answers, fingerprint {identity.fingerprint}")


def _clock(ahead: float) -> Finding:
    text_ = f"the helper's is {abs(ahead):.0f} s {'ahead' if ahead > 0 else 'behind'}"
    if abs(ahead) <= _CLOCK_WARN_SECONDS:
        return _ok("clock", text_)
    verdict = Verdict.FAIL if abs(ahead) > _CLOCK_FAIL_SECONDS else Verdict.WARN
    return Finding("clock", verdict, text_, "set both by NTP; signed requests are refused beyond their time window")


def _clock_alone(settings: ServiceSettings) -> Finding:
    made = settings.key_file or settings.directory / "service.key"
    if made.exists() and made.stat().st_mtime > time.time() + _CLOCK_FAIL_SECONDS:
        return Finding("clock", Verdict.FAIL, "it is behind the time at which the key was made", "set it by NTP")
    return _ok("clock", f"{dt.datetime.now(dt.UTC):%Y-%m-%dT%H:%M:%SZ}")


def _repository(settings: LeaderSettings) -> Finding:
    from aggregator.leader.distribution import Distribution
    from aggregator.leader.repository import KEY_FOLDER, RoleKeys

    now = dt.datetime.now(dt.UTC)
    try:
        keys = RoleKeys(settings.directory / KEY_FOLDER, (settings.signing_key(),))
        distribution = Distribution(settings.directory / "tuf", settings.site, keys)
        standing = distribution.standing()
    except (ProblemError, AggregatorError, OSError) as error:
        return Finding("repository", Verdict.WARN, f"no bundles can be published ({error})", "see docs/distribution.md")
    gone = [item.role for item in standing if item.expires < now]
    if gone:
        advice = "officers renew it with 'tuf renew'; the running leader renews its own roles"
        return Finding("repository", Verdict.FAIL, f"{', '.join(gone)} has expired", advice)
    soon = distribution.warnings(now)
    if soon:
        return Finding("repository", Verdict.WARN, soon[0], "before then: agents refuse what has expired")
    first = min(standing, key=lambda item: item.expires)
    return _ok("repository", f"{first.role} is the first to expire, on {first.expires:%Y-%m-%d}")
