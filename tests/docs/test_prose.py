"""The text of the documentation: its words, its links, and its pages that stand alone."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.documents import PAGES, ROOT, blocks_of, prose_of

LINK = re.compile(r"(?<!\\)\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#{1,6} +(.+?)\s*$", re.MULTILINE)

# Words that only its authors would understand, and the plain ones.
PRIVATE_WORDS = {
    r"told(?! apart)|heard": "notified, says, received",
    r"caretakers?|couriers?": "maintenance, dispatcher",
    r"refold\w*|folded|fold again": "process again, replay",
    r"passages?|mend(s|ed)?|the road": "section, fix, how it works",
    r"whoever|nobody|everybody|anybody|somebody else": "everyone who, no one",
    r"looked at|a look|looks of": "sampled, a sampled step",
    r"drawn anew|weakest tenth": "reinitialized, the most fragile 10% of units",
    r"in peace|goes quiet|asleep|awake": "literal words",
    r"simply|obviously|of course|just": "nothing",
    r"please note|it should be noted|in order to": "nothing, to",
    r"utilis\w+|utiliz\w+|leverag\w+": "use",
    r"neurons?": "unit",
    r"nets? worth|killed units|corpses?": "dead units",
}
# One word for one thing: the glossary's, and the ones it replaces.
REPLACED_WORDS = {
    r"time steps? of the optimizer": "optimizer step",
    r"experiment runs?": "run",
    r"webhook endpoints?": "webhook",
    r"api tokens?|access tokens?": "API key",
    r"tickets?": "incident",
    r"muted?|snooz\w+": "silence",
}
ALLOWED = {
    ("docs/comparison.md", "tickets"),  # of other systems
    ("docs/notifications/alertmanager.md", "ticket"),  # the same
}
BRITISH = {"color": "colour", "colored": "coloured", "colors": "colours"}
WORDS = [*PRIVATE_WORDS.items(), *REPLACED_WORDS.items()]
PUBLIC = [page for page in PAGES if "decisions" not in page.parts]


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def anchors_of(page: Path) -> set[str]:
    """Return the anchors of a page, as code hosts and the site make them of its headings."""
    anchors = set()
    for heading in HEADING.findall(page.read_text(encoding="utf-8")):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading.replace("`", ""))
        anchors.add(re.sub(r"[^\w\- ]", "", text.lower()).strip().replace(" ", "-"))
    return anchors


@pytest.mark.parametrize("page", PUBLIC, ids=name_of)
def test_the_words_are_those_of_the_field_and_of_the_glossary(page):
    broken = []
    text = prose_of(page)
    for words, instead in WORDS:
        for match in re.finditer(rf"\b({words})\b", text, re.IGNORECASE):
            if (name_of(page), match[0].lower()) not in ALLOWED:
                line = text[max(0, match.start() - 40) : match.end() + 40].replace("\n", " ")
                broken.append(f"{match[0]!r} (better: {instead}): …{line}…")
    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_leads_to_a_file_and_a_heading(page):
    broken = []
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        if "://" in target or target.startswith("mailto:"):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (anchor and file.suffix == ".md" and anchor not in anchors_of(file)):
            broken.append(target)
    assert broken == []


@pytest.mark.parametrize("page", PUBLIC, ids=name_of)
def test_a_page_says_first_what_it_is_about(page):
    text = page.read_text(encoding="utf-8")
    assert text.startswith("# ")
    first = text.partition("\n")[2].strip().splitlines()[0]
    assert re.match(r"[A-Z`*]", first), f"begins with {first[:60]!r}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_no_page_names_a_machine_of_its_authors(page):
    # The classes of one letter keep this pattern from finding itself.
    pattern = r"/wor[k]/|/tm[p]/\w|/hom[e]/\w|\bshare[d]/|\broo[t]@"
    assert not re.search(pattern, page.read_text(encoding="utf-8"))


def test_the_readme_is_short_and_shows_a_picture_code_and_its_output():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) < 120
    assert "![" in text
    blocks = blocks_of(ROOT / "README.md")
    assert [block.mark for block in blocks if block.language == "text"][0] == "output"
    assert text.count("\n- **") >= 5


def test_a_page_of_the_alerts_names_no_term_that_the_glossary_lacks():
    glossary = (ROOT / "docs/concepts.md").read_text(encoding="utf-8")
    for term in ("Headroom", "Kill ratio", "Risk", "Baseline", "Sampled step", "Incident", "silent", "rare", "Onset"):
        assert f"| {term}" in glossary, term
