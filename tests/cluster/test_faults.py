"""What goes wrong on a cluster, for real: two workers on this machine, and signals."""

import csv
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

pytest.importorskip("distributed", reason="the extra cluster is not installed")

from cellseg.cluster.clients import start_local
from cellseg.cluster.cohort import predict_cohort
from cellseg.cluster.cohort_job import CohortJob
from cellseg.errors import CellsegError
from cellseg.inference.image_list import find_input_images
from cellseg.inference.output_folder import OutputOptions

from .conftest import FORMATS, TILED, Setting, digests, list_parts, make_env, paint_killer
from .fault_oracle import DELAY_NAME, SEEN_NAME
from .test_cohort import make_recipe


@pytest.fixture
def seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which workers that predict leave their process numbers; they are slow."""
    folder = tmp_path / "seen"
    folder.mkdir()
    for name, value in make_env({SEEN_NAME: str(folder), DELAY_NAME: "0.3"}).items():
        monkeypatch.setenv(name, value)
    return folder


@pytest.fixture
def fresh(seen: Path) -> Iterator[object]:
    """Two workers that may be killed."""
    with start_local(2) as connection:
        yield connection


def wait_for(what: Callable[[], object], seconds: float = 480) -> object:
    """Wait until something is true."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = what()
        if found:
            return found
        time.sleep(0.05)
    raise TimeoutError


def read_rows(folder: Path) -> dict[str, dict[str, str]]:
    with (folder / "cohort.csv").open() as file:
        return {row["image"]: row for row in csv.DictReader(file)}


@pytest.mark.slow
def test_worker_when_it_is_killed_then_its_unit_is_done_by_another(
    setting: Setting, alone: dict[str, str], fresh, seen: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    images = find_input_images([setting.images], out=out)
    killed = []

    def kill() -> None:
        wait_for(lambda: list_parts(out))  # a part is finished
        worker = int(next(seen.iterdir()).name)
        killed.append(worker)
        os.kill(worker, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    outcomes = predict_cohort(fresh, make_recipe(setting), images, OutputOptions(out, FORMATS))
    killer.join()
    assert killed
    assert [outcome.error for outcome in outcomes] == [None] * 5
    assert digests(out) == alone


@pytest.mark.slow
def test_unit_when_it_kills_its_workers_then_it_is_listed_and_the_others_go_on(
    setting: Setting, fresh, seen: Path, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.tif"
    paint_killer(bad)
    out = tmp_path / "out"
    images = find_input_images([bad, setting.images])
    options = OutputOptions(out, ("labels",))
    outcomes = predict_cohort(fresh, make_recipe(setting), images, options)
    assert len(list(seen.glob("killed-*"))) == 3
    assert [outcome.error is None for outcome in outcomes] == [False, *[True] * 5]
    assert str(bad) in outcomes[0].error
    assert "workers" in outcomes[0].error
    assert read_rows(out)["bad"]["error"] == outcomes[0].error


@pytest.mark.slow
def test_client_when_it_is_killed_then_workers_end_and_the_command_goes_on_from_units(
    setting: Setting, alone: dict[str, str], seen: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    flags = (*TILED, "--format", *FORMATS, "--dask", "local:2")
    log = (tmp_path / "log").open("w")
    client = subprocess.Popen(setting.command(out, *flags), env=make_env(), stdout=log, stderr=log)
    wait_for(lambda: list_parts(out))
    family = psutil.Process(client.pid).children(recursive=True)
    client.kill()
    client.wait()
    kept = set(list_parts(out))
    assert kept
    gone, alive = psutil.wait_procs(family, timeout=120)
    assert alive == []
    for path in seen.iterdir():
        path.unlink()
    stamps = {path: path.stat().st_mtime_ns for path in list_parts(out)}
    again = subprocess.Popen(
        setting.command(out, *flags), env=make_env(), stdout=subprocess.PIPE, text=True
    )
    changed = []
    while again.poll() is None:
        now = {path: path.stat().st_mtime_ns for path in stamps if path.exists()}
        changed += [path for path in now if now[path] != stamps[path]]
        time.sleep(0.05)
    assert again.returncode == 0, again.stdout.read()
    assert changed == []  # what was finished has not been done again
    assert digests(out) == alone


@pytest.mark.slow
def test_ctrl_c_when_it_comes_then_workers_are_given_back(
    setting: Setting, seen: Path, tmp_path: Path
) -> None:
    command = setting.command(tmp_path / "out", *TILED, "--dask", "local:2")
    client = subprocess.Popen(
        command, env=make_env({SEEN_NAME: str(seen)}), stderr=subprocess.PIPE, text=True
    )
    wait_for(lambda: list(seen.iterdir()))
    family = psutil.Process(client.pid).children(recursive=True)
    client.send_signal(signal.SIGINT)
    _, said = client.communicate(timeout=120)
    assert client.returncode == 130
    assert "interrupted" in said
    assert "Traceback" not in said
    _, alive = psutil.wait_procs(family, timeout=60)
    assert alive == []


def test_folder_when_two_runs_write_into_it_then_the_second_is_refused(
    setting: Setting, connection, tmp_path: Path
) -> None:
    images = find_input_images([setting.images / "small0.tif"])
    options = OutputOptions(tmp_path, ("labels",))
    first = CohortJob(connection.client, make_recipe(setting), images, options)
    first.work.folder.take()
    try:
        with pytest.raises(CellsegError, match="Another run is predicting into"):
            predict_cohort(connection, make_recipe(setting), images, options)
        assert not (tmp_path / "cohort.csv").exists()
    finally:
        first.work.folder.release()


def test_worker_when_it_cannot_see_an_image_then_that_image_names_it(
    setting: Setting, connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hidden = tmp_path / "hidden.tif"
    hidden.write_bytes((setting.images / "small0.tif").read_bytes())
    images = find_input_images([hidden, setting.images / "small1.tif"])
    options = OutputOptions(tmp_path / "out", ("labels",))
    job = CohortJob(connection.client, make_recipe(setting), images, options)
    monkeypatch.setattr(
        job, "_check_workers", lambda check=job._check_workers: (check(), hidden.unlink())
    )
    bad, good = job.run(2)
    assert "cannot read" in bad.error
    assert f"{hidden}: is it on a shared disk?" in bad.error
    assert good.error is None


def test_worker_when_it_has_another_version_then_it_is_refused_by_name(
    setting: Setting, connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = find_input_images([setting.images / "small0.tif"])
    job = CohortJob(
        connection.client, make_recipe(setting), images, OutputOptions(tmp_path, ("csv",))
    )
    job.order.versions["torch"] = "1.0"
    with pytest.raises(CellsegError, match=r"/worker-\d has torch .*, this machine 1.0; install"):
        job.run(2)
    assert not (tmp_path / "small0.cells.csv").exists()


def test_worker_when_its_weights_differ_then_it_is_refused_by_name(
    setting: Setting, connection, tmp_path: Path
) -> None:
    images = find_input_images([setting.images / "small0.tif"])
    job = CohortJob(
        connection.client, make_recipe(setting), images, OutputOptions(tmp_path, ("csv",))
    )
    object.__setattr__(job.order, "checksum", "0" * 64)
    with pytest.raises(CellsegError, match=r"/worker-\d has another config or other weights"):
        job.run(2)
