"""The pages name only files, modules, functions and headings that exist, in the language of the project."""

import ast
import importlib
import os
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

_GENERATED = {"node_modules", "dist"}
_TOP_LEVEL = "services|shared|clients|web|cli|bench|tests|scripts|deploy|docs"
_PATH = re.compile(rf"(?:{_TOP_LEVEL})/[\w./*-]+")
_MODULE = re.compile(
    r"(?:parley|gateway|chat_store|llm_worker|push|parley_cli|parley_client|parley_bench)(?:\.(?!(?:ts|py|md)\b)\w+)+"
)
_LINK = re.compile(r"\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^()\s]+)\)")
_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`[^`]+`")
_HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)
_NOT_FILES = {
    "deploy/secrets": "a volume of compose",
    "web/dist": "built",
}

_WORDS = re.compile(
    r"\b(promis\w*|tell(s|ing)?|told|bury|buried|hand(s|ed|ing)? back|tak(es?|en|ing) in|took in|patience|insists?"
    r"|watchdog|desk|keepers?|tally|curable|saboteur|crowd|garbled|remedy|heard|hang(s|ing)? up|workbench"
    r"|come(s|ing)? back|belong(s|ing)? to|nobody's|in good order|heal(s|ed|ing)?)\b",
    re.IGNORECASE,
)


def _find_pages() -> Iterator[Path]:
    for folder, children, files in os.walk(ROOT):
        children[:] = sorted(child for child in children if child not in _GENERATED and not child.startswith("."))
        yield from (Path(folder, name) for name in sorted(files) if name.endswith(".md"))


PAGES = list(_find_pages())
CURRENT = [page for page in PAGES if page.name != "CHANGELOG.md"]
"""The change log names what there was, too."""
DECISIONS = sorted((ROOT / "docs" / "decisions").glob("*.md"))


def _name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def _code_spans(page: Path) -> set[str]:
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    return {" ".join(span[1:-1].split()) for span in _CODE.findall(text)}


@cache
def _anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as hosting platforms make them."""
    headings = _HEADING.findall(_FENCE.sub("", page.read_text(encoding="utf-8")))
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in headings}


@cache
def _defined(file: Path) -> set[str]:
    """Return the names that a Python file defines, those of classes with their members: ``Room`` and ``Room.join``."""
    names: set[str] = set()

    def visit(node: ast.AST, prefix: str) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                names.add(prefix + child.name)
                if isinstance(child, ast.ClassDef):
                    visit(child, f"{prefix}{child.name}.")
            elif isinstance(child, ast.Assign | ast.AnnAssign):
                targets = child.targets if isinstance(child, ast.Assign) else [child.target]
                names.update(prefix + target.id for target in targets if isinstance(target, ast.Name))

    visit(ast.parse(file.read_text(encoding="utf-8")), "")
    return names


def _resolve(name: str) -> None:
    """Import the module of a dotted name, and look up the rest of it.

    Raises:
        ImportError, AttributeError: there is no such name.
    """
    module, *rest = name.split(".")
    found = importlib.import_module(module)
    for part in rest:
        module = f"{module}.{part}"
        found = getattr(found, part) if hasattr(found, part) else importlib.import_module(module)


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_every_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    broken = []
    for _, target in _LINK.findall(_FENCE.sub("", page.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (anchor and file.suffix == ".md" and anchor not in _anchors(file)):
            broken.append(target)
    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_a_link_with_the_name_of_a_function_or_class_leads_to_the_file_that_defines_it(page: Path) -> None:
    wrong = []
    for text, target in _LINK.findall(page.read_text(encoding="utf-8")):
        name = text.strip("`")
        if text != f"`{name}`" or not re.fullmatch(r"\w+(\.\w+)*", name):
            continue
        file = page.parent / target
        if file.suffix == ".py":
            if name not in _defined(file):
                wrong.append(f"{name} in {target}")
        elif file.suffix in (".ts", ".tsx", ".sql"):
            for part in name.split("."):
                if not re.search(rf"\b{part}\b", file.read_text(encoding="utf-8")):
                    wrong.append(f"{part} in {target}")
    assert wrong == []


@pytest.mark.parametrize("page", CURRENT, ids=_name)
def test_every_path_that_a_page_names_exists(page: Path) -> None:
    missing = []
    for span in _code_spans(page):
        path = span.rstrip("/")
        if _PATH.fullmatch(path) is None or path in _NOT_FILES:
            continue
        if not any(list(base.glob(pattern)) for base in (ROOT, page.parent) for pattern in (path, f"{path}-*")):
            missing.append(span)
    assert missing == []


@pytest.mark.parametrize("page", CURRENT, ids=_name)
def test_every_module_that_a_page_names_can_be_imported(page: Path) -> None:
    for span in _code_spans(page):
        if _MODULE.fullmatch(span):
            _resolve(span)


@pytest.mark.parametrize("page", CURRENT, ids=_name)
def test_every_target_of_make_that_a_page_names_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = re.findall(r"(?:^|`)make ([a-z][\w-]*)", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert set(named) - targets == set()


@pytest.mark.parametrize("page", DECISIONS, ids=_name)
def test_a_decision_has_its_number_and_five_sections(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert re.match(rf"# {int(page.name[:4])}\. \S", text)
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == [
        "Status",
        "Context",
        "Decision",
        "Consequences",
        "Alternatives",
    ]


def test_no_two_decisions_have_the_same_number() -> None:
    numbers = [page.name[:4] for page in DECISIONS]
    assert len(numbers) == len(set(numbers))


@pytest.mark.parametrize("page", CURRENT, ids=_name)
def test_a_page_uses_the_terms_of_the_field(page: Path) -> None:
    text = _CODE.sub("", _FENCE.sub("", page.read_text(encoding="utf-8")))
    assert [match[0] for match in _WORDS.finditer(text)] == []


def test_the_loggers_of_the_change_log_exist() -> None:
    loggers = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").partition("Loggers are named")[2]
    now = re.findall(r"^\| `[\w.]+` \| `([\w.]+)` \|$", loggers, re.MULTILINE)
    assert now
    for name in now:
        module = importlib.import_module(name)
        assert module.log.name == name
