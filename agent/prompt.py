"""What the model sees of a session: the one place that decides it. Reads only."""

from __future__ import annotations

from uuid import UUID

from django.db.models import Q

from .models import Message

ChatMessage = dict[str, str]


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
    (a partial one of a failed or stopped turn too); one that an edit dropped, or that nobody
    answered, has no part of the missing.

    Args:
        query_id: message id of the query to answer.
        session_id: its session.
        after: seq of the last `clear` when the turn first started.
        until: seq of the newest message when the turn first started.
        system_prompt: comes first and is never cut.
        max_history: of the rest, this many newest messages are kept.

    Returns:
        messages as `{"role": ..., "content": ...}`, oldest first.
    """
    query = Message.objects.only("content").get(id=query_id)
    ended = list(
        Message.objects.filter(
            Q(dropped_seq=None) | Q(dropped_seq__gt=until),
            session_id=session_id,
            type=Message.Type.QUERY,
            ended_seq__gt=after,
            ended_seq__lte=until,
        )
        .exclude(id=query_id)  # a retry of what was stopped before it started
        .order_by("-ended_seq")
        .values_list("id", "content")[:max_history]
    )
    answers = _answers([message_id for message_id, _ in ended], until)
    messages: list[ChatMessage] = []
    for message_id, content in reversed(ended):
        messages.append({"role": "user", "content": content})
        if answer := answers.get(message_id):
            messages.append({"role": "assistant", "content": answer})
    messages.append({"role": "user", "content": query.content})
    return [{"role": "system", "content": system_prompt}, *messages[-max_history:]]


def _answers(query_ids: list[UUID], until: int) -> dict[UUID, str]:
    """The newest text that each query was answered with."""
    ends = (
        Message.objects.filter(
            turn__query__in=query_ids,
            type__in=(Message.Type.RESPONSE, Message.Type.ERROR),
            seq__lte=until,
        )
        .order_by("seq")
        .values_list("turn__query_id", "type", "content", "partial")
    )
    return {
        query_id: text
        for query_id, kind, content, partial in ends
        if (text := content if kind == Message.Type.RESPONSE else partial)
    }
