import pickle

from cellseg.cluster.orders import WorkOrder, list_versions, sum_up
from cellseg.inference.output_folder import OutputOptions
from cellseg.inference.predictor_recipe import PredictorRecipe


def test_order_when_sent_with_each_unit_then_copies_are_of_one_run(tmp_path) -> None:
    options = OutputOptions(tmp_path, ("labels",))
    orders = [
        WorkOrder(PredictorRecipe(cfg_options={"a": 1}), options, "x", list_versions(), token)
        for token in ("one", "two")
    ]
    copy = pickle.loads(pickle.dumps(orders[0]))
    assert copy == orders[0]
    assert hash(copy) == hash(orders[0])
    assert copy != orders[1]
    assert copy.token_path == tmp_path / ".units" / "run"


def test_checksum_when_a_setting_changes_then_so_does_it() -> None:
    assert sum_up({"a": 1, "b": 2}) == sum_up({"b": 2, "a": 1}) != sum_up({"a": 1, "b": 3})


def test_versions_always_name_what_decides_the_cells() -> None:
    assert {"cellseg", "torch", "numpy", "Python"} <= set(list_versions())
