"""The data set of cell images: label TIFFs become MMDetection's `instances` on load."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmdet.datasets import BaseDetDataset
from mmdet.registry import DATASETS
from mmengine.logging import print_log

from cellseg.datasets.folder_facts import FolderFacts, join_folder_facts
from cellseg.datasets.image_records import ImageFiles, ImageRecord
from cellseg.datasets.layer_instances import to_data_instances
from cellseg.datasets.layout import (
    FileNames,
    find_images,
    name_label_files,
    read_name_list,
    read_test_index,
)
from cellseg.datasets.record_loading import load_records
from cellseg.datasets.resize_factors import find_resize_factors
from cellseg.datasets.splits import FoldAssignment, assign_folds, read_groups
from cellseg.errors import CellDataError
from cellseg.images import DEFAULT_MAX_PIXELS, check_image_format, check_intensity_range
from cellseg.images.stain_check import warn_of_swapped_channels
from cellseg.palette import DEFAULT_PALETTE, choose_palette
from cellseg.structures.label_pieces import MERGED_LABELS_HINT

_MAX_LISTED = 20
_MAX_NAMED = 5


@DATASETS.register_module()
class CellDataset(BaseDetDataset):
    """Read folders of `<id>/image.tif` with one label map a class; nothing is prepared beforehand.

    All files are read once, checked and cached when the data set is built, so that bad ones are
    found before training starts, in one message. Each entry has the keys `img_path`, `img_id`,
    `img_name`, `height`, `width`, `image_format`, `label_paths` and `instances` (see
    `layer_instances.to_data_instances`); an image without cells has an empty list of instances.

    Args:
        data_root: Folder of image folders, or several.
        metainfo: `classes` (and `palette`) in the order of the class files; without classes, those
            in the folder's dataset.json (see `folder_facts`), else `METAINFO`'s.
        image_name: Name of the image in its folder.
        label_names: Name, or names, of the label maps of each class; class1.tif, class2.tif, ... in
            the order of the classes by default. A file that is absent means no such cells.
        ignore_name: Label map of regions that are neither cells nor background; None for none.
        unknown_labels: 'error' or 'ignore': what to do with other TIFFs beside the image.
        channel_order: Order of the channels in the files, 'rgb' or 'bgr'; what dataset.json says,
            else 'rgb', when None.
        pixel_size_um: Side of a pixel in micrometers; what dataset.json says when None.
        intensity_range: How images that are not 8 bit are mapped: (low, high), or
            dict(percentile=(low, high)) of each image.
        min_area_px: Smaller cells are dropped, in pixels.
        include: Names of the images to take, or a text file with one a line.
        num_folds: Number of folds to split into; 0 for no split.
        fold: The fold that is held out.
        split: 'train' for all folds but the one held out, 'val' for that one.
        groups_file: `image name,group` lines; images of a group (a patient) share a fold.
        test_index: JSON list of `{file_name, id, height, width}` (relative to the data root, if it
            is not found as given): the files it lists are the images.
        bad_images: 'error', or 'skip' to go on without images that cannot be used.
        num_workers: Threads that read images when the cache does not know them; None for all cores.
        cache: Whether to keep annotations between starts, or the folder to keep them in.
        max_pixels: Largest height x width that is decoded, in pixels.
        **kwargs: As for mmdet's BaseDetDataset. `filter_cfg` knows `filter_empty_gt` and
            `min_size`, which apply to training only.
    """

    METAINFO = {
        "classes": ("epithelial", "lymphocyte", "neutrophil", "macrophage"),
        "palette": list(DEFAULT_PALETTE),
    }

    def __init__(
        self,
        *,
        data_root: str | Path | Sequence[str | Path] = "",
        metainfo: Mapping[str, Any] | None = None,
        image_name: str = "image.tif",
        label_names: Mapping[str, str | Sequence[str]] | None = None,
        ignore_name: str | None = "ignore.tif",
        unknown_labels: str = "error",
        channel_order: str | None = None,
        pixel_size_um: float | None = None,
        intensity_range: Any = None,
        min_area_px: int = 1,
        include: str | Path | Sequence[str] | None = None,
        num_folds: int = 0,
        fold: int = 0,
        split: str = "train",
        groups_file: str | Path | None = None,
        test_index: str | Path | None = None,
        bad_images: str = "error",
        num_workers: int | None = None,
        cache: bool | str | Path = True,
        max_pixels: int = DEFAULT_MAX_PIXELS,
        **kwargs: Any,
    ) -> None:
        """Check the options and, unless `lazy_init` is set, read the data."""
        _check_options(unknown_labels, bad_images, split, fold, num_folds)
        roots = [data_root] if isinstance(data_root, (str, Path)) else list(data_root)
        self.roots = [Path(root) for root in roots]
        facts = _read_missing_facts(self.roots, metainfo, channel_order)
        metainfo = _add_classes(metainfo, facts)
        self.pixel_size_um = pixel_size_um or facts.pixel_size_um
        self.classes = _check_classes(self._load_metainfo(metainfo)["classes"])
        label_files = name_label_files(self.classes, label_names)
        allow_unknown = unknown_labels == "ignore"
        self.file_names = FileNames(image_name, label_files, ignore_name, allow_unknown)
        order = channel_order or facts.channel_order or "rgb"
        colors = dict(channel_order=order, intensity_range=intensity_range)
        self.image_format = check_image_format(dict(colors, max_pixels=max_pixels))
        self.min_area_px, self.include, self.test_index = min_area_px, include, test_index
        self.num_folds, self.fold, self.split = num_folds, fold, split
        self.groups_file, self.bad_images = groups_file, bad_images
        self.num_workers, self.cache = num_workers, cache
        kwargs.setdefault("data_prefix", {})
        steps = kwargs.get("pipeline", ())
        self._resizes = [step for step in steps if _changes_size(step)]
        super().__init__(data_root=str(roots[0]) if roots else "", metainfo=metainfo, **kwargs)

    @classmethod
    def _load_metainfo(cls, metainfo: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Collect the meta information, with a palette of as many colors as there are classes."""
        collected = super()._load_metainfo(metainfo)
        has_own_palette = metainfo is not None and "palette" in metainfo
        if len(collected["classes"]) > len(collected["palette"]) and not has_own_palette:
            collected["palette"] = choose_palette(len(collected["classes"]))
        return collected

    def load_data_list(self) -> list[dict[str, Any]]:
        """Read, check and split all images.

        Returns:
            One entry per image, in order of name or, with a test index, of the index.

        Raises:
            CellDataError: If anything cannot be used, with all bad files in one message; with
                bad_images='skip' only if no image is left.
        """
        images, problems = self._find_images()
        outcomes = load_records(
            images, self.cache, self.num_workers, self.image_format["max_pixels"]
        )
        good: list[tuple[ImageFiles, ImageRecord]] = []
        for files, outcome in zip(images, outcomes, strict=True):
            problem = self._find_problem(files, outcome)
            if problem is None and isinstance(outcome, ImageRecord):
                good.append((files, outcome))
            else:
                problems.append(str(problem))
        self._report_problems(problems, len(good))
        self._warn_of_overlap(good)
        warn_of_swapped_channels(
            [files.image for files, _ in good],
            self.image_format,
            'channel_order="{order}" in the data sets of the config '
            "(--cfg-options train_dataloader.dataset.channel_order={order}, likewise for val and "
            "test)",
        )
        self._warn_of_merged_labels(good)
        return self._take_split([self._to_data_info(*pair) for pair in good])

    def filter_data(self) -> list[dict[str, Any]]:
        """Drop images that `filter_cfg` rules out, in training only.

        Returns:
            The entries kept. Regions to ignore do not count as cells for `filter_empty_gt`.

        Raises:
            CellDataError: If none is left.
        """
        if self.test_mode or not self.filter_cfg:
            return self.data_list
        min_size = self.filter_cfg.get("min_size", 0)
        filter_empty = self.filter_cfg.get("filter_empty_gt", False)
        kept = [
            info
            for info in self.data_list
            if min(info["height"], info["width"]) >= min_size
            and not (filter_empty and all(cell["ignore_flag"] for cell in info["instances"]))
        ]
        if not kept:
            raise CellDataError(
                f"{self._roots_text()}: filter_cfg leaves none of {len(self.data_list)} images; "
                "check the label file names, or loosen filter_cfg."
            )
        return kept

    def get_cat_ids(self, idx: int) -> list[int]:
        """Return the class index of each cell of an image; regions to ignore are left out."""
        instances = self.get_data_info(idx)["instances"]
        return [cell["bbox_label"] for cell in instances if not cell["ignore_flag"]]

    def _find_images(self) -> tuple[list[ImageFiles], list[str]]:
        """Find the files of all images, and what is wrong with folders that cannot be used."""
        include = None if self.include is None else read_name_list(self.include)
        if self.test_index is None:
            return find_images(self.roots, self.file_names, include)
        if len(self.roots) != 1:
            raise ValueError("test_index needs exactly one data_root.")
        index = Path(self.test_index)
        index = index if index.is_file() else self.roots[0] / index
        images = read_test_index(self.roots[0], index, self.file_names)
        if include is not None:
            images = [files for files in images if files.name in include]
        return images, []

    def _find_problem(
        self, files: ImageFiles, outcome: ImageRecord | CellDataError
    ) -> CellDataError | None:
        """Return why an image cannot be used with the present options, or None."""
        if isinstance(outcome, CellDataError):
            return outcome
        size = (outcome.height, outcome.width)
        if files.declared_size not in (None, size):
            return CellDataError(
                f"{files.image}: is {size} pixels (height, width) but the test index says "
                f"{files.declared_size}; replace the file or correct the index."
            )
        limit = self.image_format["max_pixels"]
        if size[0] * size[1] > limit:
            return CellDataError(f"{files.image}: is larger than max_pixels={limit}; raise it.")
        factors = find_resize_factors(self._resizes, *size)
        if factors is not None and min(size) * factors.low < 0.5:  # rounded, that is no pixel
            return CellDataError(
                f"{files.image}: is {size[1]} x {size[0]} pixels, too thin for the pipeline's "
                f"resizing by {factors.low:.2g}; leave it out, or let the pipeline keep its size."
            )
        try:
            check_intensity_range(
                files.image, outcome.is_8bit, self.image_format["intensity_range"]
            )
        except CellDataError as error:
            return error
        return None

    def _report_problems(self, problems: list[str], num_good: int) -> None:
        """Raise one error with all problems, or report each skipped image."""
        if problems and (self.bad_images == "error" or not num_good):
            listed = "\n".join(f"  {problem}" for problem in problems[:_MAX_LISTED])
            if len(problems) > _MAX_LISTED:
                listed += f"\n  and {len(problems) - _MAX_LISTED} more"
            raise CellDataError(
                f"{self._roots_text()}: {len(problems)} images cannot be used:\n{listed}\n"
                "Fix or remove them, or go on without them by bad_images='skip' in the data set's "
                "config (--cfg-options train_dataloader.dataset.bad_images=skip, likewise for "
                "val and test)."
            )
        if not num_good:
            raise CellDataError(f"{self._roots_text()}: no image is left; check include.")
        for problem in problems:
            _warn(f"Skipped a bad image: {problem}")

    def _warn_of_overlap(self, images: Sequence[tuple[ImageFiles, ImageRecord]]) -> None:
        """Warn of pixels that two classes claim, and of a training set without any label."""
        counts = {files.name: rec.overlap_px for files, rec in images if rec.overlap_px}
        if counts:
            worst = sorted(counts, key=lambda name: -counts[name])[:5]
            _warn(
                f"{self._roots_text()}: {sum(counts.values())} pixels in {len(counts)} images are "
                "claimed by two classes; both cells keep them. Most are in "
                f"{', '.join(f'{name} ({counts[name]})' for name in worst)}."
            )
        if not self.test_mode and not any(files.labels for files, _ in images):
            names = ", ".join(name for files in self.file_names.labels for name in files)
            _warn(f"{self._roots_text()}: no image has a label file; expected {names}.")

    def _warn_of_merged_labels(self, images: Sequence[tuple[ImageFiles, ImageRecord]]) -> None:
        """Warn of images whose labels seem to stand for many cells each."""
        merged = [files.name for files, record in images if record.looks_merged]
        if merged:
            more = ", ..." if len(merged) > _MAX_NAMED else ""
            _warn(
                f"{self._roots_text()}: in {len(merged)} of {len(images)} images labels are in "
                f"several pieces, or only 255 ({', '.join(merged[:_MAX_NAMED])}{more}): "
                f"{MERGED_LABELS_HINT}."
            )

    def _to_data_info(self, files: ImageFiles, record: ImageRecord) -> dict[str, Any]:
        """Write a record as an entry of the data list."""
        return {
            "img_path": str(files.image),
            "img_id": files.img_id,
            "img_name": files.name,
            "height": record.height,
            "width": record.width,
            "image_format": dict(self.image_format),
            "label_paths": [str(path) for path in files.label_paths],
            "instances": to_data_instances(record.instances, files.layer_classes, self.min_area_px),
        }

    def split_into_folds(
        self, num_folds: int, infos: Sequence[Mapping[str, Any]] | None = None
    ) -> FoldAssignment:
        """Assign images to folds, the same ones in every run and program.

        Args:
            num_folds: Number of folds, at least 2.
            infos: The entries of the images; None for those that the data set holds.

        Returns:
            The fold of each image, and the classes that could not be put into every fold.

        Raises:
            CellDataError: If there are fewer images or groups than folds, or one has no group.
        """
        if infos is None:
            infos = [self.get_data_info(index) for index in range(len(self))]
        presence = np.zeros((len(infos), len(self.classes)), dtype=bool)
        for row, info in zip(presence, infos, strict=True):
            row[[cell["bbox_label"] for cell in info["instances"] if not cell["ignore_flag"]]] = (
                True
            )
        names = [info["img_name"] for info in infos]
        try:
            assignment = assign_folds(names, presence, num_folds, self._read_groups(names))
        except ValueError as error:
            raise CellDataError(f"{self._roots_text()}: {error}") from error
        for class_index in assignment.uncovered:
            _warn(
                f"{self._roots_text()}: not every fold holds class {self.classes[class_index]}, "
                f"which only {int(presence[:, class_index].sum())} images hold, or whose images "
                "cannot be spread; lower num_folds to have it everywhere."
            )
        return assignment

    def _take_split(self, data_list: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Keep the entries of the wanted side of the fold; all where there are no folds."""
        if not self.num_folds:
            return data_list
        is_val = self.split_into_folds(self.num_folds, data_list).folds == self.fold
        wanted = is_val if self.split == "val" else ~is_val
        return [info for info, is_wanted in zip(data_list, wanted, strict=True) if is_wanted]

    def _read_groups(self, names: Sequence[str]) -> dict[str, str] | None:
        """Read the group of each image; raise CellDataError where one is missing."""
        if self.groups_file is None:
            return None
        groups = read_groups(self.groups_file)
        absent = [name for name in names if name not in groups]
        if absent:
            raise CellDataError(
                f"{self.groups_file}: names no group for {len(absent)} images "
                f"({', '.join(absent[:5])}); add a line for each."
            )
        return groups

    def _roots_text(self) -> str:
        """Name the data roots in a message."""
        return ", ".join(str(root) for root in self.roots)


def _read_missing_facts(
    roots: Sequence[Path], metainfo: Mapping[str, Any] | None, channel_order: str | None
) -> FolderFacts:
    """Read what the folders' dataset.json say; what the config says need not agree in them."""
    given = {"classes": (metainfo or {}).get("classes"), "channel_order": channel_order}
    return join_folder_facts(roots, [name for name, value in given.items() if value is not None])


def _changes_size(step: Any) -> bool:
    """Return whether a step of a pipeline resizes or crops by pixels."""
    name = str(step.get("type")).rpartition(".")[2] if isinstance(step, Mapping) else ""
    return name in ("RandomCrop", "Resize", "RandomResize")


def _add_classes(metainfo: Mapping[str, Any] | None, facts: FolderFacts) -> dict[str, Any] | None:
    """Return the meta information with a folder's own classes where the config names none."""
    given = dict(metainfo or {})
    if facts.classes is not None and given.get("classes") is None:
        given["classes"] = facts.classes
    return given or None


def _check_options(
    unknown_labels: str, bad_images: str, split: str, fold: Any, num_folds: int
) -> None:
    """Raise ValueError unless each option has one of its values."""
    for option, value, choices in (
        ("unknown_labels", unknown_labels, ["error", "ignore"]),
        ("bad_images", bad_images, ["error", "skip"]),
        ("split", split, ["train", "val"]),
    ):
        if value not in choices:
            raise ValueError(f"{option} must be one of {choices}, not {value!r}.")
    if num_folds and not (isinstance(fold, int) and 0 <= fold < num_folds):
        raise ValueError(
            f"fold must lie in 0 to {num_folds - 1}, not be {fold}; num_folds=0 takes all."
        )


def _check_classes(classes: Any) -> tuple[str, ...]:
    """Return the class names; raise ValueError unless they are a list of unique names."""
    is_list = isinstance(classes, Sequence) and not isinstance(classes, str)
    if not is_list or not classes or not all(isinstance(name, str) for name in classes):
        raise ValueError(f"metainfo classes must be a list of names, not {classes!r}.")
    if len(set(classes)) != len(classes):
        raise ValueError(f"metainfo names a class twice: {list(classes)}.")
    return tuple(classes)


def _warn(message: str) -> None:
    """Log a warning."""
    print_log(message, logger="current", level=logging.WARNING)
