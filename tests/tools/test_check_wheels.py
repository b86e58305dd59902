"""tools/check_wheels.py sees which Pythons and platforms have a wheel of a package."""

import pytest

from tools import check_wheels

COMPILED = [
    f"x-1.0-cp{version}-cp{version}-{platform}.whl"
    for version in (311, 312, 313)
    for platform in ("manylinux2014_x86_64.manylinux_2_17_x86_64", "win_amd64")
]


@pytest.mark.parametrize(
    ("names", "python", "platform", "chosen"),
    [
        (COMPILED, "3.12", "Linux x86-64", COMPILED[2]),
        (COMPILED, "3.13", "Windows x86-64", COMPILED[5]),
        (COMPILED, "3.12", "macOS arm64", None),
        (["x-1.0-cp312-cp312-manylinux_2_28_x86_64.whl"], "3.11", "Linux x86-64", None),
        (["x-1.0-cp311-cp311-manylinux_2_31_x86_64.whl"], "3.11", "Linux x86-64", None),
        (["x-1.0-cp311-abi3-macosx_11_0_arm64.whl"], "3.13", "macOS arm64", "same"),
        (["x-1.0-cp311-cp311-macosx_15_0_arm64.whl"], "3.11", "macOS arm64", None),
        (["x-1.0-py3-none-any.whl"], "3.13", "Windows x86-64", "same"),
        ([], "3.11", "Linux x86-64", None),
    ],
)
def test_choose_wheel_takes_what_pip_would(names, python, platform, chosen):
    expected = names[0] if chosen == "same" else chosen
    assert check_wheels.choose_wheel(names, python, platform) == expected


def test_choose_wheel_prefers_the_platform_to_pure_python():
    names = ["x-1.0-py3-none-any.whl", COMPILED[0]]
    assert check_wheels.choose_wheel(names, "3.11", "Linux x86-64") == COMPILED[0]


def _write_package(name: str, files: dict[str, int], **entries: object) -> dict[str, object]:
    wheels = [{"url": f"file:///wheels/{file}", "size": size} for file, size in files.items()]
    return {"name": name, "version": "1.0", "wheels": wheels, **entries}


def test_check_platform_counts_sizes_and_names_what_lacks_a_wheel():
    packages = [
        _write_package("pure", {"pure-1.0-py3-none-any.whl": 10}),
        _write_package("x", dict.fromkeys(COMPILED, 100)),
        _write_package("sdist-only", {}),
        _write_package("onedl-mmcv", {}, sdist={"size": 1000}),
        _write_package("windows", {}, marker="sys_platform == 'win32'"),
    ]
    found = check_wheels.check_platform(packages, "3.11", "Linux x86-64")
    assert found == check_wheels.PlatformWheels(2, 1, 1110, ("sdist-only 1.0",))
    found = check_wheels.check_platform(packages, "3.11", "Windows x86-64")
    assert found.lacking == ("sdist-only 1.0", "windows 1.0")


def test_main_with_a_package_without_wheels_fails(monkeypatch, capsys):
    monkeypatch.setattr(check_wheels, "ask_index", lambda: [_write_package("sdist-only", {})])
    assert check_wheels.main() == 1
    assert "no wheel of sdist-only 1.0: Python 3.13, macOS arm64" in capsys.readouterr().err


def test_main_with_wheels_everywhere_prints_a_row_for_each(monkeypatch, capsys):
    package = _write_package("pure", {"pure-1.0-py3-none-any.whl": 2_000_000})
    monkeypatch.setattr(check_wheels, "ask_index", lambda: [package])
    assert check_wheels.main() == 0
    assert "| Windows x86-64 | 3.12 | 1 | 0 | 2 MB |" in capsys.readouterr().out


def test_main_when_asked_for_help_then_leaves_the_index_alone(monkeypatch, capsys):
    monkeypatch.setattr(check_wheels, "ask_index", lambda: pytest.fail("the index was asked"))
    with pytest.raises(SystemExit) as end:
        check_wheels.main(["--help"])
    assert end.value.code == 0
    assert "usage: " in capsys.readouterr().out
