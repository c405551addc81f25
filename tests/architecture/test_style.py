"""Rules of style that ruff cannot check. Each test lists all violations of its rule."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted(
    path
    for top in ("client", "service", "benchmarks", "research", "tests/chaos")
    for path in (ROOT / top).rglob("*.py")
)
MAX_FILE_LINES = 300
MAX_FUNCTION_LINES = 30
MAX_POSITIONAL = 5

EMPTY_NAMES = frozenset({"one", "found", "done", "at", "place", "whole", "told", "kept", "before", "after"})
"""Names that say nothing about what they hold."""

ALLOWED_NAMES = {
    ("schemas/alert.py", "at"),  # the time of an event, as the API calls it
}

QUESTION_WORDS = re.compile(r"(What|Which|How|Whether|Where|Who|Whose|Whom|That|Those)\b")


@pytest.fixture(scope="module")
def nodes() -> list[tuple[str, ast.AST]]:
    """Every node of every source, with the path of its file."""
    paths = [(str(path.relative_to(ROOT)), path) for path in SOURCES]
    return [(name, node) for name, path in paths for node in ast.walk(ast.parse(path.read_text()))]


def names_of(node: ast.AST) -> list[str]:
    """The names that a node binds: variables, arguments, attributes and functions."""
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        return [node.id]
    if isinstance(node, ast.arg):
        return [node.arg]
    if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
        return [node.attr]
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return [node.name]
    return []


def test_no_name_says_nothing(nodes):
    broken = [
        f"{path}:{node.lineno}: {name}"
        for path, node in nodes
        for name in names_of(node)
        if name.lstrip("_") in EMPTY_NAMES
        and not any(path.endswith(end) and name == allowed for end, allowed in ALLOWED_NAMES)
    ]
    assert not broken, "\n".join(broken)


def test_no_conditional_expression_contains_another(nodes):
    broken = []
    for path, node in nodes:
        if isinstance(node, ast.IfExp):
            parts = [*ast.walk(node.body), *ast.walk(node.test), *ast.walk(node.orelse)]
            if any(isinstance(part, ast.IfExp) for part in parts):
                broken.append(f"{path}:{node.lineno}")
    assert not broken, "\n".join(broken)


def test_no_tuple_is_assigned_to_a_tuple(nodes):
    """A swap is the exception: it assigns the same names that it reads."""
    broken = []
    for path, node in nodes:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Tuple):
            for target in node.targets:
                if isinstance(target, ast.Tuple) and not is_swap(target, node.value):
                    broken.append(f"{path}:{node.lineno}: {ast.unparse(node)[:80]}")
    assert not broken, "\n".join(broken)


def is_swap(target: ast.Tuple, value: ast.Tuple) -> bool:
    return sorted(map(ast.unparse, target.elts)) == sorted(map(ast.unparse, value.elts))


def test_classes_of_ours_are_called_with_few_positional_arguments(nodes):
    classes = {node.name for _, node in nodes if isinstance(node, ast.ClassDef)}
    broken = []
    for path, node in nodes:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in classes:
            positional = [argument for argument in node.args if not isinstance(argument, ast.Starred)]
            if len(positional) > MAX_POSITIONAL:
                broken.append(f"{path}:{node.lineno}: {node.func.id}")
    assert not broken, "\n".join(broken)


def test_docstrings_begin_with_a_verb_or_a_noun(nodes):
    broken = []
    for path, node in nodes:
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            docstring = ast.get_docstring(node) or ""
            if QUESTION_WORDS.match(docstring) or docstring.startswith(("TODO", "…")):
                broken.append(f"{path}:{getattr(node, 'lineno', 1)}: {docstring.splitlines()[0][:80]}")
    assert not broken, "\n".join(broken)


def test_functions_are_short(nodes):
    broken = []
    for path, node in nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            docstring_lines = len((ast.get_docstring(node, clean=False) or "").splitlines())
            lines = node.end_lineno - node.lineno + 1 - docstring_lines
            if lines > MAX_FUNCTION_LINES:
                broken.append(f"{path}:{node.lineno}: {node.name} has {lines} lines")
    assert not broken, "\n".join(broken)


def test_files_are_short():
    too_long = [
        f"{path.relative_to(ROOT)}: {lines} lines"
        for path in SOURCES
        if (lines := len(path.read_text().splitlines())) > MAX_FILE_LINES
    ]
    assert not too_long, "\n".join(too_long)


@pytest.mark.parametrize("word", ["told", "heard", "caretaker", "courier", "refold", "passage", "whoever", "nobody"])
def test_the_private_dialect_is_gone(word):
    broken = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}"
        for path in SOURCES
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if re.search(rf"\b{word}\b(?! apart)", line, re.IGNORECASE)
    ]
    assert not broken, "\n".join(broken)
