"""Let a training that goes on in the middle of an epoch end with the weights of an unbroken one."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from mmdet.registry import HOOKS
from mmengine.dataset import ClassBalancedDataset, RepeatDataset
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, Runner

_DATA, _STEP = 1, 2  # keep the random numbers of samples and of steps apart


@HOOKS.register_module()
class ExactResumeHook(Hook):
    """Make every random number follow from the run's seed and the step, not from what came before.

    A sample's augmentation follows from seed, epoch and its place in the data set, also in one that
    repeats samples; what the model draws (the proposals it learns from) from seed, step and
    process. A checkpoint then needs no random state, and a run that resumes within an epoch skips
    the batches it has seen.
    """

    priority = "VERY_HIGH"  # before others draw

    def __init__(self) -> None:
        """Start without a state."""
        self._state: torch.Tensor | None = None

    def before_train(self, runner: Runner) -> None:
        """Seed the sampler and the samples alike in the first run and in those that resume."""
        if not isinstance(runner.train_loop, EpochBasedTrainLoop):
            return  # MMEngine skips the batches itself
        loader = runner.train_dataloader
        self._state = torch.tensor([int(runner.seed or 0), 0]).share_memory_()
        for dataset in _list_datasets(loader.dataset):
            transforms = dataset.pipeline.transforms
            transforms[:] = [step for step in transforms if not isinstance(step, SeedSample)]
            transforms.insert(0, SeedSample(self._state))
        _tell_places(loader.dataset)
        # with a batch sampler, the loader's own sampler is torch's default, which is not used
        sampler = getattr(loader.batch_sampler, "sampler", loader.sampler)
        if hasattr(sampler, "seed"):
            sampler.seed = int(runner.seed or 0)

    def before_train_epoch(self, runner: Runner) -> None:
        """Tell the samples the epoch, and skip what a resumed run has seen of it."""
        if self._state is None:
            return
        self._state[1] = runner.epoch
        loop, length = runner.train_loop, len(runner.train_dataloader)
        seen = runner.iter - runner.epoch * length
        if 0 < seen < length:
            loop.dataloader = RestOfLoader(loop.dataloader, seen)

    def after_train_epoch(self, runner: Runner) -> None:
        """Give all batches of the next epoch."""
        loader = runner.train_loop.dataloader
        if isinstance(loader, RestOfLoader):
            runner.train_loop.dataloader = loader.whole

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Seed what the model draws in this step."""
        if self._state is not None:
            seed_everything(int(runner.seed or 0), _STEP, runner.iter, get_rank())


class SeedSample:
    """The first step of a pipeline: seed the random numbers of those that follow.

    Args:
        state: Seed and epoch, in memory that data loaders' processes share.
    """

    def __init__(self, state: torch.Tensor) -> None:
        """Keep the state."""
        self.state = state
        self.outer_place: int | None = None  # in a data set that repeats samples of this one

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        """Seed by the sample's place in its data set, and in one that repeats it."""
        seed, epoch = self.state.tolist()
        place = int(results.get("sample_idx", 0))
        outer = [] if self.outer_place in (None, place) else [int(self.outer_place or 0)]
        seed_everything(seed, _DATA, epoch, place, *outer)
        return results


class _PlaceTeller:
    """Finds a sample for a data set that repeats some, and tells where it was asked for.

    Args:
        dataset: MMEngine's RepeatDataset or ClassBalancedDataset.
        seeds: First steps of the pipelines behind it.
    """

    def __init__(self, dataset: Any, seeds: list[SeedSample]) -> None:
        """Keep the parts."""
        self._dataset, self._seeds = dataset, seeds

    def __call__(self, index: int) -> int:
        """Return the place in the inner data set."""
        for seed in self._seeds:
            seed.outer_place = index
        place: int = type(self._dataset)._get_ori_dataset_idx(self._dataset, index)
        return place


def _tell_places(dataset: Any) -> None:
    """Let data sets that repeat samples tell the pipelines which repetition is drawn.

    Without this, all repetitions of an image within an epoch would be the same crop.
    """
    for part in getattr(dataset, "datasets", None) or [getattr(dataset, "dataset", None)]:
        if part is not None:
            _tell_places(part)
    if isinstance(dataset, RepeatDataset | ClassBalancedDataset):
        seeds = [inner.pipeline.transforms[0] for inner in _list_datasets(dataset)]
        dataset._get_ori_dataset_idx = _PlaceTeller(dataset, seeds)


class RestOfLoader:
    """A data loader without its first batches; its length stays that of the whole epoch.

    Args:
        whole: The data loader.
        seen: Batches to leave out.
    """

    def __init__(self, whole: Any, seen: int) -> None:
        """Keep the parts."""
        self.whole = whole
        self._seen = seen

    def __len__(self) -> int:
        """Count the batches of an epoch."""
        return len(self.whole)

    def __iter__(self) -> Iterator[Any]:
        """Give the batches that are left."""
        for place, batch in enumerate(self.whole):
            if place >= self._seen:
                yield batch

    def __getattr__(self, name: str) -> Any:
        """Be the data loader in everything else."""
        return getattr(self.whole, name)


def seed_everything(*numbers: int) -> None:
    """Seed Python's, NumPy's and torch's random numbers from some numbers together."""
    words = np.random.SeedSequence([number % 2**32 for number in numbers]).generate_state(3)
    random.seed(int(words[0]))
    np.random.seed(int(words[1]))
    torch.manual_seed(int(words[2]))


def _list_datasets(dataset: Any) -> list[Any]:
    """List the data sets with a pipeline behind wrappers."""
    parts = getattr(dataset, "datasets", None) or [getattr(dataset, "dataset", None)]
    inner = [found for part in parts if part is not None for found in _list_datasets(part)]
    has_pipeline = hasattr(getattr(dataset, "pipeline", None), "transforms")
    return [*([dataset] if has_pipeline else []), *inner]
