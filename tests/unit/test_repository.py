"""What has to agree between files: locks, the environment's variables, what is kept in Git."""

import ast
import re
import subprocess
from functools import cache
from importlib.metadata import version

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support import ROOT
from tests.support.plugin import EXAMPLE

CARD = {
    "django",
    "channels",
    "daphne",
    "channels-redis",
    "httpx",
    "pytest-django",
    "pytest-asyncio",
}
LOCKED = re.compile(r"^([a-z0-9][a-z0-9-]*)==(\S+)", re.MULTILINE)


def text_of(name):
    return (ROOT / name).read_text()


def wanted(name):
    lines = (line.partition("#")[0].strip() for line in text_of(name).splitlines())
    return [Requirement(line) for line in lines if line and not line.startswith("-")]


def locked(name):
    """{package: its versions}; there are several where platforms differ."""
    versions = {}
    for package, pinned in LOCKED.findall(text_of(name)):
        versions.setdefault(package, set()).add(pinned)
    return versions


def variables_read():
    """Names that agentsite passes to a reader of the environment, or asks `os.environ` for."""
    files = [text_of(f"agentsite/{name}.py") for name in ("environment", "settings")]
    trees = [ast.parse(text) for text in files]
    readers = {node.name for node in trees[0].body if isinstance(node, ast.FunctionDef)} | {"os"}
    return {
        node.args[0].value
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and ast.unparse(node.func).split(".")[0] in readers
        and node.args
        and isinstance(node.args[0], ast.Constant)
        and str(node.args[0].value).isupper()
    }


def example():
    return dict(EXAMPLE.findall(text_of(".env.example")))


def git(*arguments):
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        pytest.skip("not a Git checkout")
    return done.stdout


# locks


@pytest.mark.parametrize("name", ["requirements", "requirements-dev"])
def test_a_lock_holds_what_its_source_asks_for(name):
    versions = locked(f"{name}.txt")
    for requirement in wanted(f"{name}.in"):
        found = versions.get(canonicalize_name(requirement.name), set())
        assert found and all(map(requirement.specifier.contains, found)), str(requirement)


def test_the_packages_of_the_card_are_in_requirements_txt():
    assert locked("requirements.txt").keys() >= CARD
    assert {canonicalize_name(each.name) for each in wanted("requirements.in")} >= CARD


def test_development_runs_on_the_versions_that_production_does():
    development = locked("requirements-dev.txt")
    for package, versions in locked("requirements.txt").items():
        assert development.get(package) == versions, package


def test_production_runs_without_what_tests_need():
    everything, production = locked("requirements.txt"), locked("requirements-production.txt")
    assert production.keys() == everything.keys() - {
        "pytest",
        "pytest-django",
        "pytest-asyncio",
        "colorama",
        "iniconfig",
        "pluggy",
        "pygments",
    }
    assert production.items() <= everything.items()


def test_no_image_changes_by_itself():
    images = re.findall(r"^ARG PYTHON=(\S+)", text_of("Dockerfile"), re.MULTILINE)
    images += re.findall(r"^FROM ([^$\s]+)", text_of("Dockerfile"), re.MULTILINE)
    images += re.findall(r"^    image: (\S+:\S+)", text_of("docker-compose.yml"), re.MULTILINE)
    assert len(images) == 3
    for image in images:
        assert re.search(r":\d+\.\d+(\.\d+)?-", image), image


LOCKS = ["requirements.txt", "requirements-dev.txt", "requirements-production.txt"]


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_has_hashes_and_names_no_index_url_or_path(name):
    text = text_of(name)
    for requirement in re.split(r"\n(?=\S)", text):
        if not requirement.startswith("#"):
            assert re.match(r"[a-z0-9-]+==[\w.]+( ;[^\n]*)? \\\n    --hash=sha256:", requirement)
    assert not re.search(r"://|^-|--(?!hash=sha256:[0-9a-f]{64}\b)|\+|/", text, re.MULTILINE)


def test_these_tests_run_on_the_locked_versions():
    different = {
        package: version(package)
        for package in CARD
        if version(package) not in locked("requirements.txt")[package]
    }
    assert not different, "`make test` installs them"


# the environment


def test_the_example_has_every_variable_that_is_read():
    in_compose = set(re.findall(r"\$\{([A-Z_]+)", text_of("docker-compose.yml")))
    read = variables_read()
    assert len(read) > 30, "settings.py reads the environment in a way that this test does not know"
    assert read - example().keys() == {"ENV_FILE"}  # says where .env is, so it cannot be in it
    assert example().keys() - read - in_compose == set()


# what is kept


def test_git_keeps_nothing_that_running_makes():
    made = ["db.sqlite3", "db.sqlite3-wal", ".env", ".secret_key", ".venv/x", "staticfiles/x"]
    assert git("check-ignore", "--no-index", *made).split() == made


def test_what_git_keeps_names_no_machine_and_no_secret():
    told = re.compile(
        r"/(home|Users|root)/\w"  # somebody's directories
        r"|\bsk-or-v1-[0-9a-f]{8}"  # a provider's key
        r"|^-----BEGIN [A-Z ]*PRIVATE KEY"
        r"|--(extra-)?index-url|--find-links",
        re.MULTILINE,
    )
    for name in git("ls-files").splitlines():
        path = ROOT / name
        if "vendor" in path.parts or name == "tests/unit/test_repository.py" or not path.is_file():
            continue
        if found := told.search(path.read_text(errors="replace")):
            pytest.fail(f"{name}: {found.group()}")


# documentation

DOCUMENTS = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("docs/**/*.md"))
DOCUMENTS += ["README.md", "SECURITY.md"]


@cache
def existing_tests():
    """The names of test files, and of the functions and classes in them."""
    files = [*(ROOT / "tests").glob("*/test_*.py"), *(ROOT / "tests" / "js").glob("*.test.mjs")]
    text = "\n".join(file.read_text() for file in files if file.suffix == ".py")
    functions = re.findall(r"^ *(?:async )?def (test_\w+)", text, re.MULTILINE)
    return {file.name for file in files} | set(functions)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_document_names_only_existing_tests(name):
    named = set(
        re.findall(r"(?:\b|/)(test_\w+\.py|test_\w+|[\w-]+\.test\.mjs)\b(?!\*)", text_of(name))
    )
    assert named <= existing_tests(), sorted(named - existing_tests())


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_document_names_only_files_of_the_existing_tests(name):
    named = re.findall(r"\btests/[\w./*-]*[\w*]", text_of(name))
    assert [path for path in named if not any(ROOT.glob(path))] == []
