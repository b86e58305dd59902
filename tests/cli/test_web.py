"""The flags' defaults are the limits of the page."""

from cellseg.cli import web
from cellseg.cli.running import build_parser
from cellseg.web.disk_space import DiskSpace
from cellseg.web.uploads import UploadLimits


def test_limits_always_are_those_of_uploads() -> None:
    args = build_parser("", web.add_arguments).parse_args(["c.py", "w.pth"])
    limits = UploadLimits(round(args.max_mb * 2**20), round(args.max_megapixels * 1e6))
    assert limits == UploadLimits()
    space = DiskSpace(args.keep, round(args.max_gb * 2**30))
    assert space == DiskSpace(args.keep)
