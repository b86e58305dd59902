"""Dump raw predictions as MMDetection's `--out` does, for models whose masks are RLE lists."""

import pickle
from collections.abc import Sequence
from typing import Any

from mmdet.registry import METRICS
from mmengine.evaluator import DumpResults
from mmengine.evaluator.metric import _to_cpu
from mmengine.logging import print_log

from cellseg.fileio import write_atomically
from cellseg.structures.cells import to_rles


@METRICS.register_module()
class DumpCellResults(DumpResults):
    """Write the predictions of all images to the .pkl that MMDetection's tools read.

    As mmdet's DumpDetResults, but masks may already be RLE lists (there, only tensors), their
    counts are text, and the file is written aside and renamed. `instances`, the ground truth where
    the pipeline packs it, stays in, so that a dump can be scored later.

    Args:
        out_file_path: The file; must end with '.pkl' or '.pickle'.
        collect_device: 'cpu' or 'gpu', where results of several processes are gathered.
        collect_dir: Shared folder for gathering on the CPU.
    """

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep one batch's predictions, on the CPU and with masks as RLE.

        Args:
            data_batch: Unused.
            data_samples: Samples as dicts.
        """
        for sample in data_samples:
            kept = {
                k: v for k, v in sample.items() if k not in ("gt_instances", "ignored_instances")
            }
            if "masks" in kept.get("pred_instances", ()):
                masks = to_rles(kept["pred_instances"]["masks"])
                kept["pred_instances"] = {**kept["pred_instances"], "masks": masks}
            self.results.append(_to_cpu(kept))

    def compute_metrics(self, results: list[dict[str, Any]]) -> dict[str, float]:
        """Write the gathered results.

        Args:
            results: One dict per image.

        Returns:
            An empty dict: a dump has no score.
        """
        write_atomically(self.out_file_path, lambda file: pickle.dump(results, file, protocol=2))
        print_log(f"Results have been saved to {self.out_file_path}.", logger="current")
        return {}
