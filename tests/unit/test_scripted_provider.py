"""The scripted server, where other tests rely on it."""

from __future__ import annotations

import asyncio
import json
import urllib.request

import pytest

from tests.support.scripted_provider import (
    Script,
    ScriptedProvider,
    expected_text,
    newest_question,
    scripted_process,
)


def ask(base_url: str, prompt: str) -> str:
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": prompt}]}).encode()
    request = urllib.request.Request(f"{base_url}/chat/completions", body)
    with urllib.request.urlopen(request, timeout=5) as response:
        text: str = response.read().decode()
        return text


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        ("say: hello  world", "hello  world"),
        ("mode=slow tokens=3 delay=1", "w0 w1 w2 "),
        ("mode=cut after=1 say: one two", "one "),
        ("mode=hang", ""),
        ("what?", "You asked (5 characters): what?"),
        ("a=b say: c", "You asked (10 characters): a=b say: c"),
    ],
)
def test_the_expected_text_follows_from_the_prompt(prompt: str, text: str) -> None:
    assert expected_text(prompt) == text


def test_the_newest_of_joined_questions_is_the_script() -> None:
    assert newest_question("mode=hang\n\nwhat?\n\nsay: here") == "say: here"
    assert newest_question("say: one\n\ntwo") == "say: one\n\ntwo"


def test_tokens_are_words_with_their_spaces() -> None:
    assert Script("say: one  two\n\nthree").tokens() == ["one  ", "two\n\n", "three"]


def test_a_process_of_its_own_tells_what_it_was_asked_and_forgets_it() -> None:
    with scripted_process() as server:
        assert "hello" in ask(server.base_url, "say: hello")
        [request] = server.requests()
        assert request["prompt"] == "say: hello"
        assert request["body"]["model"] == "m"
        assert request["ended"]
        server.reset()
        assert server.requests() == []


def test_prompts_without_a_script_get_the_default_one() -> None:
    with scripted_process(default="mode=slow tokens=2") as server:
        assert '"w1 "' in ask(server.base_url, "no script")
        assert '"mine"' in ask(server.base_url, "say: mine")


async def test_a_client_that_leaves_before_the_end_is_noticed() -> None:
    async with ScriptedProvider() as server:
        reader, writer = await asyncio.open_connection(server.host, server.port)
        body = json.dumps({"messages": [{"role": "user", "content": "mode=stall"}]}).encode()
        head = f"POST /chat/completions HTTP/1.1\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        await reader.readuntil(b"\r\n\r\n")
        assert not server.requests[0].disconnected
        writer.close()
        async with asyncio.timeout(45):
            while not server.requests[0].disconnected:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        assert not server.requests[0].ended
