"""What the model sees of a session: the one place that decides it. Reads only.

Chat templates of many models want the user first and the roles in turn, and refuse everything else,
so every prompt has that form whatever became of the questions before.
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

#: How many ended questions are looked at, newest first, for those that the model is to see.
_LOOK = 200


@dataclass(frozen=True, slots=True)
class Exchange:
    """A question that ended, with the newest answer that there was; empty: it was interrupted."""

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
    """The messages for the model: the system prompt, what ended before, and the query.

    Exchanges come in the order in which they first ended, with the newest answer that there was
    (a partial one of a failed or stopped turn too). Left out are questions that an edit dropped,
    and those without an answer: they were taken back, or would fail again within each later
    prompt. Only a question that the next one interrupted belongs to it.

    Args:
        query_id: message id of the query to answer.
        session_id: its session.
        after: seq of the last `clear` when the turn first started.
        until: seq of the newest message when the turn first started.
        system_prompt: comes first and is never cut; a blank one is left out.
        max_history: the rest holds this many of the newest questions and answers at most.

    Returns:
        messages as `{"role": ..., "content": ...}`, oldest first; after the system prompt `user`
        and `assistant` in turn, beginning and ending with `user`.
    """
    query = Message.objects.only("content").get(id=query_id)
    ended = Message.objects.filter(
        Q(dropped_seq=None) | Q(dropped_seq__gt=until),
        Exists(Turn.objects.filter(query=OuterRef("pk"), attempt__gt=0)),
        session_id=session_id,
        type=Message.Type.QUERY,
        ended_seq__gt=after,
    ).exclude(id=query_id)  # a retry of what was stopped before it started
    newest_first = islice(_exchanges(ended, until, page_size=max_history), _LOOK)
    kept = _kept((each for each in newest_first if each), max_history - 1)
    system = [{"role": "system", "content": system_prompt}] if system_prompt.strip() else []
    return [*system, *_in_turn([*reversed(kept), Exchange(query.content, "")])]


def _exchanges(ended: Any, until: int, *, page_size: int) -> Iterator[Exchange | None]:
    """What each of these queries came to by the message `until`, newest end first.

    None stands for a query that the model is not to see. Reads no more pages than are asked for.
    """
    rows = ended.order_by("-ended_seq").values_list("id", "content", "ended_seq")
    while page := list(rows.filter(ended_seq__lte=until)[:page_size]):
        answers = _answers([query_id for query_id, *_ in page], until)
        for query_id, question, _ in page:
            answer = answers.get(query_id)
            yield None if answer is None else Exchange(question, answer)
        until = page[-1][2] - 1


def _answers(query_ids: list[UUID], until: int) -> dict[UUID, str]:
    """The newest text that each query was answered with; empty for one that was interrupted."""
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
    """The newest exchanges, each whole, that have no more questions and answers than `room`."""
    kept: list[Exchange] = []
    rest = iter(newest_first)
    while room > 0 and (exchange := next(rest, None)):
        room -= 2 if exchange.answer else 1
        if room >= 0:
            kept.append(exchange)
    return kept


def _in_turn(exchanges: Iterable[Exchange]) -> Iterator[ChatMessage]:
    """Exchanges as messages; interrupted questions become part of the next one."""
    unanswered: list[str] = []
    for exchange in exchanges:
        unanswered.append(exchange.question)
        if exchange.answer:
            yield {"role": "user", "content": "\n\n".join(unanswered)}
            yield {"role": "assistant", "content": exchange.answer}
            unanswered = []
    yield {"role": "user", "content": "\n\n".join(unanswered)}
