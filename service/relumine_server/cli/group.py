"""Groups of commands whose own options are read without typer, which would load pydantic for them."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup


class CommandGroup(TyperGroup):
    """A group with ``--help``."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**{**attributes, "add_help_option": False})

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Print the help if it is asked for."""
        if args[:1] == ["--help"]:
            typer.echo(ctx.get_help())
            ctx.exit()
        return super().parse_args(ctx, args)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the options and the commands of the help."""
        with formatter.section("Options"):
            formatter.write_dl(self.options())
        self.format_commands(ctx, formatter)

    def options(self) -> list[tuple[str, str]]:
        """Return the options and what they do."""
        return [("--help", "Show this message and exit.")]
