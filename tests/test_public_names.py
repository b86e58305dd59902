"""What `from cellseg import ...` offers, and what it costs."""

import json
import subprocess
import sys
from pathlib import Path

import cellseg

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = """
import json, sys
import cellseg
early = [name for name in ("torch", "mmdet", "mmengine", "numpy") if name in sys.modules]
from cellseg import Cells, open_image, score_label_maps
late = [name for name in ("torch", "mmdet", "mmengine") if name in sys.modules]
print(json.dumps([early, late]))
"""


def test_import_always_loads_nothing_heavy_and_the_light_names_no_torch() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == [[], []]


def test_package_always_says_that_it_is_typed() -> None:
    assert (Path(cellseg.__file__).parent / "py.typed").is_file()
    assert set(cellseg.__all__) >= {"Cells", "Predictor", "open_image", "score_label_maps"}
