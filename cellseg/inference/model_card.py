"""Write the card of a model folder: what is known of a model, for whoever uses it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cellseg.engine.model_record import ModelRecord

_UNKNOWN = "not stated"


def write_card(
    record: ModelRecord, num_bytes: int, name: str, license_text: str, facts: Mapping[str, Any]
) -> str:
    """Write the card.

    Args:
        record: The model's record.
        num_bytes: Size of the weights.
        name: The model's name.
        license_text: Terms of use.
        facts: Content of model.json.

    Returns:
        Markdown.
    """
    training, scores = facts["training"], facts["scores"]
    rows = {
        "Classes": ", ".join(record.classes),
        "License": license_text,
        "Training data": training.get("data", _UNKNOWN),
        "Images and cells": _describe_counts(record),
        "Pixel size": _describe_pixel_size(record),
        "Cells": _describe_diameters(record),
        "Scale": _describe_scale(record),
        "Command": f"`{training['command']}`" if training.get("command") else _UNKNOWN,
        "Seed": training.get("seed", _UNKNOWN),
        "Trained": training.get("trained", _UNKNOWN),
        "Date": training.get("date", _UNKNOWN),
        "Weights": f"{num_bytes / 1e6:.1f} MB, float16, SHA-256 `{facts['weights']['sha256']}`",
    }
    table = "\n".join(
        f"| {title} | {str(value).replace('|', '/')} |" for title, value in rows.items()
    )
    measured = "\n".join(f"| {metric} | {value:.3f} |" for metric, value in scores.items())
    return f"""# {name}

| | |
|---|---|
{table}

## Use

    cellseg predict IMAGE --model {name}

## Scores

{f"| metric | value |{chr(10)}|---|---|{chr(10)}{measured}" if measured else "Not stated."}

## Limits

{_describe_limits(record)}
"""


def _describe_counts(record: ModelRecord) -> str:
    """Write how many images and cells a model was trained on."""
    if record.num_images is None:
        return _UNKNOWN
    return f"{record.num_images:,} images, {record.num_cells or 0:,} cells"


def _describe_pixel_size(record: ModelRecord) -> str:
    """Write the pixel size of the training images."""
    return f"{record.pixel_size_um:g} um" if record.pixel_size_um else _UNKNOWN


def _describe_scale(record: ModelRecord) -> str:
    """Write how images are resized."""
    if record.test_scale is None:
        return _UNKNOWN
    text = f"{record.test_scale:g} network pixels per pixel of the training images"
    if record.train_scale:
        text += f", {record.train_scale[0]:g} to {record.train_scale[1]:g} in training"
    return text


def _describe_diameters(record: ModelRecord) -> str:
    """Write how large the training cells were, in the pixels of their images."""
    if record.median_diameter_px is None or record.test_scale is None:
        return _UNKNOWN
    low, middle, high = (
        record.diameters_px.get(name, record.median_diameter_px) / record.test_scale
        for name in ("5", "50", "95")
    )
    text = f"diameters of {low:.0f} to {high:.0f} px (5% to 95%), median {middle:.0f} px"
    if record.pixel_size_um:
        text += f", which is {middle * record.pixel_size_um:.1f} um"
    return text


def _describe_limits(record: ModelRecord) -> str:
    """Write what a model was not made for, as far as the record tells."""
    lines = [
        "- Made for images that resemble the training data; on others, check the outlines.",
        "- Not for diagnosis.",
    ]
    if record.train_scale and record.median_diameter_px and record.test_scale:
        lines.insert(
            1,
            "- Cells that the network sees much smaller or larger than those above are missed; "
            "`cellseg predict` chooses the scale and warns.",
        )
    return "\n".join(lines)
