import pytest

pytest.importorskip("distributed", reason="the extra cluster is not installed")

from cellseg.cluster.cohort_job import CohortJob
from cellseg.errors import CellsegError
from cellseg.inference.image_list import find_input_images
from cellseg.inference.output_folder import OutputOptions

from .test_cohort import make_recipe


class DeadClient:
    """A client whose scheduler has gone."""

    status = "connecting"

    def nthreads(self) -> dict[str, int]:
        raise OSError


def test_job_when_the_scheduler_is_gone_then_one_sentence_and_the_folder_is_free(
    setting, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr("cellseg.cluster.cohort_job._PATIENCE_S", 0.5)
    images = find_input_images([setting.images / "small0.tif"])
    job = CohortJob(DeadClient(), make_recipe(setting), images, OutputOptions(tmp_path, ("csv",)))
    monkeypatch.setattr(job.crew, "wait", lambda: None)
    monkeypatch.setattr(job.crew, "check", lambda: None)
    with pytest.raises(CellsegError, match="The scheduler is gone. Finished units are kept"):
        job.run()
    assert not job.order.token_path.exists()
    assert not (tmp_path / ".predicting").exists()
