"""Files made to take time, memory or the reader's mind: bombs, nesting, numbers without end."""

import io
import json
import struct
import zipfile
import zlib
from collections.abc import Callable

import numpy as np
import tifffile
import torch

from tests.robustness.malformed import MODEL, RING, make_coco, make_results

DEEP = 200_000
SQUARE = [0.0, 0, 100, 0, 100, 100, 0, 100]


def make_png(side: int, bits: int = 8) -> bytes:
    """Make a white gray PNG of a few kilobytes, whatever it declares."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    packer = zlib.compressobj(9)
    row = b"\0" + b"\xff" * (side * bits // 8)
    data = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    head = struct.pack(">IIBBBBB", side, side, bits, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def make_tiff(shape: tuple[int, ...], **options: object) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, np.zeros(shape, np.uint8), compression="deflate", **options)
    return buffer.getvalue()


def declare_tiff(width: int, height: int) -> bytes:
    """Make a TIFF of one strip that declares more pixels than it holds."""
    tags = [(256, 4, width), (257, 4, height), (258, 3, 8), (259, 3, 1), (262, 3, 1), (273, 4, 8)]
    tags += [(277, 3, 1), (278, 4, height), (279, 4, 4)]
    content = b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", len(tags))
    for code, kind, value in tags:
        content += struct.pack("<HHII", code, kind, 1, value)
    return content + struct.pack("<I", 0)


def loop_tiff() -> bytes:
    """Make a TIFF whose second page is its first."""
    content = bytearray(make_tiff((8, 8)))
    first = struct.unpack_from("<I", content, 4)[0]
    count = struct.unpack_from("<H", content, first)[0]
    struct.pack_into("<I", content, first + 2 + 12 * count, first)
    return bytes(content)


def make_many_pages(count: int) -> bytes:
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        for _ in range(count):
            writer.write(np.zeros((4, 4), np.uint8), contiguous=False)
    return buffer.getvalue()


def change_coco(**parts: object) -> bytes:
    return json.dumps({**json.loads(make_coco()), **parts}).encode()


def make_annotations(count: int, segmentation: Callable[[int], object]) -> bytes:
    row = {"image_id": 1, "category_id": 1, "iscrowd": 0}
    rows = [{**row, "id": k, "segmentation": segmentation(k)} for k in range(count)]
    return change_coco(annotations=rows)


def move_square(step: int) -> list[list[float]]:
    """Move a square of 100 px by a thousandth of a pixel, so that no two are equal."""
    return [[number + step / 1000 for number in SQUARE]]


def make_star(corners: int) -> list[list[float]]:
    """Draw an outline that crosses itself everywhere."""
    rng = np.random.default_rng(0)
    return [rng.uniform(0, 30, 2 * corners).tolist()]


def make_geojson(geometry: object, count: int = 1, **properties: object) -> bytes:
    own = {"objectType": "annotation", **properties}
    feature = {"type": "Feature", "geometry": geometry, "properties": own}
    return json.dumps({"type": "FeatureCollection", "features": [feature] * count}).encode()


def make_polygon(*points: list[float]) -> dict[str, object]:
    return {"type": "Polygon", "coordinates": [list(points)]}


def make_xml(body: str, head: str = '<?xml version="1.0"?>') -> bytes:
    return f"{head}<Annotations>{body}</Annotations>".encode("utf-8", "surrogatepass")


def make_regions(count: int) -> str:
    corners = "".join(f'<Vertex X="{x}" Y="{y}" Z="0"/>' for x, y in RING)
    region = f"<Region><Vertices>{corners}</Vertices></Region>"
    name = '<Attributes><Attribute Name="Epithelial"/></Attributes>'
    return f"<Annotation>{name}<Regions>{region * count}</Regions></Annotation>"


def bomb_xml() -> bytes:
    """Write the 'billion laughs': entities of entities."""
    names = "abcdefghij"
    entities = '<!ENTITY a "lol">' + "".join(
        f'<!ENTITY {new} "{f"&{old};" * 10}">' for old, new in zip(names, names[1:], strict=False)
    )
    return make_xml("&j;", f'<?xml version="1.0"?><!DOCTYPE x [{entities}]>')


def make_npy(header: str, data: bytes = b"") -> bytes:
    text = header.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data


def describe_npy(shape: str, kind: str = "<f4") -> bytes:
    return make_npy(f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}")


def save_checkpoint(content: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def pickle_checkpoint(code: bytes) -> bytes:
    """Put pickle code in the archive of a checkpoint."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a/data.pkl", code)
        archive.writestr("a/version", b"3\n")
        archive.writestr("a/byteorder", b"little")
    return buffer.getvalue()


def zip_zeros(name: str, size: int) -> bytes:
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open(name, "w") as f,
    ):
        for _ in range(size // 2**20):
            f.write(bytes(2**20))
    return buffer.getvalue()


def nest(opening: str, closing: str = "", depth: int = DEEP) -> bytes:
    return (opening * depth + closing * depth).encode()


def change_results(**parts: object) -> bytes:
    return json.dumps([{**json.loads(make_results())[0], **parts}]).encode()


def change_model(place: str, value: object) -> bytes:
    """Change one setting in a model's record."""
    facts = json.loads((MODEL / "model.json").read_bytes())
    part = facts["record"]
    *parents, name = place.split(".")
    for parent in parents:
        part = part[parent]
    part[name] = value
    return json.dumps(facts).encode()


CRAFTED: dict[str, Callable[[], bytes]] = {
    "picture/white-15k.png": lambda: make_png(15_000),
    "picture/declares-most.png": lambda: make_png(8).replace(
        struct.pack(">II", 8, 8), struct.pack(">II", 2**31 - 1, 2**31 - 1)
    ),
    "labels/white-12k.png": lambda: make_png(12_000, 16),
    "picture/bits.png": lambda: make_png(40_000, 1),
    "tiff/zeros-8k.tif": lambda: make_tiff((8_000, 8_000)),
    "tiff/tiles-20k.tif": lambda: make_tiff((20_000, 20_000), tile=(512, 512)),
    "labels/zeros-8k.tif": lambda: make_tiff((8_000, 8_000)),
    "predictions/zeros-8k.tif": lambda: make_tiff((8_000, 8_000)),
    "tiff/declares-2g.tif": lambda: declare_tiff(50_000, 50_000),
    "tiff/declares-most.tif": lambda: declare_tiff(2**32 - 1, 2**32 - 1),
    "labels/declares-2g.tif": lambda: declare_tiff(50_000, 50_000),
    "tiff/nothing.tif": lambda: declare_tiff(0, 0),
    "tiff/loop.tif": loop_tiff,
    "labels/loop.tif": loop_tiff,
    "tiff/pages.tif": lambda: make_many_pages(3000),
    "coco/equal.json": lambda: make_annotations(20_000, lambda _: [SQUARE]),
    "coco/near-equal.json": lambda: make_annotations(20_000, move_square),
    "coco/shifted.json": lambda: make_annotations(
        20_000, lambda k: [[x + k % 173 for x in SQUARE[:2]] + SQUARE[2:]]
    ),
    "coco/star.json": lambda: make_annotations(1, lambda _: make_star(200_000)),
    "coco/stars.json": lambda: make_annotations(1000, lambda _: make_star(300)),
    "coco/runs.json": lambda: make_annotations(
        1, lambda _: {"size": [24, 32], "counts": [0, 1] * 500_000}
    ),
    "coco/far.json": lambda: make_annotations(100, lambda _: [[0, 0, 1e12, 0, 1e12, 1e12]]),
    "coco/huge.json": lambda: change_coco(
        images=[{"id": 1, "file_name": "a.png", "height": 10**9, "width": 10**9}]
    ),
    "coco/endless.json": lambda: make_coco().replace(b'"height": 24', b'"height": 1e400'),
    "coco/name.json": lambda: change_coco(
        images=[{"id": 1, "file_name": "a" * 5000, "height": 24, "width": 32}]
    ),
    "coco/surrogate.json": lambda: make_coco().replace(b"a.png", b"\\ud800.png"),
    "coco/many-images.json": lambda: change_coco(
        images=[{"id": k, "file_name": f"{k}.png", "height": 4, "width": 4} for k in range(20_000)]
    ),
    "coco/categories.json": lambda: change_coco(
        categories=[{"id": k, "name": f"c{k}"} for k in range(100_000)]
    ),
    "coco/deep.json": lambda: nest("[", "]"),
    "coco/digits.json": lambda: b'{"images": ' + b"9" * 1_000_000 + b"}",
    "geojson/equal.geojson": lambda: make_geojson(make_polygon(*RING), 20_000),
    "geojson/deep.geojson": lambda: nest('{"type":"FeatureCollection","features":[', "]}"),
    "geojson/far.geojson": lambda: make_geojson(
        make_polygon([0, 0], [1e300, 0], [1e300, 1e300], [0, 0])
    ),
    "geojson/star.geojson": lambda: make_geojson(
        make_polygon(*np.reshape(make_star(100_000)[0], (-1, 2)).tolist())
    ),
    "geojson/class.geojson": lambda: make_geojson(
        make_polygon(*RING), classification={"name": "x" * 1_000_000}
    ),
    "monusac/regions.xml": lambda: make_xml(make_regions(20_000)),
    "monusac/deep.xml": lambda: make_xml("<Annotation>" * DEEP + "</Annotation>" * DEEP),
    "monusac/regions-in-regions.xml": lambda: make_xml(
        "<Annotation><Regions>" * 5000 + "</Regions></Annotation>" * 5000
    ),
    "monusac/laughs.xml": bomb_xml,
    "monusac/encoding.xml": lambda: make_xml("", '<?xml version="1.0" encoding="klingon"?>'),
    "monusac/attribute.xml": lambda: make_xml(f'<Annotation Id="{"9" * 2_000_000}"/>'),
    "pannuke/negative.npy": lambda: describe_npy("(-1, 24, 32, 6)"),
    "pannuke/huge.npy": lambda: describe_npy("(10000000, 1000, 1000, 6)"),
    "pannuke/objects.npy": lambda: describe_npy("(1, 24, 32, 6)", "|O"),
    "pannuke/header.npy": lambda: make_npy("(" * 100),
    "checkpoint/bytes.pth": lambda: pickle_checkpoint(
        b"cbuiltins\nbytearray\n(L1099511627776L\ntR."
    ),
    "checkpoint/deep.pth": lambda: pickle_checkpoint(b"(" * 500_000 + b"t" * 500_000 + b"."),
    "checkpoint/memo.pth": lambda: pickle_checkpoint(
        b"]q\x00" + b"h\x00h\x00\x86q\x00" * 40 + b"."
    ),
    "checkpoint/zeros.pth": lambda: zip_zeros("a/data.pkl", 2**28),
    "checkpoint/text.pth": lambda: save_checkpoint({"state_dict": {"a": "b"}, "meta": {}}),
    "checkpoint/list.pth": lambda: save_checkpoint([1, 2, 3]),
    "checkpoint/expanded.pth": lambda: save_checkpoint(
        {"state_dict": {"a": torch.zeros(1).expand(100_000, 100_000)}}
    ),
    "cache/zeros.npz": lambda: zip_zeros("boxes.npy", 2**28),
    "facts/deep.json": lambda: nest("[", "]"),
    "facts/classes.json": lambda: json.dumps(
        {"version": 1, "classes": [f"c{k}" for k in range(300_000)]}
    ).encode(),
    "facts/endless.json": lambda: b'{"version": 1, "pixel_size_um": 1e400}',
    "facts/digits.json": lambda: b'{"version": ' + b"1" * 1_000_000 + b"}",
    "results/equal.json": lambda: json.dumps(json.loads(make_results()) * 10_000).encode(),
    "results/deep.json": lambda: nest("[", "]"),
    "results/far.json": lambda: change_results(segmentation=[[0, 0, 9e5, 0, 9e5, 9e5]]),
    "results/counts.json": lambda: change_results(
        segmentation={"size": [24, 32], "counts": "o" * 1_000_000}
    ),
    "results/size.json": lambda: change_results(
        segmentation={"size": [10**6, 10**6], "counts": [10**12]}
    ),
    "index/deep.json": lambda: nest("[", "]"),
    "index/endless.json": lambda: b'[{"file_name": "a", "id": 1e400, "height": 1, "width": 1}]',
    "model/model.safetensors": lambda: struct.pack("<Q", 2**62) + b"{}",
    "model/deep.safetensors": lambda: nest("[", "]"),
    "model/pad.json": lambda: change_model("network.data_preprocessor.pad_size_divisor", 10**6),
    "model/scale.json": lambda: change_model("test_scale", 1e6),
    "model/diameter.json": lambda: change_model("diameters_px", {"50": 1e6}),
    "model/cells.json": lambda: change_model("network.test_cfg.rcnn.max_per_img", 10**9),
    "model/proposals.json": lambda: change_model("network.test_cfg.rpn.nms_pre", 10**6),
    "model/rois.json": lambda: change_model(
        "network.roi_head.mask_roi_extractor.roi_layer.output_size", 1000
    ),
    "model/resize.json": lambda: change_model(
        "pipeline", [{"type": "Resize", "scale_factor": 1e6, "keep_ratio": True}]
    ),
}
"""Kind and name of each file to how it is made."""
