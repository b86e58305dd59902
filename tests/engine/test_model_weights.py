"""Weights of a model folder: small, checked, refused where damaged."""

import hashlib
import json

import pytest
import torch

from cellseg.engine.checkpoint_loading import CheckpointError, load_checkpoint_file
from cellseg.engine.model_record import RECORD_KEY
from cellseg.engine.model_weights import load_model_checkpoint, read_weights, write_weights
from cellseg.model_files import FACTS_NAME, WEIGHTS_NAME, ModelFolderError

WEIGHTS = {
    "conv.weight": torch.linspace(-1, 1, 24).reshape(2, 3, 2, 2),
    "huge.weight": torch.full((2, 2), 1e6),
    "norm.running_var": torch.tensor([1e-6, 2e5]),
    "norm.num_batches_tracked": torch.tensor(7),
}


@pytest.fixture
def folder(tmp_path):
    """Return a model folder that is whole."""
    digest, num_bytes = write_weights(tmp_path / WEIGHTS_NAME, WEIGHTS)
    facts = {
        "format": "cellseg model",
        "version": 1,
        "weights": {"sha256": digest, "bytes": num_bytes},
        "record": {"version": 1, "classes": ["nucleus"]},
    }
    (tmp_path / FACTS_NAME).write_text(json.dumps(facts))
    return tmp_path


def test_weights_when_written_then_matrices_are_halved_and_the_rest_is_exact(tmp_path):
    digest, num_bytes = write_weights(tmp_path / "w.safetensors", WEIGHTS)
    content = (tmp_path / "w.safetensors").read_bytes()
    assert (digest, num_bytes) == (hashlib.sha256(content).hexdigest(), len(content))
    found = read_weights(tmp_path / "w.safetensors", digest)
    assert {name: value.dtype for name, value in found.items()} == {
        name: value.dtype for name, value in WEIGHTS.items()
    }
    for name in ("huge.weight", "norm.running_var", "norm.num_batches_tracked"):
        assert torch.equal(found[name], WEIGHTS[name])
    torch.testing.assert_close(found["conv.weight"], WEIGHTS["conv.weight"], atol=5e-4, rtol=0)
    assert not torch.equal(found["conv.weight"], WEIGHTS["conv.weight"])


def test_model_folder_when_loaded_as_a_checkpoint_then_holds_weights_and_record(folder):
    for path in (folder, folder / WEIGHTS_NAME):
        loaded = load_checkpoint_file(path)
        assert set(loaded["state_dict"]) == set(WEIGHTS)
        assert loaded["meta"][RECORD_KEY]["classes"] == ["nucleus"]
    assert load_model_checkpoint(folder / FACTS_NAME) is None


@pytest.mark.parametrize("place", [8, -1])
def test_weights_when_a_byte_is_another_then_the_checksum_tells(folder, place):
    content = bytearray((folder / WEIGHTS_NAME).read_bytes())
    content[place] ^= 1
    (folder / WEIGHTS_NAME).write_bytes(content)
    with pytest.raises(ModelFolderError, match="do not match the checksum"):
        load_checkpoint_file(folder)


@pytest.mark.parametrize("content", [b"", b"\x00" * 8, b"\xff" * 100, b"\x80\x04}."])
def test_weights_when_no_safetensors_then_one_sentence(tmp_path, content):
    (tmp_path / "w.safetensors").write_bytes(content)
    with pytest.raises(ModelFolderError, match="is not a safetensors file"):
        load_checkpoint_file(tmp_path / "w.safetensors")


def test_weights_when_missing_or_not_finite_then_are_refused(folder, tmp_path):
    (folder / WEIGHTS_NAME).unlink()
    with pytest.raises(ModelFolderError, match="cannot be read"):
        load_checkpoint_file(folder)
    path = tmp_path / "alone" / "nan.safetensors"
    write_weights(path, {"a": torch.tensor([float("nan")])})
    with pytest.raises(CheckpointError, match="NaN"):
        load_checkpoint_file(path)
