"""The site, imported once in the process from which `programs` forks; nothing else imports this.

A module may look into the settings while it is imported, and each fork inherits what it found.
Django remembers the settings that were read. A fork compares them with those of its own
environment, and does not use these modules when one differs. The modules of `agentsite`, which
read the environment and make the ASGI application, are imported by each fork anew.
"""

from __future__ import annotations

import gc
import importlib
import os
import sys
from typing import Any

from django.apps import apps
from django.conf import settings
from django.db import connections
from django.utils.functional import empty

_MODULES = [
    "agent.consumers",
    "agent.management.commands.serve",
    "agent.serving.launcher",
    "agent.urls",
    "channels.routing",
    "csp.middleware",
    "django.core.asgi",
    "django.core.management.commands.migrate",
    "django.core.management.commands.shell",
    "servestatic.middleware",
]


def usable() -> bool:
    """Whether this fork's environment gives the settings that the modules were imported with.

    A fork that is used hashes passwords quickly, unless the environment has SLOW_PASSWORDS.
    """
    if "SLOW_PASSWORDS" not in os.environ:
        Pbkdf2.iterations = 1000
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "agentsite.settings")  # as manage.py does
    try:
        return all(getattr(settings, name, None) == value for name, value in _read.items())
    except Exception:  # settings that are refused: a process that starts anew says why
        return False
    finally:
        _forget_site()


def _forget_site() -> None:
    """Forget the settings, the databases, and all modules that were imported to make them."""
    settings._wrapped = empty
    vars(connections).clear()
    connections.__init__()  # type: ignore[misc]  # it has looked at the database's kind
    for name in list(sys.modules):
        if name.partition(".")[0] == "agentsite":
            del sys.modules[name]


def _import() -> dict[str, Any]:
    """Import the site with plain settings; returns those that were read meanwhile."""
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "agentsite.settings",
        "ENV_FILE": "",
        "DEBUG": "1",
        "SECRET_KEY": "only-to-import-" * 4,
        "DATABASE_URL": "sqlite:////nowhere",
    }
    apps.populate(settings.INSTALLED_APPS)
    for name in _MODULES:
        importlib.import_module(name)
    gc.freeze()  # a collection in a fork would copy all of it
    # Models ask their database how long names may be: no name of theirs is too long for any.
    return {n: value for n, value in vars(settings).items() if n.isupper() and n != "DATABASES"}


_read = _import()
_forget_site()

from agent.access.password_hashing import Pbkdf2  # noqa: E402  # as soon as there are apps
