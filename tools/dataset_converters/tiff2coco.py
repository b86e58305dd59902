"""Write the annotations of a folder of label TIFFs as one COCO file.

python tools/dataset_converters/tiff2coco.py DATA_ROOT OUT.json
python tools/dataset_converters/tiff2coco.py DATA_ROOT OUT.json --classes nucleus
python tools/dataset_converters/tiff2coco.py DATA_ROOT OUT.json --classes tumour immune \
    --label-files tumour.tif immune.tif
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from cellseg.datasets.cell_dataset import CellDataset
from cellseg.datasets.label_maps import to_coco
from cellseg.fileio import write_atomically


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description="Write label TIFFs as one COCO annotation file.")
    parser.add_argument("data_root", type=Path, help="folder of <id>/image.tif with class files")
    parser.add_argument("out", type=Path, help="COCO JSON file to write")
    parser.add_argument(
        "--classes",
        nargs="+",
        default=list(CellDataset.METAINFO["classes"]),
        help="class names in the order of the class files",
    )
    parser.add_argument(
        "--label-files", nargs="+", help="label file of each class (default class1.tif, ...)"
    )
    parser.add_argument("--image-name", default="image.tif", help="name of the image in its folder")
    parser.add_argument(
        "--ignore-name", default="ignore.tif", help="label map of regions to ignore; '' for none"
    )
    parser.add_argument("--min-area-px", type=int, default=1, help="drop smaller cells, in pixels")
    parser.add_argument("--include", help="text file with the image names to take, one a line")
    parser.add_argument("--test-index", help="JSON list of {file_name, id, height, width}")
    parser.add_argument("--skip-bad", action="store_true", help="leave out images that are bad")
    parser.add_argument("--ignore-unknown", action="store_true", help="accept other TIFFs")
    parser.add_argument("--num-workers", type=int, help="threads that read (default: all cores)")
    parser.add_argument("--no-cache", action="store_true", help="neither read nor write the cache")
    return parser.parse_args()


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


def main() -> None:
    """Convert a folder and print what it holds."""
    args = parse_args()
    try:
        dataset = build_dataset(args)
    except ValueError as error:
        sys.exit(str(error))
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
    sys.stdout.write(f"{summarize(entries, dataset.classes)}\n{totals}\n")


if __name__ == "__main__":
    main()
