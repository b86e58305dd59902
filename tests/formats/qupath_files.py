"""GeoJSON objects as QuPath writes them, for tests."""

from typing import Any

SQUARE = [[2, 3], [8, 3], [8, 9], [2, 9], [2, 3]]


def make_object(
    coordinates: Any, classification: Any = None, kind: str = "Polygon", **more: Any
) -> dict[str, Any]:
    """Make an annotation; more are further keys of the feature."""
    properties = {"objectType": "annotation"}
    if classification is not None:
        properties["classification"] = classification
    geometry = {"type": kind, "coordinates": coordinates}
    return {"type": "Feature", "id": "x", "geometry": geometry, "properties": properties, **more}


def square(x: int, y: int, size: int) -> list[list[int]]:
    """Return the closed ring of a square of pixels."""
    corners = [[x, y], [x + size, y], [x + size, y + size], [x, y + size], [x, y]]
    return corners


def make_typed(
    object_type: str, ring: Any, name: str = "Tumor", plane: tuple[int, int] | None = None
) -> dict[str, Any]:
    """Make an object of a QuPath type, on a plane of z and t if one is given."""
    made = make_object([ring], {"name": name})
    made["properties"]["objectType"] = object_type
    if plane is not None:
        made["geometry"]["plane"] = {"c": -1, "z": plane[0], "t": plane[1]}
    return made
