"""Importing cellseg is cheap, and works before and after every other package."""

import os
import pickle
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CONFIG = ROOT / "configs" / "cell" / "mask-rcnn_r18_small-anchor_demo.py"
FIND_PARTS = """
    from mmengine.config import Config
    from mmdet.registry import DATASETS, HOOKS, MODELS
    cfg = Config.fromfile(CONFIG)
    assert DATASETS.get("CellDataset") and HOOKS.get("FiniteLossHook")
    assert MODELS.build(cfg.model.roi_head.bbox_roi_extractor)
"""


class Evil:
    """Pickles to a call that creates a folder."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (self.folder,)


def run_python(code: str, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh interpreter, with a folder of stand-in packages before all others."""
    folders = [str(folder) for folder in (path, ROOT) if folder]
    code = f"CONFIG = {str(CONFIG)!r}\n{textwrap.dedent(code)}"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(folders)}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)


@pytest.mark.parametrize(
    "first",
    [
        "import cellseg",
        "import mmengine",
        pytest.param("from cellseg.inference import Predictor", marks=pytest.mark.slow),
        pytest.param("import mmdet.apis; import cellseg", marks=pytest.mark.slow),
        pytest.param("import cellseg; import mmdet.models", marks=pytest.mark.slow),
        pytest.param("import cellseg, mmdet.registry", marks=pytest.mark.slow),
        pytest.param("import cellseg.models.fp32_roi_extractor", marks=pytest.mark.slow),
    ],
)
def test_parts_when_imported_in_any_order_then_are_found(first) -> None:
    ran = run_python(f"{first}\n{textwrap.dedent(FIND_PARTS)}")
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize("name", ["Cells", "open_image", "score_label_maps"])
def test_name_when_taken_from_the_package_then_loads_no_network(name) -> None:
    ran = run_python(
        f"""
        import sys
        from cellseg import {name}
        heavy = sorted({{"torch", "mmdet", "mmengine", "mmcv"}} & set(sys.modules))
        assert not heavy, heavy
        """
    )
    assert ran.returncode == 0, ran.stderr


def test_names_of_the_package_are_those_of_its_rooms() -> None:
    import cellseg
    from cellseg.inference import Predictor

    assert cellseg.Predictor is Predictor
    assert {"Cells", "Predictor", "open_image", "score_label_maps"} <= set(dir(cellseg))
    with pytest.raises(AttributeError, match="nonsense"):
        _ = cellseg.nonsense


def test_cellseg_when_imported_then_loads_nothing_heavy() -> None:
    ran = run_python(
        """
        import sys, cellseg, importlib.util
        assert cellseg.__version__ and "datasets" in dir(cellseg)
        print(sorted({"torch", "numpy", "mmcv", "mmdet", "mmengine", "cv2"} & sys.modules.keys()))
        from cellseg import structures
        assert cellseg.structures is structures
        spec = importlib.util.find_spec("mmcv._ext")
        assert spec.name == "mmcv._ext" and spec.origin and "cellseg.ops" not in sys.modules
        """
    )
    assert ran.stderr == ""
    assert ran.stdout == "[]\n"


def test_cellseg_when_asked_for_an_unknown_attribute_then_raises_as_any_module() -> None:
    ran = run_python("import cellseg; cellseg.nonsense")
    assert "AttributeError: module 'cellseg' has no attribute 'nonsense'" in ran.stderr


@pytest.mark.parametrize(
    "first",
    [
        "cellseg, mmengine.runner",
        pytest.param("mmengine.runner, cellseg", marks=pytest.mark.slow),
    ],
)
def test_checkpoint_when_it_would_run_code_then_is_refused_in_any_order(tmp_path, first) -> None:
    path = tmp_path / "evil.pth"
    path.write_bytes(pickle.dumps({"state_dict": Evil(str(tmp_path / "harm"))}))
    ran = run_python(
        f"""
        import {first}
        mmengine.runner.CheckpointLoader.load_checkpoint({str(path)!r}, map_location="cpu")
        """
    )
    assert "CheckpointError" in ran.stderr
    assert not (tmp_path / "harm").exists()


def test_ext_when_compiled_ops_are_there_then_they_are_used(tmp_path) -> None:
    package = tmp_path / "mmcv"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "_ext.py").write_text("IS_COMPILED = True")
    ran = run_python("import cellseg, mmcv._ext; print(mmcv._ext.IS_COMPILED)", tmp_path)
    assert ran.stdout == "True\n", ran.stderr


@pytest.mark.parametrize("error", ["RuntimeError('operator does not exist')", "OSError('libcuda')"])
def test_torchvision_when_it_does_not_load_then_is_absent(tmp_path, error) -> None:
    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision" / "__init__.py").write_text(f"raise {error}")
    ran = run_python(
        """
        import cellseg
        from mmengine.utils.dl_utils import collect_env
        assert "TorchVision" not in collect_env()
        from cellseg.ops import backend
        print(backend.load_torchvision())
        """,
        tmp_path,
    )
    assert ran.returncode == 0, ran.stderr
    assert "does not load beside this torch" in ran.stdout


def test_torchvision_when_it_loads_then_is_left_as_it_is(tmp_path) -> None:
    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision" / "__init__.py").write_text("__version__ = '1.2'")
    ran = run_python(
        """
        import cellseg, inspect, torchvision
        assert torchvision.__version__ in inspect.getsource(torchvision)
        print(type(torchvision.__spec__.loader).__name__, type(torchvision.__loader__).__name__)
        """,
        tmp_path,
    )
    assert ran.stdout == "SourceFileLoader SourceFileLoader\n", ran.stderr
