"""The messages that the runs of a corpus raise: every template with one example, and the rules that any breaks.

    python -m research.scoring.messages --split tune [--from DIR] [--seeds N] [--examples]

A template is a message without its names and numbers; the count is the number of findings that have it. The last lines
count the messages that break a rule of ``message_rules``, by rule. Exit status 1 if one does. With ``--examples`` it
prints instead, for each kind and cause, the longest message and the code that comes with it, as a user reads them.
"""

from __future__ import annotations

import argparse
import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from relumine_server.detection import messages
from relumine_server.detection.findings import Finding
from relumine_server.detection.policy import DEFAULT
from relumine_server.detection.replay import replay
from research.cli import corpus_parser, load_pairs, parse
from research.corpus.run_store import Run
from research.scoring.message_rules import template, violations

RUN_LABEL = "digits/baseline"


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    options = corpus_parser(__doc__)
    options.add_argument("--examples", action="store_true", help="print a message with its code per kind and cause")
    return options


def raised_findings(runs: Iterable[Run]) -> Iterator[Finding]:
    """Yield every finding of the runs that an alert shows."""
    for run in runs:
        _readings, findings = replay(run.infos(), run.records(), DEFAULT)
        yield from (finding for finding in findings if finding.transition != "resolved")


def main(arguments: Sequence[str] | None = None) -> int:
    """Print templates and violations, or examples."""
    options = parse(parser(), arguments)
    findings = raised_findings(run for run, _case in load_pairs(options))
    return print_examples(findings) if options.examples else print_templates(findings)


def print_examples(findings: Iterable[Finding]) -> int:
    """Print the longest message of each kind and cause, with its code."""
    longest: dict[tuple[str, str], tuple[str, Finding]] = {}
    for finding in findings:
        text = messages.message(finding, RUN_LABEL)
        previous, _ = longest.get((finding.kind, finding.cause), ("", finding))
        if len(text) > len(previous):
            longest[finding.kind, finding.cause] = (text, finding)
    for text, finding in longest.values():
        code = finding.remedies[0].code if finding.remedies else ""
        print(f"{text}\n{textwrap.indent(code, '    ')}\n")
    return 0


def print_templates(findings: Iterable[Finding]) -> int:
    """Print each template with an example, and the violations; return 1 where there is one."""
    counts: Counter[str] = Counter()
    broken: Counter[str] = Counter()
    examples: dict[str, tuple[str, str]] = {}
    lengths: list[int] = []
    for finding in findings:
        text = messages.message(finding, RUN_LABEL)
        key = template(finding, text)
        counts[key] += 1
        lengths.append(len(text))
        examples.setdefault(key, (text, finding.remedies[0].code if finding.remedies else ""))
        broken.update(violations(finding, text))
    for key, count in counts.most_common():
        print(f"{count:4d}  {key}\n      {examples[key][0]}\n")
    print(f"{sum(counts.values())} messages, {len(counts)} templates, longest {max(lengths, default=0)} characters")
    print(f"violations: {dict(broken) or 'none'}")
    return 1 if broken else 0


if __name__ == "__main__":
    raise SystemExit(main())
