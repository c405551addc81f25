"""Names that a browser, a chat or a template could interpret. An upload may contain each of them."""

from __future__ import annotations

import re

HOSTILE_NAMES = (
    "<script>window.pwned=1</script>",
    "<img src=x onerror=window.pwned=1>",
    '"><svg/onload=window.pwned=1>',
    "'\"` onmouseover=window.pwned=1 x='",
    "</title></textarea><iframe srcdoc='<script>parent.pwned=1</script>'>",
    "{{7*7}} ${7*7} %{y} <%= 7*7 %>",
    "javascript:window.pwned=1",
    '<a href="javascript:window.pwned=1">click</a>',
    "*b* _i_ ~s~ `c` [x](javascript:1) ![y](https://evil.example/y.png)",
    "<!channel> <@U1> <https://evil.example|run> @everyone @here",
    "&lt;b&gt; &amp; &#60;i&#62; &quot;",
    "\u202egpj.exe\u2066 evil",
    "<b onclick=window.pwned=1>" + "W" * 174,
)  # fmt: skip


def shown(name: str) -> str:
    """Return the name as the dashboard shows it: marks that change the direction of text are made visible."""
    return re.sub("[\u202a-\u202e\u2066-\u2069]", "\ufffd", name)
