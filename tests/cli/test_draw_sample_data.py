"""The flags' defaults are those of the plan."""

from dataclasses import asdict

from cellseg.cli import draw_sample_data
from cellseg.cli.running import build_parser
from cellseg.datasets.synthetic import SamplePlan


def test_defaults_always_are_those_of_the_plan() -> None:
    args = build_parser("", draw_sample_data.add_arguments).parse_args(["out"])
    plan = asdict(SamplePlan(args.train, args.val, args.size, args.cells, args.seed))
    assert plan == asdict(SamplePlan())
