"""What `docs/operations.md` tells people to paste does what it says."""

import configparser
import re
import subprocess
import sys

import pytest

from .plugin import ROOT
from .servers import migrated_database

TEXT = (ROOT / "docs" / "operations.md").read_text()
CRON = re.findall(r"^    \S+ \S+ \* \* \*  +(.+)$", TEXT, re.MULTILINE)


@pytest.mark.slow
@pytest.mark.parametrize("command", CRON)
def test_a_cron_line_reads_the_variables_as_the_server_does(command, tmp_path):
    environment = tmp_path / "environment"
    environment.write_text(
        f'SECRET_KEY=$HOME `id` ; "{"x" * 50}" & \'y\n'
        f"DATABASE_URL=sqlite:///{migrated_database()}\n"
        "AGENT_NAME=Ask & answer; $(false) #1\n"
    )
    here = command.replace("/srv/agent/environment", str(environment))
    here = here.replace("cd /srv/agent", f"cd {ROOT}").replace(".venv/bin/python", sys.executable)
    done = subprocess.run(["/bin/sh", "-c", here], env={}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_maintenance_command_has_a_cron_line():
    assert [line.split()[-1] for line in CRON] == ["clear_expired_sessions", "clearsessions"]


def test_the_systemd_unit_is_whole():
    (unit,) = re.findall(r"^    \[Unit\]\n(?:(?:    .*)?\n)+", TEXT, re.MULTILINE)
    parsed = configparser.ConfigParser(interpolation=None)
    parsed.optionxform = str
    parsed.read_string(re.sub("^    ", "", unit, flags=re.MULTILINE))
    assert parsed["Service"]["User"] and parsed["Install"]["WantedBy"]
    (drain,) = re.findall(
        r"^# ?DRAIN_SECONDS=(\d+)", (ROOT / ".env.example").read_text(), re.MULTILINE
    )
    assert int(parsed["Service"]["TimeoutStopSec"]) >= int(drain) + 25
