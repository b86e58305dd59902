"""Make a project: convert the data, choose what suits data and machine, write the config."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from cellseg.cli.running import write_result
from cellseg.cli.tasks.next_steps import describe_next, quote
from cellseg.config_files import configs_folder
from cellseg.datasets.folder_facts import FolderFacts, read_folder_facts, write_folder_facts
from cellseg.engine.fine_tuning import (
    BASE_NAME,
    Schedule,
    TrainingFolder,
    choose_scale,
    open_training_folder,
    plan_schedule,
)
from cellseg.engine.machine import Machine, look_at_machine
from cellseg.engine.start_model import StartModel, find_start_model
from cellseg.errors import CellsegError
from cellseg.fileio import write_atomically
from cellseg.formats.conversion.converting import check_source, convert
from cellseg.formats.conversion.names import parse_class_map, settle_classes
from cellseg.formats.guessing import guess_format, open_annotated
from cellseg.model_files import find_default_model
from cellseg.project_files import CONFIG_NAME, DATA_NAME, RUN_NAME


def run(args: argparse.Namespace) -> None:
    """Convert, choose, write, and say what to run next."""
    start = find_start_model(args.start or find_default_model().name)
    reports = []
    data = args.data
    if data is None:
        data = args.project / DATA_NAME
        reports = convert_parts(args, data)
    folder = open_training_folder(data, args.classes)
    if args.data is not None:
        name_classes(folder)
        reports.append(describe_folder(folder))
    config = args.project / CONFIG_NAME
    if config.is_file():
        reports.append(f"{config} was there already and stays as it is.")
    else:
        name = args.start or start.path.name
        machine = look_at_machine()
        steps = args.steps or machine.num_steps
        text = write_config(args.project, folder, start, name, machine, steps)
        write_atomically(config, text)
        reports.append(f"Wrote {config}: what to train, on what, and why.")
    next_steps = describe_next(
        (f"cellseg check {quote(args.project)}", "look for what is wrong with the labels"),
        (f"cellseg train {quote(args.project)}", "train; says what time is left after ten steps"),
        (f"cellseg evaluate {quote(args.project)}", "score the validation images"),
        (f"cellseg predict IMAGES --model {quote(args.project)}", "find cells in new images"),
    )
    write_result(*reports, next_steps)


def convert_parts(args: argparse.Namespace, data: Path) -> list[str]:
    """Convert the images, and the validation images where they are given.

    Returns:
        What became of the data, for the user.
    """
    if args.val_images is None:
        return [convert_images(args, args.images, args.labels, data, args.classes)]
    train, val = data / "train", data / "val"
    reports = [convert_images(args, args.images, args.labels, train, args.classes)]
    # A class that the validation images lack must not move the numbers of those behind it.
    classes = read_folder_facts(train).classes
    return [*reports, convert_images(args, args.val_images, args.val_labels, val, classes)]


def convert_images(
    args: argparse.Namespace,
    images: Path,
    labels: Path | None,
    out: Path,
    classes: Sequence[str] | None,
) -> str:
    """Convert one folder of images with their labels; the report."""
    kind = guess_format(images, labels) if args.format == "auto" else args.format
    only = classes[0] if classes and len(classes) == 1 else "cell"
    source = open_annotated(images, labels, kind, only, args.channel_order)
    check_source(source, args.skip_bad)
    table = settle_classes(source, classes, parse_class_map(args.class_map))
    settings = {"format": kind, "channel_order": args.channel_order}
    if args.connected_components:  # only where set, so that earlier projects are continued
        settings["connected_components"] = True
    report = convert(
        source,
        table,
        out,
        settings=settings,
        skip_bad=args.skip_bad,
        split_pieces=args.connected_components,
        progress=lambda found: tqdm(found, unit="image", desc="converting", disable=None),
    )
    return f"{report.to_text()}\nEvery case: {out / 'conversion.csv'}"


def describe_folder(folder: TrainingFolder) -> str:
    """Say what a data folder holds."""
    data = folder.data
    cells = sum(
        not cell["ignore_flag"]
        for index in range(len(data))
        for cell in data.get_data_info(index)["instances"]
    )
    names = ", ".join(data.metainfo["classes"])
    return f"{folder.train_root}: {len(data)} images with {cells:,} cells ({names})."


def name_classes(folder: TrainingFolder) -> None:
    """Write the class names into the dataset.json of a folder that lacks them."""
    names = tuple(folder.data.metainfo["classes"])
    for root in {folder.train_root, folder.val_root}:
        own = read_folder_facts(root).classes
        if own is None:
            write_folder_facts(root, FolderFacts(names))
        elif own != names:
            raise CellsegError(
                f"{root / 'dataset.json'} names the classes {', '.join(own)}, not "
                f"{', '.join(names)}; correct the file, or leave out --classes."
            )


def write_config(
    project: Path,
    folder: TrainingFolder,
    start: StartModel,
    start_name: str,
    machine: Machine,
    steps: int,
) -> str:
    """Write the config as text."""
    scale, median = choose_scale(start.record, folder.data)
    plan = plan_schedule(folder.num_train, steps, machine.batch_size)
    size = "the model's own scale: its record does not say how large its cells were"
    if median is not None:
        size = (
            f"enlarges the median cell from {median:.0f} px to the "
            f"{start.record.median_diameter_px:.0f} px of that model's training"
        )
    base = (configs_folder() / "_base_" / BASE_NAME).resolve().as_posix()
    is_name = start_name == start.path.name
    source = start_name if is_name else Path(start_name).expanduser().resolve().as_posix()
    lines = [
        f'"""{project.resolve().name}: a model for your own images, made by `cellseg new`."""',
        "",
        f"_base_ = {json.dumps(base)}",
        "",
        "# A name that `cellseg models` lists, a model folder or a checkpoint.",
        f"start_from = {json.dumps(source)}",
        f"cell_scale = {scale}  # {size}",
        f'work_dir = "{{{{ fileDirname }}}}/{RUN_NAME}"',
        "",
        *describe_data(project, folder, machine, plan),
        "",
        f"# {machine.describe()}",
        f"# {plan.epochs} {'epoch' if plan.epochs == 1 else 'epochs'} of {plan.epoch_steps} steps; "
        f"{describe_interval(plan.val_interval)}.",
        f"train_cfg = dict(max_epochs={plan.epochs}, val_interval={plan.val_interval})",
    ]
    return "\n".join(lines) + "\n"


def describe_data(
    project: Path, folder: TrainingFolder, machine: Machine, plan: Schedule
) -> list[str]:
    """Write the part of the config that is about data: its lines."""
    count, order = len(folder.data), folder.data.image_format["channel_order"]
    split, reason = "", f"{count} images train, those in val validate"
    if folder.num_folds:
        split = f", num_folds={folder.num_folds}, fold=0"
        share = count // folder.num_folds
        reason = f"One fold of {folder.num_folds} validates: about {share} of the {count} images"
    train_root, val_root = (
        place_root(project, root) for root in (folder.train_root, folder.val_root)
    )
    return [
        f"# The classes are those of dataset.json: {', '.join(folder.data.metainfo['classes'])}.",
        f"# {reason}.",
        f"_data = dict(channel_order={json.dumps(order)}{split})",
        "train_dataloader = dict(",
        f"    batch_size={machine.batch_size},  # {machine.explain_batch()}",
        f"    num_workers={machine.num_workers},  # {machine.explain_workers()}",
        f"    # Repeated {plan.times} times, the images make {plan.epoch_steps} steps per epoch.",
        f"    dataset=dict(times={plan.times}, dataset=dict(data_root={train_root}, **_data)),",
        ")",
        "val_dataloader = dict(",
        f"    num_workers={min(machine.num_workers, 1)}, "
        f"dataset=dict(data_root={val_root}, **_data)",
        ")",
        "test_dataloader = val_dataloader",
    ]


def describe_interval(epochs: int) -> str:
    """Say how often validation takes place."""
    return "validation after each" if epochs == 1 else f"validation after every {epochs}"


def place_root(project: Path, root: Path) -> str:
    """Write a data folder as Python text: relative to the config where it lies in the project."""
    inner, outer = root.resolve(), project.resolve()
    if inner.is_relative_to(outer):
        return f'"{{{{ fileDirname }}}}/{inner.relative_to(outer).as_posix()}"'
    return json.dumps(inner.as_posix())
