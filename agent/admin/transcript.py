"""Transcripts as staff read them: one page of a session's messages, with the facts of each.

A message's page follows from its seq, so that a link to it needs no query and no page counts
rows. However many messages there are, a page takes the same few queries. Reads only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db.models import Count, Q, Sum
from django.db.models.functions import Left
from django.utils.safestring import SafeString

from agent.actor import Actor
from agent.markdown import html as markdown
from agent.models import Feedback, Message, Session, Turn
from agent.store import replay
from agent.store.queue_order import Queue

from . import turn_summary

PAGE_SIZE = 50
_EXCERPT_CHARS = 120

_MODEL_WROTE = (Message.Type.RESPONSE, Message.Type.ERROR)


@dataclass(frozen=True, slots=True)
class Place:
    """The place of a message in its transcript. The page follows from the seq."""

    seq: int

    @property
    def page(self) -> int:
        return max(self.seq - 1, 0) // PAGE_SIZE + 1

    @property
    def link(self) -> str:
        """An address relative to the transcript's."""
        return f"?p={self.page}#m{self.seq}"

    @property
    def link_from(self) -> str:
        """The same, for a message that its page had no room for: the page begins with it."""
        return f"?p={self.page}&from={self.seq}#m{self.seq}"


@dataclass(frozen=True, slots=True)
class Opinion:
    """The newest feedback of a caller about a response."""

    caller: str
    rating: str
    comment: str


@dataclass(frozen=True, slots=True)
class Entry:
    """A message with its facts, and the places that it refers to, by the reason."""

    message: Message
    place: Place
    author: str
    markdown: SafeString  # of text that a model wrote; the rest is plain text
    facts: list[tuple[str, str]]
    opinions: list[Opinion]
    references: list[tuple[str, Place]]


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A turn that runs (position 0) or waits, and the query that it answers."""

    turn: Turn
    position: int
    place: Place
    excerpt: str

    @property
    def since(self) -> datetime:
        return self.turn.started_at or self.turn.created_at


@dataclass(frozen=True, slots=True)
class Totals:
    """The sums over a session's turns so far."""

    tokens: str
    cost: str


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a transcript; pages count from 1. `rest`: its messages that did not fit."""

    number: int
    last: int
    entries: list[Entry]
    rest: list[Place]

    @property
    def previous(self) -> int:
        return self.number - 1

    @property
    def next(self) -> int:
        return self.number + 1


def owner(session: Session) -> str:
    """The owner of a session: a user's name, a token, a visitor, or an anonymous client."""
    if session.owner is not None:
        return session.owner.get_username()
    if session.token is not None:
        return f"token {session.token.name}"
    return f"visitor {session.visitor[:8]}" if session.visitor else "anonymous"


def cost_is_unknown(turn: str = "") -> Q:
    """Turns whose provider named no cost; `turn` is a lookup's prefix."""
    ran = {f"{turn}state": Turn.State.ENDED, f"{turn}attempt__gt": 0}
    return Q(**ran, **{f"{turn}cost": None})


def totals(session: Session) -> Totals:
    found = Turn.objects.filter(session=session).aggregate(
        prompt=Sum("prompt_tokens"),
        completion=Sum("completion_tokens"),
        known=Sum("cost"),
        unknown=Count("pk", filter=cost_is_unknown()),
    )
    known: Decimal | None = found["known"]
    return Totals(
        turn_summary.in_and_out(found["prompt"] or 0, found["completion"] or 0),
        turn_summary.total(known, found["unknown"]),
    )


def unfinished(session: Session) -> list[Unfinished]:
    """The running turn and the waiting ones in their order, read without a lock."""
    queue = Queue.of(session.pk, session.started)
    turns = [(0, queue.running)] if queue.running else []
    turns += enumerate(queue.waiting, 1)
    asked = Message.objects.filter(id__in=[turn.query_id for _, turn in turns])
    rows = asked.values_list("id", "seq", Left("content", _EXCERPT_CHARS))
    queries = {key: (Place(seq), excerpt) for key, seq, excerpt in rows}
    return [
        Unfinished(turn, position, *queries[turn.query_id])
        for position, turn in turns
        if turn.query_id in queries
    ]


def page(session: Session, number: int, first: int = 0) -> Page:
    """A page of a session's transcript, oldest message first; the nearest one if there is none.

    Args:
        session, number: which page.
        first: the message that it begins with, if that is on it: the page is long.
    """
    last = Place(session.last_seq).page
    number = min(max(number, 1), last)
    before = (number - 1) * PAGE_SIZE
    rows = Message.objects.filter(session=session, seq__lte=before + PAGE_SIZE).order_by("seq")
    rows = rows.filter(seq__gt=max(before, min(first - 1, before + PAGE_SIZE)))
    shown = list(replay.fitting(rows, PAGE_SIZE))
    messages = list(_messages(session, shown))
    seqs = _targets(session, messages)
    budget = markdown.Budget()
    rest = rows.filter(seq__gt=shown[-1]).values_list("seq", flat=True) if shown else []
    entries = [_entry(session, message, seqs, budget) for message in messages]
    return Page(number, last, entries, [Place(seq) for seq in rest])


def _messages(session: Session, seqs: list[int]) -> Iterable[Message]:
    return (
        Message.objects.filter(session=session, seq__in=seqs)
        .select_related("turn__query")
        .defer("turn__query__content", "turn__query__partial", "turn__query__data")
        .prefetch_related("feedback")
        .order_by("seq")
    )


def _targets(session: Session, messages: list[Message]) -> dict[UUID | None, int]:
    """The seqs of the messages that those of a page name by their ids."""
    named = {name for message in messages if (name := _named(message.data))}
    rows = Message.objects.filter(session=session, id__in=named).values_list("id", "seq")
    return dict(rows)


def _named(data: dict[str, Any]) -> UUID | None:
    """The message that a feedback is about, or that an edited query replaces."""
    try:
        return UUID(data.get("target") or data["replaces"])
    except (KeyError, ValueError):
        return None


def _entry(
    session: Session, message: Message, seqs: dict[UUID | None, int], budget: markdown.Budget
) -> Entry:
    ended = message.turn if message.type in _MODEL_WROTE else None
    return Entry(
        message=message,
        place=Place(message.seq),
        author=_author(session, message),
        markdown=_markdown(message, budget),
        facts=list(turn_summary.facts(ended)) if ended else [],
        opinions=[_opinion(session, row) for row in message.feedback.all()],
        references=list(_references(message, ended, seqs.get(_named(message.data)))),
    )


def _references(
    message: Message, ended: Turn | None, named: int | None
) -> Iterator[tuple[str, Place]]:
    if ended:
        yield "answers", Place(ended.query.seq)
    if named:
        yield "replaces" if message.type == Message.Type.QUERY else "about", Place(named)
    if message.dropped_seq:
        yield "replaced by", Place(message.dropped_seq)


def _author(session: Session, message: Message) -> str:
    match message.type:
        case Message.Type.QUERY | Message.Type.FEEDBACK:
            return owner(session)
        case Message.Type.RESPONSE | Message.Type.ERROR:
            return str(message.data.get("author", "agent"))
        case _:
            return "system"


def _markdown(message: Message, budget: markdown.Budget) -> SafeString:
    if message.type not in _MODEL_WROTE:
        return SafeString()
    return budget.to_html(
        message.partial if message.type == Message.Type.ERROR else message.content
    )


def _opinion(session: Session, row: Feedback) -> Opinion:
    owner_key = Actor(session.owner_id, session.visitor, session.pk, session.token_id).key
    kind, _, key = row.caller.partition(":")
    caller = owner(session) if row.caller == owner_key else f"{kind} {key[:8]}"
    return Opinion(caller, row.rating, row.comment)
