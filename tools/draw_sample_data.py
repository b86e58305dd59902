"""Draw the sample data set that the demo trains on; what is already there is kept.

python tools/draw_sample_data.py data/sample
python tools/draw_sample_data.py data/dense --train 4 --val 2 --size 1024 --cells 1000
"""

import argparse
import sys

from tqdm import tqdm

from cellseg.datasets.synthetic import SamplePlan, draw_sample_set


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = SamplePlan()
    parser.add_argument("out", help="folder of the data set; train/ and val/ are made in it")
    parser.add_argument("--train", type=int, default=default.num_train, help="training images")
    parser.add_argument("--val", type=int, default=default.num_val, help="validation images")
    parser.add_argument("--size", type=int, default=default.size_px, help="side in pixels")
    parser.add_argument("--cells", type=int, default=default.num_cells, help="mean cells an image")
    parser.add_argument("--seed", type=int, default=default.seed, help="draws another data set")
    return parser.parse_args()


def main() -> None:
    """Draw what is missing and say where it lies."""
    args = parse_args()
    plan = SamplePlan(args.train, args.val, args.size, args.cells, args.seed)
    try:
        drawn = draw_sample_set(args.out, plan, lambda folders: tqdm(folders, unit="image"))
    except ValueError as error:
        sys.exit(f"error: {error}")
    total = plan.num_train + plan.num_val
    sys.stdout.write(f"{args.out}: {total} images, {len(drawn)} drawn now\n")


if __name__ == "__main__":
    main()
