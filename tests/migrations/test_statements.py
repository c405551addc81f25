"""No statement of the server changes the id of a run: Citus refuses to move a row to another shard."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import relumine_server
from relumine_server.alerts import repository as alert_repository

SERVER = Path(relumine_server.__file__).parent
COLUMNS_FROM_CALLERS = {
    "runs/repository._update_statement",
    "alerts/repository._update",
    "outbox/endpoints.update",
    "outbox/enqueue._update_unchanged",
}
"""UPDATE statements whose columns their callers choose; those that ``runs/repository`` gets are checked as well."""
UNKNOWN = "*"
Scope = tuple[ast.AST, ...]  # a function and its module


def columns_set(scope: Scope, expression: ast.expr) -> Iterator[str]:
    """Yield the columns that an expression sets: the keys of a dict, also through names; ``UNKNOWN`` for the rest."""
    if isinstance(expression, ast.Dict):
        for key, value in zip(expression.keys, expression.values, strict=True):
            if isinstance(key, ast.Constant):
                yield str(key.value)
            else:
                yield from columns_set(scope, value) if key is None else UNKNOWN
    elif isinstance(expression, ast.DictComp) and isinstance(expression.generators[0].iter, ast.Tuple):
        names = expression.generators[0].iter.elts
        yield from (str(name.value) for name in names if isinstance(name, ast.Constant))
    elif isinstance(expression, ast.IfExp):
        yield from columns_set(scope, expression.body)
        yield from columns_set(scope, expression.orelse)
    else:
        values = values_assigned(scope, expression.id) if isinstance(expression, ast.Name) else []
        for value in values:
            yield from columns_set(scope, value)
        if not values:
            yield UNKNOWN


def values_assigned(scope: Scope, name: str) -> list[ast.expr]:
    """Return the expressions assigned to a name in a function, or else in its module."""
    for part in scope:
        values = list(assignments(part, name))
        if values:
            return values
    return []


def assignments(part: ast.AST, name: str) -> Iterator[ast.expr]:
    for node in ast.walk(part):
        if isinstance(node, ast.Assign):
            targets = node.targets
        elif isinstance(node, ast.AnnAssign | ast.AugAssign):
            targets = [node.target]
        else:
            continue
        if node.value and any(isinstance(target, ast.Name) and target.id == name for target in targets):
            yield node.value


def is_update(scope: Scope, statement: ast.expr) -> bool:
    """Return True if ``statement.values(…)`` belongs to an UPDATE."""
    sources = [statement]
    if isinstance(statement, ast.Name):
        sources += values_assigned(scope, statement.id)
    calls = [node.func for source in sources for node in ast.walk(source) if isinstance(node, ast.Call)]
    return any(getattr(call, "attr", getattr(call, "id", "")) == "update" for call in calls)


def functions_of(module: ast.Module) -> list[ast.FunctionDef]:
    return [node for node in ast.walk(module) if isinstance(node, ast.FunctionDef)]


def calls_in(function: ast.FunctionDef) -> list[ast.Call]:
    return [node for node in ast.walk(function) if isinstance(node, ast.Call)]


def updates_in(source: str) -> Iterator[tuple[str, set[str]]]:
    """Yield every UPDATE in a source: the name of its function, and the columns it sets."""
    module = ast.parse(source)
    for function in functions_of(module):
        scope = (function, module)
        for call in calls_in(function):
            method = call.func.attr if isinstance(call.func, ast.Attribute) else ""
            if method == "values" and is_update(scope, call.func.value):
                columns = {keyword.arg for keyword in call.keywords if keyword.arg}
                dicts = [*call.args, *(keyword.value for keyword in call.keywords if not keyword.arg)]
            elif method == "on_conflict_do_update":
                columns = set()
                dicts = [keyword.value for keyword in call.keywords if keyword.arg == "set_"]
            else:
                continue
            yield function.name, columns.union(*(columns_set(scope, values) for values in dicts))


def keys_in(function: ast.FunctionDef) -> Iterator[str]:
    """Yield every constant key of a dict in a function, in a literal or set afterwards."""
    for node in ast.walk(function):
        if isinstance(node, ast.Dict):
            keys = node.keys
        elif isinstance(node, ast.Subscript):
            keys = [node.slice]
        else:
            continue
        yield from (key.value for key in keys if isinstance(key, ast.Constant) and isinstance(key.value, str))


def columns_passed_to_runs() -> Iterator[tuple[str, str]]:
    """Yield the columns of a run that functions pass to ``runs.repository.update``, with the name of the function."""
    for file in SERVER.rglob("*.py"):
        for function in functions_of(ast.parse(file.read_text())):
            passes_columns = "run_repository.update" in {ast.unparse(call.func) for call in calls_in(function)}
            if passes_columns or file.stem == "run_progress":
                yield from ((function.name, key) for key in keys_in(function))


def test_no_statement_changes_the_id_of_a_run():
    updates = {}
    for file in sorted(SERVER.rglob("*.py")):
        source = file.read_text()
        assert not re.search(r"\bSET\b((?!WHERE)[^;\"])*\brun_id\s*=", source)
        module = str(file.relative_to(SERVER).with_suffix(""))
        for number, (function, columns) in enumerate(updates_in(source)):
            updates[f"{module}.{function}", number] = columns
    assert len(updates) > 10
    assert [statement for statement, columns in updates.items() if "run_id" in columns] == []
    unknown = {name for (name, _), columns in updates.items() if UNKNOWN in columns}
    assert unknown <= COLUMNS_FROM_CALLERS


def test_no_caller_passes_another_id_of_a_run():
    passed = set(columns_passed_to_runs())
    assert ("_stored_values", "last_step") in passed
    assert [function for function, column in passed if column == "run_id"] == []
    assert not {"run_id", "alert_id"} & {*alert_repository.STATUS_COLUMNS, *alert_repository.CONTENT_COLUMNS}


@pytest.mark.parametrize(
    "body",
    [
        "sa.update(t.runs).where(x).values(run_id=y)",
        "values = {'run_id': y}; sa.update(t.runs).values(**values)",
        "values = {}; values |= {'a': 1, **{'run_id': y}}; statement = sa.update(t.runs); statement.values(values)",
        "s.on_conflict_do_update(index_elements=['a'], set_={name: s.excluded[name] for name in ('a', 'run_id')})",
    ],
)
def test_an_update_of_the_id_of_a_run_is_noticed(body):
    assert [columns for _, columns in updates_in(f"def f(x, y): {body}") if "run_id" in columns]
