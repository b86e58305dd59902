"""Malformed files of every kind that is read: a result or one sentence that names the file.

A few changes to each file are tried here; the slow tests try hundreds, each in bounded memory.
"""

import io
import json
import random
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from cellseg.datasets.annotation_cache import AnnotationCache
from cellseg.datasets.image_records import ImageFiles, read_record
from cellseg.engine import load_checkpoint_file
from cellseg.errors import CellsegError
from cellseg.formats.coco_data import read_coco
from cellseg.formats.conversion.annotations import Source
from cellseg.formats.conversion.names import settle_classes
from cellseg.formats.conversion.painting import paint_annotations
from cellseg.formats.geojson import read_geojson
from cellseg.formats.monusac import read_monusac
from cellseg.formats.pannuke import read_pannuke
from cellseg.images import open_image, read_cell_image, read_label_map, read_stored_image

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (24, 32, 3), dtype=np.uint8)
LABELS = np.kron(np.arange(12).reshape(3, 4), np.ones((8, 8))).astype(np.uint16)
RING = [[2, 3], [8, 3], [8, 9], [2, 9], [2, 3]]
FEW, MANY = 15, 150

Seed = tuple[str, bytes]
Read = Callable[[Path], object]


def encode_tiff(**options: object) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, RGB, photometric="rgb", **options)
    return buffer.getvalue()


def encode_picture(values: np.ndarray, kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, kind)
    return buffer.getvalue()


def make_geojson() -> bytes:
    geometry = {"type": "Polygon", "coordinates": [RING], "plane": {"c": -1, "z": 0, "t": 0}}
    properties = {"objectType": "cell", "classification": {"name": "a", "color": [1, 2, 3]}}
    feature = {"type": "Feature", "id": "x", "geometry": geometry, "properties": properties}
    return json.dumps({"type": "FeatureCollection", "features": [feature, feature]}).encode()


def make_coco() -> bytes:
    outline = [float(number) for point in RING[:-1] for number in point]
    annotation = {"id": 1, "image_id": 1, "category_id": 1, "iscrowd": 0}
    encoded = {"size": [24, 32], "counts": [100, 20, 648]}
    return json.dumps(
        {
            "images": [{"id": 1, "file_name": "a.png", "height": 24, "width": 32}],
            "annotations": [
                {**annotation, "segmentation": [outline]},
                {**annotation, "id": 2, "segmentation": encoded},
            ],
            "categories": [{"id": 1, "name": "cell", "supercategory": "none"}],
        }
    ).encode()


def make_xml() -> bytes:
    corners = "".join(f'<Vertex X="{x}" Y="{y}" Z="0"/>' for x, y in RING)
    return (
        '<?xml version="1.0"?><Annotations MicronsPerPixel="0.25"><Annotation Id="1"><Attributes>'
        '<Attribute Name="Epithelial"/></Attributes><Regions><Region Id="1" Type="0"><Vertices>'
        f"{corners}</Vertices></Region></Regions></Annotation></Annotations>"
    ).encode()


def make_npy(shape: tuple[int, ...]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(shape, np.float32))
    return buffer.getvalue()


def make_checkpoint() -> bytes:
    buffer = io.BytesIO()
    weights = {"a.weight": torch.ones(3, 4), "a.bias": torch.ones(3)}
    torch.save({"state_dict": weights, "meta": {"epoch": 1}, "optimizer": {"state": {}}}, buffer)
    return buffer.getvalue()


SEEDS: list[Seed] = [
    ("tiff/plain.tif", encode_tiff()),
    ("tiff/lzw.tif", encode_tiff(compression="lzw", rowsperstrip=5)),
    ("tiff/tiled.tif", encode_tiff(tile=(16, 16), compression="deflate")),
    ("tiff/jpeg.tif", encode_tiff(compression="jpeg", tile=(16, 16))),
    ("tiff/big.ome.tif", encode_tiff(bigtiff=True, ome=True)),
    ("picture/a.png", encode_picture(RGB, "PNG")),
    ("picture/a.jpg", encode_picture(RGB, "JPEG")),
    ("picture/a.bmp", encode_picture(RGB, "BMP")),
    ("picture/a.webp", encode_picture(RGB, "WEBP")),
    ("labels/a.png", encode_picture(LABELS, "PNG")),
    ("geojson/a.geojson", make_geojson()),
    ("coco/coco.json", make_coco()),
    ("monusac/a.xml", make_xml()),
    ("pannuke/masks.npy", make_npy((1, 24, 32, 6))),
    ("checkpoint/a.pth", make_checkpoint()),
]


def read_image(path: Path) -> None:
    read_cell_image(path)
    read_stored_image(path)
    with open_image(path) as image:
        image.read(0, 0, min(image.width, 64), min(image.height, 64))


def read_all(source: Source) -> None:
    """Draw everything of a source."""
    table = settle_classes(source, skip_unknown=True)
    for image in source.images:
        pixels, annotations = image.load()
        paint_annotations(annotations, table, pixels.shape[:2], image.name)


def read_folder(read: Callable[..., Source], *names: str) -> Read:
    """Read annotations with the image a.png beside them."""

    def call(path: Path) -> None:
        (path.parent / "a.png").write_bytes(encode_picture(RGB, "PNG"))
        read_all(read(*(path if name == "file" else path.parent for name in names)))

    return call


def read_patches(path: Path) -> None:
    (path.parent / "images.npy").write_bytes(make_npy((1, 24, 32, 3)))
    read_all(read_pannuke(path.parent))


READERS: dict[str, Read] = {
    "tiff": read_image,
    "picture": read_image,
    "labels": read_label_map,
    "geojson": read_folder(read_geojson, "folder", "folder"),
    "coco": read_folder(read_coco, "file", "folder"),
    "monusac": read_folder(read_monusac, "folder"),
    "pannuke": read_patches,
    "checkpoint": load_checkpoint_file,
}


def damage(content: bytes, source: random.Random) -> bytes:
    """Change a file in one of the ways in which files are damaged or crafted."""
    changed = bytearray(content)
    place = source.randrange(len(changed))
    way = source.randrange(7)
    if way == 0:
        del changed[place:]
    elif way == 1:
        for _ in range(source.randint(1, 8)):
            changed[source.randrange(len(changed))] = source.randrange(256)
    elif way == 2:  # numbers that are far too large, wherever there is one
        changed[place : place + 4] = source.choice([b"\xff" * 4, b"\x7f\xff\xff\xff", b"\0" * 4])
    elif way == 3:
        digits = [at for at, byte in enumerate(changed) if chr(byte).isdigit()] or [place]
        at = source.choice(digits)
        changed[at : at + 1] = source.choice([b"-7", b"1e400", b"9" * 30, b"NaN", b"null", b'"x"'])
    elif way == 4:
        changed[place:place] = changed[: source.randrange(len(changed))]
    elif way == 5:
        del changed[place : place + source.randint(1, 40)]
    else:
        changed[place:place] = source.choice(
            [b"\0", b"[" * 5000, b"\xef\xbb\xbf", b"<", b'"', b"{"]
        )
    return bytes(changed)


def damage_all(seed: Seed, count: int) -> Iterator[bytes]:
    source = random.Random(seed[0])  # the same files in every run
    return (damage(seed[1], source) for _ in range(count))


def check(seed: Seed, folder: Path, count: int) -> None:
    """Read a file whole, then damaged in many ways: only a CellsegError may come, naming it."""
    kind, name = seed[0].split("/")
    for number, content in enumerate([seed[1], *damage_all(seed, count)]):
        path = folder / str(number) / name
        path.parent.mkdir()
        path.write_bytes(content)
        said = ""
        try:
            READERS[kind](path)
        except CellsegError as error:
            said = str(error)
        assert not said or number > 0, said
        assert not said or str(path.parent) in said or kind in ("geojson", "monusac"), said
        assert len(said) < 3000


@pytest.mark.parametrize("seed", SEEDS, ids=lambda seed: seed[0])
def test_file_when_damaged_a_little_then_a_result_or_one_sentence(
    seed: Seed, tmp_path: Path
) -> None:
    check(seed, tmp_path, FEW)


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS, ids=lambda seed: seed[0])
def test_file_when_damaged_in_many_ways_then_a_result_or_one_sentence(
    seed: Seed, tmp_path: Path
) -> None:
    check(seed, tmp_path, MANY)


@pytest.mark.parametrize("count", [FEW, pytest.param(MANY, marks=pytest.mark.slow)])
def test_cache_when_damaged_then_as_it_was_or_not_there(count: int, tmp_path: Path) -> None:
    folder = tmp_path / "data" / "a"
    folder.mkdir(parents=True)
    tifffile.imwrite(folder / "image.tif", RGB, photometric="rgb")
    tifffile.imwrite(folder / "class1.tif", LABELS)
    files = ImageFiles(
        "a", 1, tmp_path / "data", folder / "image.tif", (folder / "class1.tif",), (0,)
    )
    record = read_record(files)
    cache = AnnotationCache(tmp_path / "data")
    path = cache.save({files.key: record})
    assert path is not None
    whole = path.read_bytes()
    for content in damage_all(("cache", whole), count):
        path.write_bytes(content)
        loaded = cache.load()
        for other in loaded.values():
            np.testing.assert_array_equal(other.instances.boxes_xyxy, record.instances.boxes_xyxy)
            assert other.instances.rles == record.instances.rles


def test_checkpoint_when_its_records_are_exchanged_then_no_code_is_run(tmp_path: Path) -> None:
    """A file that names a function in place of a tensor's own is refused before it is called."""
    path = tmp_path / "evil.pth"
    mark = tmp_path / "was_run"
    call = f"cposix\nsystem\n(S'touch {mark}'\ntR."
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("evil/data.pkl", call.encode())
        archive.writestr("evil/version", b"3\n")
    with pytest.raises(CellsegError, match=r"evil\.pth"):
        load_checkpoint_file(path)
    assert not mark.exists()
