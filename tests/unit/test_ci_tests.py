"""`.ci/tests`: what a test that fails and then passes leaves behind."""

import os
import subprocess
import sys

import pytest

from tests.support import ROOT

FLAKY = """\
from pathlib import Path

def test_that_passes_the_second_time():
    ran = Path(__file__).with_name("ran")
    if not ran.exists():
        ran.touch()
        raise AssertionError("the first time")
"""


def run(directory, text):
    (directory / "test_it.py").write_text(text)
    (directory / "pytest.ini").touch()
    few = ["-p", "xdist", "--numprocesses", "0"]  # to start it quickly
    return subprocess.run(
        [ROOT / ".ci" / "tests", sys.executable, *few],
        cwd=directory,
        env={"PATH": os.environ["PATH"], "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
    )


FAILING = "def test_it(): raise AssertionError('the first time')"


@pytest.mark.parametrize(("text", "status", "ended"), [(FLAKY, 0, "1 passed"), (FAILING, 1, "1 f")])
def test_what_fails_at_first_runs_once_more_and_is_shown_last(tmp_path, text, status, ended):
    done = run(tmp_path, text)
    assert done.returncode == status
    *_, again, last = done.stdout.split("\n== ")
    assert ended in again
    assert "the first time" in last and "FAILED" in last and "1 failed" in last


@pytest.mark.parametrize(
    ("text", "status"), [("def test_it(): pass", 0), ("", 5), ("import no", 2)]
)
def test_other_ends_are_those_of_pytest(tmp_path, text, status):
    assert run(tmp_path, text).returncode == status
