"""Write the annotations of label TIFFs as one COCO file."""

import argparse
import json
from pathlib import Path
from typing import Any

from cellseg.cli.running import write_result
from cellseg.datasets.cell_dataset import CellDataset
from cellseg.errors import as_cellseg_error
from cellseg.fileio import write_atomically
from cellseg.formats.coco_data import to_coco


def build_dataset(args: argparse.Namespace) -> CellDataset:
    """Build the data set that the command line describes."""
    label_names = None
    if args.label_files is not None:
        if len(args.label_files) != len(args.classes):
            raise ValueError("--label-files must name one file for each of --classes.")
        label_names = dict(zip(args.classes, args.label_files, strict=True))
    return CellDataset(
        data_root=args.data_root,
        metainfo={"classes": tuple(args.classes)},
        image_name=args.image_name,
        label_names=label_names,
        ignore_name=args.ignore_name or None,
        unknown_labels="ignore" if args.ignore_unknown else "error",
        # Annotations do not depend on how the images are mapped to 8 bit.
        intensity_range={"percentile": (0, 100)},
        min_area_px=args.min_area_px,
        include=args.include,
        test_index=args.test_index,
        bad_images="skip" if args.skip_bad else "error",
        num_workers=args.num_workers,
        cache=not args.no_cache,
        test_mode=True,
        serialize_data=False,
    )


def summarize(data_list: list[dict[str, Any]], classes: tuple[str, ...]) -> str:
    """Return a table of images and cells of each class."""
    cells = [
        (info["img_id"], cell["bbox_label"], cell["area"])
        for info in data_list
        for cell in info["instances"]
    ]
    lines = [f"{'class':<20} {'images':>8} {'cells':>8} {'mean area, px':>14}"]
    for label, name in [*enumerate(classes), (-1, "(ignored regions)")]:
        areas = [area for _, cell_label, area in cells if cell_label == label]
        images = {img_id for img_id, cell_label, _ in cells if cell_label == label}
        mean = f"{sum(areas) / len(areas):.1f}" if areas else "-"
        if areas or label >= 0:
            lines.append(f"{name:<20} {len(images):>8} {len(areas):>8} {mean:>14}")
    return "\n".join(lines)


def run(args: argparse.Namespace) -> None:
    """Convert a folder and print what it holds."""
    with as_cellseg_error():
        dataset = build_dataset(args)
    entries = [
        {**info, "file_name": Path(info["img_path"]).relative_to(args.data_root).as_posix()}
        for info in dataset.data_list
    ]
    coco = {
        "info": {"description": f"cells of {args.data_root}"},
        **to_coco(entries, dataset.classes),
    }
    write_atomically(args.out, json.dumps(coco))
    totals = f"{len(entries)} images, {len(coco['annotations'])} annotations in {args.out}"
    write_result(f"{summarize(entries, dataset.classes)}\n{totals}")
