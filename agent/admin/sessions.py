"""The list of sessions and their transcripts. Staff read them here, and change nothing.

A session can be deleted, by staff with that permission, when its user wants it gone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.admin.utils import unquote
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, User
from django.core.exceptions import PermissionDenied
from django.db.models import Count, Exists, OuterRef, Q, QuerySet, Subquery, Sum
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.safestring import SafeString
from django.utils.text import smart_split, unescape_string_literal

from agent.actions import retention
from agent.models import OPEN, ApiToken, Feedback, Message, Session, Turn

from . import transcript, turn_summary
from .accounts import ApiTokenAdmin, GroupAdmin, UserAdmin
from .links import as_uuid, link, message_address, moment, short
from .read_only import ReadOnlyAdmin, log_deletions

#: Words of a search that count; each is looked for in every message.
MAX_WORDS = 5


class _Filter(admin.SimpleListFilter):
    """A filter with fixed choices: value, label, and the rows that each keeps."""

    kinds: tuple[tuple[str, str, Any], ...]

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(value, label) for value, label, _ in self.kinds]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        kept = [kept for value, _, kept in self.kinds if value == self.value()]
        return queryset.filter(*kept)


class OpenFilter(_Filter):
    title, parameter_name = "state", "state"
    kinds = (("open", "Open", OPEN), ("closed", "Closed", ~OPEN))


_failed = Exists(Turn.objects.filter(session=OuterRef("pk"), error_code__gt=""))
_disliked = Feedback.objects.filter(rating=Feedback.Rating.DOWN).values("message__session")


class ErrorsFilter(_Filter):
    title, parameter_name = "errors", "errors"
    kinds = (("yes", "With errors", _failed), ("no", "Without errors", ~_failed))


class FeedbackFilter(_Filter):
    title, parameter_name = "feedback", "feedback"
    kinds = (("down", "With thumbs-down", Q(pk__in=_disliked)),)


admin.site.register(ApiToken, ApiTokenAdmin)
admin.site.unregister(User)
admin.site.register(User, UserAdmin)
admin.site.unregister(Group)
admin.site.register(Group, GroupAdmin)


@admin.register(Session)
class SessionAdmin(ReadOnlyAdmin):
    """Sessions; the page of one is its transcript."""

    list_display = (
        "session",
        "last_activity",
        "owner_",
        "state",
        "newest",
        "turns_so_far",
        "cost",
        "last_error",
    )
    sortable_by = ("last_activity", "newest", "turns_so_far")
    list_filter = (OpenFilter, ErrorsFilter, FeedbackFilter, "last_activity_at")
    search_fields = ("title",)  # shows the box; see get_search_results
    search_help_text = (
        f"Up to {MAX_WORDS} words or “quoted phrases” that are all in the title, the owner's name"
        " or the messages; or the id of a session, turn or message."
    )

    def rows(self, keys: Sequence[Any]) -> QuerySet[Session]:
        turns = Turn.objects.filter(session=OuterRef("pk"), error_code__gt="").order_by("-number")
        rows: QuerySet[Session] = Session.objects.filter(pk__in=keys).select_related(
            "owner", "token"
        )
        return rows.annotate(
            known_cost=Sum("turns__cost"),
            unknown_costs=Count("turns", filter=transcript.cost_is_unknown("turns__")),
            running=Count("turns", filter=Q(turns__state=Turn.State.RUNNING)),
            queued=Count("turns", filter=Q(turns__state=Turn.State.QUEUED)),
            last_error_code=Subquery(turns.values("error_code")[:1]),
        )

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        for word in _words(search_term)[:MAX_WORDS]:
            queryset = queryset.filter(_has(word))
        return queryset, False

    @admin.display
    def session(self, session: Session) -> str:
        return session.title or short(session.pk)

    @admin.display(ordering="last_activity_at")
    def last_activity(self, session: Session) -> str:
        return moment(session.last_activity_at)

    @admin.display(description="owner")
    def owner_(self, session: Session) -> str:
        return transcript.owner(session)

    @admin.display
    def state(self, session: Any) -> str:
        """Open or closed, and its running and waiting turns."""
        running = ["running"] if session.running else []
        queued = [f"{session.queued} queued"] if session.queued else []
        return ", ".join([session.state, *running, *queued])

    @admin.display(description="messages", ordering="last_seq")
    def newest(self, session: Session) -> SafeString:
        """The number of messages, with a link to the newest."""
        return link(message_address(session.pk, session.last_seq), session.last_seq)

    @admin.display(description="turns", ordering="enqueued")
    def turns_so_far(self, session: Session) -> SafeString:
        address = reverse("admin:agent_turn_changelist") + f"?session__id__exact={session.pk}"
        return link(address, session.enqueued)

    @admin.display
    def cost(self, session: Any) -> str:
        return turn_summary.total(session.known_cost, session.unknown_costs)

    @admin.display
    def last_error(self, session: Any) -> str:
        return session.last_error_code or ""

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """The transcript, in place of a form."""
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        session = self.get_object(request, unquote(object_id))
        if not self.has_view_permission(request, session):
            raise PermissionDenied
        if session is None:
            return super().change_view(request, object_id)  # Django says that it does not exist
        number, first = _number(request, "p", 1), _number(request, "from", 0)
        context = {
            **self.admin_site.each_context(request),
            "title": str(session),
            "opts": self.opts,
            "media": self.media,
            "session": session,
            "owner": transcript.owner(session),
            "state": session.state,
            "totals": transcript.totals(session),
            "unfinished": transcript.unfinished(session),
            "page": transcript.page(session, number, first),
            "may_delete": self.has_delete_permission(request, session),
        }
        return TemplateResponse(request, "admin/agent/session/transcript.html", context)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Session]:
        return super().get_queryset(request).select_related("owner", "token")

    # Deleting. Django would load every message and turn to name it on the page that asks, and
    # write a session's title, which is its user's text, into the log of deletions.

    def get_deleted_objects(
        self, objs: Iterable[Session], request: HttpRequest
    ) -> tuple[list[Any], dict[str, int], set[str], list[str]]:
        sessions = list(objs)
        counts = {
            "sessions": len(sessions),
            "messages": sum(session.last_seq for session in sessions),
            "turns": sum(session.enqueued for session in sessions),
        }
        return [_named(session) for session in sessions], counts, set(), []

    def log_deletions(self, request: HttpRequest, queryset: Iterable[Session]) -> list[LogEntry]:
        return log_deletions(request, list(queryset))

    def delete_model(self, request: HttpRequest, obj: Session) -> None:
        retention.delete_all(Session.objects.filter(pk=obj.pk))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Session]) -> None:
        retention.delete_all(queryset)


def _number(request: HttpRequest, name: str, default: int) -> int:
    text = request.GET.get(name, "")
    return int(text) if text.isdecimal() and len(text) < 10 else default


def _words(search_term: str) -> list[str]:
    """The words and quoted phrases of a search."""
    words = [
        unescape_string_literal(bit) if bit[0] in "\"'" and bit[0] == bit[-1] else bit
        for bit in smart_split(search_term)
    ]
    return [word for word in words if word]


def _has(word: str) -> Q:
    """Sessions with this word; if it is an id, the session that the id belongs to."""
    if key := as_uuid(word):
        return (
            Q(pk=key)
            | Q(pk__in=Turn.objects.filter(pk=key).values("session"))
            | Q(pk__in=Message.objects.filter(pk=key).values("session"))
        )
    said = Message.objects.containing(word)
    name = f"owner__{get_user_model().USERNAME_FIELD}__icontains"
    return Q(title__icontains=word) | Q(**{name: word}) | Q(pk__in=said.values("session"))


def _named(session: Session) -> SafeString:
    return link(message_address(session.pk, 1), session)
