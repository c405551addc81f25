"""No statement of the server changes the id of a run: Citus refuses to move a row to another shard."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import relumine_server
from relumine_server.storage import lives

SET_BY_CALLERS = {"runs._update", "lives._update", "webhooks.change"}
"""Updates whose columns their callers choose; what callers choose is looked at, too."""
SERVER = Path(relumine_server.__file__).parent


def set_columns(function: ast.AST, expression: ast.expr) -> Iterator[str]:
    """The columns that an expression sets: keys of dicts, and of those that its names stand for; ``*`` for unknown."""
    if isinstance(expression, ast.Dict):
        for key, value in zip(expression.keys, expression.values, strict=True):
            if isinstance(key, ast.Constant):
                yield str(key.value)
            else:
                yield from set_columns(function, value) if key is None else "*"
    elif isinstance(expression, ast.DictComp) and isinstance(expression.generators[0].iter, ast.Tuple):
        yield from (str(one.value) for one in expression.generators[0].iter.elts if isinstance(one, ast.Constant))
    elif isinstance(expression, ast.IfExp):
        yield from (*set_columns(function, expression.body), *set_columns(function, expression.orelse))
    else:
        told = assigned(function, expression.id) if isinstance(expression, ast.Name) else []
        yield from (name for value in told for name in set_columns(function, value)) if told else "*"


def assigned(function: ast.AST, name: str) -> list[ast.expr]:
    """What a function assigns to a name."""
    found = [node for node in ast.walk(function) if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign)]
    pairs = [(target, n.value) for n in found for target in (n.targets if isinstance(n, ast.Assign) else [n.target])]
    return [value for target, value in pairs if isinstance(target, ast.Name) and target.id == name and value]


def is_update(function: ast.AST, statement: ast.expr) -> bool:
    """Whether ``statement.values(…)`` belongs to an UPDATE."""
    sources = [statement, *(assigned(function, statement.id) if isinstance(statement, ast.Name) else [])]
    calls = [node.func for one in sources for node in ast.walk(one) if isinstance(node, ast.Call)]
    return any(getattr(call, "attr", getattr(call, "id", "")) == "update" for call in calls)


def updates(source: str) -> Iterator[tuple[str, set[str]]]:
    """Every UPDATE in a source: the function it stands in, and the columns it sets."""
    for function in (n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.FunctionDef)):
        for call in (n for n in ast.walk(function) if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute)):
            if call.func.attr == "values" and is_update(function, call.func.value):
                columns = {keyword.arg for keyword in call.keywords if keyword.arg}
                whole = [*call.args, *(keyword.value for keyword in call.keywords if not keyword.arg)]
            elif call.func.attr == "on_conflict_do_update":
                columns, whole = set(), [keyword.value for keyword in call.keywords if keyword.arg == "set_"]
            else:
                continue
            yield function.name, columns.union(*(set_columns(function, one) for one in whole))


def chosen_by_callers(source: str) -> Iterator[tuple[str, str]]:
    """Every key of a dict in a function that hands columns over to one of ``SET_BY_CALLERS``, with its name."""
    for function in (n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.FunctionDef)):
        calls = [ast.unparse(n.func) for n in ast.walk(function) if isinstance(n, ast.Call)]
        if "runs.update" in calls:
            dicts = [key for node in ast.walk(function) if isinstance(node, ast.Dict) for key in node.keys]
            stored = [node.slice for node in ast.walk(function) if isinstance(node, ast.Subscript)]
            yield from ((function.name, key.value) for key in [*dicts, *stored] if isinstance(key, ast.Constant))


def test_no_statement_changes_the_id_of_a_run():
    found = {}
    for file in sorted((SERVER / "storage").glob("*.py")):
        assert not re.search(r"\bSET\b((?!WHERE)[^;\"])*\brun_id\s*=", file.read_text())
        for number, (name, columns) in enumerate(updates(file.read_text())):
            found[f"{file.stem}.{name}", number] = columns
    assert len(found) > 10
    assert [place for place, columns in found.items() if "run_id" in columns] == []
    assert {place for (place, _), columns in found.items() if "*" in columns} <= SET_BY_CALLERS


def test_nobody_asks_for_another_id_of_a_run():
    chosen = [one for file in SERVER.rglob("*.py") for one in chosen_by_callers(file.read_text())]
    assert ("_update_run", "last_step") in chosen
    assert [function for function, key in chosen if key == "run_id"] == []
    assert not {"run_id", "alert_id"} & {*lives.LIFE, *lives.CONTENT}


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
    assert [columns for _, columns in updates(f"def f(x, y): {body}") if "run_id" in columns]
