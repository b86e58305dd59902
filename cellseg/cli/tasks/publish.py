"""Publish: gather what is known of a checkpoint, write its model folder, compare the cells."""

import argparse
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from mmdet.registry import DATASETS
from mmengine.config import Config
from mmengine.registry import init_default_scope

from cellseg.cli.running import write_result
from cellseg.datasets.synthetic import draw_cell_image
from cellseg.engine.checkpoint_loading import load_checkpoint_file
from cellseg.engine.configs import list_datasets, parse_cfg_options
from cellseg.engine.data_source import build_dataset
from cellseg.engine.model_record import ModelRecord, find_record
from cellseg.engine.record_hook import make_record
from cellseg.errors import CellsegError
from cellseg.images import open_image
from cellseg.inference.image_list import find_input_images
from cellseg.inference.model_source import ModelSource, open_model
from cellseg.inference.predictor import Predictor
from cellseg.inference.publishing import (
    LARGEST_BYTES,
    Publication,
    compare_models,
    publish_model,
)

_MOST_IMAGES = 3
_LARGEST_SIDE = 512


def find_config(checkpoint: Path) -> Path | None:
    """Find the config that MMEngine wrote beside a checkpoint; None unless there is exactly one."""
    found = sorted(checkpoint.parent.glob("*.py"))
    return found[0] if len(found) == 1 else None


def open_source(args: argparse.Namespace) -> ModelSource:
    """Open the checkpoint with its record, which is made of config and data where it has none."""
    path = args.checkpoint.expanduser()
    options = parse_cfg_options(args.cfg_options)
    loaded = load_checkpoint_file(path)
    record = find_record(loaded, path)
    beside = None if record is not None and record.network else find_config(path)
    config = args.config or beside
    if config is None and not options:
        source = open_model(None, path)
    elif config is None:
        raise CellsegError("--cfg-options needs a config; give --config.")
    else:
        source = open_model(config, path, options)
    if source.record is None:
        source = replace(source, record=rebuild_record(source.config))
    if source.record is not None and args.pixel_size is not None:
        source = replace(source, record=replace(source.record, pixel_size_um=args.pixel_size))
    if source.record is None:
        raise CellsegError(
            f"The config {source.config.filename} has no test_dataloader with a pipeline, so the "
            "model cannot be described; give the config that it was trained with."
        )
    return source


def rebuild_record(config: Config) -> ModelRecord | None:
    """Make the record of a checkpoint of an older version, with the data where they still are."""
    init_default_scope(config.get("default_scope", "mmdet"))
    settings = list_datasets(config).get("train")
    try:
        data = None if settings is None else DATASETS.build(settings)
    except (CellsegError, ValueError, OSError) as error:
        write_result(
            f"The training data cannot be read ({str(error).splitlines()[0]}), so the size of the "
            "training cells stays unknown; predictions cannot choose the scale by it."
        )
        data = None
    return make_record(config, data)


def read_training_facts(checkpoint: Mapping[str, Any], args: argparse.Namespace) -> dict[str, Any]:
    """Collect what the checkpoint says of its training, for the card."""
    meta = checkpoint.get("meta") or {}
    facts: dict[str, Any] = {}
    if meta.get("epoch") is not None:
        facts["trained"] = f"{meta['epoch']} epochs, {meta.get('iter', '?')} steps"
    if meta.get("seed") is not None:
        facts["seed"] = int(meta["seed"])
    date = str(meta.get("time") or "")
    if len(date) >= 8 and date[:8].isdigit():
        facts["date"] = f"{date[:4]}-{date[4:6]}-{date[6:8]}"
    given = {"data": args.data, "command": args.trained_by}
    return facts | {name: value for name, value in given.items() if value}


def read_scores(checkpoint: Mapping[str, Any]) -> dict[str, float]:
    """Read the last validation's scores of a checkpoint; empty where it holds none."""
    scalars = (checkpoint.get("message_hub") or {}).get("log_scalars") or {}
    names = {"val/coco/segm_mAP_50": "validation AP50", "val/coco/segm_mAP": "validation AP"}
    found = {}
    for key, name in names.items():
        with suppress(AttributeError, IndexError, TypeError, ValueError, KeyError):
            found[name] = float(scalars[key].current())
    return found


def choose_images(args: argparse.Namespace, source: ModelSource) -> list[np.ndarray]:
    """Choose images to compare predictions on, at most 512 x 512 pixels of each."""
    paths: list[Path] = []
    if args.images:
        paths = [image.path for image in find_input_images(args.images)]
    else:
        settings = list_datasets(source.config).get("val")
        with suppress(CellsegError, ValueError, OSError, TypeError):
            data = build_dataset({**(settings or {}), "pipeline": []})
            paths = [Path(data.get_data_info(index)["img_path"]) for index in range(len(data))]
    image_format = {"channel_order": source.record.channel_order if source.record else None}
    image_format = {key: value for key, value in image_format.items() if value}
    images = []
    for path in paths[:_MOST_IMAGES]:
        with open_image(path, image_format) as opened:
            side = min(opened.width, _LARGEST_SIDE), min(opened.height, _LARGEST_SIDE)
            images.append(opened.read(0, 0, *side))
    if not images:
        images = [draw_cell_image(np.random.default_rng(0), 384, 384, 80)[0]]
    return images


def run(args: argparse.Namespace) -> None:
    """Publish a checkpoint."""
    source = open_source(args)
    name = args.name or args.out.resolve().name
    checkpoint = source.checkpoint or {}
    scores = dict(args.scores) or read_scores(checkpoint)
    before = Predictor(source.config, args.checkpoint)
    publication = Publication(name, args.license, scores, read_training_facts(checkpoint, args))
    num_bytes = publish_model(source, args.out, publication)
    comparison = compare_models(before, Predictor(args.out), choose_images(args, source))
    lines = [f"Wrote {args.out}: {num_bytes / 1e6:.1f} MB.", comparison.describe()]
    if not comparison.is_same:
        lines.append(
            "warning: that is not the same model; do not share it before you know why (compare on "
            "other images with --images)."
        )
    if num_bytes > LARGEST_BYTES:
        lines.append(f"It is larger than {LARGEST_BYTES / 1e6:g} MB, the limit for shipped models.")
    unknown = source.record.list_unknown() if source.record else []
    if unknown:
        lines.append(f"Not known: {', '.join(unknown)}.")
    lines.append(f"Complete the card, {args.out / 'README.md'}, before you share the model.")
    write_result("\n".join(lines))
