"""What MkDocs does beyond its settings: SECURITY.md, outside docs/, is a page of the site, too."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
NAME = "SECURITY.md"


def on_files(files: Files, config: Any) -> Files:
    """Add the page; its links to tests of the repository become plain text."""
    text = (ROOT / NAME).read_text(encoding="utf-8")
    content = re.sub(r"\[(tests/[^\]]+)\]\(\1\)", r"`\1`", text)
    files.append(File.generated(config, NAME, content=content))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Let links that lead out of docs/ in the repository lead to the page on the site."""
    return markdown.replace(f"](../{NAME}", f"]({NAME}")
