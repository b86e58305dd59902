import json
import os

import numpy as np
import pytest
from PIL import Image

from cellseg.formats.coco_data import read_coco
from cellseg.formats.conversion.fingerprints import fingerprint_files
from cellseg.formats.dsb2018 import read_dsb2018
from cellseg.formats.geojson import read_geojson
from cellseg.formats.label_folders import read_label_folders
from cellseg.formats.monusac import read_monusac
from cellseg.formats.pannuke import read_pannuke


def test_fingerprint_when_a_file_changes_then_so_does_it(tmp_path):
    path, absent = tmp_path / "a.x", tmp_path / "absent.x"
    path.write_bytes(b"one")
    state = path.stat()
    seen = [fingerprint_files(path, absent)]
    assert fingerprint_files(path, absent) == seen[0]
    path.write_bytes(b"more")
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    seen.append(fingerprint_files(path, absent))
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns + 1))
    seen.append(fingerprint_files(path, absent))
    absent.touch()
    seen.append(fingerprint_files(path, absent))
    seen.append(fingerprint_files(path, absent, details={"id": 1}))
    assert len(set(seen)) == len(seen)


def _touch_later(path):
    state = path.stat()
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns + 10**9))


def _draw(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(path)


def _write(path, text):
    path.write_text(text)


@pytest.mark.parametrize(
    ("read", "others"),
    [
        (lambda root: read_geojson(root, root), {"a.geojson": "[]", "b.geojson": "[]"}),
        (lambda root: read_label_folders(root), {"a_masks.png": None, "b_masks.png": None}),
        (lambda root: read_monusac(root), {"a.xml": "<Annotations/>", "b.xml": "<Annotations/>"}),
    ],
    ids=["geojson", "labels", "monusac"],
)
def test_fingerprint_of_a_pair_when_either_file_changes_then_only_its_own_does(
    tmp_path, read, others
):
    for name in ("a.png", "b.png"):
        _draw(tmp_path / name)
    for name, text in others.items():
        _write(tmp_path / name, text) if text else _draw(tmp_path / name)
    states = [[image.fingerprint() for image in read(tmp_path).images]]
    for name in ("a.png", next(iter(others))):
        _touch_later(tmp_path / name)
        states.append([image.fingerprint() for image in read(tmp_path).images])
    first, second = zip(*states, strict=True)
    assert len(set(first)) == 3
    assert len(set(second)) == 1


def test_fingerprint_in_coco_when_one_images_annotations_change_then_only_its_own_does(tmp_path):
    for name in ("a.png", "b.png"):
        _draw(tmp_path / name)
    document = {
        "images": [{"id": i, "file_name": f"{name}.png"} for i, name in enumerate("ab")],
        "annotations": [{"id": i, "image_id": i, "category_id": 1} for i in (0, 1)],
        "categories": [{"id": 1, "name": "cell"}],
    }

    def read():
        (tmp_path / "coco.json").write_text(json.dumps(document))
        return [image.fingerprint() for image in read_coco(tmp_path / "coco.json", tmp_path).images]

    before = read()
    document["annotations"][1]["segmentation"] = [[0, 0, 2, 0, 2, 2]]
    after = read()
    assert [a == b for a, b in zip(before, after, strict=True)] == [True, False]
    document["categories"][0]["name"] = "nucleus"
    assert not set(read()) & {*before, *after}


def test_fingerprint_of_dsb2018_when_a_mask_comes_then_it_changes(tmp_path):
    _draw(tmp_path / "x" / "images" / "x.png")
    _draw(tmp_path / "x" / "masks" / "1.png")
    before = read_dsb2018(tmp_path).images[0].fingerprint()
    _draw(tmp_path / "x" / "masks" / "2.png")
    assert read_dsb2018(tmp_path).images[0].fingerprint() != before


def test_fingerprint_of_pannuke_when_masks_change_then_it_changes(tmp_path):
    np.save(tmp_path / "images.npy", np.zeros((1, 4, 4, 3)))
    np.save(tmp_path / "masks.npy", np.zeros((1, 4, 4, 6)))
    before = read_pannuke(tmp_path).images[0].fingerprint()
    _touch_later(tmp_path / "masks.npy")
    assert read_pannuke(tmp_path).images[0].fingerprint() != before
