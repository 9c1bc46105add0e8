"""Staff read sessions, their transcripts and turns here. Nothing can be changed.

A session can be deleted, by those with that permission, when somebody wants their words gone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.contrib.admin.models import DELETION, LogEntry
from django.contrib.admin.utils import unquote
from django.contrib.auth import get_user_model
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Count, Exists, OuterRef, Q, QuerySet, Subquery, Sum
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import smart_split, unescape_string_literal

from . import errors, transcripts, turn_facts
from .admin_lists import ReadOnlyAdmin
from .models import Feedback, Message, Session, Turn
from .sessions import batches

#: Words of a search; each costs a look at every message.
MAX_WORDS = 5
_ENDING_ERRORS = (
    errors.ProviderUnavailable,
    errors.ProviderTimeout,
    errors.ProviderRateLimited,
    errors.ProviderRejected,
    errors.ContextTooLong,
    errors.InternalError,
)


class _Filter(admin.SimpleListFilter):
    """A filter of fixed choices; each is a value, its words and what it keeps."""

    choices_: tuple[tuple[str, str, Q | Exists], ...]

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(value, words) for value, words, _ in self.choices_]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        kept = next((kept for value, _, kept in self.choices_ if value == self.value()), None)
        return queryset if kept is None else queryset.filter(kept)


class OpenFilter(_Filter):
    title, parameter_name = "state", "state"
    choices_ = (
        ("open", "Open", transcripts.OPEN),
        ("closed", "Closed", ~transcripts.OPEN),
    )


_failed = Exists(Turn.objects.filter(session=OuterRef("pk"), error_code__gt=""))


class ErrorsFilter(_Filter):
    title, parameter_name = "errors", "errors"
    choices_ = (("yes", "With errors", _failed), ("no", "Without errors", ~_failed))


class ThumbsDownFilter(_Filter):
    title, parameter_name = "feedback", "feedback"
    choices_ = (
        (
            "down",
            "With thumbs-down",
            Q(
                pk__in=Feedback.objects.filter(rating=Feedback.Rating.DOWN).values(
                    "message__session"
                )
            ),
        ),
    )
