"""Run the server with our limits, and drain it before it ends."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from agent.conf import django_setting
from agent.serving import launcher


class Command(BaseCommand):
    help = "Runs the server."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        host, port = launcher.default_address()
        parser.add_argument("--host", default=host, help="default: HOST, or 127.0.0.1")
        parser.add_argument("--port", type=int, default=port, help="default: PORT, or 8000")

    def handle(self, *args: Any, **options: Any) -> None:
        self.check(include_deployment_checks=not django_setting("DEBUG"))
        launcher.serve(options["host"], options["port"])
