"""The order of things: storm, calm, the lost last message, audit, judgement."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any
from uuid import UUID

from tests.support.client import Transcript, is_durable

from .faults import KINDS, Fault, Storm, schedule
from .judge import Asked, Held, Record, judge
from .people import Person, Question, all_of
from .world import POOL_SIZE, World

#: How long everything may take to come to rest when the storm is over: leases, three attempts.
_CALM_SECONDS = 90
#: Twice what the contract allows for a durable frame, whatever was lost between processes.
_LAST_MESSAGE_SECONDS = 10
_REST_SECONDS = 30
_TROUBLES = (
    "never retrieved",
    "never awaited",
    "a step failed",
    "turn broke off",
    "incident",
    "database is locked",
    "drain failed",
)
#: What clients were told by an incident, as they should be.
_TOLD = ("turn given up", "a connection was sent away")
#: A query that PostgreSQL could not take is refused with an incident. SQLite is always there.
_EXPECTED = ("error=OperationalError", "error=InterfaceError")


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run is made of; the same plan has the same faults and the same questions.

    Args:
        seconds: length of the storm.
        seed: of everything that is random.
        database: "postgres" (with Redis) or "sqlite".
        processes: how many servers.
        people, tabs: who uses them; each person has 1 to `tabs` tabs.
        only: the kinds of faults that happen; see `faults.KINDS`.
        between: shortest and longest time between two faults, in seconds.
        faulty_layer: whether messages between processes are dropped, doubled and shuffled.
        broken: what the servers leave out; see `launch.SABOTAGES`.
    """

    seconds: float
    seed: int
    database: str = "postgres"
    processes: int = 2
    people: int = 12
    tabs: int = 3
    only: tuple[str, ...] = KINDS
    between: tuple[float, float] = (1.0, 4.0)
    faulty_layer: bool = False
    broken: str = ""


@dataclass(slots=True)
class Report:
    """What a run was and what came of it."""

    plan: Plan
    faults: list[Fault]
    counts: dict[str, int] = field(default_factory=dict)
    resources: dict[str, Any] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @property
    def verdict(self) -> str:
        return "green" if not self.problems else f"RED, {len(self.problems)} problems"

    def as_json(self) -> str:
        return json.dumps({"verdict": self.verdict, **asdict(self)}, indent=1, default=str)

    def as_text(self) -> str:
        lines = [f"seed {self.plan.seed}, {self.plan.database}, {self.plan.processes} processes"]
        lines += [f"  {name}: {n}" for name, n in sorted(self.counts.items())]
        lines += [f"  {problem[:600]}" for problem in self.problems[:40]]
        return "\n".join([*lines, self.verdict])


async def run(plan: Plan) -> Report:
    """Carry a plan out."""
    rng = random.Random(plan.seed)
    services = plan.database == "postgres"
    faults = schedule(
        rng,
        plan.seconds,
        processes=plan.processes,
        services=services,
        only=plan.only,
        between=plan.between,
    )
    report = Report(plan, faults)
    changes = [name for name in (plan.broken, plan.faulty_layer and "faulty-layer") if name]
    async with World(plan.database, plan.processes, changes) as world:
        ports = [door.port for door in world.doors]
        people = [
            Person(f"p{n}", f"{plan.seed}.{n}", ports, rng.randint(1, plan.tabs))
            for n in range(plan.people)
        ]
        await _one_visit_each(world)
        before = await asyncio.to_thread(world.resources)
        await asyncio.gather(*(person.arrive() for person in people))
        storm, troubles = Storm(world, faults), list[str]()
        living = [asyncio.create_task(person.live()) for person in people]
        try:
            await asyncio.gather(storm.rage(), asyncio.sleep(plan.seconds))
            troubles += await _calm(world, people)
            if services and plan.processes > 1:
                troubles += await _lost_last_message(world, people)
        finally:
            for person in people:
                person.leave()
            await asyncio.gather(*living)
        after = await _rest(world, before)
        record = await asyncio.to_thread(_record, world, people)
        record.before, record.after = before, after
        record.database_connections = (
            await asyncio.to_thread(world.database_connections),
            plan.processes * POOL_SIZE,
        )
        record.troubles = [*storm.troubles, *troubles, *_log_troubles(world)]
        report.problems = judge(record)
        report.counts = _counts(storm, people, record)
        report.resources = {"before": before, "after": after}
    return report


async def _one_visit_each(world: World) -> None:
    """Warm each server up, so that what it keeps from then on is in the first measurement."""
    for server in world.servers:
        async with server.connect() as client:
            await client.end(await client.ask("say: hello", id=f"warm-{server.port}"))
    await asyncio.sleep(1)


async def _calm(world: World, people: list[Person]) -> list[str]:
    """Heal everything and wait until every question has its fate and every tab knows it."""
    await world.heal()
    for person in people:
        person.calm = True
    if not await all_of(people, lambda person: person.settled, _CALM_SECONDS):
        restless = [person.name for person in people if not person.settled]
        return [f"lost: not everything came to rest in {_CALM_SECONDS} s: {restless}"]
    until = time.monotonic() + _CALM_SECONDS
    while await asyncio.to_thread(_unfinished, world):
        if time.monotonic() > until:
            return [f"lost: turns are unfinished after {_CALM_SECONDS} s"]
        await asyncio.sleep(0.5)
    # What nobody waits for, the end of a retry for example. The judge finds who still lacks some.
    newest = {row["id"]: row["last_seq"] for row in await asyncio.to_thread(_sessions, world)}
    await all_of(people, lambda each: each.holds(newest[each.session]), _LAST_MESSAGE_SECONDS)
    return []


def _unfinished(world: World) -> int:
    rows = world.rows("SELECT count(*) AS n FROM agent_turn WHERE state <> 'ended'")
    return int(rows[0]["n"])


async def _lost_last_message(world: World, people: list[Person]) -> list[str]:
    """Without Redis, what one process commits must reach the clients of the others in time.

    Nothing follows these messages that could make anybody notice the hole.
    """
    assert world.redis
    one, *others = world.servers
    person = people[0]

    def back() -> dict[str, Any]:
        transcript = Transcript(holes=True, crashes=True)
        return {"headers": person.credentials, "transcript": transcript}

    ref = f"{person.name}-{len(person.questions)}"
    question = Question(ref, {"type": "query", "id": ref, "content": f"say: {ref}:last"})
    person.questions.append(question)
    question.sent_at = time.monotonic() + _REST_SECONDS  # the tabs leave it alone
    late: list[str] = []
    async with one.connect(**back()) as asking:
        await asking.ready()
        for other in others:
            async with other.connect(**back()) as listening:
                await listening.ready()
                await asyncio.to_thread(world.redis.kill)
                try:
                    await asking.send(question.frame)
                    question.received = await asking.reply(ref)
                    end = await asking.end(ref)
                    began = time.monotonic()
                    while end["seq"] not in listening.transcript.frames:
                        if time.monotonic() - began > _LAST_MESSAGE_SECONDS:
                            late.append("lost: nobody heard of the last message")
                            break
                        await asyncio.sleep(0.05)
                finally:
                    await asyncio.to_thread(world.redis.start)
    await all_of(people, lambda each: each.settled, _REST_SECONDS)
    return late


async def _rest(world: World, before: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What servers use when everybody has left, as soon as that is little again."""
    until = time.monotonic() + _REST_SECONDS
    while True:
        await asyncio.sleep(1)
        after = await asyncio.to_thread(world.resources)
        rested = all(
            now.get("clients") == 0 and now.get("groups") == 0 and now["tasks"] <= then["tasks"]
            for now, then in zip(after, before, strict=True)
        )
        if rested or time.monotonic() > until:
            return after


def _record(world: World, people: list[Person]) -> Record:
    sessions = _sessions(world)
    messages = _rows(
        world, "agent_message", "session_id, seq, type, turn_id, content, partial, data"
    )
    turns = _rows(
        world,
        "agent_turn",
        "id, session_id, number, priority, started_before, state, attempt, handed_back",
    )
    warm = {row["session_id"] for row in messages if str(row["data"].get("ref")).startswith("warm")}
    return Record(
        sessions=[row for row in sessions if row["id"] not in warm],
        messages=[row for row in messages if row["session_id"] not in warm],
        turns=[row for row in turns if row["session_id"] not in warm],
        asked=[_asked(person, question) for person in people for question in person.questions],
        held=[held for person in people for held in _held(person)],
        violations=[violation for person in people for violation in person.violations],
    )


def _sessions(world: World) -> list[dict[str, Any]]:
    return _rows(world, "agent_session", "id, last_seq, started")


def _rows(world: World, table: str, columns: str) -> list[dict[str, Any]]:
    rows = world.rows(f"SELECT {columns} FROM {table}")
    for row in rows:
        for name, value in row.items():
            if name.endswith("id") and value is not None:
                row[name] = str(UUID(str(value)))
        if isinstance(row.get("data"), str):
            row["data"] = json.loads(row["data"])
    return rows


def _asked(person: Person, question: Question) -> Asked:
    return Asked(
        question.ref,
        person.session,
        question.answer,
        accepted=question.received is not None,
        refused=bool(question.refused),
    )


def _held(person: Person) -> list[Held]:
    return [
        Held(
            f"{person.name} tab {tab.number}",
            person.session,
            {seq: frame for seq, frame in tab.transcript.frames.items() if is_durable(frame)},
            [(seen.turn, seen.attempt, seen.text) for seen in tab.seen],
        )
        for tab in person.tabs
        if tab.transcript.session
    ]


def _log_troubles(world: World) -> list[str]:
    """Log lines that nobody expected, each with what follows it."""
    found: list[str] = []
    for number, server in enumerate(world.servers):
        lines = server.log.splitlines()
        for place, line in enumerate(lines):
            words = _TOLD + (_EXPECTED if world.postgres else ())
            expected = any(some in line for some in words)
            if not expected and any(trouble in line for trouble in _TROUBLES):
                found.append(f"log of server {number}: " + "\n".join(lines[place : place + 20]))
    return found


def _counts(storm: Storm, people: list[Person], record: Record) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for person in people:
        counts.update(person.counts)
        counts["tabs"] += len(person.tabs)
    counts.update({f"fault {kind}": n for kind, n in storm.counts.items()})
    questions = [question for person in people for question in person.questions]
    counts["queries asked"] = len(questions)
    counts["queries received"] = sum(question.received is not None for question in questions)
    counts["query frames sent"] = sum(question.sends for question in questions)
    counts["turns"] = len(record.turns)
    counts["turns run again"] = sum(turn["attempt"] > 1 for turn in record.turns)
    for row in record.messages:
        if row["type"] in ("response", "error"):
            counts[f"ended {row['data'].get('finish_reason') or row['data'].get('code')}"] += 1
    counts["durable frames"] = len(record.messages)
    return dict(counts)
