"""The reference is what the code says now, and says all of it."""

import argparse
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from cellseg.cli.convert import FORMATS
from cellseg.cli.main import COMMANDS, load_command

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    """Import the tool from its file."""
    spec = importlib.util.spec_from_file_location(
        "make_reference", ROOT / "tools/make_reference.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def make_option(*flags: str, **settings: object) -> argparse.Action:
    return argparse.ArgumentParser().add_argument(*flags, **settings)


def test_reference_always_is_what_the_code_says_now(tool):
    committed = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    assert committed == tool.write_page(), "run make docs"


def test_reference_always_names_every_config_tool_and_script(tool):
    page = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    files = [*(ROOT / "tools").rglob("*.py"), *(ROOT / "tools").glob("*.sh")]
    names = [path.relative_to(ROOT).as_posix() for path in files]
    names += [path.name for path in (ROOT / "configs" / "cell").glob("*.py")]
    assert [name for name in names if name not in page] == []


def test_parser_when_found_then_the_tool_has_not_parsed(tool, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train.py"])  # parsed, it would end for lack of a config
    parser = tool.find_parser(ROOT / "tools" / "train.py")
    names = [tool.name_option(option) for option in tool.list_options(parser)]
    assert names[0] == "[CONFIG]"
    assert "--resume [RESUME]" in names
    assert not any("local" in name for name in names)  # hidden from users, for launchers


def test_reference_always_names_every_command_and_format(tool):
    page = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    names = [f"`cellseg {name}`" for name in COMMANDS]
    names += [f"`cellseg convert {name}`" for name in FORMATS]
    assert [name for name in names if name not in page] == []


def test_door_when_a_command_has_one_then_the_page_links_to_its_options(tool):
    assert tool.find_door(load_command("train")) == "[tools/train.py](#toolstrainpy)"
    assert tool.find_door(load_command("predict")) is None  # other arguments than the tool's


@pytest.mark.parametrize(
    ("option", "name", "text"),
    [
        (make_option("--on", action="store_true", help="a <b>"), "--on", r"a \<b>"),
        (make_option("--off", action="store_false", help="a"), "--off", "a"),
        (make_option("--n", type=int, default=0, help="a"), "--n N", "a (default: 0)"),
        (make_option("--n", default=2, help="by default %(default)s"), "--n N", "by default 2"),
        (make_option("--of", nargs="+", default=["a", "b"], help="c"), "--of OF ...", None),
        (make_option("--out", required=True, help="a"), "--out OUT", "a; **required**"),
        (make_option("files", nargs="*", help="a"), "[FILES ...]", "a"),
        (make_option("-k", "--kind", choices=("x", "y"), help="a"), "-k, --kind {x,y}", "a"),
    ],
)
def test_option_when_described_then_flags_value_and_default(tool, option, name, text):
    assert tool.name_option(option) == name
    assert tool.describe_option(option, "tool.py") == (text or "c (default: a b)")


def test_cell_of_a_table_when_it_holds_a_bar_then_it_stays_one_cell(tool):
    assert tool.write_table(("a",), [("b | c\n d",)]) == "| a |\n| --- |\n| b \\| c d |\n"
