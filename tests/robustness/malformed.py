"""Files of every kind that is read, how each is read, and ways to damage them."""

import io
import json
import random
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import tifffile
import torch
from PIL import Image

from cellseg.analysis.training_logs import read_run
from cellseg.cluster.cohort_table import write_cohort
from cellseg.cluster.parts import PartStore
from cellseg.datasets.annotation_cache import AnnotationCache
from cellseg.datasets.folder_facts import read_folder_facts
from cellseg.datasets.image_records import ImageFiles, read_image_record
from cellseg.datasets.layout import FileNames, read_name_list, read_test_index
from cellseg.datasets.splits import read_groups
from cellseg.engine import load_checkpoint_file
from cellseg.errors import as_cellseg_error
from cellseg.formats.coco_data import read_coco
from cellseg.formats.conversion.annotations import Source
from cellseg.formats.conversion.names import settle_classes
from cellseg.formats.conversion.painting import paint_annotations
from cellseg.formats.geojson import read_geojson
from cellseg.formats.monusac import read_monusac
from cellseg.formats.pannuke import read_pannuke
from cellseg.formats.prediction_files import read_predictions
from cellseg.formats.prediction_set import TruthImage
from cellseg.formats.submission import read_image_index
from cellseg.images import open_image, read_cell_image, read_label_map, read_stored_image
from cellseg.inference.image_list import InputImage
from cellseg.inference.output_folder import OutputFolder, OutputOptions
from cellseg.inference.predictor import Predictor, TileCells
from cellseg.structures.cells import Cells
from cellseg.web.edit_log import EditLog
from cellseg.web.uploads import UploadLimits, check_upload

MODEL = Path(__file__).resolve().parents[2] / "models" / "nuclei-cc0"

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (24, 32, 3), dtype=np.uint8)
LABELS = np.kron(np.arange(12).reshape(3, 4), np.ones((8, 8))).astype(np.uint16)
RING = [[2, 3], [8, 3], [8, 9], [2, 9], [2, 3]]
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


def encode_labels() -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, LABELS, compression="deflate")
    return buffer.getvalue()


def make_facts() -> bytes:
    facts = {"version": 1, "classes": ["a", "b"], "channel_order": "rgb", "pixel_size_um": 0.25}
    return json.dumps(facts).encode()


def make_results() -> bytes:
    mask = {"size": [24, 32], "counts": [100, 20, 648]}
    ring = [float(number) for point in RING[:-1] for number in point]
    row = {"image_id": 1, "category_id": 1, "score": 0.5, "bbox": [4, 4, 1, 20]}
    return json.dumps([{**row, "segmentation": mask}, {**row, "segmentation": [ring]}]).encode()


def make_index() -> bytes:
    return json.dumps([{"file_name": "a.tif", "id": 1, "height": 24, "width": 32}]).encode()


def make_cache() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        files, cache = open_cache(Path(folder))
        path = cache.save({files.key: read_image_record(files)})
        assert path is not None
        return path.read_bytes()


def encode_pyramid(kind: str) -> bytes:
    """Encode two levels as Aperio has them, one page after another, or OME, one below the other."""
    buffer, is_ome = io.BytesIO(), kind == "ome"
    large = np.tile(RGB, (8, 8, 1))
    text = None if is_ome else "Aperio Image Library\r\n256x192|AppMag = 20|MPP = 0.5"
    with tifffile.TiffWriter(buffer, ome=is_ome) as writer:
        options = {"photometric": "rgb", "tile": (64, 64), "compression": "deflate"}
        own = {"subifds": 1} if is_ome else {"description": text, "metadata": None}
        writer.write(large, **options, **own)
        writer.write(large[::4, ::4], **options, subfiletype=1, metadata=None)
    return buffer.getvalue()


def make_log() -> bytes:
    rows = [{"loss": 2.0, "lr": 0.1, "time": 0.5, "epoch": k, "iter": 5 * k} for k in (1, 2)]
    return "\n".join(map(json.dumps, [*rows, {"coco/segm_mAP": 0.1, "step": 2}])).encode()


def make_edits() -> bytes:
    cell = {"k": 1, "c": 0, "s": 0.5, "a": 9, "r": [[2, 3, 3, 3, -3]]}
    step = {"do": "draw", "removed": [], "added": [cell], "regions": [[[0, 0], [9, 0], [9, 9]]]}
    rows = [{"version": 1, "size": [32, 24]}, step, {"undo": True}, {"redo": True}]
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def make_part() -> bytes:
    cells = Cells.from_label_map(LABELS)
    with tempfile.TemporaryDirectory() as folder:
        store = PartStore(Path(folder), cells.class_names)
        store.write((0, 1), TileCells([(0, cells)], 1, 0), *LABELS.shape)
        return next(Path(folder).iterdir()).read_bytes()


def make_joined() -> bytes:
    row = {"id": 1, "name": "b", "file_name": "b.png", "height": 24, "width": 32}
    return json.dumps([row]).encode()


def open_cache(folder: Path) -> tuple[ImageFiles, AnnotationCache]:
    """Write a data set of one image, and open the cache of it."""
    root = folder / "data"
    (root / "a").mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(root / "a" / "image.tif", RGB, photometric="rgb")
    tifffile.imwrite(root / "a" / "class1.tif", LABELS)
    files = ImageFiles("a", 1, root, root / "a/image.tif", (root / "a/class1.tif",), (0,))
    return files, AnnotationCache(root)


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

MORE_SEEDS: list[Seed] = [
    ("labels/a.tif", encode_labels()),
    ("facts/dataset.json", make_facts()),
    ("results/predictions.json", make_results()),
    ("predictions/a.tif", encode_labels()),
    ("index/index.json", make_index()),
    ("cache/cellseg.npz", make_cache()),
    ("model/model.json", (MODEL / "model.json").read_bytes()),
    ("slide/a.svs", encode_pyramid("aperio")),
    ("slide/a.ome.tif", encode_pyramid("ome")),
    ("data/class1.tif", encode_labels()),
    ("groups/groups.csv", b"name,group\na,1\nb,2\n"),
    ("names/include.txt", b"a # the first\nb/c\n"),
    ("log/scalars.json", make_log()),
    ("edits/edits.jsonl", make_edits()),
    ("part/00000000-00000001.npz", make_part()),
    ("cohort/cohort.csv", b"image,seconds,worker\na,1.5,host:1\n"),
    ("joined/coco_images.json", make_joined()),
    ("joined/b.coco.json", make_results()),
]
"""Further kinds, which only the tests of time and memory read."""


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


def read_results(path: Path) -> None:
    truth = TruthImage(1, "a", Cells.empty(24, 32, ("cell",)))
    read_predictions(path if path.suffix == ".json" else path.parent, [truth], ["cell"])


def read_cache(path: Path) -> None:
    files, cache = open_cache(path.parent)
    own = cache.save({files.key: read_image_record(files)})
    assert own is not None
    own.write_bytes(path.read_bytes())
    cache.load()


def read_model(path: Path) -> None:
    weights = path.parent / "model.safetensors"
    if not weights.exists():
        weights.symlink_to(MODEL / "model.safetensors")
    if path.name != "model.json":
        (path.parent / "model.json").write_bytes((MODEL / "model.json").read_bytes())
    Predictor(path.parent, device="cpu")(np.full((64, 64, 3), 200, np.uint8))


def read_indices(path: Path) -> None:
    read_image_index(path)
    read_test_index(path.parent, path, FileNames("image.tif", (("class1.tif",),), None))


def read_levels(path: Path) -> None:
    """Check a slide as the page does, and read a coarser level of it."""
    check_upload(path, str(path), UploadLimits())
    with open_image(path, mpp=2.0, pixel_size_um=0.5) as image:
        image.read(0, 0, min(image.width, 64), min(image.height, 64))


def read_data(path: Path) -> None:
    files, _ = open_cache(path.parent)
    (files.root / "a" / "class1.tif").write_bytes(path.read_bytes())
    read_image_record(files)


def read_joined(path: Path) -> None:
    """Join the results of a run with what an earlier one left."""
    folder, image = path.parent, InputImage(path, "a")
    for name, content in (("coco_images", make_joined()), ("b.coco", make_results())):
        if path.name != f"{name}.json":
            (folder / f"{name}.json").write_bytes(content)
    (folder / "a.coco.json").write_bytes(b"[]")
    outputs = OutputFolder(OutputOptions(folder, ("coco",)), ["cell"], {})
    outputs.finish(image, {"cells": 0, "height": 24, "width": 32})
    outputs.refuse_mixing([image])
    outputs.join_coco([image])


def read_log(path: Path) -> None:
    with as_cellseg_error():
        read_run(path)


def read_cohort(path: Path) -> None:
    options = OutputOptions(path.parent, ())
    write_cohort([InputImage(path, "a")], {}, {}, ["cell"], options)


READERS: dict[str, Read] = {
    "tiff": read_image,
    "picture": read_image,
    "labels": read_label_map,
    "geojson": read_folder(read_geojson, "folder", "folder"),
    "coco": read_folder(read_coco, "file", "folder"),
    "monusac": read_folder(read_monusac, "folder"),
    "pannuke": read_patches,
    "checkpoint": load_checkpoint_file,
    "facts": lambda path: read_folder_facts(path.parent),
    "results": read_results,
    "predictions": read_results,
    "index": read_indices,
    "cache": read_cache,
    "model": read_model,
    "slide": read_levels,
    "data": read_data,
    "groups": read_groups,
    "names": read_name_list,
    "log": read_log,
    "edits": lambda path: EditLog.open(path, (32, 24)),
    "part": lambda path: PartStore(path.parent, ["cell"]).read([(0, 1)]),
    "cohort": read_cohort,
    "joined": read_joined,
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
