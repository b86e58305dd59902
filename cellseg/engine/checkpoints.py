"""Find the checkpoint that training goes on from, also after a kill or a move of the folder."""

import logging
import re
import zipfile
from pathlib import Path

from mmengine.config import Config
from mmengine.logging import print_log

from cellseg.engine.checkpoint_loading import CheckpointError

_STEP_IN_NAME = re.compile(r"(?!best_).*?(\d+)\.pth")


def configure_resume(cfg: Config, resume: str | bool | None) -> Path | None:
    """Set ``cfg.resume`` and ``cfg.load_from`` from the ``--resume`` flag.

    Args:
        cfg: The run's config with ``work_dir`` set; changed in place.
        resume: A checkpoint's path; True, "" or "auto" for the newest whole one in the work
            folder (training starts afresh when there is none); None or False to leave cfg as it is.

    Returns:
        The checkpoint that training will go on from, or None.

    Raises:
        CheckpointError: If a named checkpoint does not exist.
    """
    if resume is None or resume is False:
        return None
    if resume in (True, "", "auto"):
        hooks = cfg.get("default_hooks") or {}
        out_dir = (hooks.get("checkpoint") or {}).get("out_dir")
        folders = [Path(out_dir) / Path(cfg.work_dir).absolute().name] if out_dir else []
        checkpoint = find_resumable_checkpoint(cfg.work_dir, *folders)
    else:
        checkpoint = Path(str(resume)).expanduser()
        if not checkpoint.is_file():
            raise CheckpointError(f"The checkpoint {checkpoint} does not exist; check --resume.")
    cfg.resume = checkpoint is not None
    if checkpoint is not None:
        cfg.load_from = str(checkpoint)
    return checkpoint


def find_resumable_checkpoint(work_dir: str | Path, *other_folders: str | Path) -> Path | None:
    """Return the newest whole checkpoint of a run.

    That is the one named in ``last_checkpoint``, unless a kill came between a newer checkpoint's
    renaming and the writing of ``last_checkpoint``. The name counts, not the folder before it, so
    that a moved or copied work folder resumes from its own files.

    Args:
        work_dir: The run's folder; it may be absent.
        *other_folders: Where checkpoints may lie besides, such as the hook's ``out_dir``.

    Returns:
        The path, or None if there is no whole checkpoint.
    """
    folders = [Path(work_dir), *map(Path, other_folders)]
    record = Path(work_dir) / "last_checkpoint"
    recorded = _read_record(record, folders)
    candidates = _list_checkpoints(folders)
    if recorded is not None and is_whole_checkpoint(recorded):
        newer = [path for path in candidates if _is_newer(path, recorded, record)]
        return next(filter(is_whole_checkpoint, newer), recorded)
    newest = next(filter(is_whole_checkpoint, candidates), None)
    if record.is_file() or (newest is None and candidates):
        outcome = f"going on from {newest}" if newest else "training starts from the beginning"
        _warn(f"{record} names no whole checkpoint; {outcome}.")
    return newest


def is_whole_checkpoint(path: Path) -> bool:
    """Return whether a file is a complete checkpoint archive, checksums included.

    Args:
        path: The file; it may be absent.

    Returns:
        False for a missing, truncated or damaged file, or one in another format.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            has_content = any(name.endswith("/data.pkl") for name in archive.namelist())
            return has_content and archive.testzip() is None
    except Exception:  # what is damaged in its directory makes zipfile raise nearly anything
        return False


def _read_record(record: Path, folders: list[Path]) -> Path | None:
    """Return the file that ``last_checkpoint`` names, looked for in the folders first."""
    try:
        named = Path(record.read_text("utf-8").strip())
    except (OSError, UnicodeDecodeError):
        return None
    places = [folder / named.name for folder in folders] + [named]
    return next((path for path in places if named.name and path.is_file()), None)


def _list_checkpoints(folders: list[Path]) -> list[Path]:
    """List the checkpoints that hold training state, newest step first."""
    paths = [path for folder in folders if folder.is_dir() for path in folder.glob("*.pth")]
    steps = {path: match for path in paths if (match := _STEP_IN_NAME.fullmatch(path.name))}
    return sorted(
        steps, key=lambda path: (int(steps[path].group(1)), path.stat().st_mtime), reverse=True
    )


def _is_newer(path: Path, recorded: Path, record: Path) -> bool:
    """Return whether a checkpoint was written after the record, for a later step."""
    match, mark = _STEP_IN_NAME.fullmatch(path.name), _STEP_IN_NAME.fullmatch(recorded.name)
    if match is None or mark is None or path.stat().st_mtime < record.stat().st_mtime:
        return False
    same_kind = path.name[: match.start(1)] == recorded.name[: mark.start(1)]
    return same_kind and int(match.group(1)) > int(mark.group(1))


def _warn(message: str) -> None:
    """Log a warning."""
    print_log(message, logger="current", level=logging.WARNING)
