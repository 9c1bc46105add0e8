"""Read-only lists of big tables in the admin: a bounded number of rows, a constant of queries.

A list reads the keys of what it found once, up to a bound, and then only the rows of its page.
So nothing is counted, a costly search runs once, and facts are gathered for one page.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin.helpers import ActionForm
from django.contrib.admin.models import DELETION, LogEntry
from django.contrib.admin.options import ShowFacets
from django.contrib.admin.views.main import ChangeList
from django.contrib.contenttypes.models import ContentType
from django.core.paginator import Paginator
from django.db.models import Model, QuerySet
from django.http import HttpRequest

if TYPE_CHECKING:
    _Paginator = Paginator[Any]
    _ModelAdmin = admin.ModelAdmin[Any]
else:
    _Paginator, _ModelAdmin = Paginator, admin.ModelAdmin

#: Rows of a list that can be reached without another filter, search or order.
MAX_ROWS = 5000


def log_deletions(request: HttpRequest, rows: Sequence[Model]) -> list[LogEntry]:
    """Log a deletion with the ids alone: names and titles are what was to be deleted."""
    return LogEntry.objects.bulk_create(
        LogEntry(
            user_id=request.user.pk or 0,
            content_type=ContentType.objects.get_for_model(row),
            object_id=str(row.pk),
            object_repr=str(row.pk),
            action_flag=DELETION,
        )
        for row in rows
    )


class BoundedPaginator(_Paginator):
    """Pages of the first `MAX_ROWS` rows."""

    @cached_property
    def keys(self) -> list[Any]:
        rows: QuerySet[Any] = self.object_list  # type: ignore[assignment]
        return list(rows.values_list("pk", flat=True)[: MAX_ROWS + 1])

    @cached_property
    def count(self) -> int:
        return min(len(self.keys), MAX_ROWS)

    @property
    def is_cut(self) -> bool:
        """Whether there are more rows than the list shows."""
        return len(self.keys) > MAX_ROWS

    def keys_of(self, page: int) -> list[Any]:
        first = (page - 1) * self.per_page
        return self.keys[: self.count][first : first + self.per_page]


class PageList(ChangeList):
    """A list that loads the rows of its page by their keys, as `ReadOnlyAdmin.rows` says."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)  # its `result_list` is lazy, and never run
        keys = self.paginator.keys_of(self.page_num)
        found = {row.pk: row for row in self.model_admin.rows(keys)}  # type: ignore[attr-defined]
        self.result_list = [found[key] for key in keys if key in found]


class PageActionForm(ActionForm):
    """Actions work on ticked rows; "all that match" could be more rows than the list loads."""

    def clean_select_across(self) -> bool:
        return False


class ReadOnlyAdmin(_ModelAdmin):
    """Rows that staff only view. Staff without the permission get a 403."""

    list_per_page = 50
    list_max_show_all = 0
    paginator = BoundedPaginator
    show_full_result_count = False
    show_facets = ShowFacets.NEVER  # each would count the table
    action_form = PageActionForm

    class Media:
        css = {"all": ("agent/admin.css",)}

    def rows(self, keys: Sequence[Any]) -> QuerySet[Model]:
        """The rows of these keys in any order, with all that their columns need."""
        raise NotImplementedError

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return PageList

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False
