"""Signatures and docstrings as Markdown."""

from __future__ import annotations

import inspect
import re
from typing import Any

WIDTH = 110
SECTION = re.compile(r"^(Args|Returns|Raises|Yields|Example|Examples|Attributes|Note):$", re.MULTILINE)
ITEM = re.compile(r"^    (\*{0,2}\w[\w, *]*?):(?: |$)")


def signature_of(name: str, member: Any) -> str:
    """Return the signature of a function without ``self``, over several lines where it is long."""
    signature = inspect.signature(member)
    parameters = [parameter for key, parameter in signature.parameters.items() if key != "self"]
    plain = [_parameter(parameter) for parameter in _with_markers(parameters)]
    returned = _annotation(signature.return_annotation)
    arrow = f" -> {returned}" if returned else ""
    line = f"{name}({', '.join(plain)}){arrow}"
    if len(line) <= WIDTH:
        return line
    return f"{name}(\n" + "".join(f"    {part},\n" for part in plain) + f"){arrow}"


def _with_markers(parameters: list[inspect.Parameter]) -> list[inspect.Parameter | str]:
    """Return the parameters with a star before the first that can be given by name only."""
    marked: list[inspect.Parameter | str] = []
    for parameter in parameters:
        starred = any(item == "*" for item in marked)
        has_args = any(other.kind is inspect.Parameter.VAR_POSITIONAL for other in parameters)
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY and not starred and not has_args:
            marked.append("*")
        marked.append(parameter)
    return marked


def _parameter(parameter: inspect.Parameter | str) -> str:
    if isinstance(parameter, str):
        return parameter
    prefix = "*" if parameter.kind is inspect.Parameter.VAR_POSITIONAL else ""
    if parameter.kind is inspect.Parameter.VAR_KEYWORD:
        prefix = "**"
    annotation = _annotation(parameter.annotation)
    text = f"{prefix}{parameter.name}: {annotation}" if annotation else f"{prefix}{parameter.name}"
    if parameter.default is inspect.Parameter.empty:
        return text
    return f"{text} = {parameter.default!r}"


def _annotation(annotation: Any) -> str:
    if annotation is inspect.Parameter.empty:
        return ""
    return annotation if isinstance(annotation, str) else getattr(annotation, "__name__", str(annotation))


def from_docstring(docstring: str | None) -> str:
    """Return a docstring in Google's style as Markdown: its sections in bold, their items as a list."""
    lines = []
    in_section = False
    for line in inspect.cleandoc(docstring or "").splitlines():
        heading = SECTION.match(line)
        if heading:
            in_section = heading[1] not in ("Example", "Examples")
            lines.append("```text" if not in_section else f"**{heading[1]}**\n")
            continue
        lines.append(_item(line) if in_section else line.removeprefix("    "))
    text = "\n".join(lines)
    if text.count("```text") % 2:
        text = f"{text}\n```"
    return text.replace("``", "`").replace("``text", "```text") if "```" not in text else _outside_code(text)


def _item(line: str) -> str:
    item = ITEM.match(line)
    if item:
        return f"- `{item[1]}`: {line[item.end() :]}"
    return line.removeprefix("  ")


def _outside_code(text: str) -> str:
    """Return the text with single backquotes, but for code blocks, which stay."""
    parts = text.split("```")
    parts[::2] = [part.replace("``", "`") for part in parts[::2]]
    return "```".join(parts)
