"""Open what the commands compare: the ground truth of a data set, and predictions of any tool."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cellseg.datasets.cell_dataset import CellDataset
from cellseg.engine.configs import parse_cfg_options
from cellseg.engine.data_source import open_data
from cellseg.formats.prediction_files import read_predictions
from cellseg.formats.prediction_set import PredictionSet, TruthImage, join_results, list_truth
from cellseg.scoring.results import ImageResult


@dataclass(frozen=True)
class Comparison:
    """Ground truth and predictions of a data set.

    Attributes:
        dataset: The data set.
        options: Settings of the config that the flags override.
        images: Its images.
        predictions: What was predicted for them.
        results: Both, image by image.
    """

    dataset: CellDataset
    options: dict[str, Any] | None
    images: list[TruthImage]
    predictions: PredictionSet
    results: list[ImageResult]

    @property
    def classes(self) -> list[str]:
        """The class names."""
        return list(self.dataset.metainfo["classes"])

    @property
    def absent(self) -> str:
        """Names of the first images without a prediction; empty where each has one."""
        names = self.predictions.absent
        return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")


def open_comparison(
    truth: str | Path, predictions: str | Path, args: argparse.Namespace
) -> Comparison:
    """Open ground truth and predictions.

    Args:
        truth: Config or data folder.
        predictions: COCO result JSON, or folder of label TIFFs.
        args: The flags of `cellseg.cli.arguments.add_truth_arguments` and --cfg-options.

    Raises:
        CellsegError: If either cannot be used, or they do not belong together.
    """
    options = parse_cfg_options(args.cfg_options)
    dataset = open_data(truth, args.split, options, getattr(args, "classes", None))
    images = list_truth(dataset)
    found = read_predictions(predictions, images, list(dataset.metainfo["classes"]), args.files)
    return Comparison(dataset, options, images, found, join_results(images, found))
