"""List the configs that come with cellseg, or copy one to start from.

cellseg configs
cellseg configs mask-rcnn_r18_small-anchor                    # where it is
cellseg configs mask-rcnn_r18_small-anchor --copy-to my_configs

A copy names the shipped config in `_base_`: change or add what should differ.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from cellseg.cli.running import write_result
from cellseg.config_files import describe_config, find_config, list_configs
from cellseg.errors import CellsegError
from cellseg.fileio import write_atomically


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of the listing."""
    parser.add_argument("name", nargs="?", help="print the path of this config instead of the list")
    parser.add_argument(
        "--copy-to",
        type=Path,
        metavar="FOLDER",
        help="write a config of the same name there that inherits from the shipped one",
    )


def main(args: argparse.Namespace) -> None:
    """List, print a path, or write a config to start from."""
    if args.name is None:
        if args.copy_to is not None:
            raise CellsegError("--copy-to needs a config's name; `cellseg configs` lists them.")
        write_result(list_text())
    elif args.copy_to is None:
        write_result(find_config(args.name))
    else:
        write_result(f"Wrote {copy_config(find_config(args.name), args.copy_to)}")


def list_text() -> str:
    """Write the name of each shipped config and what it is."""
    configs = list_configs()
    width = max(map(len, configs), default=0)
    return "\n".join(f"{name:<{width}}  {describe_config(configs[name])}" for name in configs)


def copy_config(source: Path, folder: Path) -> Path:
    """Write a config that inherits from another.

    Args:
        source: The config to inherit from.
        folder: Where to write; made if absent.

    Returns:
        The new file.

    Raises:
        CellsegError: If it is there already.
    """
    target = folder / source.name
    if target.exists():
        raise CellsegError(f"{target} is there already; choose another folder, or remove it.")
    summary = describe_config(source).replace("\\", "\\\\").replace('"""', "'''")
    base = source.resolve().as_posix()
    return write_atomically(target, f'"""{summary}"""\n\n_base_ = {base!r}\n')
