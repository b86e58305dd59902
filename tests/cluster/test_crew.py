from pathlib import Path

import pytest

pytest.importorskip("distributed", reason="the extra cluster is not installed")

from cellseg.cluster.crew import Crew, choose_samples
from cellseg.cluster.orders import WorkerFacts
from cellseg.cluster.progress import CohortProgress
from cellseg.errors import CellsegError
from cellseg.inference.image_list import InputImage

FIT = WorkerFacts("n1/a")


class FakeClient:
    """A scheduler of some workers, with what each answers."""

    def __init__(self, facts: dict[str, object]) -> None:
        self.facts = facts
        self.retired: list[str] = []
        self.gone: set[str] = set()

    def nthreads(self) -> dict[str, int]:
        left = self.facts.keys() - self.gone - set(self.retired)
        return dict.fromkeys(sorted(left), 1)

    def run(self, check: object, *arguments: object, on_error: str) -> dict[str, object]:
        facts = {address: self.facts[address] for address in self.nthreads()}
        self.gone = {address for address, fact in facts.items() if "gone" in str(fact)}
        return facts

    def retire_workers(self, addresses: list[str]) -> None:
        self.retired += addresses


def make_crew(**facts: object) -> tuple[Crew, FakeClient, list[str]]:
    client, lines = FakeClient(facts), []
    return Crew(client, None, CohortProgress(1, lines.append)), client, lines


def test_check_when_a_worker_does_not_fit_then_it_is_named_and_retired() -> None:
    crew, client, lines = make_crew(
        a=FIT, b=WorkerFacts("n2/b", refusal="n2 cannot read x."), c=ImportError("no cellseg")
    )
    crew.expect(3, [])
    crew.check()
    assert client.retired == ["b", "c"]
    assert crew.wanted == 1
    assert lines == [
        "n2 cannot read x. This worker is left out.",
        "The worker at c cannot run cellseg (no cellseg); install the same version there. This "
        "worker is left out.",
        "1 worker (1 thread on cpu) on 1 machine: n1.",
    ]


def test_check_when_a_worker_is_gone_meanwhile_then_it_is_not_blamed() -> None:
    crew, client, _ = make_crew(a=FIT, b=OSError("gone"), c=OSError("hung up"))
    crew.expect(3, [])
    crew.check()
    assert client.retired == ["c"]  # it is there, and cannot read what it was sent
    assert crew.wanted == 2


@pytest.mark.parametrize("wanted", [None, 2])
def test_check_when_no_worker_fits_then_the_run_ends_with_the_reason(wanted: int | None) -> None:
    refusals = [WorkerFacts(f"n/{name}", refusal="n cannot read x.") for name in "ab"]
    crew, client, _ = make_crew(a=refusals[0], b=refusals[1])
    crew.expect(wanted, [])
    with pytest.raises(CellsegError, match=r"^n cannot read x\.$"):
        crew.check()
    assert client.retired == []


def test_leave_out_when_others_are_still_to_come_then_the_run_waits_for_them() -> None:
    crew, client, _ = make_crew(a=FIT, b=FIT)
    crew.expect(3, [])
    crew.leave_out({"a": "n1 has torch 1."})
    crew.leave_out({"a": "n1 has torch 1."})
    assert crew.wanted == 2
    crew.leave_out({"b": "n2 has torch 1."})
    assert client.retired == ["a", "b"]
    with pytest.raises(CellsegError, match="n3 has torch 1"):
        crew.leave_out({"c": "n3 has torch 1."})


def test_samples_when_images_share_folders_then_one_of_each_that_is_there(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a/1.tif", "a/2.tif", "b/1.tif", "gone/1.tif")]
    for path in paths[:3]:
        path.parent.mkdir(exist_ok=True)
        path.touch()
    images = [InputImage(path, path.stem) for path in paths]
    images.append(InputImage(Path("u.tif"), "u", url="https://host/u.tif"))
    assert choose_samples(images) == (paths[0], paths[2])
    many = [InputImage(tmp_path / "a" / ".." / "a" / str(n) / "1.tif", str(n)) for n in range(99)]
    for image in many:
        image.path.parent.mkdir()
        image.path.touch()
    assert len(choose_samples(many)) == 32
