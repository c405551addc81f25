"""The messages that the runs of a corpus raise: every template with one example, and the rules that any breaks.

    python -m research.scoring.messages --split tune [--from DIR] [--seeds N]

A template is a message without its names and numbers; the count is the number of findings that have it. The last lines
count the messages that break a rule of ``message_rules``, by rule. Exit status 1 if one does.
"""

from __future__ import annotations

import argparse
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
    return corpus_parser(__doc__)


def raised_findings(runs: Iterable[Run]) -> Iterator[Finding]:
    """Yield every finding of the runs that an alert shows."""
    for run in runs:
        _readings, findings = replay(run.infos(), run.records(), DEFAULT)
        yield from (finding for finding in findings if finding.transition != "resolved")


def main(arguments: Sequence[str] | None = None) -> int:
    """Print templates and violations."""
    options = parse(parser(), arguments)
    counts: Counter[str] = Counter()
    broken: Counter[str] = Counter()
    examples: dict[str, tuple[str, str]] = {}
    lengths: list[int] = []
    for finding in raised_findings(run for run, _case in load_pairs(options)):
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
