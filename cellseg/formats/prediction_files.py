"""Read predictions from files: COCO result JSON, or folders of label TIFFs from any tool.

Nothing is trusted, and no pickle is ever opened. Every error names the file and says what to do.
"""

from collections.abc import Sequence
from pathlib import Path

from cellseg.errors import CellsegError
from cellseg.formats.coco_results import read_coco_results
from cellseg.formats.label_tiff import read_label_folder
from cellseg.formats.prediction_set import PredictionSet, TruthImage

_PICKLES = {".pkl", ".pickle", ".pth", ".pt", ".npy"}


def read_predictions(
    path: str | Path,
    images: Sequence[TruthImage],
    class_names: Sequence[str],
    pattern: str | None = None,
) -> PredictionSet:
    """Read predictions, whichever kind they are.

    Args:
        path: A COCO result JSON, or a folder of label TIFFs.
        images: The images of the data set.
        class_names: The classes in order.
        pattern: As for `read_label_folder`.

    Returns:
        The predictions.

    Raises:
        CellsegError: If the files cannot be used, or do not belong to this data set.
    """
    path = Path(path)
    if path.is_dir():
        return read_label_folder(path, images, class_names, pattern)
    if path.suffix.lower() in _PICKLES:
        raise CellsegError(
            f"{path}: opening a {path.suffix} file can run code, so it is not read. Give the COCO "
            f"result JSON that tools/test.py --out writes beside it, {path.stem}.segm.json."
        )
    if not path.exists():
        raise CellsegError(f"There are no predictions at {path}.")
    if path.suffix.lower() != ".json":
        raise CellsegError(
            f"{path}: predictions are a folder of label TIFFs or a COCO result .json."
        )
    return read_coco_results(path, images, class_names)
