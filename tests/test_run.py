"""`.ci/tests`: a test that fails and then passes is a failure."""

import os
import subprocess
import sys

import pytest

from .plugin import ROOT

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


def test_what_fails_once_fails_the_run_and_is_shown_last(tmp_path):
    done = run(tmp_path, FLAKY)
    assert done.returncode == 1
    *_, again, last = done.stdout.split("\n== ")
    assert "1 passed" in again
    assert "the first time" in last and "FAILED" in last and "1 failed" in last


@pytest.mark.parametrize(
    ("text", "status"), [("def test_it(): pass", 0), ("", 5), ("import no", 2)]
)
def test_other_ends_are_those_of_pytest(tmp_path, text, status):
    assert run(tmp_path, text).returncode == status
