"""Create, list and revoke API tokens."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import IntegrityError, transaction
from django.utils import timezone

from agent.access import api_tokens
from agent.models import ApiToken


class Command(BaseCommand):
    help = "Creates, lists and revokes the API tokens of programs."

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        create = actions.add_parser("create", help="create one; it is the last line")
        create.add_argument("--name", required=True, help="shown to staff")
        create.add_argument(
            "--scope", action="append", required=True, choices=ApiToken.Scope.values
        )
        create.add_argument("--expires", type=float, metavar="DAYS", help="default: never")
        create.add_argument("--user", help="acts for this user; default: for itself")
        actions.add_parser("list", help="list all, without the tokens themselves")
        revoke = actions.add_parser("revoke", help="revoke one for good")
        revoke.add_argument("name")

    def handle(self, *args: Any, **options: Any) -> None:
        match options["action"]:
            case "create":
                self._create(options)
            case "list":
                self._list()
            case "revoke":
                self._revoke(options["name"])

    def _create(self, options: dict[str, Any]) -> None:
        days = options["expires"]
        if days is not None and days <= 0:
            raise CommandError("--expires: expected a number of days above 0")
        expires_at = None if days is None else timezone.now() + timedelta(days=days)
        user = _user(options["user"]) if options["user"] else None
        try:
            with transaction.atomic():
                row, token = api_tokens.create(
                    options["name"], options["scope"], user=user, expires_at=expires_at
                )
        except IntegrityError:
            raise CommandError(
                f"There is a token {options['name']} already. Revoke it, or choose another name."
            ) from None
        self.stdout.write(f"{_facts(row)}\nKeep it now; it cannot be shown again:\n{token}")

    def _list(self) -> None:
        for row in ApiToken.objects.select_related("user"):
            self.stdout.write(_facts(row))

    def _revoke(self, name: str) -> None:
        if not api_tokens.revoke(name):
            raise CommandError(f"There is no token {name} in force.")
        self.stdout.write(f"{name} is revoked.")


def _user(name: str) -> Any:
    model = get_user_model()
    try:
        return model._default_manager.get_by_natural_key(name)
    except model.DoesNotExist:
        raise CommandError(f"There is no user {name}.") from None


def _facts(row: ApiToken) -> str:
    facts = [row.name, f"{api_tokens.MARK}{row.prefix}...", "+".join(row.scopes)]
    facts.append(f"for {row.user.get_username()}" if row.user else "for itself")
    for word in ("expires", "revoked", "last used"):
        moment = getattr(row, f"{word.replace(' ', '_')}_at")
        facts += [f"{word} {moment:%Y-%m-%d %H:%M}"] if moment else []
    return ", ".join(facts)
