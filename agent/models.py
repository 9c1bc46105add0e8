"""The tables: sessions, their numbered messages, the turns that answer queries, API tokens.

The schema enforces the invariants: one `seq` per message of a session, one turn per client id, one
running turn per session, one terminal message per turn. A race ends in an integrity error on one
side. `store` and `actions` decide when and how rows change, not this module.
"""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any, ClassVar, Literal

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils import timezone

from .actor import CHAT, NOTIFY, Actor
from .conf import conf, django_setting
from .protocol.server_frames import TERMINAL_TYPES, ServerFrame, current, rfc3339, shown_text


def leave_deleted(collector: Any, field: Any, rows: Any, using: str) -> None:
    """Mark the sessions of a deleted owner or token as deleted: `on_delete` of both.

    `removal` removes their rows later, in small transactions. CASCADE would load all of them, and
    remove them in one.
    """
    collector.add_field_update(Session._meta.get_field("deleted_at"), Now(), rows)
    collector.add_field_update(field, None, rows)  # last: the rows are found by this field


leave_deleted.lazy_sub_objs = True  # type: ignore[attr-defined]  # Django then loads none of them


#: Which sessions are open. A caller that came back after the closing opened the session again.
OPEN = Q(closed_at=None) | Q(closed_at__lt=F("last_activity_at"))


class SessionQuerySet(models.QuerySet["Session"]):
    def reachable_by(self, actor: Actor) -> SessionQuerySet:
        """Return the sessions that a caller may use; every lookup for a caller uses this."""
        if actor.user_id is not None:
            return self.filter(owner_id=actor.user_id)
        if actor.token_id is not None:
            return self.filter(owner=None, token_id=actor.token_id)
        if actor.visitor:
            return self.filter(owner=None, visitor=actor.visitor)
        if actor.session_id is not None:
            return self.filter(id=actor.session_id, owner=None, token=None, visitor="")
        return self.none()

    def changed_within(self, seconds: float) -> SessionQuerySet:
        """Return the sessions with a message in the last `seconds`, by the database's clock."""
        return self.filter(changed_at__gt=Now() - timedelta(seconds=seconds))


class _SessionManager(models.Manager["Session"]):
    """Sessions without the deleted ones whose rows are not removed yet."""

    def get_queryset(self) -> SessionQuerySet:
        return SessionQuerySet(self.model, using=self._db).filter(deleted_at=None)

    def reachable_by(self, actor: Actor) -> SessionQuerySet:
        return self.get_queryset().reachable_by(actor)

    def changed_within(self, seconds: float) -> SessionQuerySet:
        return self.get_queryset().changed_within(seconds)


class Session(models.Model):
    """A conversation. Its row is written with its first durable frame."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    owner = models.ForeignKey(
        django_setting("AUTH_USER_MODEL"),
        null=True,
        blank=True,
        on_delete=leave_deleted,
        related_name="agent_sessions",
    )
    token = models.ForeignKey(
        "ApiToken",
        null=True,
        blank=True,
        on_delete=leave_deleted,
        db_index=False,  # see Meta
        related_name="sessions",
        help_text="the program that it belongs to, when that acts for no user",
    )
    visitor = models.CharField(max_length=32, blank=True, default="", editable=False)
    title = models.CharField(max_length=200, blank=True, default="")
    last_seq = models.PositiveIntegerField(default=0, help_text="seq of the newest message")
    enqueued = models.PositiveIntegerField(default=0, help_text="turns so far")
    started = models.PositiveIntegerField(default=0, help_text="turns started so far")
    cleared_seq = models.PositiveIntegerField(
        default=0, help_text="the model sees what ended after this seq"
    )
    closing = models.BooleanField(default=False, help_text="closes when its turns have ended")
    created_at = models.DateTimeField(default=timezone.now)
    changed_at = models.DateTimeField(default=timezone.now, help_text="newest message")
    last_activity_at = models.DateTimeField(default=timezone.now)
    closed_at = models.DateTimeField(null=True, blank=True)
    deleted_at = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="nobody reaches it; its rows go later"
    )

    objects: ClassVar[Any] = _SessionManager()
    #: Includes deleted sessions; only for their removal.
    with_deleted: ClassVar[Any] = models.Manager()

    class Meta:
        ordering = ("-changed_at",)
        indexes = (
            models.Index(fields=("changed_at",), name="session_changed"),
            models.Index(fields=("last_activity_at",), name="session_activity"),
            models.Index(fields=("owner", "-changed_at"), name="session_owner"),
            models.Index(fields=("token", "-changed_at"), name="session_token"),
            models.Index(fields=("visitor", "-changed_at"), name="session_visitor"),
            models.Index(
                fields=("deleted_at",),
                condition=Q(deleted_at__isnull=False),
                name="session_deleted",
            ),
        )

    def __str__(self) -> str:
        return self.title or str(self.id)

    @property
    def state(self) -> Literal["open", "closing", "closed"]:
        """Open, closing when its turns have ended, or closed; see `OPEN`."""
        if self.closing:
            return "closing"
        closed = self.closed_at and self.closed_at >= self.last_activity_at
        return "closed" if closed else "open"


class MessageQuerySet(models.QuerySet["Message"]):
    def containing(self, text: str) -> MessageQuerySet:
        """Return the messages that show this text to people; an expired one shows none."""
        readable = Q(expires_at=None) | Q(expires_at__gt=Now())
        return self.filter(readable, Q(content__icontains=text) | Q(partial__icontains=text))


class Message(models.Model):
    """One durable frame. `data` holds the frame's fields that have no column of their own."""

    class Type(models.TextChoices):
        QUERY = "query"
        RESPONSE = "response"
        ERROR = "error"
        NOTIFICATION = "notification"
        FEEDBACK = "feedback"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    session = models.ForeignKey(Session, on_delete=models.CASCADE, related_name="messages")
    seq = models.PositiveIntegerField()
    type = models.CharField(max_length=12, choices=Type.choices)
    turn = models.ForeignKey(
        "Turn", null=True, blank=True, on_delete=models.CASCADE, related_name="messages"
    )
    content = models.TextField(blank=True)
    partial = models.TextField(blank=True, help_text="what an error left of the answer")
    reasoning = models.TextField(  # noqa: DJ001  # null: rows of older versions have no text
        null=True, blank=True, help_text="what the model thought before it answered, if it is kept"
    )
    data = models.JSONField(default=dict, blank=True)
    ended_seq = models.PositiveIntegerField(
        null=True, blank=True, help_text="of a query: seq of its first end"
    )
    dropped_seq = models.PositiveIntegerField(
        null=True, blank=True, help_text="of a query: seq of the edit that dropped it"
    )
    external_id = models.CharField(  # noqa: DJ001  # null: unique where it is there
        max_length=64, null=True, blank=True, help_text="of a notification: its sender's id"
    )
    connections = models.PositiveIntegerField(
        null=True, blank=True, help_text="of a notification from outside: when it came"
    )
    expires_at = models.DateTimeField(null=True, blank=True, help_text="after it, no text")
    created_at = models.DateTimeField(default=timezone.now)

    objects: ClassVar[Any] = MessageQuerySet.as_manager()

    class Meta:
        ordering = ("seq",)
        constraints = (
            models.UniqueConstraint(fields=("session", "seq"), name="message_seq_once"),
            models.UniqueConstraint(
                fields=("session", "external_id"),
                condition=Q(external_id__isnull=False),
                name="message_external_id_once",
            ),
            models.UniqueConstraint(
                fields=("turn",),
                condition=Q(type__in=TERMINAL_TYPES),
                name="message_one_end_per_turn",
            ),
        )
        indexes = (models.Index(fields=("session", "ended_seq"), name="message_ended"),)

    def __str__(self) -> str:
        return f"{self.type} {self.seq}"

    @classmethod
    def record(
        cls,
        session_id: uuid.UUID,
        seq: int,
        frame: ServerFrame,
        **columns: Any,
    ) -> dict[str, Any]:
        """Write a durable frame at a number from `lock_and_number`; returns it as it is sent.

        Args:
            session_id, seq: the session, and the frame's number in it.
            frame: the frame; its `timestamp` is replaced by the row's.
            columns: columns that are not in the frame, such as its `turn_id`.
        """
        fields = frame.frame()
        kind, content = fields.pop("type"), fields.pop("content", "")
        fields.pop("timestamp", None)
        message = cls(
            session_id=session_id,
            seq=seq,
            type=kind,
            content=content,
            data=fields,
            **columns,
        )
        if "id" not in fields:
            fields["id"] = str(message.id)
        elif kind != cls.Type.NOTIFICATION:  # a notification's id is its sender's
            message.id = uuid.UUID(fields["id"])
        message.save(force_insert=True)
        return message.frame()

    @property
    def shown_text(self) -> str:
        """The text that people read: the content, or an explanation of an answer without text."""
        return shown_text(self.data.get("finish_reason", ""), self.content)

    @property
    def is_expired(self) -> bool:
        """Whether this is an expired notification, whose text is not shown any more."""
        return self.frame().get("event") == "expired"

    def frame(self) -> dict[str, Any]:
        """Return the durable frame, which is the same each time until it expires.

        The setting REASONING, as it is now, decides what it contains of the model's reasoning.
        """
        partial = {"partial": self.partial} if self.type == self.Type.ERROR else {}
        expiry = {"expires_at": rfc3339(self.expires_at)} if self.expires_at else {}
        empty = {} if self.shown_text == self.content else {"empty": True}
        frame = current(
            {
                "type": self.type,
                "seq": self.seq,
                **self.data,
                **partial,
                **expiry,
                **empty,
                "content": self.shown_text,
                "timestamp": rfc3339(self.created_at),
            }
        )
        if "reasoning" in frame:
            if conf().reasoning == "off":
                del frame["reasoning"]
            elif conf().reasoning == "show" and self.reasoning:
                frame["reasoning"] = {**frame["reasoning"], "content": self.reasoning}
        return frame


class Turn(models.Model):
    """One run of the agent for a query. The table is the queue."""

    class State(models.TextChoices):
        QUEUED = "queued"
        RUNNING = "running"
        ENDED = "ended"

    class Priority(models.IntegerChoices):
        LOW = 0
        NORMAL = 1
        HIGH = 2
        INTERRUPT = 3

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    session = models.ForeignKey(Session, on_delete=models.CASCADE, related_name="turns")
    query = models.ForeignKey(Message, on_delete=models.CASCADE, related_name="turns")
    number = models.PositiveIntegerField(help_text="1, 2, 3 ... within the session")
    ref = models.CharField(max_length=64, blank=True, help_text="the query's id of its client")
    client_id = models.CharField(  # noqa: DJ001  # null: unique where it is there
        max_length=64, null=True, blank=True, help_text="id of the frame that asked for this turn"
    )
    retry_of = models.ForeignKey("self", null=True, blank=True, on_delete=models.CASCADE)
    priority = models.SmallIntegerField(choices=Priority.choices, default=Priority.NORMAL)
    started_before = models.PositiveIntegerField(
        default=0, help_text="the session's starts when this turn was enqueued"
    )
    state = models.CharField(max_length=8, choices=State.choices, default=State.QUEUED)
    attempt = models.PositiveSmallIntegerField(
        default=0, help_text="of running it; also the fencing token"
    )
    handed_back = models.PositiveSmallIntegerField(
        default=0, help_text="attempts that ended because their process went down in order"
    )
    worker = models.CharField(max_length=100, blank=True, help_text="process that runs it")
    lease_until = models.DateTimeField(null=True, blank=True)
    stop = models.CharField(
        max_length=12, blank=True, help_text="asked to end: cancelled or interrupted"
    )
    context_after = models.PositiveIntegerField(null=True, blank=True)
    context_until = models.PositiveIntegerField(null=True, blank=True)
    finish_reason = models.CharField(max_length=16, blank=True)
    error_code = models.CharField(max_length=32, blank=True)
    model = models.CharField(max_length=200, blank=True)
    prompt_tokens = models.PositiveIntegerField(null=True, blank=True)
    completion_tokens = models.PositiveIntegerField(null=True, blank=True)
    cost = models.DecimalField(max_digits=14, decimal_places=8, null=True, blank=True)
    first_token_ms = models.PositiveIntegerField(null=True, blank=True)
    reasoning_ms = models.PositiveIntegerField(
        null=True, blank=True, help_text="from its first reasoning to its first text, or the end"
    )
    reasoning_tokens = models.PositiveIntegerField(null=True, blank=True)
    cached_tokens = models.PositiveIntegerField(
        null=True, blank=True, help_text="of the prompt, from the provider's cache"
    )
    provider_status = models.PositiveSmallIntegerField(
        null=True, blank=True, help_text="HTTP status of the provider's error"
    )
    created_at = models.DateTimeField(db_default=Now())
    started_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("number",)
        constraints = (
            models.UniqueConstraint(fields=("session", "number"), name="turn_number_once"),
            models.UniqueConstraint(fields=("session", "client_id"), name="turn_client_id_once"),
            models.UniqueConstraint(
                fields=("session",), condition=Q(state="running"), name="turn_one_running"
            ),
        )
        indexes = (
            models.Index(
                fields=("state", "created_at"), condition=~Q(state="ended"), name="turn_waiting"
            ),
        )

    def __str__(self) -> str:
        return f"turn {self.number}"


class Feedback(models.Model):
    """A caller's current feedback on a response; each change of it is a message too."""

    class Rating(models.TextChoices):
        UP = "up"
        DOWN = "down"

    message = models.ForeignKey(Message, on_delete=models.CASCADE, related_name="feedback")
    caller = models.CharField(max_length=64, help_text="key of the actor")
    rating = models.CharField(max_length=4, choices=Rating.choices)
    comment = models.TextField(blank=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("message", "caller"), name="feedback_once_per_caller"),
        )

    def __str__(self) -> str:
        return self.rating


class ApiTokenQuerySet(models.QuerySet["ApiToken"]):
    def in_force(self) -> ApiTokenQuerySet:
        """Return the tokens that are valid now, by the database's clock."""
        return self.filter(
            Q(expires_at=None) | Q(expires_at__gt=Now()),
            Q(user=None) | Q(user__is_active=True),
            revoked_at=None,
        )


class ApiToken(models.Model):
    """A program's credential. The token itself is shown once and not stored; see `api_tokens`."""

    class Scope(models.TextChoices):
        CHAT = CHAT, "chat: hold conversations"
        NOTIFY = NOTIFY, "notify: send notifications into sessions"

    name = models.CharField(max_length=100)
    prefix = models.CharField(max_length=12, unique=True, editable=False)
    digest = models.CharField(max_length=64, editable=False, help_text="SHA-256, hexadecimal")
    scopes = models.JSONField(default=list)
    user = models.ForeignKey(
        django_setting("AUTH_USER_MODEL"),
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="agent_tokens",
        help_text="acts for this user; empty: for itself, with sessions of its own",
    )
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True, help_text="to the minute")

    objects: ClassVar[Any] = ApiTokenQuerySet.as_manager()

    class Meta:
        verbose_name = "API token"
        ordering = ("-created_at",)
        constraints = (
            models.UniqueConstraint(
                fields=("name",), condition=Q(revoked_at=None), name="token_name_once"
            ),
        )

    def __str__(self) -> str:
        return self.name


class WriteCheck(models.Model):
    """A row that a process writes to test whether the database accepts writes."""

    id = models.PositiveSmallIntegerField(primary_key=True)
    checked_at = models.DateTimeField()

    def __str__(self) -> str:
        return str(self.checked_at)
