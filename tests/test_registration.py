"""Importing one module registers everything that a config can name."""

import pytest
from mmdet.registry import DATASETS, HOOKS, METRICS, MODELS, TRANSFORMS, VISUALIZERS

from cellseg import registration


@pytest.mark.parametrize(
    ("registry", "names"),
    [
        (DATASETS, ["CellDataset"]),
        (TRANSFORMS, ["LoadCellImage", "LoadLabelMaps", "StainJitter", "LimitedResize"]),
        (MODELS, ["RleRoIHead", "CroppedMaskHead", "CellTTAModel", "Fp32RPNHead"]),
        (HOOKS, ["ChannelsLastHook", "KeepMemoryHook", "FiniteLossHook"]),
        (METRICS, ["CellMetric"]),
        (VISUALIZERS, ["CellVisualizer"]),
    ],
)
def test_registration_when_imported_then_registries_know_the_parts(registry, names) -> None:
    for name in names:
        part = registry.get(name)
        assert part is not None, name
        assert part.__module__.startswith("cellseg.")


def test_registration_always_offers_what_it_imports() -> None:
    assert all(hasattr(registration, name) for name in registration.__all__)
