"""Every format of the command is a converter of tools/, and the other way around."""

from pathlib import Path

import numpy as np
import pytest
import tifffile

from cellseg.cli.convert import FORMATS, load_format
from cellseg.cli.main import main
from cellseg.cli.running import build_parser

TOOLS = Path(__file__).resolve().parents[2] / "tools" / "dataset_converters"


def test_formats_always_are_the_converters_of_tools() -> None:
    texts = [path.read_text(encoding="utf-8") for path in TOOLS.glob("*.py")]
    assert len(texts) == len(FORMATS)
    for name in FORMATS:
        line = f"from {load_format(name).__name__} import add_arguments, main"
        assert sum(line in text for text in texts) == 1


def test_convert_when_a_format_is_named_then_it_converts(tmp_path: Path, capsys) -> None:
    folder = tmp_path / "cellpose"
    folder.mkdir()
    labels = np.zeros((16, 16), np.uint16)
    labels[2:9, 3:8] = 7
    tifffile.imwrite(folder / "a.tif", np.zeros((16, 16, 3), np.uint8), photometric="rgb")
    tifffile.imwrite(folder / "a_masks.tif", labels)
    assert main(["convert", "labels", str(folder), str(tmp_path / "out")]) == 0
    assert (tifffile.imread(tmp_path / "out" / "a" / "class1.tif") > 0).sum() == 35
    assert "and of its data sets data_root=" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["convert"], ["convert", "jpeg"]])
def test_convert_when_the_format_is_unknown_then_usage_error(words: list[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(words)
    assert end.value.code == 2


@pytest.mark.parametrize("name", ["to-coco", "to-geojson"])
def test_classes_by_default_are_those_of_the_data_set(name: str) -> None:
    from cellseg.datasets.cell_dataset import CellDataset

    args = build_parser("", load_format(name).add_arguments).parse_args(["in", "out"])
    assert tuple(args.classes) == CellDataset.METAINFO["classes"]
