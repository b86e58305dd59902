"""The project reads as plain English: phrases that a reader stumbles over do not come back."""

import ast
import io
import re
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
NAMES = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "data/README.md")
PAGES = [ROOT / name for name in NAMES]
PAGES += sorted((ROOT / "docs").glob("*.md"))
PAGES += sorted((ROOT / "models").glob("*/README.md"))
PAGES += [ROOT / ".ci" / "run", ROOT / "Makefile", *sorted((ROOT / "tools").glob("*.sh"))]
SOURCES = sorted(
    path for folder in ("cellseg", "configs", "tools") for path in (ROOT / folder).rglob("*.py")
)
PHRASES = {
    r"\bmend(s|ed)?\b": "how to fix it",
    r"\bstock('s)?\b(?!\.py)": "MMDetection's",
    r"\bheadline\b": "main",
    r"\binvented\b": "false positives",
    r"\bnobody\b": "is ignored",
    r"\bsurest\b|\bless sure\b|as sure as": "highest-scoring",
    r"turned and mirrored|mirror images": "rotated and flipped",
    r"\bno sound\b": "is not valid",
    r"(?<!there )\bis no (text|dictionary|list|number|file|folder|config|checkpoint)\b": "is not a",
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
    r"\b(steps|images|crops|cells) an? (step|image|tile|class|epoch)\b(?! has)": "... per ...",
    r"\bwith red first\b": "RGB",
    r"\b(colour|centre|neighbour|behaviour|normalise|initialise|\w*labelled)": "American spelling",
}


def find_phrases(text: str) -> dict[str, str]:
    """Return the phrases in a text that are to be said otherwise, and how."""
    joined = " ".join(text.split())
    return {
        match.group(): advice
        for phrase, advice in PHRASES.items()
        for match in re.finditer(phrase, joined, re.IGNORECASE)
    }


def read_words(source: str) -> str:
    """Join the strings, docstrings and comments of Python source, a full stop between them."""
    tree = ast.parse(source)
    strings = [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    comments, last = [], -2  # lines of comment below one another are one text
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            text, line = token.string.lstrip("# "), token.start[0]
            if line == last + 1:
                comments[-1] += f" {text}"
            else:
                comments.append(text)
            last = line
    return " . ".join([*strings, *comments])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_page_uses_plain_words(page):
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert find_phrases(text) == {}


def test_source_uses_plain_words():
    found = {
        path.relative_to(ROOT).as_posix(): phrases
        for path in SOURCES
        if (phrases := find_phrases(read_words(path.read_text(encoding="utf-8"))))
    }
    assert found == {}


def test_words_when_read_from_source_then_strings_docstrings_and_comments_are_there():
    source = '"""Judge it."""\nstock = f"is {no} text"  # a folder\n# an image\nmend = 1\n'
    words = read_words(source)
    assert "Judge it." in words
    assert "a folder an image" in words
    assert set(find_phrases(words)) == {"Judge", "a folder an image"}


def test_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) < 1200
