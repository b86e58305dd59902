import pickle

import torch

from cellseg.inference.predictor_recipe import PredictorRecipe, digest_file
from cellseg.inference.tile_plan import TileOptions

from .oracle import oracle_config


def test_recipe_when_sent_elsewhere_then_it_builds_the_same_predictor(tmp_path) -> None:
    oracle_config().dump(tmp_path / "config.py")
    weights = tmp_path / "weights.pth"
    torch.save({"state_dict": {}, "meta": {}}, weights)
    tiling = TileOptions(tile_px=320, overlap_px=64)
    config = str(tmp_path / "config.py")
    recipe = PredictorRecipe(config, str(weights), "cpu", tiling=tiling, channel_order="rgb")
    copy = pickle.loads(pickle.dumps(recipe))
    one, two = recipe.build(), copy.build("cpu")
    assert recipe.describe(one) == copy.describe(two)
    assert two.image_format["channel_order"] == "rgb"
    assert two.tiling == tiling
    assert recipe.describe(one)["weights"] == [digest_file(weights)]
