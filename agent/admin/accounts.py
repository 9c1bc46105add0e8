"""Access as staff manage it: API tokens, which are created and revoked here, users and groups.

A token is shown in the answer to the form that made it, and nowhere else: not in the list, not in
a message that a cookie would carry, not in the log of changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth import get_permission_codename
from django.contrib.auth.admin import GroupAdmin as DjangosGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangosUserAdmin
from django.contrib.auth.models import Permission, User
from django.contrib.contenttypes.models import ContentType
from django.db.models import ForeignKey, Model, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone

from agent.access import api_tokens
from agent.actions import retention
from agent.models import ApiToken, Session

from .read_only import ReadOnlyAdmin, log_deletions

if TYPE_CHECKING:
    _UserAdmin = DjangosUserAdmin[User]
    _TokenForm = forms.ModelForm[ApiToken]
else:
    _UserAdmin, _TokenForm = DjangosUserAdmin, forms.ModelForm

#: The fields of an account that only superusers change.
_RIGHTS = ("is_staff", "is_superuser", "groups", "user_permissions")


class TokenForm(_TokenForm):
    """The form of a new token."""

    scopes = forms.MultipleChoiceField(
        choices=ApiToken.Scope.choices, widget=forms.CheckboxSelectMultiple
    )

    class Meta:
        model = ApiToken
        fields = ("name", "scopes", "user", "expires_at")

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"]
        if ApiToken.objects.filter(name=name, revoked_at=None).exists():
            raise forms.ValidationError("A token of this name is not revoked yet.")
        return name


class ApiTokenAdmin(ReadOnlyAdmin):
    """API tokens: created with the permission to add, revoked with the permission to change."""

    list_display = ("name", "token", "scopes_", "acts_for", "state", "expires_at", "last_used_at")
    sortable_by = ()
    search_fields = ("name", "prefix")
    fields = (*list_display, "created_at", "revoked_at")
    readonly_fields = fields
    actions = ("revoke",)

    def rows(self, keys: Sequence[Any]) -> QuerySet[ApiToken]:
        rows: QuerySet[ApiToken] = ApiToken.objects.filter(pk__in=keys).select_related("user")
        return rows

    @admin.display
    def token(self, row: ApiToken) -> str:
        """The beginning of the token, by which people tell it from others."""
        return f"{api_tokens.MARK}{row.prefix}..."

    @admin.display(description="scopes")
    def scopes_(self, row: ApiToken) -> str:
        return ", ".join(row.scopes)

    @admin.display
    def acts_for(self, row: ApiToken) -> str:
        return row.user.get_username() if row.user else "itself"

    @admin.display
    def state(self, row: ApiToken) -> str:
        if row.revoked_at:
            return "revoked"
        if row.expires_at and row.expires_at <= timezone.now():
            return "expired"
        return "in force" if row.user is None or row.user.is_active else "user is not active"

    # creating

    form = TokenForm
    raw_id_fields = ("user",)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.fields if obj else TokenForm.Meta.fields

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.readonly_fields if obj else ()

    def formfield_for_foreignkey(
        self, db_field: ForeignKey[Any], request: HttpRequest, **kwargs: Any
    ) -> Any:
        """Only superusers create tokens that act for other users."""
        if not request.user.is_superuser:
            kwargs["queryset"] = User.objects.filter(pk=request.user.pk or 0)
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        obj.issued = api_tokens.issue(obj)

    def response_add(
        self, request: HttpRequest, obj: Any, post_url_continue: str | None = None
    ) -> HttpResponse:
        """Show the token, for the only time."""
        context = {
            **self.admin_site.each_context(request),
            "title": f"API token {obj}",
            "opts": self.opts,
            "token": obj.issued,
        }
        return TemplateResponse(request, "admin/agent/apitoken/issued.html", context)

    # revoking

    @admin.action(description="Revoke selected API tokens", permissions=["revoke"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiToken]) -> None:
        rows = [row for row in queryset.filter(revoked_at=None) if api_tokens.revoke(row.name)]
        for row in rows:
            self.log_change(request, row, "Revoked.")
        self.message_user(request, f"Revoked: {len(rows)}. Their connections end within seconds.")

    # permissions

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return self._may(request, "add")

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        return self._may(request, "change")

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False  # its sessions would go with it, and the record of past access

    def _may(self, request: HttpRequest, action: str) -> bool:
        return request.user.has_perm(f"agent.{get_permission_codename(action, self.opts)}")


class UserAdmin(_UserAdmin):
    """Django's page, on which only superusers grant rights or change accounts that have more.

    With Django's own, `change user` is every right there is: one makes oneself a superuser, or
    gives a superuser another password.
    """

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        fields = tuple(super().get_readonly_fields(request, obj))
        return fields if request.user.is_superuser else (*fields, *_RIGHTS)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_change_permission(request, obj) and not _has_more(obj, request.user)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_delete_permission(request, obj) and not _has_more(obj, request.user)

    # Django's confirmation page would load and list every message.

    def get_deleted_objects(
        self, objs: Iterable[User], request: HttpRequest
    ) -> tuple[list[Any], dict[str, int], set[str], list[str]]:
        people = list(objs)
        sessions = Session.objects.filter(owner__in=people).count()
        counts = {
            "users": len(people),
            "sessions": sessions,
            "API tokens": ApiToken.objects.filter(user__in=people).count(),
        }
        lacking = set()
        if sessions and not request.user.has_perm("agent.delete_session"):
            lacking.add("session")
        if any(_has_more(one, request.user) for one in people):
            lacking.add("user with more rights")
        return [str(one) for one in people], counts, lacking, []

    def log_deletions(self, request: HttpRequest, queryset: Iterable[User]) -> list[LogEntry]:
        """Log ids alone; earlier entries about these users lose the names too."""
        people = list(queryset)
        of_users = LogEntry.objects.filter(content_type=ContentType.objects.get_for_model(User))
        for one in people:
            of_users.filter(object_id=str(one.pk)).update(object_repr=str(one.pk))
        return log_deletions(request, people)

    def delete_model(self, request: HttpRequest, obj: User) -> None:
        retention.delete_account(obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        for one in queryset:
            retention.delete_account(one)


class GroupAdmin(DjangosGroupAdmin):
    """Django's page, on which only superusers grant rights to the members of a group."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return super().has_add_permission(request) and request.user.is_superuser

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_change_permission(request, obj) and request.user.is_superuser


def _has_more(user: User | None, than: Any) -> bool:
    """Whether an account has a right that another lacks, or would have it if it were active."""
    if user is None or than.is_superuser:
        return False
    rights = Permission.objects.filter(Q(user=user) | Q(group__user=user))
    names = rights.values_list("content_type__app_label", "codename")
    return user.is_superuser or not all(than.has_perm(f"{app}.{name}") for app, name in names)
