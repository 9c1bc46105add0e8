"""Close idle sessions and delete old ones; safe at any time, even several at once."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import UUID

import structlog
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from agent.actions import retention
from agent.conf import conf, django_setting
from agent.live.publish import publish_on_commit
from agent.store import removal
from agent.store.outage import DATABASE_ERRORS
from agent.store.sequence import Change

log = structlog.get_logger(__name__)

#: How often, and after how long, the removal of rows that failed is tried again.
_TRIES, _WAIT_SECONDS = 5, 1.0


class Command(BaseCommand):
    help = (
        "Closes sessions in which nothing happened for SESSION_TIMEOUT minutes, and deletes those"
        " whose last activity is older than RETENTION_DAYS. Removes the rows of all deleted ones."
    )
    _failures = 0

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
        if not dry_run:
            self._remove()
        if options["format"] == "json":
            counts = {"closed": closed, "deleted": deleted, "dry_run": dry_run}
            self.stdout.write(json.dumps(counts))
        else:
            would = "would be " if dry_run else ""
            self.stdout.write(f"{closed} sessions {would}closed, {deleted} {would}deleted")

        if self._failures:
            raise CommandError(f"{self._failures} sessions failed; the log says why. Run it again.")

    def _delete(self, days: float, size: int, *, dry_run: bool) -> int:
        rows = retention.expired(days)
        if dry_run:
            return int(rows.count())
        return sum(
            self._each(ids, lambda batch: retention.delete_expired(batch, days))
            for ids in retention.batches(rows, size)
        )

    def _close(self, days: float, size: int, *, dry_run: bool) -> int:
        timeout = conf().session_timeout
        rows = retention.idle(timeout)
        if dry_run:
            return int(rows.exclude(id__in=retention.expired(days).values("id")).count())
        closed = 0
        for ids in retention.batches(rows, size):
            changes: list[Change] = []
            close = partial(_close_one, timeout=timeout, changes=changes)
            for key in ids:
                self._each([key], close)
            publish_on_commit(changes)
            closed += len(changes)
        return closed

    def _each(self, ids: list[UUID], work: Callable[[list[UUID]], int]) -> int:
        """Call `work` with all sessions together; if that fails, with one after the other."""
        try:
            return work(ids)
        except Exception as error:
            if len(ids) > 1:
                return sum(self._each([key], work) for key in ids)
            log.exception("a session failed", session=str(ids[0]), error=type(error).__name__)
            self._failures += 1
            return 0

    def _remove(self) -> None:
        """Remove the rows of all deleted sessions, whichever process deleted them."""
        remover, tries = removal.Remover(), 0
        while True:
            try:
                pause = remover.step()
            except DATABASE_ERRORS as error:
                tries += 1
                if tries > _TRIES:
                    raise CommandError("Rows could not be removed. Run it again.") from error
                pause = _WAIT_SECONDS
            else:
                tries = 0
            if not pause:
                break
            time.sleep(pause)
        self._failures += len(remover.failed)


@transaction.atomic
def _close_one(ids: list[UUID], *, timeout: float, changes: list[Change]) -> int:
    change = retention.close_idle(ids[0], timeout)
    changes += [change] if change else []
    return 1
