"""Close idle sessions and delete old ones; safe at any time, also several at once."""

from __future__ import annotations

import json
from typing import Any

from asgiref.sync import async_to_sync
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from agent import expiry, live, relay
from agent.conf import conf, django_setting
from agent.numbering import Change


class Command(BaseCommand):
    help = (
        "Closes sessions in which nothing happened for SESSION_TIMEOUT minutes, and deletes those"
        " whose last activity is older than RETENTION_DAYS."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="count, but change nothing")
        parser.add_argument("--retention-days", type=float, help="instead of RETENTION_DAYS")
        parser.add_argument("--batch-size", type=int, default=200, help="sessions at a time")
        parser.add_argument("--format", choices=("text", "json"), default="text")

    def handle(self, *args: Any, **options: Any) -> None:
        days = options["retention_days"]
        days = conf().retention_days if days is None else days
        most = django_setting("MOST_DAYS")
        if not 0 <= days <= most:
            raise CommandError(f"--retention-days: expected a number from 0 to {most}")
        size = max(options["batch_size"], 1)
        dry_run = options["dry_run"]
        deleted = self._delete(days, size, dry_run=dry_run)
        closed = self._close(days, size, dry_run=dry_run)
        if options["format"] == "json":
            counts = {"closed": closed, "deleted": deleted, "dry_run": dry_run}
            self.stdout.write(json.dumps(counts))
        else:
            would = "would be " if dry_run else ""
            self.stdout.write(f"{closed} sessions {would}closed, {deleted} {would}deleted")

    def _delete(self, days: float, size: int, *, dry_run: bool) -> int:
        rows = expiry.expired(days)
        if dry_run:
            return int(rows.count())
        return sum(expiry.delete_expired(ids, days) for ids in expiry.batches(rows, size))

    def _close(self, days: float, size: int, *, dry_run: bool) -> int:
        timeout = conf().session_timeout
        rows = expiry.idle(timeout)
        if dry_run:
            return int(rows.exclude(id__in=expiry.expired(days).values("id")).count())
        closed = 0
        for ids in expiry.batches(rows, size):
            changes = [change for key in ids if (change := _close_one(key, timeout))]
            async_to_sync(_publish)(changes)
            closed += len(changes)
        return closed


@transaction.atomic
def _close_one(session_id: Any, timeout: float) -> Change | None:
    return expiry.close_idle(session_id, timeout)


async def _publish(changes: list[Change]) -> None:
    """Tell the server processes; without a shared channel layer they find the rows themselves."""
    for change in changes:
        live.publish(change)
    await relay.current().flush()
