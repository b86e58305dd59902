"""What QuPath says of its objects: class, type and plane, and which of them can be cells."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from cellseg.errors import CellDataError

_ALL_CHANNELS = -1
UNCLASSIFIED = "unclassified"
"""Class of objects that have none."""

NEVER_TAKEN = {"tmacore": "core of a tissue microarray", "tile": "tile", "root": "root object"}
"""Types that are never cells, and what they are."""


class Plane(NamedTuple):
    """A z slice, time point and channel from 0; None stands for any, channel -1 for all."""

    z: int | None = None
    t: int | None = None
    c: int | None = None

    def includes(self, other: Plane) -> bool:
        """Return whether another plane is among those that this one stands for."""
        is_same = self.z in (None, other.z) and self.t in (None, other.t)
        return is_same and (self.c in (None, other.c) or other.c == _ALL_CHANNELS)

    def describe(self) -> str:
        """Write the plane; the channel only where it is one."""
        channel = "" if self.c in (None, _ALL_CHANNELS) else f", c={self.c}"
        return f"z={self.z}, t={self.t}{channel}"


def name_class(feature: Mapping[str, Any]) -> str:
    """Return an object's classification; derived ones, as QuPath shows them, joined by ': '."""
    properties = feature.get("properties")
    classification = properties.get("classification") if isinstance(properties, dict) else None
    if isinstance(classification, str):
        return classification or UNCLASSIFIED
    if not isinstance(classification, dict):
        return UNCLASSIFIED
    names = classification.get("names")
    joined = ": ".join(map(str, names)) if isinstance(names, list) else ""
    return str(classification.get("name") or joined or UNCLASSIFIED)


def find_type(feature: Mapping[str, Any]) -> str:
    """Return an object's type in lower-case letters; empty where it is not given.

    QuPath 0.2 wrote it as the id, 'PathDetectionObject', and 0.3 as `object_type`.
    """
    properties = feature.get("properties")
    properties = properties if isinstance(properties, dict) else {}
    given = properties.get("objectType", properties.get("object_type"))
    if not isinstance(given, str):
        given = str(feature.get("id", ""))
        given = given if given.endswith("Object") else ""
    return re.sub(r"[^a-z]", "", given.lower()).removeprefix("path").removesuffix("object")


def choose_types(objects: Sequence[str] | None, present: set[str]) -> frozenset[str]:
    """Return the types of objects to take, of those that the data has."""
    if objects is not None:
        return frozenset({*objects, ""})
    wanted = present - NEVER_TAKEN.keys()
    return frozenset(wanted - {"annotation"} if wanted & {"cell", "detection"} else wanted)


def explain_left_out(kind: str, taken: frozenset[str]) -> str:
    """Say why an object of a type becomes no cell; empty where it does."""
    if kind in NEVER_TAKEN:
        return f"is a {NEVER_TAKEN[kind]}, not a cell"
    if kind in taken:
        return ""
    shown = f"an {kind}" if kind == "annotation" else f"a {kind}"
    chosen = " ".join(sorted(taken - {""})) or "none"
    return f"is {shown}, where objects of other types are taken ({chosen}); --objects chooses"


def find_plane(feature: Mapping[str, Any]) -> Plane:
    """Return the plane that an object's outline lies on; QuPath leaves the first one away."""
    geometry = feature.get("geometry")
    plane = geometry.get("plane") if isinstance(geometry, dict) else None
    if not isinstance(plane, dict):
        return Plane(0, 0, _ALL_CHANNELS)
    try:
        channel = plane.get("c")
        channel = _ALL_CHANNELS if channel is None else int(channel)
        return Plane(int(plane.get("z") or 0), int(plane.get("t") or 0), channel)
    except (TypeError, ValueError, OverflowError):
        return Plane(0, 0, _ALL_CHANNELS)


def check_planes(path: Path, planes: Counter[Plane], chosen: Plane) -> None:
    """Raise CellDataError where objects lie on several planes, which would be merged."""
    found = sorted(plane for plane in planes if chosen.includes(plane))
    channels = {plane.c for plane in found} - {_ALL_CHANNELS}
    if len({plane[:2] for plane in found}) > 1 or len(channels) > 1:
        listed = ", ".join(f"{planes[plane]} at {plane.describe()}" for plane in found[:10])
        raise CellDataError(
            f"{path}: has objects on several planes ({listed}); choose the one that the image "
            "shows with --z, --t or --c, or export one plane per file."
        )
    if planes and not found:
        listed = "; ".join(plane.describe() for plane in sorted(planes)[:10])
        raise CellDataError(
            f"{path}: has no object on the plane chosen with --z, --t and --c, only at {listed}; "
            "choose one of these."
        )
