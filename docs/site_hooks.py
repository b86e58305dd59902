"""What MkDocs does beyond its settings: SECURITY.md, outside docs/, is a page of the site, too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
NAME = "SECURITY.md"


def on_files(files: Files, config: Any) -> Files:
    """Add the page; its link to a folder of the repository becomes plain text."""
    text = (ROOT / NAME).read_text(encoding="utf-8")
    content = text.replace("[tests/robustness](tests/robustness)", "`tests/robustness`")
    files.append(File.generated(config, NAME, content=content))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Let links that lead out of docs/ in the repository lead to the page on the site."""
    return markdown.replace(f"](../{NAME}", f"]({NAME}")
