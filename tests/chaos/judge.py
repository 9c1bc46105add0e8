"""Whether every promise was kept: judges what is stored and what clients hold. Pure.

`judge` gets a `Record` of a whole run and returns what is wrong with it in words; an empty list is
the verdict that nothing was lost, doubled, reordered or mixed. The rules are written from
docs/protocol.md, not from the server's code.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Row = Mapping[str, Any]

_TERMINAL = ("response", "error")
_STARTS_PER_LEVEL = 4
_HIGH, _INTERRUPT = 2, 3
#: What a process may use more than before the storm: its pool of database connections, and threads.
_MORE = {"descriptors": 40, "rss_mb": 80.0, "tasks": 2}
_NOTHING = ("clients", "groups")


@dataclass(slots=True)
class Asked:
    """A query as its client knows it.

    Args:
        answer: all that the model would ever say to it.
        accepted: it was answered `received`.
        refused: it was refused; a copy of it that was on its way may have been accepted even so.
    """

    ref: str
    session: str
    answer: str
    accepted: bool
    refused: bool


@dataclass(slots=True)
class Held:
    """What one client holds in the end, and the texts that its deltas added up to."""

    who: str
    session: str
    frames: Mapping[int, Row]
    live: Sequence[tuple[str, int, str]] = ()  # turn, attempt, text when the turn ended


@dataclass(slots=True)
class Record:
    """A whole run. Ids are text with dashes; `data` of a message is a mapping.

    Args:
        sessions, messages, turns: rows of the database.
        asked: every query of every client.
        held: of every client.
        violations: of the protocol, as clients saw them.
        troubles: lines of servers' logs that nobody expected, and phases that took too long.
        before, after: resources of each server, with nobody connected.
        database_connections: of all servers, and how many they may have.
    """

    sessions: Sequence[Row]
    messages: Sequence[Row]
    turns: Sequence[Row]
    asked: Sequence[Asked]
    held: Sequence[Held] = ()
    violations: Sequence[str] = ()
    troubles: Sequence[str] = ()
    before: Sequence[Row] = ()
    after: Sequence[Row] = ()
    database_connections: tuple[int, int] = (0, 0)
    stored: dict[str, dict[int, Row]] = field(init=False)

    def __post_init__(self) -> None:
        self.stored = defaultdict(dict)
        for message in self.messages:
            self.stored[message["session_id"]][message["seq"]] = message


def judge(record: Record) -> list[str]:
    """What is wrong with a run."""
    rules = (_ends, _acceptance, _numbers, _order, _texts, _clients, _deltas, _resources)
    found = [problem for rule in rules for problem in rule(record)]
    return [*found, *record.violations, *record.troubles]


def _ends(record: Record) -> Iterator[str]:
    """Every turn has ended, in exactly one terminal row."""
    ends = Counter(row["turn_id"] for row in record.messages if row["type"] in _TERMINAL)
    for turn in record.turns:
        if turn["state"] != "ended":
            yield f"lost: turn {turn['id']} is {turn['state']}"
        elif ends[turn["id"]] != 1:
            word = "doubled" if ends[turn["id"]] else "lost"
            yield f"{word}: turn {turn['id']} has {ends[turn['id']]} ends"
        if turn["attempt"] - turn["handed_back"] > 3:
            yield f"turn {turn['id']} was tried {turn['attempt']} times"


def _acceptance(record: Record) -> Iterator[str]:
    """What was answered `received` is stored, once, in its session, and nothing else is."""
    queries = Counter(
        (row["session_id"], row["data"].get("ref")) for row in record.messages if _is_query(row)
    )
    known = {(asked.session, asked.ref) for asked in record.asked}
    for asked in record.asked:
        times = queries[asked.session, asked.ref]
        if times > 1:
            yield f"doubled: query {asked.ref} is stored {times} times"
        elif asked.accepted and not times:
            yield f"lost: query {asked.ref} was received and is not stored"
        elif not (asked.accepted or asked.refused):
            yield f"lost: query {asked.ref} was neither received nor refused"
    for session, ref in queries:
        if (session, ref) not in known:
            yield f"mixed: query {ref} is in session {session}, where nobody asked it"


def _numbers(record: Record) -> Iterator[str]:
    """The messages of a session are numbered 1, 2, 3 ... without gaps."""
    for session in record.sessions:
        seqs = sorted(record.stored[session["id"]])
        if seqs != list(range(1, session["last_seq"] + 1)):
            yield f"lost: session {session['id']} counts {session['last_seq']} and has {seqs}"


def _order(record: Record) -> Iterator[str]:
    """Turns started by priority, then age; each rose a level with four starts of others."""
    ends = (row for row in record.messages if row["type"] in _TERMINAL)
    newest_first = sorted(ends, key=lambda row: row["seq"], reverse=True)
    ended_at = {row["turn_id"]: row["seq"] for row in newest_first}
    by_session: defaultdict[str, list[Row]] = defaultdict(list)
    for turn in record.turns:
        if turn["attempt"] and turn["id"] in ended_at:
            by_session[turn["session_id"]].append(turn)
    for session, turns in by_session.items():
        # one runs at a time, so they ended in the order in which they started
        turns.sort(key=lambda turn: ended_at[turn["id"]])
        for started, turn in enumerate(turns):
            waiting = [other for other in turns[started:] if other["started_before"] <= started]
            first = min(waiting, key=lambda other: _place(other, started), default=None)
            if first is not turn:
                yield (
                    f"reordered: in session {session} turn {turn['number']} started as number"
                    f" {started + 1}, before turn {first and first['number']}"
                )
                break


def _place(turn: Row, started: int) -> tuple[int, int]:
    if turn["priority"] >= _INTERRUPT:
        return -_INTERRUPT, -turn["number"]
    risen = (started - turn["started_before"]) // _STARTS_PER_LEVEL
    return -min(turn["priority"] + risen, _HIGH), turn["number"]


def _texts(record: Record) -> Iterator[str]:
    """An answer is what the model says to its query: all of it, or its beginning."""
    answers = {asked.ref: asked.answer for asked in record.asked}
    for row in record.messages:
        ref = row["data"].get("ref")
        if row["type"] not in _TERMINAL or ref not in answers:
            continue
        text = row["content"] if row["type"] == "response" else row["partial"]
        if not answers[ref].startswith(text):
            yield f"mixed: the answer to {ref} is {text[:80]!r}"
        if row["data"].get("finish_reason") == "stop" and text != answers[ref]:
            yield f"lost: the answer to {ref} stops after {len(text)} of {len(answers[ref])}"


def _clients(record: Record) -> Iterator[str]:
    """Each client holds what is stored, all of it, and nothing else."""
    for held in record.held:
        stored = record.stored[held.session]
        if missing := sorted(set(stored) - set(held.frames)):
            yield f"lost: {held.who} lacks {missing} of {len(stored)}"
        for seq, frame in held.frames.items():
            if seq not in stored:
                yield f"mixed: {held.who} holds {seq}, which is not stored"
            elif (said := _said(frame)) != (kept := _kept(stored[seq])):
                yield f"mixed: {held.who} holds {said} as {seq}; stored is {kept}"


def _deltas(record: Record) -> Iterator[str]:
    """The deltas of the attempt that ended a turn add up to the beginning of the stored text."""
    ends = {row["turn_id"]: row for row in record.messages if row["type"] in _TERMINAL}
    attempts = {turn["id"]: turn["attempt"] for turn in record.turns}
    for held in record.held:
        for turn, attempt, text in held.live:
            row = ends.get(turn)
            if row is None or attempt != attempts.get(turn):
                continue
            final = row["content"] if row["type"] == "response" else row["partial"]
            if not final.startswith(text) and not _given_up(row):
                yield f"mixed: {held.who} put {text[-60:]!r} together; stored is {final[-60:]!r}"


def _given_up(end: Row) -> bool:
    """Whether another process may have ended the turn, whose text was lost with its own."""
    stopped = end["data"].get("finish_reason") in ("cancelled", "interrupted")
    unfinished = end["data"].get("code") == "internal_error"
    return (stopped and not end["content"]) or (unfinished and not end["partial"])


def _resources(record: Record) -> Iterator[str]:
    """With everybody gone, a process uses what it used before anybody came."""
    for number, (before, after) in enumerate(zip(record.before, record.after, strict=True)):
        for name, more in _MORE.items():
            if name not in after or after[name] > before[name] + more:
                yield f"server {number} had {before.get(name)} {name}, now {after.get(name)}"
        for name in _NOTHING:
            if after.get(name) != 0:
                yield f"server {number} has {after.get(name)} {name} left"
    now, most = record.database_connections
    if now > most:
        yield f"there are {now} database connections; {most} are allowed"


def _is_query(row: Row) -> bool:
    return bool(row["type"] == "query")


def _said(frame: Row) -> tuple[Any, ...]:
    return (frame["type"], frame["content"], frame.get("turn"), frame.get("partial", ""))


def _kept(row: Row) -> tuple[Any, ...]:
    return (row["type"], row["content"], row["data"].get("turn"), row["partial"])
