"""The pages read as plain English: phrases that a reader stumbles over do not come back."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "data/README.md")]
PAGES += sorted((ROOT / "docs").glob("*.md"))
PHRASES = {
    r"\bmend(s|ed)?\b": "how to fix it",
    r"\bstock('s)?\b(?!\.py)": "MMDetection's",
    r"\bheadline\b": "main",
    r"\binvented\b": "false positives",
    r"\bnobody\b": "is ignored",
    r"\bsurest\b|\bless sure\b|as sure as": "highest-scoring",
    r"turned and mirrored|mirror images": "rotated and flipped",
    r"\bno sound\b": "is not valid",
    r"\bis no (text|dictionary|list|number|file|folder|config|checkpoint)\b": "must be a ...",
    r"\banew\b": "from scratch, again",
    r"\b(tell|tells) whether\b": "return whether",
    r"\bspeaks of\b": "encodes",
    r"\bidle points\b": "collinear points",
    r"\bstrangers?\b": "untrusted",
    r"\blook(ed|ing)? at at a time\b|\bdata to play with\b": "processed, sample data",
    r"\bpeople stumble\b": "common problems",
    r"\bany more\b": "no longer",
    r"\bto be had\b": "available",
    r"\b(a|one) (folder|file|PNG) an? (image|nucleus|class)\b": "one ... per ...",
    r"\b(cells|detections|nuclei|proposals) an? (image|tile)\b": "... per image",
    r"\bjudge[sd]?\b": "evaluate",
    r"\bhand(s|ed)? in\b": "submit",
    r"\b(help|all|none), but (?!not)": "except",
    r"\b(steps|images|crops|cells) an? (step|image|tile|class)\b": "... per ...",
    r"\b(colour|centre|neighbour|behaviour|normalise|initialise)": "American spelling",
}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_page_uses_plain_words(page):
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    text = " ".join(text.split())
    found = {
        match.group(): advice
        for phrase, advice in PHRASES.items()
        for match in re.finditer(phrase, text, re.IGNORECASE)
    }
    assert found == {}


def test_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) < 1200
