"""The chat page in Chromium when its connection breaks, or its session is closed or gone.

The tests that kill their server start one; it comes back on the same port, with the same database.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import pytest
from playwright.async_api import expect

from tests.browser import Chat, Visitors, stored, tapped, times_asked
from tests.scripted_provider import ScriptedProcess, expected_text
from tests.servers import Server
from tests.services import free_port

pytest_plugins = ["tests.browser", "tests.servers"]
pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.browser,
    pytest.mark.server,
]


@pytest.fixture
def mortal_site(provider: ScriptedProcess) -> Iterator[Server]:
    """A server that may be killed; whoever comes after it takes over its turns soon."""
    with _mortal(provider) as server:
        yield server


def _mortal(provider: ScriptedProcess) -> Server:
    server = Server(provider.base_url, environment={"LEASE_SECONDS": "1"})
    server.port = free_port()
    return server


async def test_the_page_reconnects_when_the_server_was_killed_in_mid_answer(
    visitor: Visitors, provider: ScriptedProcess, mortal_site: Server
) -> None:
    prompt = "mode=slow tokens=40 delay=0.05 tag=kill"
    chat = await (await visitor(mortal_site.url)).chat()
    await chat.ask("say: before")
    await chat.answered("before")
    await chat.ask(prompt)
    await expect(chat.text(1)).to_contain_text("w3 ")

    mortal_site.kill()
    mortal_site.start()

    await chat.answered(expected_text(prompt), 1)
    await chat.counts(questions=2, answers=2)
    await chat.ready()
    session = await chat.session()
    assert stored(mortal_site, session, "response") == ["before", expected_text(prompt)]
    assert stored(mortal_site, session, "error") == []
    assert times_asked(provider, prompt) == 2

    await chat.page.reload()
    await chat.answered(expected_text(prompt), 1)
    await chat.counts(questions=2, answers=2)


async def test_a_message_written_while_the_server_is_down_is_sent_exactly_once(
    visitor: Visitors, provider: ScriptedProcess, mortal_site: Server
) -> None:
    prompt = "mode=ok tag=outbox say: at last"
    chat = await (await visitor(mortal_site.url)).chat()
    await chat.ask("say: before")
    await chat.answered("before")
    mortal_site.kill()
    await chat.ask(prompt)
    await chat.question_is("unsent")

    mortal_site.start()
    await chat.answered("at last", 1)
    await chat.counts(questions=2, answers=2)
    assert times_asked(provider, prompt) == 1
    assert stored(mortal_site, await chat.session(), "query") == ["say: before", prompt]


async def test_a_new_chat_without_a_word_survives_a_restart_unnoticed(
    visitor: Visitors, provider: ScriptedProcess
) -> None:
    with _mortal(provider) as server:
        chat = await (await visitor(server.url)).chat()
        await chat.ready()
        await chat.composer.fill("say: still here")
        server.kill()
        await chat.phase("waiting")
        server.start()
        await chat.ready()
        await expect(chat.strip).to_be_hidden()
        await expect(chat.composer).to_have_value("say: still here")
        await chat.composer.press("Enter")
        await chat.answered("still here")


async def test_the_outbox_of_a_session_that_is_gone_moves_to_the_new_chat(
    visitor: Visitors, provider: ScriptedProcess
) -> None:
    with _mortal(provider) as server:
        chat = await (await visitor(server.url)).chat()
        await chat.ask("say: before")
        await chat.answered("before")
        server.kill()
        await chat.ask("say: in the new one")
        await chat.question_is("unsent")
        server.manage("clear_expired_sessions", "--retention-days", "0")
        server.start()

        await chat.phase("stopped")
        await expect(chat.composer).to_be_disabled()
        await chat.button("New chat").click()
        await chat.answered("in the new one")
        await chat.counts(questions=1, answers=1)
        assert times_asked(provider, "say: in the new one") == 1


async def test_trouble_is_told_only_after_five_seconds_and_retry_now_ends_it(
    visitor: Visitors, provider: ScriptedProcess
) -> None:
    with _mortal(provider) as server:
        person = await visitor(server.url)
        page = await person.context.new_page()
        await page.clock.install()
        chat = Chat(page, server.url)
        await chat.open()
        await chat.ready()
        await page.clock.pause_at(await page.evaluate("() => Date.now() + 100"))
        dot = chat.connection
        server.kill()
        while await dot.get_attribute("data-phase") == "ready":
            await page.clock.run_for(20)  # the page draws
        await page.clock.run_for(4_000)
        await expect(chat.strip).to_be_hidden()
        assert await dot.get_attribute("data-trouble") is None

        await page.clock.run_for(2_000)
        await expect(chat.strip).to_be_visible()
        await expect(chat.strip).to_contain_text("Reconnecting")
        await expect(dot).to_have_attribute("data-trouble", "")
        retry = chat.button("Retry now")
        while not await retry.is_visible():
            await page.clock.run_for(20)

        server.start()
        await retry.click()
        while await dot.get_attribute("data-phase") != "ready":
            await page.clock.run_for(20)
        await expect(chat.strip).to_be_hidden()
        await expect(chat.status).to_have_text("Connected again")


async def test_without_a_network_the_page_says_so_and_sends_later(
    visitor: Visitors, provider: ScriptedProcess
) -> None:
    with _mortal(provider) as server:
        person = await visitor(server.url)
        chat = await person.chat()
        await chat.ready()
        server.kill()
        await chat.phase("waiting")
        await person.context.set_offline(True)
        await chat.ask("say: sent later")
        await expect(chat.strip).to_contain_text("You are offline; 1 message waiting")
        await chat.ask("say: this too")
        await expect(chat.strip).to_contain_text("You are offline; 2 messages waiting")
        await chat.question_is("unsent")
        server.start()
        await person.context.set_offline(False)
        await chat.answered("this too")
        await expect(chat.text(0)).to_have_text("sent later")
        await chat.counts(questions=2, answers=2)
        await expect(chat.strip).to_be_hidden()
        session = await chat.session()
        assert stored(server, session, "query") == ["say: sent later", "say: this too"]


async def test_an_unknown_session_is_gone_and_offers_a_new_chat(
    visitor: Visitors, site: Server
) -> None:
    for name in (str(uuid4()), "no-such-thing", '"><script>alert(1)</script>'):
        chat = await (await visitor(site.url)).chat(f"/?session={quote(name)}")
        await chat.phase("stopped")
        await expect(chat.strip).to_have_attribute("data-reason", "gone")
        await expect(chat.strip).to_contain_text("does not exist")
        await expect(chat.composer).to_be_disabled()
        await expect(chat.page.locator("#skeleton")).to_be_hidden()

        await chat.new_chat.click()
        await chat.ready()
        assert chat.page.url == f"{site.url}/"
        await expect(chat.strip).to_be_hidden()
        await chat.ask("say: anew")
        await chat.answered("anew")


@pytest.fixture(scope="module")
def hasty_site(provider: ScriptedProcess) -> Iterator[Server]:
    """A server that closes sessions after three seconds without use."""
    environment = {"SESSION_TIMEOUT": "0.05"}
    with Server(provider.base_url, environment=environment) as server:
        yield server
        server.assert_nothing_broke()


async def test_a_session_closed_for_idleness_continues(
    visitor: Visitors, hasty_site: Server
) -> None:
    chat = await (await visitor(hasty_site.url)).chat()
    await chat.ask("say: before")
    await chat.answered("before")
    session = await chat.session()
    await chat.phase("stopped")
    await expect(chat.strip).to_have_attribute("data-reason", "closed")
    await expect(chat.strip).to_contain_text("not used")
    await expect(chat.page.locator(".note")).to_contain_text("inactivity")

    await chat.button("Continue").click()
    await chat.ready()
    await chat.ask("say: after")
    await chat.answered("after")
    await chat.counts(questions=2, answers=2)
    assert await chat.session() == session

    await chat.phase("stopped")
    await chat.ask("say: without a word")
    await chat.answered("without a word")
    assert await chat.session() == session


async def test_an_unused_new_chat_that_was_closed_can_be_used(
    visitor: Visitors, hasty_site: Server
) -> None:
    chat = await (await visitor(hasty_site.url)).chat()
    await chat.phase("stopped")
    await chat.button("Continue").click()
    await chat.ready()
    await chat.ask("say: at last")
    await chat.answered("at last")


# what the server says


async def test_a_server_that_restarts_says_so_and_the_page_goes_on_by_itself(
    visitor: Visitors, provider: ScriptedProcess
) -> None:
    with _mortal(provider) as server:
        chat = await (await visitor(server.url)).chat()
        await chat.ask("say: before")
        await chat.answered("before")
        server.terminate()
        await expect(chat.strip).to_have_attribute("data-reason", "restarting")
        await expect(chat.strip).to_contain_text("Server is restarting")
        await chat.ask("say: meanwhile")
        await chat.question_is("unsent")
        await expect(chat.strip).to_contain_text("1 message waiting")
        server.wait()
        server.start()
        await chat.answered("meanwhile")
        await chat.counts(questions=2, answers=2)


async def test_who_is_not_signed_in_is_told_and_loses_no_word(
    visitor: Visitors, provider: ScriptedProcess
) -> None:
    with _mortal(provider) as server:
        person = await visitor(server.url)
        chat = await person.chat()
        await chat.ask("say: before")
        await chat.answered("before")
        server.kill()
        await chat.ask("say: unsent")
        await chat.composer.fill("a draft")
        await chat.question_is("unsent")
        cookies = await person.context.cookies()
        await person.context.clear_cookies()
        server.environment["ALLOW_ANONYMOUS"] = "0"
        server.start()
        await chat.phase("stopped")
        await expect(chat.strip).to_have_attribute("data-reason", "signed_out")
        await expect(chat.strip).to_contain_text("Sign in to continue")
        await expect(chat.composer).to_be_disabled()
        await expect(chat.composer).to_have_value("a draft")
        await chat.question_is("unsent")

        server.kill()
        server.environment["ALLOW_ANONYMOUS"] = "1"
        server.start()
        await person.context.add_cookies(cookies)  # type: ignore[arg-type]  # as they came
        await chat.button("Try again").click()
        await chat.answered("unsent")
        await expect(chat.composer).to_have_value("a draft")
        person.trouble.clear()  # the list of conversations was refused too


def limited(ref: str | None, seconds: float) -> dict[str, Any]:
    error = {"type": "error", "code": "rate_limited", "retryable": True, "retry_after": seconds}
    return {**error, "ref": ref, "content": "Too many messages. Wait a little."}


async def test_a_rate_limit_counts_down_and_the_message_goes_out_by_itself(
    visitor: Visitors, site: Server
) -> None:
    chat, tap = await tapped(visitor, site)
    refused: list[str] = []

    def refuse(frame: dict[str, Any]) -> bool:
        if frame["type"] != "query" or refused:
            return False
        refused.append(frame["id"])
        tap.send(limited(frame["id"], 3))
        return True

    tap.answers = refuse
    await chat.ask("say: at last")
    await expect(chat.strip).to_contain_text(
        re.compile(r"Too many messages · Sending again in \d s")
    )
    await chat.composer.fill("typed meanwhile")
    await expect(chat.send).to_be_disabled()
    await chat.answered("at last")
    await chat.counts(questions=1, answers=1)
    await expect(chat.send).to_be_enabled()
    await expect(chat.composer).to_have_value("typed meanwhile")


async def test_too_many_connections_wait_as_long_as_the_server_asks(
    visitor: Visitors, site: Server
) -> None:
    chat, tap = await tapped(visitor, site)
    tap.send({**limited(None, 2), "content": "Too many connections. Close some."})
    await tap.close(4429)
    await expect(chat.strip).to_have_attribute("data-reason", "limited")
    await expect(chat.strip).to_contain_text("Too many connections. Close some.")
    await expect(chat.strip).to_contain_text("Trying again in")
    await chat.ready()
    await expect(chat.strip).to_be_hidden()


async def test_who_may_not_come_is_told_why_and_the_outbox_moves_to_the_new_chat(
    visitor: Visitors, site: Server
) -> None:
    chat, tap = await tapped(visitor, site)
    tap.answers = lambda frame: True
    await chat.ask("say: in the new one")
    error = {"type": "error", "code": "forbidden", "retryable": False}
    tap.send({**error, "content": "Your account may not use this."})
    await tap.close(4403)
    await chat.phase("stopped")
    await expect(chat.strip).to_contain_text("Your account may not use this.")
    await expect(chat.composer).to_be_disabled()
    tap.answers = lambda frame: False
    await chat.button("New chat").click()
    await chat.answered("in the new one")


async def test_what_the_server_cannot_reach_is_told_until_it_can(
    visitor: Visitors, site: Server
) -> None:
    chat, tap = await tapped(visitor, site)
    degraded = {"type": "notification", "event": "degraded", "part": "redis"}
    tap.send({**degraded, "level": "warning", "content": "Answers may arrive late."})
    await expect(chat.strip).to_contain_text("Answers may arrive late.")
    await expect(chat.composer).to_be_enabled()
    tap.send({**degraded, "level": "success", "content": "Fine again."})
    await expect(chat.strip).to_be_hidden()


async def test_a_notification_from_outside_is_shown_by_its_level_and_kept(
    visitor: Visitors, site: Server
) -> None:
    chat = await (await visitor(site.url)).chat()
    await chat.ask("say: hello")
    await chat.answered("hello")
    site.manage("notify", await chat.session(), "The build is *done*")
    for _ in range(2):  # live, and after a reload
        note = chat.page.locator(".note")
        await expect(note).to_contain_text("The build is *done*")
        await expect(note).to_have_attribute("data-level", "info")
        await chat.page.reload()
