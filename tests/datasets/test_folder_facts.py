"""dataset.json: what a data folder says of itself."""

import json

import pytest

from cellseg.datasets.cell_dataset import CellDataset
from cellseg.datasets.folder_facts import (
    FACTS_NAME,
    FolderFacts,
    agree_on_pixel_size,
    join_folder_facts,
    read_folder_facts,
    write_folder_facts,
)
from cellseg.errors import CellDataError


def test_facts_when_written_then_come_back_and_unknown_ones_stay(tmp_path):
    assert read_folder_facts(tmp_path) == FolderFacts()
    write_folder_facts(tmp_path, FolderFacts(("nucleus",), "rgb", 0.25))
    write_folder_facts(tmp_path, FolderFacts(("cell",), None, None))
    assert read_folder_facts(tmp_path) == FolderFacts(("cell",), "rgb", 0.25)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "not valid JSON"),
        ("[]", "must be a JSON object"),
        ('{"version": 2}', "version 2"),
        ('{"classes": "nucleus"}', "classes must be a list"),
        ('{"classes": ["a", "a"]}', "classes must be a list"),
        ('{"classes": ["\\ud800"]}', "classes must be a list"),
        ('{"classes": ["a\\u001b[2J"]}', "classes must be a list"),
        ('{"channel_order": "rbg"}', "channel_order"),
        ('{"pixel_size_um": 0}', "pixel_size_um"),
        ('{"pixel_size_um": true}', "pixel_size_um"),
        ('{"pixel_size_um": Infinity}', "pixel_size_um"),
    ],
)
def test_facts_when_unusable_then_one_sentence_names_the_file(tmp_path, content, reason):
    (tmp_path / FACTS_NAME).write_text(content)
    with pytest.raises(CellDataError, match=reason) as caught:
        read_folder_facts(tmp_path)
    assert str(tmp_path / FACTS_NAME) in str(caught.value)


def test_facts_of_two_folders_when_they_differ_then_classes_are_refused_and_sizes_unknown(tmp_path):
    write_folder_facts(tmp_path / "a", FolderFacts(("nucleus",), "rgb", 0.25))
    write_folder_facts(tmp_path / "b", FolderFacts(("nucleus",), None, 0.5))
    joined = join_folder_facts([tmp_path / "a", tmp_path / "b", tmp_path])
    assert joined == FolderFacts(("nucleus",), "rgb", None)
    write_folder_facts(tmp_path / "b", FolderFacts(("cell",)))
    with pytest.raises(CellDataError, match="classes"):
        join_folder_facts([tmp_path / "a", tmp_path / "b"])
    joined = join_folder_facts([tmp_path / "a", tmp_path / "b"], settled=["classes"])
    assert joined == FolderFacts(None, "rgb", None)


def test_pixel_sizes_when_within_two_percent_then_are_one():
    assert agree_on_pixel_size([None, 0.25, 0.2525]) == 0.25
    assert agree_on_pixel_size([0.25, 0.26]) is None
    assert agree_on_pixel_size([None]) is None


def test_cell_dataset_when_config_is_silent_then_takes_the_folders_facts(draw_image, tmp_path):
    draw_image(tmp_path, "one")
    facts = {"classes": ["nucleus"], "channel_order": "bgr", "pixel_size_um": 0.5}
    (tmp_path / FACTS_NAME).write_text(json.dumps(facts))
    dataset = CellDataset(data_root=tmp_path, pipeline=[])
    assert dataset.metainfo["classes"] == ("nucleus",)
    assert dataset.image_format["channel_order"] == "bgr"
    assert dataset.pixel_size_um == 0.5
    settled = CellDataset(
        data_root=tmp_path,
        pipeline=[],
        metainfo={"classes": ("cell",)},
        channel_order="rgb",
        pixel_size_um=0.3,
    )
    assert settled.metainfo["classes"] == ("cell",)
    assert settled.image_format["channel_order"] == "rgb"
    assert settled.pixel_size_um == 0.3


def test_facts_when_nested_beyond_reason_then_one_sentence(tmp_path):
    (tmp_path / FACTS_NAME).write_text("[" * 100_000)
    with pytest.raises(CellDataError, match=r"dataset\.json: is not valid JSON"):
        read_folder_facts(tmp_path)


@pytest.mark.parametrize(
    "text", ['{"channel_order": "' + "r" * 9000 + '"}', '{"pixel_size_um": 1' + "0" * 400 + "}"]
)
def test_facts_when_a_value_is_far_too_long_then_a_short_sentence(tmp_path, text):
    (tmp_path / FACTS_NAME).write_text(text)
    with pytest.raises(CellDataError) as caught:
        read_folder_facts(tmp_path)
    assert len(str(caught.value)) < 400 + len(str(tmp_path))
