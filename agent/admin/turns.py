"""The list and the pages of turns, without any text of a conversation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from agent import errors
from agent.models import Turn

from . import turn_summary
from .links import as_uuid, link, message_address, moment, short
from .read_only import ReadOnlyAdmin

#: The errors that a turn can end with.
_ERRORS = (
    errors.ProviderUnavailable,
    errors.ProviderTimeout,
    errors.ProviderRateLimited,
    errors.ProviderRejected,
    errors.ContextTooLong,
    errors.InternalError,
)
#: Columns that a list of turns has no use for.
_TEXTS_OF_QUERY = ("query__content", "query__partial", "query__data")
#: Django takes functions for fields, which its types do not know.
_SPANS: Any = (turn_summary.waited, turn_summary.first_token, turn_summary.duration)
_DETAILS: Any = (turn_summary.provider_status, turn_summary.cached_tokens, turn_summary.reasoning)
_MODEL: Any = (turn_summary.model, turn_summary.tokens, turn_summary.cost)


class ErrorCodeFilter(admin.SimpleListFilter):
    title, parameter_name = "error code", "error_code"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("any", "Any error"), *((error.code, error.code) for error in _ERRORS)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        match self.value():
            case None:
                return queryset
            case "any":
                return queryset.filter(error_code__gt="")
            case code:
                return queryset.filter(error_code=code)


@admin.register(Turn)
class TurnAdmin(ReadOnlyAdmin):
    """Turns of all sessions, without any text of a conversation."""

    list_display = (
        "turn",
        "created",
        "transcript",
        "state",
        turn_summary.outcome,
        *_MODEL,
        *_SPANS,
        "attempt",
    )
    sortable_by = ("created",)
    ordering = ("-created_at",)
    list_filter = ("state", ErrorCodeFilter, "model", "created_at")
    search_fields = ("id",)  # shows the box; see get_search_results
    search_help_text = "The id of a turn, its query or its session, or the ref of its client."
    fieldsets = (
        (None, {"fields": ("id", "transcript", "number", "ref", "retry_of")}),
        ("Outcome", {"fields": ("state", "finish_reason", "error_code", _DETAILS[0], "stop")}),
        ("Model", {"fields": (*_MODEL, *_DETAILS[1:])}),
        ("Time", {"fields": ("created_at", "started_at", "ended_at", *_SPANS)}),
        ("Queue", {"fields": ("priority", "attempt", "worker", "lease_until")}),
    )
    readonly_fields = ("id", "transcript", *_MODEL, *_SPANS, *_DETAILS)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Turn]:
        return super().get_queryset(request).filter(session__deleted_at=None)

    def rows(self, keys: Sequence[Any]) -> QuerySet[Turn]:
        return Turn.objects.filter(pk__in=keys).select_related("query").defer(*_TEXTS_OF_QUERY)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        term = search_term.strip()
        if key := as_uuid(term):
            queryset = queryset.filter(Q(pk=key) | Q(session=key) | Q(query=key))
        elif term:
            queryset = queryset.filter(ref=term)
        return queryset, False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @admin.display
    def turn(self, turn: Turn) -> str:
        return short(turn.pk)

    @admin.display(ordering="created_at")
    def created(self, turn: Turn) -> str:
        return moment(turn.created_at)

    @admin.display(description="session")
    def transcript(self, turn: Turn) -> SafeString:
        """A link to the question in its transcript."""
        return link(message_address(turn.session_id, turn.query.seq), short(turn.session_id))
