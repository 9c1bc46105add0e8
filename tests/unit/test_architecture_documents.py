"""What the documents say about the code is so: names, walks, files, links, the picture."""

import ast
import html
import re
from functools import cache

import pytest

from tests.support import ROOT
from tests.support.plugin import EXAMPLE

AGENT = ROOT / "agent"
DECISIONS = sorted((ROOT / "docs/decisions").glob("[0-9]*.md"))
ABOUT_CODE = [
    ROOT / "CONTRIBUTING.md",
    ROOT / "docs/architecture.md",
    ROOT / "docs/invariants.md",
    *DECISIONS,
]
DOCUMENTS = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
SPAN = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(([^)\s]+)\)")
FOLDERS = ("agent", "agentsite", "bench", "docs", "tests", "tools")
WALKS = {"A query": 12, "A commit reaches another process": 12, "A reconnect": 12}  # modules


def named(path):
    return str(path.relative_to(ROOT))


def spans(text):
    """Inline code, without blocks of it."""
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    return SPAN.findall(prose)


@cache
def tops():
    """The modules and packages right below `agent`."""
    found = {path.stem for path in AGENT.glob("*.py")}
    found |= {path.parent.name for path in AGENT.glob("*/__init__.py")}
    return found - {"__init__"}


def members(body):
    """{name: what a class or module defines in it} of a class or a module."""
    found = {}
    for node in body:
        match node:
            case ast.ClassDef():
                found[node.name] = members(node.body)
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                found[node.name] = {}
            case ast.Assign(targets=targets):
                found |= {target.id: {} for target in targets if isinstance(target, ast.Name)}
            case ast.AnnAssign(target=ast.Name(id=name)):
                found[name] = {}
            case _:
                pass
    return found


@cache
def defined(path):
    return members(ast.parse(path.read_text()).body)


@cache
def classes():
    """{name: members} of every class of the app."""
    return {
        name: inside
        for path in AGENT.rglob("*.py")
        for name, inside in defined(path).items()
        if name[0].isupper()
    }


@cache
def browser_classes():
    modules = (AGENT / "static/agent").rglob("*.js")
    return {
        name
        for path in modules
        for name in re.findall(r"^export class (\w+)", path.read_text(), re.M)
    }


def module_of(name):
    """The file that a dotted name begins with, and the rest of the name."""
    place, rest = AGENT, name.split(".")
    while rest and (place / rest[0]).is_dir():
        place /= rest.pop(0)
    if not rest:
        return place / "__init__.py", rest
    return place / f"{rest[0]}.py", rest[1:]


def exists(name):
    """Whether `package.module.Class.method` is defined; each part but the module may be absent."""
    path, rest = module_of(name)
    if not path.is_file():
        return False
    inside = defined(path)
    for part in rest:
        if part not in inside:
            return False
        inside = inside[part]
    return True


def dotted(text):
    """Names of the app's modules and of what they define."""
    return [
        span
        for span in spans(text)
        if re.fullmatch(r"\w+(\.\w+)+", span) and span.split(".")[0] in tops()
    ]


def section(text, heading):
    (found,) = re.findall(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", text, re.M | re.S)
    return found


def rows(text):
    """The cells of a table's rows, without its head."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


@cache
def architecture():
    return (ROOT / "docs/architecture.md").read_text()


@pytest.mark.parametrize("path", ABOUT_CODE, ids=named)
def test_names_of_code_exist(path):
    text = path.read_text()
    missing = [name for name in dotted(text) if not exists(name)]
    for span in spans(text):
        if found := re.fullmatch(r"([A-Z][a-z]\w+)\.(\w+)", span):  # Class.member
            name, member = found.groups()
            if name not in browser_classes() and member not in classes().get(name, {}):
                missing.append(span)
    assert not missing


@pytest.mark.parametrize("path", ABOUT_CODE, ids=named)
def test_files_and_folders_exist(path):
    a_path = re.compile(rf"(?:{'|'.join(FOLDERS)})/\S*")
    mentioned = filter(a_path.fullmatch, spans(path.read_text()))
    assert [each for each in mentioned if not list(ROOT.glob(each.rstrip("/")))] == []


def test_a_name_that_does_not_exist_is_found():
    assert exists("store.db") and exists("models.SessionQuerySet.reachable_by")
    for wrong in ("store.dbs", "store.db.nothing", "models.SessionQuerySet.nothing", "live.hub.X"):
        assert not exists(wrong)


def test_the_table_of_packages_names_each_of_them_once():
    first_cells = " ".join(row[0] for row in rows(section(architecture(), "Packages")))
    assert sorted(spans(first_cells)) == sorted(tops() - {"apps", "migrations"})


@pytest.mark.parametrize(("heading", "most_modules"), WALKS.items())
def test_a_walk_has_ten_steps_at_most_and_few_modules(heading, most_modules):
    steps = rows(section(architecture(), heading))
    assert [int(number) for number, *_ in steps] == list(range(1, len(steps) + 1))
    assert len(steps) <= 10
    modules = set()
    for _, _, where in steps:
        names = dotted(where)
        assert names and names == spans(where)
        modules |= {module_of(name)[0] for name in names}
    assert len(modules) <= most_modules


def test_the_glossary_has_a_meaning_for_each_of_some_25_terms():
    terms = rows(section(architecture(), "Glossary"))
    assert 20 <= len(terms) <= 30
    assert len({term for term, _ in terms}) == len(terms)
    assert all(meaning for _, meaning in terms)


def test_each_of_ten_changes_touches_five_files_at_most():
    changes = rows(section(architecture(), "Where changes go"))
    assert len(changes) == 10
    for change, files in changes:
        assert 1 <= len(spans(files)) <= 5, change


def test_the_picture_is_made_from_its_source():
    source = (ROOT / "docs/images/architecture.dot").read_text()
    picture = html.unescape((ROOT / "docs/images/architecture.svg").read_text())
    nodes = re.findall(r"^\s+(\w+) \[label=\"(.+?)\"", source, re.MULTILINE)
    arrows = re.findall(r"^\s+(\w+) -> (\w+)", source, re.MULTILINE)
    titles = re.findall(r"<title>(\S+?)</title>", picture)
    drawn = {name for name, _ in nodes} | {f"{start}->{end}" for start, end in arrows}
    assert drawn == set(titles) - {"architecture", "cluster_process"}
    for _, label in nodes:
        for line in label.split("\\n"):
            assert f">{line}</text>" in picture


def test_the_picture_shows_packages_that_exist():
    source = (ROOT / "docs/images/architecture.dot").read_text()
    inside = source.partition("subgraph cluster_process")[2].partition("\n  }")[0]
    shown = set(re.findall(r"^\s+(\w+) \[label=", inside, re.MULTILINE))
    assert shown and shown <= tops()


def test_decisions_are_numbered_and_in_their_index():
    index = (ROOT / "docs/decisions/README.md").read_text()
    assert [int(path.name[:4]) for path in DECISIONS] == list(range(1, len(DECISIONS) + 1))
    for path in DECISIONS:
        number, title = re.match(r"# (\d+)\. (.+)", path.read_text()).groups()
        assert int(number) == int(path.name[:4])
        assert f"| [{path.name[:4]}]({path.name}) | {title} |" in index


@pytest.mark.parametrize("path", DECISIONS, ids=named)
def test_a_decision_has_context_decision_and_consequences(path):
    order = ["Context", "Decision", "Figures", "Consequences", "Alternatives"]
    headings = [line.split()[0] for line in re.findall(r"^## (.+)", path.read_text(), re.MULTILINE)]
    assert headings == [each for each in order if each in headings]
    assert {"Context", "Decision", "Consequences"} <= set(headings)


def anchors(path):
    """What a link may name behind `#`, as GitHub makes it of headings."""
    found = set()
    for heading in re.findall(r"^#+ (.+)", path.read_text(), re.MULTILINE):
        plain = re.sub(r"[^\w\- ]", "", heading.lower())
        found.add(plain.replace(" ", "-"))
    return found


@pytest.mark.parametrize("path", DOCUMENTS, ids=named)
def test_links_lead_somewhere(path):
    for link in LINK.findall(path.read_text()):
        if re.match(r"[a-z]+:", link):
            continue
        target, _, anchor = link.partition("#")
        file = (path.parent / target).resolve() if target else path
        assert file.exists(), link
        if anchor:
            assert anchor in anchors(file), link


def test_the_readme_lists_every_variable():
    table = section((ROOT / "README.md").read_text(), "Environment variables")
    listed = {span for row in rows(table) for span in spans(row[0])}
    variables = {name for name, _ in EXAMPLE.findall((ROOT / ".env.example").read_text())}
    # of docker compose alone; the file cannot name itself
    assert variables - {"POSTGRES_PASSWORD"} == listed - {"ENV_FILE"}
