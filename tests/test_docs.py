"""The pages keep their word: every option, setting and link that they name is there."""

import importlib.util
import inspect
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
import yaml
from mmengine.config import Config

from cellseg.cli.main import build_parser
from cellseg.datasets.cell_dataset import CellDataset
from cellseg.scoring.metric import CellMetric

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "data" / "README.md"]
PAGES += sorted((ROOT / "docs").glob("*.md"))
OTHERS_FLAGS = {  # of pip, pytest, tensorboard, torchrun, SLURM, Dask and tools/pack_wheels.sh
    *("--array", "--gres", "--ntasks", "--qos", "--requeue", "--signal", "--time", "--wrap"),
    *("--tls-ca-file",),
    *("--no-deps", "--no-cache-dir", "--no-build-isolation", "--force-reinstall", "--editable"),
    *("--constraint", "--requirement", "--logdir", "--nproc-per-node", "--data"),
}
SETTING = re.compile(
    r"(?<![\w.])((?:model|train_cfg|val_cfg|test_cfg|optim_wrapper|auto_scale_lr|default_hooks|"
    r"randomness|(?:train|val|test)_(?:dataloader|evaluator))(?:\.\w+)+)(?==)"
)


def name_page(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def list_flags() -> dict[str, set[str]]:
    """Return the flags of every tool, by the tool's file name."""
    spec = importlib.util.spec_from_file_location(
        "make_reference", ROOT / "tools/make_reference.py"
    )
    reference = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reference)
    flags = {}
    for path in reference.list_tools():
        parser = reference.find_parser(path)
        commands = [] if parser is None else reference.list_commands(parser)
        options = [option for _, part in commands for option in reference.list_options(part)]
        flags[path.name] = {flag for option in options for flag in option.option_strings}
    return flags


@cache
def list_every_flag() -> set[str]:
    """Return the flags of all tools and benchmarks, and of other programs that the pages name."""
    own = set().union(*list_flags().values(), OTHERS_FLAGS, {"--help"})
    whole = build_parser()
    commands = next(action.choices for action in whole._actions if action.dest == "command")
    for parser in (whole, *commands.values()):
        own.update(flag for action in parser._actions for flag in action.option_strings)
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "benchmarks").rglob("*.py")]
    return own.union(*(re.findall(r'"(--[a-z][\w-]*)"', source) for source in sources))


def list_commands(text: str) -> list[tuple[str, list[str]]]:
    """List the tools that a page's code calls, each with the flags that follow its name."""
    tool = re.compile(r"(?<![\w-])([\w-]+\.py)(?![\w:])")
    code = re.findall(r"^```.*?^```|`[^`\n]+(?:\n[^`\n]+)?`", text, re.DOTALL | re.MULTILINE)
    found = []
    for line in "\n".join(code).replace("\\\n", " ").splitlines():
        names = [match for match in tool.finditer(line) if match[1] in list_flags()]
        ends = [*(match.start() for match in names), len(line)][1:]
        for match, end in zip(names, ends, strict=True):
            found.append((match[1], re.findall(r"(?<!\S)--[a-z][\w-]*", line[match.end() : end])))
    return found


@cache
def list_settings() -> set[str]:
    """Return the dotted name of every setting that the configs have, or could give to our parts."""
    names: set[str] = {"randomness.seed"}
    own = set(inspect.signature(CellDataset).parameters)
    metric = set(inspect.signature(CellMetric).parameters)
    for path in (ROOT / "configs" / "cell").glob("*.py"):
        todo = [(key, value) for key, value in Config.fromfile(path).items()]
        while todo:
            name, value = todo.pop()
            names.add(name)
            if isinstance(value, dict):
                todo += [(f"{name}.{key}", part) for key, part in value.items()]
    for split in ("train", "val", "test"):
        names |= {f"{split}_dataloader.dataset.{key}" for key in own}
        names |= {f"{split}_evaluator.{key}" for key in metric}
    return names


def list_anchors(path: Path) -> set[str]:
    """Return the anchors of a page's headings, as code hosts make them."""
    heads = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=name_page)
def test_page_names_only_options_that_exist(page):
    text = page.read_text(encoding="utf-8")
    unknown = [
        f"{tool} {flag}"
        for tool, flags in list_commands(text)
        for flag in flags
        if flag not in list_flags()[tool] | {"--help"}
    ]
    alone = set(re.findall(r"(?<![\w-])--[a-z][\w-]*", text)) - list_every_flag()
    assert unknown + sorted(alone) == []


@pytest.mark.parametrize("page", PAGES, ids=name_page)
def test_page_names_only_settings_that_exist(page):
    named = set(SETTING.findall(page.read_text(encoding="utf-8")))
    assert sorted(named - list_settings()) == []


@pytest.mark.parametrize("page", PAGES, ids=name_page)
def test_page_links_only_to_files_and_headings_that_exist(page):
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        assert path.exists(), target
        assert not anchor or anchor in list_anchors(path), target


def test_commands_when_listed_then_each_tool_has_its_own_flags():
    text = "```bash\npython tools/train.py A --amp \\\n  --resume\n```\nor `test.py --tta`, --x"
    assert list_commands(text) == [("train.py", ["--amp", "--resume"]), ("test.py", ["--tta"])]


@pytest.mark.parametrize(("target", "status"), [("other.md", 0), ("absent.md", 1), ("#absent", 1)])
def test_site_when_a_link_is_dead_then_make_docs_fails(tmp_path, target, status):
    pytest.importorskip("mkdocs", reason="MkDocs is not installed")
    command = re.search(r"/mkdocs (build .*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    settings = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    settings |= {"theme": "mkdocs", "plugins": [], "hooks": [], "markdown_extensions": ["tables"]}
    settings |= {"nav": ["index.md", "other.md"], "site_dir": str(tmp_path / "site")}
    (tmp_path / "mkdocs.yml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text(f"# Home\n\n[there]({target})\n", encoding="utf-8")
    (tmp_path / "docs" / "other.md").write_text("# Other\n", encoding="utf-8")
    words = [sys.executable, "-m", "mkdocs", *command[1].split()]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stderr


def test_site_when_a_page_links_out_of_docs_then_the_hook_takes_it_in():
    """Hold that the site has each page outside docs/ that a page in it links to."""
    outside = set()
    for path in (ROOT / "docs").glob("*.md"):
        outside |= set(re.findall(r"\]\(\.\./([^)#\s]+)", path.read_text(encoding="utf-8")))
    hooks = (ROOT / "docs" / "site_hooks.py").read_text(encoding="utf-8")
    assert [name for name in sorted(outside) if f'"{name}"' not in hooks] == []
