import numpy as np
import pytest
from mmengine.config import Config

from cellseg.errors import CellsegError
from cellseg.inference import Predictor, TileOptions
from cellseg.inference.ensemble import CellEnsemble

from .oracle import draw_label_map, oracle_config, paint_label_map


def make(ensemble, score_thr=0.0):
    tiling = TileOptions(scale=1.0, whole=True)
    return Predictor(
        oracle_config(), None, "cpu", score_thr=score_thr, tiling=tiling, ensemble=ensemble
    )


def test_ensemble_of_equal_models_finds_the_same_cells_at_the_same_scores():
    image = paint_label_map(draw_label_map(300))
    expected = make(())(image)
    merged = make([(None, None), (oracle_config(), None)])(image)
    assert len(expected) > 20
    assert merged.rles == expected.rles
    np.testing.assert_allclose(merged.scores, expected.scores, rtol=1e-5)


def test_cell_that_one_of_two_models_misses_has_half_its_score(monkeypatch):
    image = paint_label_map(draw_label_map(300))
    expected = make(())(image)
    predictor = make([(None, None)])
    blind = predictor.model.models[1]
    see = blind.test_step

    def see_nothing(data):
        samples = see(data)
        for sample in samples:
            sample.pred_instances = sample.pred_instances[:0]
        return samples

    monkeypatch.setattr(blind, "test_step", see_nothing)
    merged = predictor(image)
    assert merged.rles == expected.rles
    np.testing.assert_allclose(merged.scores, expected.scores / 2, rtol=1e-5)


def test_ensemble_of_models_of_other_classes_is_refused():
    other = Config(oracle_config().to_dict())
    other.test_dataloader.dataset.metainfo.classes = ("nucleus",)
    with pytest.raises(CellsegError, match="same classes"):
        make([(other, None)])


def test_ensemble_of_no_model_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        CellEnsemble([])
