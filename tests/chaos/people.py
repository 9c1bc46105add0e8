"""Who uses the servers in a chaos run: people with a few tabs each, an outbox, and bad connections.

A person has one session. Its tabs come, stay for a moment, leave in some rude way and come back at
any server with what they hold; its questions are sent again and again, with the same id, until the
server has said what became of them. What is asked and what was seen is kept for the judge.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from websockets.exceptions import InvalidHandshake, InvalidMessage, WebSocketException

from tests.support.client import Client, Frame, Transcript, Violation, connect, is_terminal
from tests.support.scripted_provider import expected_text
from tests.support.services import HOST

from .world import HEARTBEAT_SECONDS

#: A connection on which nothing came for this long is given up, as the protocol advises.
SILENCE_SECONDS = 2 * HEARTBEAT_SECONDS + 0.5
_CONNECT_SECONDS = 4.0
_AGAIN_SECONDS = 1.5
_NOT_FOUND = 4404

#: What a question is like: (weight, script before `say:`).
_SCRIPTS = (
    (6, "mode=slow delay=0.02"),
    (4, "mode=slow delay=0.1"),
    (4, "mode=ok"),
    (2, "mode=slow delay=0.05 bytes=7"),
    (1, "mode=comments delay=0.02"),
    (2, "mode=flaky times=1 status=503"),
    (1, "mode=flaky times=1 status=429 retry_after=1"),
    (1, "mode=status status=400"),
    (1, "mode=error_event after=5 delay=0.02"),
    (1, "mode=cut after=7 delay=0.02"),
    (1, "mode=rst after=4 delay=0.02"),
    (1, "mode=stall after=6 delay=0.02"),
    (1, "mode=keepalives after=3 delay=0.02"),
    (2, "mode=reasoning delay=0.05"),
)


@dataclass(slots=True)
class Question:
    """A query as its person asks it, and what it knows of its fate."""

    ref: str
    frame: Frame
    received: Frame | None = None
    refused: str = ""
    sends: int = 0
    sent_at: float = 0.0

    @property
    def open(self) -> bool:
        return self.received is None and not self.refused

    @property
    def answer(self) -> str:
        """What the provider says to it, as far as it gets."""
        return expected_text(self.frame["content"])


@dataclass(slots=True)
class Seen:
    """A turn's end as one connection saw it live, and the text that its deltas had added up to."""

    turn: str
    attempt: int
    text: str


@dataclass(slots=True)
class Tab:
    """One browser tab: what it holds outlives its connections."""

    number: int
    transcript: Transcript = field(default_factory=lambda: Transcript(holes=True, crashes=True))
    seen: list[Seen] = field(default_factory=list)


class Person:
    """A visitor.

    Args:
        name: in every question and therefore in every answer of its session.
        seed: of what it does.
        ports: where servers can be reached.
        tabs: how many.

    Attributes:
        counts: of what it did.
        violations: of the protocol, as its tabs saw them.
    """

    def __init__(self, name: str, seed: str, ports: list[int], tabs: int) -> None:
        self.name, self.ports = name, ports
        self.random = random.Random(seed)
        self.session = self.token = ""
        self.tabs = [Tab(number) for number in range(tabs)]
        self.questions: list[Question] = []
        self.counts: Counter[str] = Counter()
        self.violations: list[str] = []
        self.calm = False
        self._leaving = False

    # life

    async def arrive(self) -> None:
        """Open the session, and ask the first question in peace, so that the session is stored."""
        tab = self.tabs[0]
        url = f"ws://{HOST}:{self.random.choice(self.ports)}/ws/agent/"
        async with connect(url, transcript=tab.transcript) as client:
            question = self._question()
            self.questions.append(question)
            await self._send(client, question)
            await client.end(question.ref)
            for frame in client.frames:
                self._notice(tab, client, frame)
        self.token, self.session = tab.transcript.resume_token, tab.transcript.session

    async def live(self) -> None:
        """Come and go until `leave`; ask while it is not `calm`."""
        asking = asyncio.create_task(self._ask_now_and_then())
        try:
            await asyncio.gather(*(self._use(tab) for tab in self.tabs))
        finally:
            asking.cancel()

    def leave(self) -> None:
        self._leaving = True

    @property
    def credentials(self) -> dict[str, str]:
        """Headers with which its session is reached."""
        return {"Authorization": f"Bearer {self.token}"}

    @property
    def settled(self) -> bool:
        """Whether every question has its fate, and every tab holds the ends of all."""
        if any(question.open for question in self.questions):
            return False
        refs = {question.ref for question in self.questions if question.received}
        return all(
            refs <= {end.get("ref") for end in tab.transcript.ends.values()} for tab in self.tabs
        )

    def holds(self, seq: int) -> bool:
        """Whether every tab got as far as the durable frame of this number."""
        return all(tab.transcript.last_seq >= seq for tab in self.tabs)

    async def _ask_now_and_then(self) -> None:
        while True:
            await asyncio.sleep(self.random.uniform(0.2, 2.0))
            if not self.calm and sum(question.open for question in self.questions) < 5:
                self.questions.append(self._question())

    def _question(self) -> Question:
        ref = f"{self.name}-{len(self.questions)}"
        words = " ".join(f"{ref}:{n}" for n in range(self.random.randint(1, 40)))
        (script,) = self.random.choices([s for _, s in _SCRIPTS], [w for w, _ in _SCRIPTS])
        frame: Frame = {"type": "query", "id": ref, "content": f"{script} say: {words}"}
        frame["priority"] = self.random.choice(("high", "normal", "normal", "low"))
        (on_busy,) = self.random.choices(("queue", "interrupt", "reject"), (8, 1, 1))
        return Question(ref, {**frame, "on_busy": on_busy})

    # a tab

    async def _use(self, tab: Tab) -> None:
        while not self._leaving:
            port = self.random.choice(self.ports)
            try:
                await self._visit(tab, port)
            except Violation as violation:
                self.violations.append(f"{self.name} tab {tab.number}: {violation}")
                tab.transcript = Transcript(holes=True, crashes=True)
            except (OSError, TimeoutError, InvalidHandshake, InvalidMessage, WebSocketException):
                self.counts["failed to connect"] += 1
                await asyncio.sleep(0.3)
            except AssertionError as error:  # closing took too long
                self.counts["gave up closing"] += 1
                del error
            await asyncio.sleep(self.random.uniform(0.05, 0.6))

    async def _visit(self, tab: Tab, port: int) -> None:
        last_seq = tab.transcript.last_seq
        if self.random.random() < 0.1:
            last_seq = 0  # a reload: everything once more
        door = connect(
            f"ws://{HOST}:{port}/ws/agent/",
            last_seq=last_seq,
            headers=self.credentials,
            transcript=tab.transcript,
        )
        async with asyncio.timeout(_CONNECT_SECONDS):
            client = await door.__aenter__()
        self.counts["connections"] += 1
        try:
            await self._stay(tab, client)
            self._judge_close(client)
        finally:
            self.counts["frames"] += len(client.frames)
            await client.abort()
            client.reading.cancel()
        if client.failure:
            raise client.failure

    def _judge_close(self, client: Client) -> None:
        code = client.socket.close_code
        if client.reading.done() and code:
            self.counts[f"closed {code}"] += 1
        if code == _NOT_FOUND:
            self.violations.append(f"lost: the session of {self.name} is gone")

    async def _stay(self, tab: Tab, client: Client) -> None:
        """Use a connection until it breaks, is silent for too long, or we have had enough."""
        enough = time.monotonic() + self._patience()
        heard, heard_at, looked_at = 0, time.monotonic(), 0
        while not client.reading.done() and not self._leaving:
            await asyncio.sleep(0.05)
            now = time.monotonic()
            if len(client.frames) > heard:
                heard, heard_at = len(client.frames), now
            for frame in client.frames[looked_at:]:
                self._notice(tab, client, frame)
            looked_at = len(client.frames)
            if now - heard_at > SILENCE_SECONDS:
                self.counts["gave up a silent connection"] += 1
                return
            if now > enough:
                await self._leave_rudely(client)
                return
            with suppress(WebSocketException, OSError, TimeoutError):
                async with asyncio.timeout(2):
                    await self._act(client)
        for frame in client.frames[looked_at:]:
            self._notice(tab, client, frame)

    def _patience(self) -> float:
        if self.calm:
            return 10.0
        return self.random.choice((0.1, 0.5, 1.0, 2.0, 4.0, 8.0)) * self.random.uniform(0.5, 1.5)

    async def _leave_rudely(self, client: Client) -> None:
        self.counts["dropped"] += 1
        if self.random.random() < 0.3:
            self.counts["closed in order"] += 1
            with suppress(WebSocketException, OSError, TimeoutError):
                async with asyncio.timeout(2):
                    await client.socket.close()

    def _notice(self, tab: Tab, client: Client, frame: Frame) -> None:
        if is_terminal(frame) and not frame.get("replay"):
            text = client.transcript.assembled(frame["turn"])
            tab.seen.append(Seen(frame["turn"], text.attempt, text.content))
        elif question := self._asked(frame):
            if frame.get("status") == "received":
                question.received = question.received or frame
            elif frame["type"] == "error" and "seq" not in frame:
                self._refused(question, frame)

    def _asked(self, frame: Frame) -> Question | None:
        ref = frame.get("ref") or ""
        name, _, number = ref.rpartition("-")
        return self.questions[int(number)] if name == self.name else None

    def _refused(self, question: Question, frame: Frame) -> None:
        self.counts[f"refused {frame['code']}"] += 1
        if not frame["retryable"] or frame["code"] == "busy":
            question.refused = frame["code"]
        question.sent_at = 0.0

    # what it does

    async def _act(self, client: Client) -> None:
        for question in [one for one in self.questions if one.open]:
            again = time.monotonic() - question.sent_at > _AGAIN_SECONDS
            if again or (question.sends and self.random.random() < 0.02):
                await self._send(client, question)
        if self.calm:
            return
        chance = self.random.random()
        if chance < 0.01:
            await client.command_frame("cancel", **self._target())
        elif chance < 0.013:
            await client.command_frame("resume", last_seq=client.transcript.last_seq)
        elif chance < 0.016:
            await client.command_frame("rename", title=f"{self.name} {self.random.random()}")
        elif chance < 0.018:
            await client.command_frame("close")
        elif chance < 0.024 and client.transcript.ends:
            turn = self.random.choice(list(client.transcript.ends))
            await client.command_frame("retry", turn=turn)

    def _target(self) -> dict[str, Any]:
        known = [question.ref for question in self.questions if question.received]
        targets: list[dict[str, Any]] = [{}, {"all": True}]
        if known:
            targets.append({"ref": self.random.choice(known[-3:])})
        return self.random.choice(targets)

    async def _send(self, client: Client, question: Question) -> None:
        """Send a question, sometimes twice at once: that must not ask it twice."""
        question.sent_at = time.monotonic()
        times = 2 if self.random.random() < 0.15 and question.frame["on_busy"] != "reject" else 1
        for _ in range(times):
            question.sends += 1
            await client.send(question.frame)


async def all_of(people: list[Person], condition: Callable[[Person], bool], seconds: float) -> bool:
    """Wait until a condition holds for every person; whether it did in time."""
    until = time.monotonic() + seconds
    while not all(condition(person) for person in people):
        if time.monotonic() > until:
            return False
        await asyncio.sleep(0.1)
    return True
