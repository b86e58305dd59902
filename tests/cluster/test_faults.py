"""What goes wrong on a cluster, for real: two workers on this machine, and signals."""

import csv
import os
import re
import signal
import subprocess
import sys
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
from .outside import Outside, wait_for
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
    go_on(setting, out, flags)
    assert digests(out) == alone


@pytest.fixture
def outside(seen: Path, tmp_path: Path) -> Iterator[Outside]:
    """A scheduler that no client has started, and its workers."""
    outside = Outside(tmp_path)
    outside.start()
    yield outside
    outside.stop()


def begin(setting: Setting, out: Path, flags: tuple[object, ...]) -> subprocess.Popen[str]:
    """Start a command, and wait until a part of a large image is finished."""
    command = setting.command(out, *flags)
    client = subprocess.Popen(command, env=make_env(), stderr=subprocess.PIPE, text=True)
    wait_for(lambda: list_parts(out))
    return client


def go_on(setting: Setting, out: Path, flags: tuple[object, ...]) -> None:
    """Run the same command again; fail unless it keeps what is finished."""
    stamps = {path: path.stat().st_mtime_ns for path in list_parts(out)}
    assert stamps
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


@pytest.mark.slow
def test_scheduler_when_it_is_killed_then_one_sentence_and_the_command_goes_on_from_units(
    setting: Setting, alone: dict[str, str], outside: Outside, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    flags = (*TILED, "--format", *FORMATS, "--dask", outside.file)
    client = begin(setting, out, flags)
    outside.kill_scheduler()
    _, said = client.communicate(timeout=180)
    assert client.returncode == 1
    assert "The scheduler is gone. Finished units are kept; start it and run the same" in said
    assert "Traceback" not in said
    outside.start()
    go_on(setting, out, flags)
    assert digests(out) == alone


@pytest.mark.slow
def test_client_when_it_is_killed_then_workers_of_another_scheduler_finish_their_units_only(
    setting: Setting, alone: dict[str, str], outside: Outside, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    flags = (*TILED, "--format", *FORMATS, "--dask", outside.file)
    client = begin(setting, out, flags)
    client.kill()
    client.wait()
    before = len(list_parts(out))
    wait_for(lambda: len(list_parts(out)) > before, 60)
    time.sleep(5)  # longer than a unit
    assert len(list_parts(out)) <= before + 2
    go_on(setting, out, flags)
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


def hide_others(kept: str) -> None:
    """Let this process read one image only, as on a node without the shared disk."""
    can = os.access
    os.access = lambda path, mode: (
        can(path, mode) and not (Path(path).suffix == ".tif" and Path(path) != Path(kept))
    )


def test_image_when_it_is_nowhere_then_it_is_listed_and_no_worker_is_blamed(
    setting: Setting, connection, tmp_path: Path
) -> None:
    images = find_input_images([tmp_path / "gone.tif", setting.images / "small1.tif"])
    options = OutputOptions(tmp_path / "out", ("labels",))
    lines: list[str] = []
    bad, good = predict_cohort(connection, make_recipe(setting), images, options, lines.append)
    assert bad.error == f"{tmp_path / 'gone.tif'} does not exist, or cannot be read; check it."
    assert good.error is None
    assert not any("left out" in line for line in lines)


@pytest.mark.slow
def test_worker_when_it_cannot_see_images_then_it_is_left_out_by_name_and_others_do_them(
    setting: Setting, fresh, tmp_path: Path
) -> None:
    paths = sorted(setting.images.glob("small*.tif"))
    images = find_input_images(paths)
    fresh.client.wait_for_workers(2, timeout=300)
    blind, seeing = sorted(fresh.client.run(lambda dask_worker: dask_worker.name).items())
    fresh.client.run(hide_others, str(paths[0]), workers=[blind[0]])
    lines: list[str] = []
    options = OutputOptions(tmp_path / "out", ("labels",))
    outcomes = predict_cohort(fresh, make_recipe(setting), images, options, lines.append)
    assert [outcome.error for outcome in outcomes] == [None] * 4
    (line,) = (line for line in lines if line.endswith("This worker is left out."))
    assert re.search(r"cannot read .*small[123].tif: is it on a shared disk\?", line)
    rows = read_rows(tmp_path / "out")
    assert {rows[path.stem]["worker"].partition("/")[2] for path in paths[1:]} == {seeing[1]}

    fresh.client.run(hide_others, "", workers=[seeing[0]])
    wait_for(lambda: len(fresh.client.nthreads()) == 1)
    options = OutputOptions(tmp_path / "again", ("labels",))
    with pytest.raises(CellsegError, match=r"cannot read .*small0.tif: is it on a shared disk\?$"):
        CohortJob(fresh.client, make_recipe(setting), images, options).run(1)


@pytest.mark.slow
def test_worker_when_it_joins_late_without_cellseg_then_its_units_are_done_by_others(
    setting: Setting, fresh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = tmp_path / "empty" / "cellseg"
    empty.mkdir(parents=True)
    (empty / "__init__.py").write_text("raise ImportError('nothing here')")
    address = fresh.client.scheduler.address
    command = [sys.executable, "-m", "dask", "worker", address, "--nthreads", "1", "--no-nanny"]
    late: list[subprocess.Popen] = []

    def join(check: Callable[[], None]) -> None:
        check()
        env = make_env({"PYTHONPATH": str(empty.parent)})
        late.append(subprocess.Popen(command, env=env, cwd=tmp_path, stderr=subprocess.DEVNULL))
        fresh.client.wait_for_workers(3, timeout=300)

    fresh.client.wait_for_workers(2, timeout=300)
    images = find_input_images([setting.images / f"small{number}.tif" for number in range(4)])
    options = OutputOptions(tmp_path / "out", ("labels",))
    job = CohortJob(fresh.client, make_recipe(setting), images, options)
    check = job.crew.check
    monkeypatch.setattr(job.crew, "check", lambda: check() if late else join(check))
    try:
        outcomes = job.run(3)
        assert [outcome.error for outcome in outcomes] == [None] * 4
    finally:
        for process in late:
            process.kill()
            process.wait()


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
    setting: Setting, connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    retired: list[str] = []
    monkeypatch.setattr(connection.client, "retire_workers", retired.extend)  # they are needed yet
    images = find_input_images([setting.images / f"small{number}.tif" for number in range(2)])
    job = CohortJob(
        connection.client, make_recipe(setting), images, OutputOptions(tmp_path, ("csv",))
    )
    object.__setattr__(job.order, "checksum", "0" * 64)
    with pytest.raises(CellsegError, match=r"/worker-\d has another config or other weights"):
        job.run(2)
    assert len(retired) == 1  # when the other one does not fit, either, the run ends
