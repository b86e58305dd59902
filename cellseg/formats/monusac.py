"""MoNuSAC's original release: an SVS or TIFF and an ImageScope XML a tissue patch."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from xml.parsers import expat

from numpy.typing import NDArray

from cellseg.datasets.folder_facts import agree_on_pixel_size, is_pixel_size
from cellseg.errors import CellDataError
from cellseg.formats.conversion.annotations import (
    AnnotatedImage,
    Annotation,
    Drawing,
    Loss,
    Source,
    UnusableAnnotationError,
)
from cellseg.formats.conversion.drawing import draw_polygons
from cellseg.formats.conversion.fingerprints import fingerprint_files
from cellseg.formats.conversion.image_pairs import pair_files
from cellseg.formats.conversion.names import name_folder
from cellseg.images import read_stored_image

CLASSES = ("epithelial", "lymphocyte", "neutrophil", "macrophage")
"""Classes of the re-released data, in the order of its class files."""

UNNAMED = "unnamed"
"""Class of a layer that has no name, as in MoNuSeg's files."""

_AMBIGUOUS = "ambiguous"
_NO_AREA = {"2": "is an ellipse", "3": "is an arrow", "4": "is a ruler"}
_DEEPEST = 32
_LAYER = ("Annotations", "Annotation")


class Region(NamedTuple):
    """An outlined region of an ImageScope file; positions are as written, numbers or not."""

    label: str
    class_name: str
    kind: str
    is_negative: bool
    positions: list[tuple[float, float]]


def read_monusac(folder: Path, channel_order: str = "rgb") -> Source:
    """Read a folder of `<name>.svs` or `<name>.tif` beside `<name>.xml`, at any depth.

    Class names are compared in lower case; 'Ambiguous' regions are regions to ignore.

    Args:
        folder: Folder of the data, such as MoNuSAC_images_and_annotations.
        channel_order: 'bgr' for TIFFs that store blue first.

    Returns:
        The source, with MoNuSAC's four classes. An XML without image, or the other way round, is
        among its losses.

    Raises:
        CellDataError: If there is no XML.
    """
    pairs, losses = pair_files(folder, folder, (".xml",))
    found: dict[str, None] = {}
    unreadable: list[Loss] = []
    sizes: list[float | None] = []
    for pair in pairs:
        try:
            reader = _read_file(pair.annotations)
            found |= dict.fromkeys(region.class_name for region in reader.regions)
            sizes.append(reader.pixel_size_um)
        except CellDataError as error:  # raised again when its turn comes
            unreadable.append(Loss("image", str(pair.annotations), "", "", str(error)))
    images = [
        AnnotatedImage(
            name_folder(pair.image.name),
            str(pair.image.absolute()),
            partial(_load, pair.image, pair.annotations, channel_order),
            partial(fingerprint_files, *pair),
        )
        for pair in pairs
    ]
    return Source(
        images,
        list(found),
        CLASSES,
        frozenset({_AMBIGUOUS}),
        losses,
        unreadable,
        agree_on_pixel_size(sizes),
    )


def read_regions(path: Path) -> list[Region]:
    """Read the regions of an ImageScope XML file, without following anything it declares.

    Args:
        path: The file: Annotations/Annotation, each with the class as the name of its attribute
            and with Regions/Region/Vertices/Vertex.

    Returns:
        The regions in the order of the file; class names are in lower case.

    Raises:
        CellDataError: If the file is no such XML, is truncated, or declares a document type or
            entities, which could make a small file expand without end.
    """
    return _read_file(path).regions


def _read_file(path: Path) -> _RegionReader:
    """Read a file; see `read_regions`."""
    reader = _RegionReader(path)
    try:
        # At once: expat reads what has not ended yet again with every part that it is given.
        reader.parser.Parse(path.read_bytes(), True)
    except (expat.ExpatError, LookupError, OSError, ValueError) as error:
        if isinstance(error, CellDataError):
            raise
        raise CellDataError(
            f"{path}: cannot be read as XML, it may be truncated or damaged ({error}); replace it "
            "by a whole copy."
        ) from error
    if reader.root != _LAYER[0]:
        raise CellDataError(
            f"{path}: holds <{reader.root}>, not the <Annotations> of ImageScope; give the XML "
            "files of the annotations only."
        )
    return reader


class _RegionReader:
    """Collects regions while expat reads; nothing but the regions is kept."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.root = ""
        self.pixel_size_um: float | None = None
        self.regions: list[Region] = []
        self._stack: list[str] = []
        self._names: list[str] = []
        self._layer: list[Region] = []
        self.parser = expat.ParserCreate()
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.StartDoctypeDeclHandler = self._refuse
        self.parser.EntityDeclHandler = self._refuse

    def _refuse(self, *_: Any) -> None:
        raise CellDataError(
            f"{self.path}: declares a document type or entities, which annotations never need; "
            "remove the declaration if you trust the file."
        )

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        if not self._stack:
            self.root = tag
            size = _to_number(attributes.get("MicronsPerPixel"))
            self.pixel_size_um = size if is_pixel_size(size) else None
        self._stack.append(tag)
        if len(self._stack) > _DEEPEST:
            raise CellDataError(
                f"{self.path}: is nested more than {_DEEPEST} deep, which ImageScope never does; "
                "replace it with an intact copy."
            )
        place = tuple(self._stack)
        if place == _LAYER:
            self._names, self._layer = [attributes.get("Name", "")], []
        elif place == (*_LAYER, "Attributes", "Attribute"):
            name = attributes.get("Name", "")
            self._names.append(attributes.get("Value", "") if name == "Description" else name)
        elif place == (*_LAYER, "Regions", "Region"):
            label = f"region {attributes.get('Id', len(self._layer) + 1)}"
            negative = attributes.get("NegativeROA", "0") == "1"
            self._layer.append(Region(label, "", attributes.get("Type", "0"), negative, []))
        elif tag == "Vertex" and self._layer and place[-3:-1] == ("Region", "Vertices"):
            position = _to_number(attributes.get("X")), _to_number(attributes.get("Y"))
            self._layer[-1].positions.append(position)

    def _end(self, tag: str) -> None:
        if tuple(self._stack) == _LAYER:
            # The class is the first attribute's name, else that of the layer itself.
            names = [name.strip().lower() for name in (*self._names[1:], self._names[0])]
            name = next(filter(None, names), UNNAMED)
            self.regions += [region._replace(class_name=name) for region in self._layer]
            self._layer = []
        self._stack.pop()


def _to_number(text: str | None) -> float:
    """Read a coordinate; what is none becomes NaN, which drawing reports."""
    try:
        return float(text or "nan")
    except ValueError:
        return float("nan")


def _load(image: Path, xml: Path, channel_order: str) -> tuple[NDArray[Any], list[Annotation]]:
    """Read one image and its regions."""
    annotations = [
        Annotation(region.label, region.class_name, partial(_draw_region, region))
        for region in read_regions(xml)
    ]
    return read_stored_image(image, channel_order), annotations


def _draw_region(region: Region, height: int, width: int) -> Drawing:
    """Draw a region's outline, which ImageScope does not close."""
    if region.kind in _NO_AREA:
        raise UnusableAnnotationError(f"{_NO_AREA[region.kind]}, not an outline")
    if region.is_negative:
        raise UnusableAnnotationError("is a negative region, which marks what is no cell")
    return draw_polygons([[region.positions]], height, width)
