"""The app: signals and system checks are connected here."""

from django.apps import AppConfig
from django.core.checks import register
from django.db.models.signals import post_migrate, pre_delete

from .conf import django_setting


class AgentAppConfig(AppConfig):
    name = "agent"
    verbose_name = "Agent WebSocket"

    def ready(self) -> None:
        from django.contrib.auth.signals import user_logged_in

        from . import checks
        from .actions import retention
        from .api import gate
        from .store import db

        register(checks.deployment, deploy=True)
        register(checks.cookies, deploy=True)
        register(checks.everywhere)
        for kind, uid in (
            (django_setting("AUTH_USER_MODEL"), "agent.user"),
            ("agent.ApiToken", "agent.token"),
        ):
            pre_delete.connect(retention.delete_with_owner, kind, dispatch_uid=uid)
        user_logged_in.connect(gate.note_sign_in, dispatch_uid="agent.gate")
        post_migrate.connect(db.use_write_ahead_log, dispatch_uid="agent.wal")
