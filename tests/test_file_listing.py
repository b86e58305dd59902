"""Hidden files are skipped, and linked folders followed once."""

import pytest

from cellseg.file_listing import is_hidden, list_files


@pytest.mark.parametrize(
    "name", ["._a.tif", ".DS_Store", "Thumbs.db", "@eaDir", "__MACOSX", "desktop.ini"]
)
def test_is_hidden_when_a_system_left_it_then_true(name):
    assert is_hidden(name)
    assert not is_hidden(f"a{name}")


def make(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def test_list_files_when_some_are_hidden_then_left_out(tmp_path):
    hidden = ("._a.tif", "b/.DS_Store", "b/@eaDir/c.tif", ".git/d", "__MACOSX/a.tif", "b/Thumbs.db")
    make(tmp_path, "b/c.tif", "a.tif", "out/x.tif", *hidden)
    found = list_files(tmp_path, {(tmp_path / "out").resolve()})
    assert found == [tmp_path / "a.tif", tmp_path / "b" / "c.tif"]


def test_list_files_when_a_folder_is_linked_then_its_files_are_listed_once(tmp_path):
    make(tmp_path, "elsewhere/c.tif", "data/z/a.tif")
    (tmp_path / "data" / "first").symlink_to(tmp_path / "data" / "z")
    (tmp_path / "data" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "again").symlink_to(tmp_path / "data")
    found = [path.relative_to(tmp_path).as_posix() for path in list_files(tmp_path / "again")]
    assert found == ["again/link/c.tif", "again/z/a.tif"]


def test_list_files_when_links_form_a_loop_then_it_ends(tmp_path):
    make(tmp_path, "data/a/b/c.tif", "other/d.tif")
    (tmp_path / "data" / "a" / "b" / "up").symlink_to(tmp_path / "data")
    (tmp_path / "data" / "there").symlink_to(tmp_path / "other")
    (tmp_path / "other" / "back").symlink_to(tmp_path / "data")
    names = [path.relative_to(tmp_path).as_posix() for path in list_files(tmp_path / "data")]
    assert names == ["data/a/b/c.tif", "data/there/d.tif"]
