"""The app: signals and system checks are connected here."""

from django.apps import AppConfig
from django.core.checks import register
from django.db.models.signals import post_migrate


class AgentAppConfig(AppConfig):
    name = "agent"
    verbose_name = "Agent WebSocket"

    def ready(self) -> None:
        from . import checks, db

        register(checks.deployment, deploy=True)
        register(checks.everywhere)
        post_migrate.connect(db.use_write_ahead_log, dispatch_uid="agent.wal")
