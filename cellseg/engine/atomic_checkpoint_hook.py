"""Checkpoints that survive a kill at any moment: write aside, sync, rename, only then delete."""

import logging
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mmdet.registry import HOOKS
from mmengine.dist import is_main_process
from mmengine.fileio import FileClient, LocalBackend, register_backend
from mmengine.hooks import CheckpointHook
from mmengine.logging import print_log
from mmengine.runner import Runner

from cellseg.engine.checkpoint_loading import CheckpointError, load_checkpoint_file
from cellseg.fileio import write_atomically


class AtomicLocalBackend(LocalBackend):
    """A LocalBackend whose writes leave the old file or the new one, never a part."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write bytes aside, sync, and rename them into place."""
        write_atomically(filepath, bytes(obj))

    def put_text(self, obj: str, filepath: str | Path, encoding: str = "utf-8") -> None:
        """Write text aside, sync, and rename it into place."""
        write_atomically(filepath, obj.encode(encoding))


register_backend("local", AtomicLocalBackend, force=True, prefixes="")
FileClient.register_backend("disk", AtomicLocalBackend, force=True)


@HOOKS.register_module()
class AtomicCheckpointHook(CheckpointHook):
    """A CheckpointHook after which a whole checkpoint exists at every moment.

    MMEngine's hook deletes the oldest checkpoint, or the old best, before it writes the new one,
    and writes in place. Here the new file is whole and named in ``last_checkpoint`` before anything
    is deleted. What a killed run left behind (half-written ``.part`` files, an outdated checkpoint,
    a second best) is cleaned up when training resumes.

    The paths that a checkpoint brings along are not trusted: only files of this hook's own naming
    in this run's own checkpoint folder are ever deleted.

    Args:
        **kwargs: As for ``CheckpointHook``; ``out_dir`` must be a local folder.
    """

    last_ckpt: str | None

    def __init__(self, **kwargs: Any) -> None:
        """Check that the checkpoints go to a local folder."""
        if "://" in str(kwargs.get("out_dir", "")):
            raise ValueError(
                f"Checkpoints cannot be written to {kwargs['out_dir']}; give a local out_dir."
            )
        super().__init__(**kwargs)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Refuse to resume from a file that holds weights only, in words that say so."""
        if not runner._resume:
            return
        meta = checkpoint.get("meta", {})
        if "message_hub" not in checkpoint or not all(
            isinstance(meta.get(key), int) for key in ("epoch", "iter")
        ):
            raise CheckpointError(
                "Training cannot resume from this checkpoint, as it holds weights but no training "
                "state; start from it with load_from instead of --resume."
            )

    def before_train(self, runner: Runner) -> None:
        """Find the checkpoint folder, and clean up after a run that was killed."""
        info = runner.message_hub.runtime_info
        for key in ("keep_ckpt_ids", "outdated_ckpt_ids"):
            if key in info:
                info[key] = [step for step in info[key] if type(step) is int]
        super().before_train(runner)
        if is_main_process():
            for folder in {Path(self.out_dir), Path(runner.work_dir)}:
                for part in folder.glob(".*.part"):
                    part.unlink(missing_ok=True)
        if self.save_best is not None:
            self._relocate_best(runner)
        if runner._resume:
            self._remove(map(self.filename_tmpl.format, info.get("outdated_ckpt_ids", [])))
            if self._resumes_from_newest(runner) and self.save_best is not None:
                self._settle_best(runner)
        if self.interval > 0 and self.last_ckpt is None:
            # makes MMEngine save a resumable checkpoint beside every best one, the first included
            self.last_ckpt = str(Path(self.out_dir) / self.filename_tmpl.format(runner.epoch))

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict[str, Any]) -> None:
        """Save a checkpoint, point ``last_checkpoint`` to it, then delete the oldest."""
        outdated = self._note_step(runner, step) if self.max_keep_ckpts > 0 else []
        filename = self.filename_tmpl.format(step)
        self.last_ckpt = self.file_backend.join_path(self.out_dir, filename)
        runner.message_hub.update_info("last_ckpt", self.last_ckpt)
        runner.save_checkpoint(
            self.out_dir,
            filename,
            self.file_client_args,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            meta=meta,
            by_epoch=self.by_epoch,
            backend_args=self.backend_args,
            **self.args,
        )
        if is_main_process():
            write_atomically(Path(runner.work_dir) / "last_checkpoint", self.last_ckpt)
        self._remove(map(self.filename_tmpl.format, outdated))

    def _note_step(self, runner: Runner, step: int) -> list[int]:
        """Enter a step among those kept, and return the steps that it makes outdated.

        Both lists are saved inside the checkpoint, so that a run killed before it deleted the
        outdated ones deletes them when it resumes.
        """
        steps = [kept for kept in self.keep_ckpt_ids if kept != step] + [step]
        outdated = steps[: -self.max_keep_ckpts]
        if not outdated and step in self.keep_ckpt_ids:
            outdated = runner.message_hub.get_info("outdated_ckpt_ids", [])
        self.keep_ckpt_ids.clear()
        self.keep_ckpt_ids.extend(steps[-self.max_keep_ckpts :])
        runner.message_hub.update_info("keep_ckpt_ids", list(self.keep_ckpt_ids))
        runner.message_hub.update_info("outdated_ckpt_ids", list(outdated))
        return outdated

    def _save_best_checkpoint(self, runner: Runner, metrics: dict[str, Any]) -> None:
        """Save a new best checkpoint, and delete the one before it only afterwards."""
        if self.save_best is None or not hasattr(self, "file_backend"):
            return  # the second: validation without training, where MMEngine fails
        previous = self._best_paths
        self._best_paths = [None] * len(previous)  # MMEngine deletes the file named here first
        try:
            super()._save_best_checkpoint(runner, metrics)
        finally:
            saved = self._best_paths
            self._best_paths = [new or old for new, old in zip(saved, previous, strict=True)]
        self._remove(
            Path(old).name
            for new, old in zip(saved, previous, strict=True)
            if new and old and new != old
        )

    @property
    def _best_paths(self) -> list[str | None]:
        """The path of the best checkpoint so far for each of ``save_best``, or None."""
        if len(self.key_indicators) == 1:
            return [self.best_ckpt_path]
        return [self.best_ckpt_path_dict.get(key) for key in self.key_indicators]

    @_best_paths.setter
    def _best_paths(self, paths: list[str | None]) -> None:
        if len(self.key_indicators) == 1:
            self.best_ckpt_path = paths[0]
        else:
            self.best_ckpt_path_dict = dict(zip(self.key_indicators, paths, strict=True))

    def _info_keys(self, indicator: str) -> tuple[str, str]:
        """Return the message hub's keys for the best score and the best path of a metric."""
        suffix = "" if len(self.key_indicators) == 1 else f"_{indicator}"
        return f"best_score{suffix}", f"best_ckpt{suffix}"

    def _relocate_best(self, runner: Runner) -> None:
        """Look for the best checkpoints in this run's folder, wherever they once were."""
        paths: list[str | None] = []
        for indicator, path in zip(self.key_indicators, self._best_paths, strict=True):
            here = Path(self.out_dir) / Path(str(path)).name
            is_ours = path is not None and here.name.startswith("best_") and here.is_file()
            paths.append(str(here) if is_ours else None)
            runner.message_hub.pop_info(self._info_keys(indicator)[1])
            if is_ours:
                runner.message_hub.update_info(self._info_keys(indicator)[1], str(here))
        self._best_paths = paths

    def _resumes_from_newest(self, runner: Runner) -> bool:
        """Return whether the folder holds no checkpoint of a later step, as after going back."""
        resumed = runner.epoch if self.by_epoch else runner.iter
        names = re.compile(_step_pattern(self.filename_tmpl))
        steps = (names.fullmatch(path.name) for path in Path(self.out_dir).iterdir())
        return all(int(step.group(1)) <= resumed for step in steps if step)

    def _settle_best(self, runner: Runner) -> None:
        """Keep one best checkpoint a metric, where a killed run left two or did not record one."""
        paths = self._best_paths
        for place, (indicator, rule) in enumerate(
            zip(self.key_indicators, self.rules, strict=True)
        ):
            score_key, path_key = self._info_keys(indicator)
            best_path = paths[place]
            best_score = runner.message_hub.get_info(score_key, self.init_value_map.get(rule))
            found = {str(path) for path in self._find_best_files(indicator)} - {best_path}
            for path in sorted(found):
                score = _read_best_score(path, score_key, path_key)
                if score is None:
                    continue
                if self.is_better_than[indicator](score, best_score):
                    best_path, path, best_score = path, best_path, score
                    runner.message_hub.update_info(score_key, best_score)
                    runner.message_hub.update_info(path_key, best_path)
                if path is not None:
                    self._remove([Path(path).name])
            paths[place] = best_path
        self._best_paths = paths

    def _find_best_files(self, indicator: str) -> list[Path]:
        """List this run's best checkpoints for a metric; none for the undecided ``auto``."""
        prefix = re.escape(f"best_{indicator}_".replace("/", "_"))
        names = re.compile(prefix + _step_pattern(self.filename_tmpl))
        return [path for path in Path(self.out_dir).iterdir() if names.fullmatch(path.name)]

    def _remove(self, names: Iterable[str]) -> None:
        """Delete files of the checkpoint folder, from the main process only."""
        if is_main_process():
            for name in names:
                (Path(self.out_dir) / name).unlink(missing_ok=True)


def _step_pattern(filename_tmpl: str) -> str:
    """Return a regular expression for a file name template whose group 1 is the step."""
    before, after = filename_tmpl.split("{}")
    return rf"{re.escape(before)}(\d+){re.escape(after)}"


def _read_best_score(path: str, score_key: str, path_key: str) -> float | None:
    """Return the score that a best checkpoint records for itself, or None if it is not one."""
    try:
        info = load_checkpoint_file(path).get("message_hub", {}).get("runtime_info", {})
    except CheckpointError as error:
        print_log(f"Left alone: {error}", logger="current", level=logging.WARNING)
        return None
    score = info.get(score_key)
    is_its_own = Path(str(info.get(path_key))).name == Path(path).name
    return float(score) if is_its_own and isinstance(score, int | float) else None
