"""Write docs/reference.md: every config, tool and option, read from the code.

    make docs

Of the tools, only what sets up their command lines is run; no model is built.
"""

import argparse
import ast
import contextlib
import importlib.util
import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from cellseg.cli.convert import FORMATS, load_format
from cellseg.cli.main import COMMANDS, load_command
from cellseg.cli.running import build_parser, first_line
from cellseg.fileio import write_atomically

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "reference.md"
HEAD = """# Reference

Every config, every tool and every option. `make docs` writes this page from the code; do not edit
it by hand.

## Configs

In `configs/cell/`. *Input* is the size in pixels that images are enlarged or reduced to for the
network, in proportion; with `LimitedResize`, large images keep their own and small ones grow 2.5
times at most. *Anchors* are the boxes that the network starts from: their size in pixels of the
input on each level of the feature pyramid, each in so many ratios of height to width.
"""
COMMANDS_HEAD = """
## The cellseg command

`pip install .` gives it; `python -m cellseg` is the same. CONFIG is a file, or the name of a config
above, with or without `.py`. `cellseg --help` lists the commands, `cellseg COMMAND --help` the
options of one; `cellseg --version` prints the version.

| exit status | meaning |
| --- | --- |
| 0 | success |
| 1 | an error that the message says how to fix; of `predict` also when an image could not be read |
| 2 | a wrong command line |
| 130, 143, 129 | ended with Ctrl-C, by SIGTERM, by SIGHUP |
"""
TOOLS_HEAD = """
## Tools

Run them in the repository's folder: `.venv/bin/python`, then the tool. Words in capitals stand for
what you fill in; dots mark a word that may be repeated. Every tool with options has `--help`, too.
"""


def list_tools() -> list[Path]:
    """List the Python tools in order: those of tools/ first, then folder by folder."""
    return sorted((ROOT / "tools").rglob("*.py"), key=lambda path: (len(path.parts), path))


def read_summary(path: Path) -> str:
    """Return the first line of a file's docstring, or of a shell script's leading comment."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".sh":
        return text.splitlines()[1].removeprefix("# ")
    return (ast.get_docstring(ast.parse(text)) or "").partition("\n")[0]


def find_parser(path: Path) -> argparse.ArgumentParser | None:
    """Get the parser of a tool without running the tool.

    Args:
        path: A tool; one with options has `add_arguments`.

    Returns:
        The parser; None for a tool without options.
    """
    spec = importlib.util.spec_from_file_location(f"reference_of_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} cannot be imported.")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    add_arguments = getattr(module, "add_arguments", None)
    return None if add_arguments is None else build_parser(module.__doc__, add_arguments, path.name)


def list_commands(
    parser: argparse.ArgumentParser,
) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """List a parser's subcommands, by name; itself, without a name, where it has none."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from action.choices.items()
            return
    yield "", parser


def list_options(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """List what a command takes, but for --help and what it hides."""
    return [
        action
        for action in parser._actions
        if action.help != argparse.SUPPRESS and not isinstance(action, argparse._HelpAction)
    ]


def name_option(action: argparse.Action) -> str:
    """Write an option as one types it: its flags and what follows."""
    if isinstance(action.metavar, str):
        value = action.metavar
    elif action.choices:
        value = "{" + ",".join(map(str, action.choices)) + "}"
    else:
        value = action.dest.upper()
    forms = {None: value, 0: "", "+": f"{value} ...", "?": f"[{value}]", "*": f"[{value} ...]"}
    flags = ", ".join(action.option_strings)
    return f"{flags} {forms.get(action.nargs, value)}".strip()


def describe_option(action: argparse.Action, prog: str) -> str:
    """Write what an option does, and its default where the help does not name it."""
    text = _escape((action.help or "") % {**vars(action), "prog": prog})
    default = action.default
    if action.option_strings and action.required:
        return f"{text}; **required**"
    is_unset = default is None or isinstance(default, bool) or default == []
    if is_unset or not action.option_strings or "default" in text:
        return text
    shown = " ".join(map(str, default)) if isinstance(default, list | tuple) else default
    return f"{text} (default: {_escape(str(shown))})"


def _escape(text: str) -> str:
    """Keep plain text from being taken for marks of the page."""
    return re.sub(r"([<*])", r"\\\1", text)


def write_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lay rows out as a table; what would end a cell of it is kept from doing so."""
    lines = [head, ["---"] * len(head), *rows]
    cells = ([" ".join(text.split()).replace("|", "\\|") for text in line] for line in lines)
    return "".join(f"| {' | '.join(line)} |\n" for line in cells)


def write_tool(path: Path) -> str:
    """Write the section of one tool."""
    head = f"\n### {path.relative_to(ROOT).as_posix()}\n\n{read_summary(path)}\n"
    if path.name == "convert.py":  # its formats have sections of their own
        return f"{head}\nFormats and options are those of [cellseg convert](#cellseg-convert).\n"
    parser = find_parser(path)
    return head + ("" if parser is None else write_parser(parser))


def write_parser(parser: argparse.ArgumentParser) -> str:
    """Write the tables of a parser's options, one for each of its subcommands."""
    parts = []
    for command, part in list_commands(parser):
        if command:
            parts.append(f"\n`{command}`: {_describe_command(parser, command)}\n")
        rows = [
            (f"`{name_option(action)}`", describe_option(action, part.prog))
            for action in list_options(part)
        ]
        parts.append("\n" + write_table(("option", "what it does"), rows) if rows else "")
    return "".join(parts)


def find_door(module: ModuleType) -> str | None:
    """Write a link to the tool that takes the same options as a command's module, if one does."""
    for path in list_tools():
        text = path.read_text(encoding="utf-8")
        if f"from {module.__name__} import add_arguments, main" in text:
            place = path.relative_to(ROOT).as_posix()
            return f"[{place}](#{make_anchor(place)})"
    return None


def write_commands() -> str:
    """Write the subcommands of `cellseg`, and the options of those that no tool has the same."""
    rows, sections = [], []
    for name in COMMANDS:
        module = load_command(name)
        door = None if name == "convert" else find_door(module)
        rows.append((f"`cellseg {name}`", first_line(module.__doc__), door or "below"))
        if name == "convert":
            formats = {key: load_format(key) for key in FORMATS}
            table = [
                (f"`cellseg convert {key}`", first_line(part.__doc__), find_door(part) or "")
                for key, part in formats.items()
            ]
            text = "\n" + write_table(("format", "what it does", "options"), table)
        else:
            text = write_parser(build_parser(module.__doc__, module.add_arguments, name))
        if door is None:
            sections.append(f"\n### cellseg {name}\n{text}")
    return "\n" + write_table(("command", "what it does", "options"), rows) + "".join(sections)


def make_anchor(heading: str) -> str:
    """Write the anchor that code hosts give a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _describe_command(parser: argparse.ArgumentParser | None, command: str) -> str:
    """Return the help of a subcommand."""
    for action in parser._actions if parser else []:
        if isinstance(action, argparse._SubParsersAction):
            return next(str(c.help) for c in action._choices_actions if c.dest == command)
    return ""


def write_scripts() -> str:
    """Write the table of the shell scripts."""
    rows = []
    for path in sorted((ROOT / "tools").glob("*.sh")):
        usage = re.findall(r"^# +(.*tools/\S+\.sh.*)$", path.read_text("utf-8"), re.MULTILINE)
        rows.append((f"`{usage[0].partition('   (or')[0].strip()}`", read_summary(path)))
    return "\n### Shell scripts\n\n" + write_table(("script", "what it does"), rows)


def describe_config(path: Path) -> tuple[str, ...]:
    """Read the key facts of one config."""
    from mmengine.config import Config  # late, as it is slow: --help must not wait for it

    from cellseg.engine.configs import dataset_config

    config = Config.fromfile(path)
    model, data = config.model, dataset_config(config, "train")
    resize = next(s for s in config.test_dataloader.dataset.pipeline if "Resize" in s["type"])
    side = f"{resize['scale_factor']} times" if "scale_factor" in resize else ""
    side = side or " x ".join(map(str, resize["scale"]))
    rate, size = config.optim_wrapper.optimizer, config.train_dataloader.batch_size
    return (
        f"`{path.name}`",
        read_summary(path),
        f"{model.type}, {_name_backbone(model.backbone)}",
        _describe_anchors(model.rpn_head.anchor_generator),
        side if resize["type"] == "Resize" else f"{side} ({resize['type']})",
        _describe_start(config),
        f"{config.train_cfg.max_epochs} epochs, batch {size}, {rate.type} {rate.lr:g}",
        f"`{data.data_root}`, {', '.join(data.metainfo.classes)}",
    )


def _name_backbone(backbone: Any) -> str:
    """Name a backbone and its size."""
    if backbone.type == "ResNeXt":
        return f"ResNeXt-{backbone.depth}-{backbone.groups}x{backbone.base_width}d"
    return f"{backbone.type}-{backbone.depth}" if "depth" in backbone else str(backbone.type)


def _describe_anchors(anchors: Any) -> str:
    """Write the sizes and the number of ratios of an anchor generator."""
    scales = anchors.get("scales") or [1]
    bases = anchors.get("base_sizes") or anchors.strides
    sizes = [f"{base * scale:g}" for base in bases for scale in scales]
    return f"{', '.join(sizes)} px, {len(anchors.ratios)} ratios"


def _describe_start(config: Any) -> str:
    """Say which weights training starts from."""
    if config.get("load_from"):
        return f"`{Path(config.load_from).name}`"
    weights = config.model.backbone.get("init_cfg")
    return f"`{Path(weights.checkpoint).name}`" if weights else "random"


def write_page() -> str:
    """Write the whole page."""
    head = ("config", "what it is", "model", "anchors", "input", "starts from", "training", "data")
    rows = [describe_config(path) for path in sorted((ROOT / "configs" / "cell").glob("*.py"))]
    tools = "".join(write_tool(path) for path in list_tools())
    page = HEAD + "\n" + write_table(head, rows) + COMMANDS_HEAD + write_commands()
    return page + TOOLS_HEAD + tools + write_scripts()


def main() -> None:
    """Write the page."""
    argparse.ArgumentParser(description=first_line(__doc__)).parse_args()
    with contextlib.redirect_stdout(io.StringIO()):  # what a package says on import
        page = write_page()
    print(f"Wrote {write_atomically(PAGE, page).relative_to(ROOT)}")


if __name__ == "__main__":
    main()
