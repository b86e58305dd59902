"""Convert a data set of another format into this project's layout."""

from __future__ import annotations

import argparse
from typing import Any

from tqdm import tqdm

from cellseg.formats.conversion.annotations import Source
from cellseg.formats.conversion.converting import check_source, convert
from cellseg.formats.conversion.names import parse_class_map, settle_classes


def run_conversion(source: Source, args: argparse.Namespace, data_format: str) -> str:
    """Convert a source as the flags say, with a progress bar.

    Args:
        source: The data.
        args: Flags of `cellseg.cli.converters.arguments`, and others that decide the result.
        data_format: Name of the format, for the record.

    Returns:
        The report, and how a config reads the result.
    """
    check_source(source, args.skip_bad)
    table = settle_classes(
        source,
        getattr(args, "classes", None),
        parse_class_map(getattr(args, "class_map", [])),
        getattr(args, "skip_unknown", False),
    )
    options: dict[str, Any] = {
        name: getattr(args, name) for name in ("channel_order", "nuclei") if name in args
    }
    # Only where they are set, so that folders of earlier versions are continued.
    added = ("connected_components", "objects", "z", "t", "c", "crowds_as_cells")
    given = {name: getattr(args, name, None) for name in added}
    options |= {
        name: value for name, value in given.items() if value is not None and value is not False
    }
    report = convert(
        source,
        table,
        args.out,
        settings={"format": data_format, **options},
        skip_bad=args.skip_bad,
        split_pieces=args.connected_components,
        progress=lambda images: tqdm(images, unit="image", desc="converting", disable=None),
    )
    names = ", ".join(f'"{name}"' for name in table.classes)
    comma = "," if len(table.classes) == 1 else ""
    return (
        f"{report.to_text()}\n"
        f"Report: {args.out / 'conversion.txt'}; every case: {args.out / 'conversion.csv'}\n"
        f"In a config: cell_classes = ({names}{comma}), and of its data sets "
        f'data_root="{args.out}", channel_order="rgb"'
    )
