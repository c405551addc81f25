"""The commands ``relumine`` and ``relumine-server`` with their arguments and options, from their own parsers."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

import typer

from relumine import cli as sdk_cli
from relumine_server.cli.main import cli as server_cli

HEADER = "| argument or option | meaning |\n|---|---|"


def sdk_sections() -> str:
    """Return a section for each command of ``relumine``."""
    parser = sdk_cli._parser()  # noqa: SLF001 - the parser is what the page documents
    (commands,) = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]  # noqa: SLF001 - argparse has no public way
    helps = {choice.dest: choice.help or "" for choice in commands._choices_actions}  # noqa: SLF001 - the same
    parts = []
    for name, command in commands.choices.items():
        rows = list(_argparse_rows(command))
        parts.append(_section(f"relumine {name}", helps[name], rows))
    return "\n\n".join(parts)


def _argparse_rows(parser: argparse.ArgumentParser) -> Iterator[tuple[str, str]]:
    for action in parser._actions:  # noqa: SLF001 - argparse has no public way
        if action.dest == "help":
            continue
        name = ", ".join(action.option_strings) or action.metavar or action.dest
        if action.option_strings and action.nargs != 0:
            value = action.metavar or ("|".join(action.choices) if action.choices else action.dest.upper())
            name = f"{name} {value}"
        yield str(name), action.help or ""


def server_sections() -> str:
    """Return a section for each command of ``relumine-server``."""
    return "\n\n".join(_click_sections("relumine-server", typer.main.get_command(server_cli)))


def _click_sections(path: str, command: Any) -> Iterator[str]:
    subcommands = getattr(command, "commands", None)
    if subcommands:
        for name, subcommand in subcommands.items():
            yield from _click_sections(f"{path} {name}", subcommand)
        return
    rows = []
    for parameter in command.params:
        if parameter.name == "help":
            continue
        is_option = parameter.param_type_name == "option"
        name = ", ".join((*parameter.opts, *parameter.secondary_opts)) if is_option else parameter.name.upper()
        if is_option and not parameter.is_flag:
            name = f"{name} {parameter.type.name.upper()}"
        rows.append((name, parameter.help or ""))
    yield _section(path, " ".join((command.help or "").split()), rows)


def _section(name: str, description: str, rows: list[tuple[str, str]]) -> str:
    text = description.strip().rstrip(".")
    parts = [f"### `{name}`", f"{text[:1].upper()}{text[1:]}."]
    if rows:
        table = [f"| `{key.replace('|', chr(92) + '|')}` | {' '.join(meaning.split())} |" for key, meaning in rows]
        parts.append("\n".join([HEADER, *table]))
    return "\n\n".join(parts)
