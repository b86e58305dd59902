"""Describe a data set, draw it as the network gets it, and say whether it can be trained on."""

import argparse
from pathlib import Path

from cellseg.analysis.data_verdict import judge_data
from cellseg.cli.running import write_result
from cellseg.cli.tasks import browse_dataset, dataset_report
from cellseg.cli.tasks.next_steps import describe_next, quote
from cellseg.defaults import DEFAULT_TINY_PX


def run(args: argparse.Namespace) -> int:
    """Describe the data, draw samples, and say what to correct.

    Returns:
        1 if the data must be corrected before training, else 0.
    """
    facts = dataset_report.describe(
        argparse.Namespace(
            data=args.data,
            num_folds=None,
            cfg_options=args.cfg_options,
            classes=args.classes,
            channel_order=None,
            tiny_px=DEFAULT_TINY_PX,
        )
    )
    text = dataset_report.write(facts, args.out)
    files = f"Wrote to {args.out}: dataset_report.png, images.csv, suspicious_cells.csv"
    if Path(args.data).suffix == ".py":
        browse_dataset.draw_pages(make_browsing(args))
        files += ", page_1.png (the images as the network gets them: every cell must be outlined)"
    verdict = judge_data(facts)
    words = [text, files, "\n".join(verdict.lines)]
    if args.project is not None and not verdict.must_not_train:
        words.append(
            describe_next((f"cellseg train {quote(args.project)}", "train; stop it with Ctrl-C"))
        )
    write_result(*words)
    return 1 if verdict.must_not_train else 0


def make_browsing(args: argparse.Namespace) -> argparse.Namespace:
    """Make the flags of a page of six training images."""
    return argparse.Namespace(
        config=args.data,
        cfg_options=args.cfg_options,
        split="train",
        save_dir=args.out,
        count=6,
        columns=3,
        rows=2,
        tile=640,
        ids="auto",
        repeat=False,
        seed=0,
        show=False,
    )
