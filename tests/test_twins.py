"""Each module has a test file of its own: cellseg/x/y.py is tested by tests/x/test_y.py."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# Run as a user runs them, whole, in tests/tools: flags and what a command does belong together.
COMMANDS = "cli/"
EXCEPTIONS = {
    "defaults.py": "holds constants only",
    "inference/model_card.py": "read back in tests/inference/test_publishing.py",
    "inference/model_source.py": "opened in tests/inference/test_publishing.py",
    "engine/resume_notes.py": "tests/engine/test_weight_fit.py resumes trainings and reads them",
}


def list_modules() -> list[str]:
    """List the modules relative to cellseg/, without what a folder's name stands for."""
    found = (path.relative_to(ROOT / "cellseg") for path in (ROOT / "cellseg").rglob("*.py"))
    return sorted(path.as_posix() for path in found if not path.name.startswith("__"))


def find_twin(module: str) -> Path:
    """Return where the tests of a module belong."""
    folder, _, name = f"tests/{module}".rpartition("/")
    return ROOT / folder / f"test_{name}"


def test_module_always_has_a_test_file_of_its_own() -> None:
    missing = [
        module
        for module in list_modules()
        if not (find_twin(module).exists() or module.startswith(COMMANDS) or module in EXCEPTIONS)
    ]
    assert missing == []


def test_exception_always_is_one() -> None:
    for module in EXCEPTIONS:
        assert (ROOT / "cellseg" / module).exists(), module
        assert not find_twin(module).exists(), module
