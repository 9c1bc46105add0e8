"""Send a notification into a session."""

from __future__ import annotations

from typing import Any, get_args

from asgiref.sync import async_to_sync
from django.core.management.base import BaseCommand, CommandError, CommandParser
from pydantic import ValidationError

from agent.actions import notifications
from agent.actions.notifications import Notice, Receipt
from agent.errors import AgentError
from agent.live.publish import Live
from agent.protocol.server_frames import Level


class Command(BaseCommand):
    help = (
        "Sends a notification into a session, and to its connections at once over Redis. Without"
        " Redis, servers find it within seconds, and only in sessions that have messages."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("session", help="its id")
        parser.add_argument("text")
        parser.add_argument("--level", choices=get_args(Level), default="info")
        parser.add_argument("--id", help="your id; a session gets each id only once")
        parser.add_argument(
            "--ttl", type=float, metavar="SECONDS", help="after which the text is not shown"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            notice = Notice(
                content=options["text"],
                level=options["level"],
                id=options["id"],
                ttl=options["ttl"],
            )
            receipt = async_to_sync(_notify)(options["session"], notice)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            raise CommandError(f"{first['loc'][0]}: {first['msg'].lower()}") from None
        except AgentError as error:
            raise CommandError(error.message) from None
        again = ", as before" if receipt.repeated else ""
        self.stdout.write(
            f"{receipt.state}{again}: id {receipt.id}, seq {receipt.seq},"
            f" {receipt.connections} connections"
        )


async def _notify(session_id: str, notice: Notice) -> Receipt:
    live = Live()
    async with live.broker.listening():
        return await notifications.notify(live, session_id, notice, of_user=None)
