"""When the banner asks again: once for what has lapsed or is not believed, never for a no that says what it said."""

import httpx
import pytest

from client_agent.gateway.application import gateway_app
from client_agent.gateway.asking import VISIT_MS
from client_agent.gateway.sessions import Sessions
from client_agent.pages.texts import TEXTS
from consent import (
    INTENT,
    PERSONA,
    PURPOSES,
    decline,
    distrust,
    grant,
    lapsed,
    notice,
    record,
    restart,
    sign_receipt,
)
from tests.client_agent.gateway.people import DEVICE, NOW_MS, SITE, MemoryHousehold, MemoryVisitor, known, same_token
from tests.client_agent.gateway.test_door import ORIGIN, SETTINGS
from tests.consent.scenes import next_version

DAY_MS = 86_400_000
pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return "asyncio"


class Visit:
    """A person whose clock a test moves, and their browser on the site."""

    def __init__(self):
        self.ms = NOW_MS
        self.visitor = MemoryVisitor(now_ms=lambda: self.ms)
        household = MemoryHousehold({"me": self.visitor}, now_ms=lambda: self.ms)
        self.sessions = Sessions(household, same_token)
        self.app = gateway_app(self.sessions, SETTINGS, httpx.MockTransport(lambda _: httpx.Response(200)))

    def answer(self, act, *purposes, registry=PURPOSES):
        """An answer, as the agent's own page records it."""
        shown = notice(SITE, "en", registry)
        receipt = act(self.visitor.state, purposes, notice=shown, issued_at=self.ms // 1_000, registry=registry)
        self.visitor.state, _ = record(self.visitor.state, sign_receipt(DEVICE, receipt), self.ms // 1_000, registry)

    async def told(self, lang="en"):
        """What the collector hears on a page, after the person has said who they are today."""
        _, token = known(self.sessions)
        cookies = httpx.Cookies()
        cookies.set("hearthside-8100", token, "127.0.0.1", "/.hearthside")
        transport = httpx.ASGITransport(app=self.app)
        async with httpx.AsyncClient(transport=transport, base_url=ORIGIN, cookies=cookies) as web:
            return (await web.get("/.hearthside/notice", params={"lang": lang})).json()

    async def asks(self):
        return (await self.told())["ask"]


async def test_the_banner_asks_until_the_first_answer_and_not_after_it():
    """What was left open is asked about no more: the page has it."""
    visit = Visit()
    for _ in range(3):
        assert await visit.asks()
        visit.ms += DAY_MS
    visit.answer(decline, PERSONA)
    assert not await visit.asks()
    visit.answer(grant, INTENT)
    assert not await visit.asks()


async def test_a_yes_that_has_expired_is_asked_about_for_one_visit():
    """From the first page that is told of it, for half an hour; it says why, in the language of the page."""
    visit = Visit()
    visit.answer(grant, PERSONA, INTENT)
    visit.ms += 200 * DAY_MS
    told = await visit.told()
    assert (told["ask"], told["paragraphs"]) == (True, [TEXTS["en"].page["to_answer_more"].format(count=2)])
    assert (await visit.told("de"))["paragraphs"] == [TEXTS["de"].page["to_answer_more"].format(count=2)]
    visit.ms += VISIT_MS - 1
    assert await visit.asks()
    visit.ms += 1
    assert not await visit.asks()
    visit.ms += 30 * DAY_MS
    assert not await visit.asks()


async def test_a_purpose_that_has_changed_is_asked_about():
    """Whether the answer to what it said before was yes or no: to the new text there is none."""
    for act in (grant, decline):
        visit = Visit()
        visit.answer(act, PERSONA, registry=next_version(PURPOSES, PERSONA))
        told = await visit.told()
        assert (told["ask"], told["paragraphs"]) == (True, [TEXTS["en"].page["to_answer_one"]])


async def test_a_no_to_the_present_text_is_never_asked_about():
    """However old it is, and whatever else lapses beside it."""
    visit = Visit()
    visit.answer(decline, *(purpose.id for purpose in PURPOSES))
    visit.ms += 3_000 * DAY_MS
    assert not await visit.asks()
    visit.answer(grant, INTENT)
    visit.ms += 200 * DAY_MS
    told = await visit.told()
    assert (told["ask"], told["paragraphs"]) == (True, [TEXTS["en"].page["to_answer_one"]])
    assert [answer.purpose for answer in lapsed(visit.visitor.state, visit.ms // 1_000)] == [INTENT]


async def test_what_lapses_later_is_asked_about_once_more_and_an_answer_ends_it():
    """Each lapsed answer is asked about once; another choice meanwhile is no reason to begin again."""
    visit = Visit()
    visit.answer(grant, PERSONA)
    visit.ms += 10 * DAY_MS
    visit.answer(grant, INTENT)
    visit.ms += 171 * DAY_MS
    assert await visit.asks()
    visit.ms += VISIT_MS
    assert not await visit.asks()
    visit.ms += 10 * DAY_MS
    assert await visit.asks()
    visit.ms += VISIT_MS
    assert not await visit.asks()
    visit.answer(grant, PERSONA, INTENT)
    assert not await visit.asks()
    visit.ms += 181 * DAY_MS
    assert await visit.asks()
    visit.answer(decline, PERSONA, INTENT)
    assert not await visit.asks()


@pytest.mark.parametrize("act", [grant, decline])
async def test_a_ledger_that_is_not_believed_is_asked_about_for_one_visit(act):
    """Neither its yes nor its no counts, and nothing is collected. The site's page is told what a new person's is."""
    visit = Visit()
    first = await visit.told()
    visit.answer(act, PERSONA, INTENT)
    sound, visit.visitor.state = visit.visitor.state, distrust(visit.visitor.state, "edited")
    visit.ms += DAY_MS
    told = await visit.told()
    assert (told["ask"], told["collect"], told["paragraphs"]) == (True, [], first["paragraphs"])
    visit.ms += VISIT_MS - 1
    assert await visit.asks()
    visit.ms += 1
    assert not await visit.asks()
    visit.visitor.state = sound
    assert not await visit.asks(), "an older copy came back: its answers stand"
    visit.visitor.state = distrust(sound, "edited once more")
    assert await visit.asks()
    visit.visitor.state, _ = restart(visit.visitor.state, visit.ms // 1_000)
    visit.answer(decline, PERSONA)
    assert not await visit.asks(), "the ledger began anew with the next choice"
