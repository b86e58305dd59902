"""What MMEngine saves comes back equal; what only looks like it is refused."""

import io
import pickle
from typing import Any

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.config import ConfigDict
from mmengine.logging import HistoryBuffer
from mmengine.optim import CosineAnnealingLR, MultiStepLR, OneCycleLR

from cellseg.engine.safe_unpickling import (
    DtypeRecord,
    RefusedContentError,
    materialize,
    only_checkpoint_globals,
    rebuild_scalar,
)
from tests.engine.conftest import CallOnLoad

DTYPES = st.sampled_from(["?", "u1", "<i8", ">f4", "f8", "c16", "<U3", "S2"]).map(np.dtype)


def save_and_load(value: Any) -> Any:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    buffer.seek(0)
    with only_checkpoint_globals():
        return materialize(torch.load(buffer, weights_only=True))


@settings(deadline=None, max_examples=60)
@given(arrays.arrays(DTYPES, arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)))
def test_array_when_saved_then_it_comes_back_equal(array: np.ndarray) -> None:
    loaded = save_and_load({"array": array, "columns first": np.asfortranarray(array)})
    for value in loaded.values():
        assert type(value) is np.ndarray
        assert value.dtype == array.dtype
        np.testing.assert_array_equal(value, array)


@pytest.mark.parametrize("number", [np.float64(0.5), np.float32(1), np.int64(-3), np.bool_(True)])
def test_number_when_saved_then_it_comes_back_equal(number: np.generic) -> None:
    loaded = save_and_load([number])[0]
    assert type(loaded) is type(number)
    assert loaded == number


def test_history_when_saved_then_it_goes_on() -> None:
    history = HistoryBuffer([1.0, 2.0, 6.0], [1, 1, 2], 7)
    loaded = save_and_load({"a": history, "b": history})
    assert type(loaded["a"]) is HistoryBuffer
    assert loaded["a"] is loaded["b"]
    assert loaded["a"].max_length == 7
    for statistic in ("mean", "min", "max", "current"):
        assert loaded["a"].statistics(statistic) == history.statistics(statistic)
    loaded["a"].update(3.0)
    assert loaded["a"].current() == 3.0


def test_history_when_file_names_other_statistics_then_the_class_keeps_its_own() -> None:
    before = dict(HistoryBuffer._statistics_methods)
    history = HistoryBuffer([1.0], [1])
    history._statistics_methods = {"mean": HistoryBuffer.min}
    assert save_and_load(history).mean() == 1.0
    assert HistoryBuffer._statistics_methods == before


@pytest.mark.parametrize("kind", ["one cycle", "linear one cycle", "steps", "cosine"])
def test_schedule_when_saved_then_its_state_comes_back(kind: str) -> None:
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.ones(2))], lr=1)
    schedule = {
        "one cycle": lambda: OneCycleLR(optimizer, eta_max=1, total_steps=9),
        "linear one cycle": lambda: OneCycleLR(
            optimizer, eta_max=1, total_steps=9, anneal_strategy="linear"
        ),
        "steps": lambda: MultiStepLR(optimizer, [1, 2]),
        "cosine": lambda: CosineAnnealingLR(optimizer, T_max=3),
    }[kind]()
    state = schedule.state_dict()
    assert save_and_load(dict(state)) == state


def test_config_dict_when_saved_then_it_comes_back_plain() -> None:
    loaded = save_and_load({"a": ConfigDict(b=dict(c=(1, slice(2))))})
    assert loaded == {"a": {"b": {"c": (1, slice(2))}}}
    assert type(loaded["a"]) is dict


@pytest.mark.parametrize(
    "value",
    [
        np.array([{}], dtype=object),
        np.zeros(2, dtype=[("a", "f8")]),
        np.array(["2026-11-22"], dtype="datetime64[D]"),
        CallOnLoad(getattr, HistoryBuffer, "__init__"),
        CallOnLoad(getattr, HistoryBuffer, "update"),
        CallOnLoad(getattr, np.ndarray, "tofile"),
        CallOnLoad(getattr, CallOnLoad(getattr, HistoryBuffer, "mean"), "__globals__"),
        CallOnLoad(bytes, 10),
        CallOnLoad(np._core.multiarray.scalar, np.dtype("O"), 1),
        CallOnLoad(np._core.multiarray._reconstruct, dict, (0,), b"b"),
    ],
    ids=lambda value: getattr(value, "reduction", value).__repr__()[:50],
)
def test_content_when_more_than_numbers_then_refused(value: Any) -> None:
    with pytest.raises((RefusedContentError, TypeError, pickle.UnpicklingError)):
        save_and_load({"value": value})


def test_records_when_misused_then_refused() -> None:
    with pytest.raises(RefusedContentError):
        rebuild_scalar("f8", b"12345678")
    with pytest.raises(RefusedContentError):
        DtypeRecord("f8").__setstate__((3, "<", None, ("a",), {}, -1, -1, 0))


def test_materialize_when_nest_holds_itself_then_it_ends() -> None:
    nest: dict[str, Any] = {"list": [1]}
    nest["list"].append(nest)
    assert materialize(nest)["list"][1] is nest
