"""Find what a report is made from in a training or test folder: config, results, checkpoint."""

import shlex
from pathlib import Path

from cellseg.errors import CellsegError

RESULT_PATTERN = "*.segm.json"


def find_config(work_dir: Path, config: str | Path | None = None) -> Path:
    """Find the config that training or testing wrote into its folder.

    Args:
        work_dir: The folder.
        config: A config to take instead.

    Returns:
        The file: the only .py of the folder, else the newest <time>/vis_data/config.py.

    Raises:
        CellsegError: If the folder or the config is absent, or there are several.
    """
    if not work_dir.is_dir():
        raise CellsegError(
            f"There is no folder {work_dir}; give the --work-dir of tools/train.py or tools/test.py."
        )
    if config is not None:
        return Path(config)
    found = sorted(work_dir.glob("*.py"))
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise CellsegError(f"{work_dir} holds several configs ({names}); choose with --config.")
    found = found or sorted(work_dir.glob("*/vis_data/config.py"))[-1:]
    if not found:
        raise CellsegError(
            f"{work_dir} holds no config (.py), so it is no folder of tools/train.py or "
            "tools/test.py; give one with --config."
        )
    return found[0]


def find_results(work_dir: Path, config: Path, results: str | Path | None = None) -> Path:
    """Find the predictions to report on.

    Args:
        work_dir: The folder.
        config: Its config, for the message.
        results: Predictions to take instead: a COCO result .json or a folder of label TIFFs.

    Returns:
        The given path, or the newest *.segm.json in the folder or one below it.

    Raises:
        CellsegError: If there is none; the message holds the command that makes them.
    """
    if results is not None:
        if not Path(results).exists():
            raise CellsegError(
                f"There are no predictions at {results}. To make them run:\n"
                f"    {suggest_command(work_dir, config)}"
            )
        return Path(results)
    found = [*work_dir.glob(RESULT_PATTERN), *work_dir.glob(f"*/{RESULT_PATTERN}")]
    if not found:
        raise CellsegError(
            f"{work_dir} holds no predictions ({RESULT_PATTERN}). To make them run:\n"
            f"    {suggest_command(work_dir, config)}\n"
            "or name a file that lies elsewhere with --results."
        )
    return max(found, key=lambda path: (path.stat().st_mtime, path.name))


def suggest_command(work_dir: Path, config: Path) -> str:
    """Write the command that makes the predictions which a report needs."""
    checkpoint = find_checkpoint(work_dir)
    words = [
        *("python", "tools/test.py", str(config)),
        "CHECKPOINT" if checkpoint is None else str(checkpoint),
        *("--work-dir", str(work_dir), "--out", str(work_dir / "results.json")),
    ]
    return shlex.join(words)


def find_checkpoint(work_dir: Path) -> Path | None:
    """Find the checkpoint to test: the best one, else the last one; None without any."""
    best = sorted(work_dir.glob("best_*.pth"), key=lambda path: path.stat().st_mtime)
    if best:
        return best[-1]
    every = sorted(work_dir.glob("*.pth"), key=lambda path: path.stat().st_mtime)
    return every[-1] if every else None
