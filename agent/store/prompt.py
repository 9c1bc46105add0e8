"""Selects the messages of a session that the model sees. Reads only.

The chat templates of many models require that the user comes first and that the roles alternate. So
every prompt has that form, however the earlier questions ended.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any
from uuid import UUID

from django.db.models import Exists, OuterRef, Q

from agent.models import Message, Turn

ChatMessage = dict[str, str]

#: How many ended questions are searched, newest first, for those that the model should see.
_LOOK = 200


@dataclass(frozen=True, slots=True)
class Exchange:
    """A question that ended, with its newest answer; empty: it was interrupted."""

    question: str
    answer: str


def prompt(
    query_id: UUID,
    session_id: UUID,
    *,
    after: int,
    until: int,
    system_prompt: str,
    max_history: int,
) -> list[ChatMessage]:
    """Build the messages for the model: the system prompt, earlier exchanges, and the query.

    Exchanges come in the order in which they first ended, each with its newest answer, which may be
    the partial one of a failed or cancelled turn. Questions that an edit dropped are left out, and
    so are questions without an answer: they were cancelled, or would fail again within each later
    prompt. The exception is a question that the next one interrupted: the two are joined.

    Args:
        query_id: message id of the query to answer.
        session_id: its session.
        after: seq of the last `clear` when the turn first started.
        until: seq of the newest message when the turn first started.
        system_prompt: comes first and is never cut; a blank one is left out.
        max_history: the most questions and answers beside the system prompt; the newest are kept.

    Returns:
        messages as `{"role": ..., "content": ...}`, oldest first; after the system prompt, `user`
        and `assistant` alternate, beginning and ending with `user`.
    """
    query = Message.objects.only("content").get(id=query_id)
    ended = Message.objects.filter(
        Q(dropped_seq=None) | Q(dropped_seq__gt=until),
        Exists(Turn.objects.filter(query=OuterRef("pk"), attempt__gt=0)),
        session_id=session_id,
        type=Message.Type.QUERY,
        ended_seq__gt=after,
    ).exclude(id=query_id)  # a retry, whose first turn was cancelled before it started
    newest_first = islice(_exchanges(ended, until, page_size=max_history), _LOOK)
    kept = _kept((each for each in newest_first if each), max_history - 1)
    system = [{"role": "system", "content": system_prompt}] if system_prompt.strip() else []
    return [*system, *_in_turn([*reversed(kept), Exchange(query.content, "")])]


def _exchanges(ended: Any, until: int, *, page_size: int) -> Iterator[Exchange | None]:
    """Yield the exchanges of these queries as of the message `until`, newest end first.

    None stands for a query that the model should not see. Pages are read only as far as needed.
    """
    rows = ended.order_by("-ended_seq").values_list("id", "content", "ended_seq")
    newest = until
    while page := list(rows.filter(ended_seq__lte=newest)[:page_size]):
        answers = _answers([query_id for query_id, *_ in page], until)
        for query_id, question, _ in page:
            answer = answers.get(query_id)
            yield None if answer is None else Exchange(question, answer)
        newest = page[-1][2] - 1


def _answers(query_ids: list[UUID], until: int) -> dict[UUID, str]:
    """Return the newest answer of each query; empty for a query that was interrupted."""
    rows = Message.objects.filter(
        turn__query__in=query_ids,
        turn__attempt__gt=0,
        type__in=(Message.Type.RESPONSE, Message.Type.ERROR),
        seq__lte=until,
    )
    names = ("turn__query_id", "type", "content", "partial", "turn__finish_reason")
    answers: dict[UUID, str] = {}
    unanswered = set()
    for query_id, kind, content, partial, reason in rows.order_by("seq").values_list(*names):
        text = content if kind == Message.Type.RESPONSE else partial
        if not text.strip() and reason != "interrupted":
            unanswered.add(query_id)
        answers[query_id] = text if text.strip() else answers.get(query_id, "")
    return {key: text for key, text in answers.items() if text or key not in unanswered}


def _kept(newest_first: Iterable[Exchange], room: int) -> list[Exchange]:
    """Return the newest whole exchanges with at most `room` questions and answers in all."""
    kept: list[Exchange] = []
    rest = iter(newest_first)
    while room > 0 and (exchange := next(rest, None)):
        room -= 2 if exchange.answer else 1
        if room >= 0:
            kept.append(exchange)
    return kept


def _in_turn(exchanges: Iterable[Exchange]) -> Iterator[ChatMessage]:
    """Convert exchanges to messages; an interrupted question is joined to the next one."""
    unanswered: list[str] = []
    for exchange in exchanges:
        unanswered.append(exchange.question)
        if exchange.answer:
            yield {"role": "user", "content": "\n\n".join(unanswered)}
            yield {"role": "assistant", "content": exchange.answer}
            unanswered = []
    yield {"role": "user", "content": "\n\n".join(unanswered)}
