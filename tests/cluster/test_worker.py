import logging
import os
from pathlib import Path

import pytest
from mmengine.logging import MMLogger

pytest.importorskip("distributed", reason="the extra cluster is not installed")

from cellseg.cluster import worker
from cellseg.cluster.cohort_job import CohortJob
from cellseg.cluster.orders import Unit
from cellseg.fileio import write_atomically
from cellseg.inference.image_list import InputImage, find_input_images
from cellseg.inference.output_folder import OutputOptions

from .test_cohort import make_recipe


class FakeWorker:
    name = "w"
    address = "tcp://w"

    class state:  # noqa: N801  (as Dask names it)
        nthreads = 1


@pytest.fixture
def job(setting, tmp_path, monkeypatch) -> CohortJob:
    """A run that nobody shares out: units are done here."""
    monkeypatch.setattr(worker, "get_worker", FakeWorker)
    monkeypatch.syspath_prepend(str(setting.folder))
    images = find_input_images([setting.images / "small0.tif", setting.images / "slide.tif"])
    job = CohortJob(None, make_recipe(setting), images, OutputOptions(tmp_path, ("labels",)))
    write_atomically(job.order.token_path, job.order.token)
    before = Path.cwd()
    yield job
    os.chdir(before)


@pytest.mark.parametrize(("parent", "level"), [(None, logging.INFO), (object(), logging.WARNING)])
def test_model_when_it_is_loaded_then_only_the_client_says_which_one(
    job, monkeypatch, parent, level
) -> None:
    logger = MMLogger.get_current_instance()
    before = logger.level
    logger.setLevel(logging.INFO)
    monkeypatch.setattr(worker.multiprocessing, "parent_process", lambda: parent)
    worker._load_work.cache_clear()
    worker._load_work(job.order)
    assert logger.level == level
    logger.setLevel(before)


def test_unit_when_an_image_is_large_then_it_is_planned_and_done_in_parts(job, tmp_path) -> None:
    image = job.images[1]
    plan = worker.do_unit(job.order, Unit("image", image, 4)).large
    assert plan.num_batches == 25
    assert plan.done == ()
    halves = ((0, 12), (12, 25))
    for part in halves:
        result = worker.do_unit(job.order, Unit("part", image, choice=plan.choice, part=part))
        assert result.outcome is None
        assert result.batches == part[1] - part[0]
    again = worker.do_unit(job.order, Unit("image", image, 4)).large
    assert again.done == halves
    merged = worker.do_unit(job.order, Unit("merge", image, choice=plan.choice, parts=halves))
    assert merged.outcome.error is None
    assert merged.outcome.tiles == 25
    assert (tmp_path / "slide.labels.tif").is_file()
    assert not (tmp_path / ".units" / "slide").exists()


def test_unit_when_the_run_has_ended_then_nothing_is_written(job, tmp_path) -> None:
    image = job.images[0]
    assert worker.do_unit(job.order, Unit("image", image, 9)).outcome.error is None
    (tmp_path / "small0.done.json").unlink()
    (tmp_path / "small0.labels.tif").unlink()
    job.order.token_path.unlink()
    result = worker.do_unit(job.order, Unit("image", image, 9))
    assert "The run that asked for this unit has ended" in result.outcome.error
    assert not (tmp_path / "small0.labels.tif").exists()


def test_worker_when_it_cannot_see_the_folder_then_it_is_refused(job) -> None:
    job.order.token_path.unlink()
    facts = worker.check_worker(job.order, (), FakeWorker())
    assert facts.refusal.endswith(
        f"cannot read {job.order.options.folder}: is it on a shared disk?"
    )


def test_worker_when_it_cannot_see_an_image_then_it_is_refused(job, tmp_path) -> None:
    gone = InputImage(tmp_path / "gone.tif", "gone")
    for kind in ("image", "part", "merge"):
        result = worker.do_unit(job.order, Unit(kind, gone, 4))
        assert result.outcome is None
        assert result.address == "tcp://w"
        assert result.refusal.endswith(f"cannot read {gone.path}: is it on a shared disk?")
    seen = job.images[0].path
    assert worker.check_worker(job.order, [seen], FakeWorker()).refusal is None
    facts = worker.check_worker(job.order, [seen, gone.path], FakeWorker())
    assert facts.refusal.endswith(f"cannot read {gone.path}: is it on a shared disk?")
