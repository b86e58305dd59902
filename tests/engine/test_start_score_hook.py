"""A training that makes the model worse says so."""

import logging

import pytest

from cellseg.engine.start_score_hook import StartScoreHook


class Runner:
    """Validates with the scores given, one after the other."""

    iter = 0

    def __init__(self, score: float) -> None:
        self.val_loop = self
        self.score = score

    def run(self) -> dict[str, float]:
        return {"coco/segm_mAP_50": self.score}


@pytest.fixture
def warnings(listen):
    return listen("cellseg.engine.start_score_hook", logging.WARNING)


@pytest.mark.parametrize(
    ("scores", "num_warnings", "ends_worse"),
    [([0.6, 0.7], 0, False), ([0.4, 0.7], 1, False), ([0.4, 0.3], 3, True), ([], 0, False)],
)
def test_training_when_below_its_start_then_warns(warnings, scores, num_warnings, ends_worse):
    hook, runner = StartScoreHook(), Runner(0.5)
    hook.before_train(runner)
    for score in scores:
        hook.after_val_epoch(runner, {"coco/segm_mAP_50": score})
    hook.after_train(runner)
    assert len(warnings) == num_warnings
    assert any("use the model it started from" in text for text in warnings) == ends_worse


def test_training_when_resumed_then_has_no_start(warnings):
    hook, runner = StartScoreHook(), Runner(0.5)
    runner.iter = 10
    hook.before_train(runner)
    hook.after_val_epoch(runner, {"coco/segm_mAP_50": 0.1})
    hook.after_train(runner)
    assert warnings == []
