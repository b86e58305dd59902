"""The rooms of the package: what each may import, and that no two things share a name."""

import ast
from collections import defaultdict
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "cellseg"
# Each room may import those of the lines before it, and of its own line only itself.
LAYERS = (
    ("structures", "images", "ops"),
    ("datasets", "models", "scoring", "visualization"),
    ("engine",),
    ("formats",),
    ("inference",),
    ("analysis", "cluster"),
    ("report", "web"),
    ("cli",),
)
# Methods that draw and write, offered by `Cells` for convenience: they import when they are called.
SHORTCUTS = {"structures/cell_outputs.py"}
PROGRAMS = ("cellseg", "benchmarks", "tools")
RANKS = {room: rank for rank, rooms in enumerate(LAYERS) for room in rooms}


def list_imports(path: Path) -> set[str]:
    """Return the modules of the package that a file imports, as dotted names without `cellseg.`."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add("cellseg.relative_import")
    return {name.removeprefix("cellseg.") for name in found if name.startswith("cellseg.")}


def room_files(room: str) -> list[Path]:
    return sorted((PACKAGE / room).rglob("*.py"))


def test_rooms_always_are_all_ranked() -> None:
    rooms = {path.parent.name for path in PACKAGE.glob("*/__init__.py")} - {"configs"}
    assert rooms == set(RANKS)


@pytest.mark.parametrize("room", RANKS)
def test_room_always_imports_only_rooms_below_it(room: str) -> None:
    upward = [
        f"{path.relative_to(PACKAGE)} imports {name}"
        for path in room_files(room)
        if path.relative_to(PACKAGE).as_posix() not in SHORTCUTS
        for name in sorted(list_imports(path))
        if (other := name.partition(".")[0]) in RANKS
        and other != room
        and RANKS[other] >= RANKS[room]
    ]
    assert upward == []


@pytest.mark.parametrize("name", sorted(SHORTCUTS))
def test_shortcut_always_imports_nothing_above_it_by_itself(name: str) -> None:
    tree = ast.parse((PACKAGE / name).read_text(encoding="utf-8"))
    at_start = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    assert not [ast.unparse(node) for node in at_start if "cellseg" in ast.unparse(node)]


def test_files_beside_the_rooms_import_none_of_them() -> None:
    """Errors, file access and the like are for every room; only the registration knows rooms."""
    above = {"__init__", "__main__", "registration", "import_hooks"}
    files = [path for path in PACKAGE.glob("*.py") if path.stem not in above]
    assert files
    assert [
        (path.name, name)
        for path in files
        for name in list_imports(path)
        if name.partition(".")[0] in RANKS
    ] == []


def test_classes_always_have_names_of_their_own() -> None:
    places = defaultdict(list)
    root = PACKAGE.parent
    for path in (path for room in PROGRAMS for path in (root / room).rglob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(str(path.relative_to(root)))
    assert {name: files for name, files in places.items() if len(files) > 1} == {}
