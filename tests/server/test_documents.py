"""What `docs/operations.md` tells people to paste does what it says."""

import re
import subprocess
import sys

import pytest

from tests.support import ROOT
from tests.support.servers import migrated_database

TEXT = (ROOT / "docs" / "operations.md").read_text()
CRON = re.findall(r"^    \S+ \S+ \* \* \*  +(.+)$", TEXT, re.MULTILINE)


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
