"""The environment of the tests, made before Django reads it.

pytest-django loads the settings before any conftest.py is imported, so this is a plugin of its own
(`-p tests.support.plugin`, in pyproject.toml). The developer's own variables and `.env` do not
count; the database is a SQLite file in a directory that is deleted after the run, or, with
`--database=postgres`, a PostgreSQL cluster of the run. Under xdist the controller makes both, and
its workers inherit them.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import tempfile
from collections.abc import Iterator
from typing import NoReturn

import pytest

from tests.support import ROOT
from tests.support.services import Postgres

#: One variable of .env.example, set or commented out.
EXAMPLE = re.compile(r"^(?:# ?)?([A-Z][A-Z0-9_]*)=(.*)$", re.MULTILINE)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--database",
        choices=("sqlite", "postgres"),
        default="sqlite",
        help="what the tests marked with django_db run on (default: sqlite)",
    )


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Iterator[None]:
    if not _is_worker():
        _clean_environment()
        _provide_database(early_config)
    return (yield)


def pytest_configure() -> None:
    signal.signal(signal.SIGTERM, _interrupt)  # so that fixtures end what they started


def pytest_report_header(config: pytest.Config) -> str:
    return f"database: {config.option.database}"


def _is_worker() -> bool:
    return "PYTEST_XDIST_WORKER" in os.environ


def _clean_environment() -> None:
    for name, _ in EXAMPLE.findall((ROOT / ".env.example").read_text()):
        os.environ.pop(name, None)
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "agentsite.settings",
        "ENV_FILE": "",  # not the developer's
        "DEBUG": "1",
        "SECRET_KEY": "only-for-tests-" * 4,
        "NO_PROXY": "localhost,127.0.0.1,::1",
        "no_proxy": "localhost,127.0.0.1,::1",
    }


def _provide_database(config: pytest.Config) -> None:
    if config.known_args_namespace.database == "postgres":
        cluster = Postgres()
        config.add_cleanup(cluster.close)
        cluster.start()
        os.environ["DATABASE_URL"] = cluster.url
    else:
        directory = tempfile.mkdtemp(prefix="test-sqlite-")
        config.add_cleanup(lambda: shutil.rmtree(directory, ignore_errors=True))
        os.environ["DATABASE_URL"] = f"sqlite:///{directory}/db.sqlite3"


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt
