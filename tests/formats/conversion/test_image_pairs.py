import pytest

from cellseg.errors import CellDataError
from cellseg.formats.conversion.image_pairs import pair_files


@pytest.fixture
def make(tmp_path):
    """Return a function that makes empty files and gives their folder."""

    def call(*names):
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
        return tmp_path

    return call


def names_of(pairs, root):
    return [tuple(path.relative_to(root).as_posix() for path in pair) for pair in pairs]


def test_pairs_when_matched_then_by_whole_name_or_stem_whatever_the_case(make):
    root = make(
        "im/a.png", "im/B.TIF", "im/s/c.jpg", "an/a.png.x", "an/b.X", "an/s/c.x", "im/n.txt"
    )
    pairs, losses = pair_files(root / "im", root / "an", (".x",))
    assert names_of(pairs, root) == [
        ("im/B.TIF", "an/b.X"),
        ("im/a.png", "an/a.png.x"),
        ("im/s/c.jpg", "an/s/c.x"),
    ]
    assert losses == []


def test_pairs_in_this_layout_then_label_maps_are_no_images(make):
    root = make("d/a/image.tif", "d/a/class1.tif", "d/b/image.tif", "g/a.x", "g/b/image.x")
    pairs, losses = pair_files(root / "d", root / "g", (".x",))
    assert names_of(pairs, root) == [("d/a/image.tif", "g/a.x"), ("d/b/image.tif", "g/b/image.x")]
    assert losses == []


def test_pairs_when_a_partner_is_missing_then_both_sides_are_losses(make):
    root = make("a.tif", "b.tif", "b_masks.tif", "c_masks.tif", ".hidden/d.tif")
    pairs, losses = pair_files(root, root, ("_masks.tif",))
    assert names_of(pairs, root) == [("b.tif", "b_masks.tif")]
    assert [(loss.image.rpartition("/")[2], loss.reason) for loss in losses] == [
        ("a.tif", "the image has no annotation file"),
        ("c_masks.tif", "the annotation file has no image"),
    ]


def test_pairs_when_an_image_is_annotated_twice_then_the_other_file_is_a_loss(make):
    root = make("a.tif", "a.x", "a.tif.y")
    pairs, losses = pair_files(root, root, (".x", ".y"))
    assert names_of(pairs, root) == [("a.tif", "a.x")]
    reason = "the image has another annotation file, too"
    assert [(loss.image, loss.reason) for loss in losses] == [(str(root / "a.tif.y"), reason)]


def test_pairs_of_an_absent_or_empty_folder_are_refused(make):
    root = make("a.tif")
    with pytest.raises(CellDataError, match="no such folder"):
        pair_files(root, root / "absent", (".x",))
    with pytest.raises(CellDataError, match=r"holds no file that ends in \.x or \.y"):
        pair_files(root, root, (".x", ".y"))


def test_pairs_when_a_folder_is_linked_or_holds_hidden_files_then_only_images_pair(make):
    root = make("real/a.tif", "an/s/a.x", "im/._b.tif", "im/@eaDir/a.tif", "an/._a.x", "an/c/.x")
    (root / "im" / "s").symlink_to(root / "real")
    (root / "real" / "loop").symlink_to(root / "im")
    pairs, losses = pair_files(root / "im", root / "an", (".x",))
    assert names_of(pairs, root) == [("im/s/a.tif", "an/s/a.x")]
    assert losses == []


def test_pairs_of_ome_tiffs_match_with_and_without_ome(make):
    root = make("im/a.ome.tif", "im/b.ome.tif", "im/b.tif", "an/a.x", "an/b.x", "an/b.ome.x")
    pairs, losses = pair_files(root / "im", root / "an", (".x",))
    assert names_of(pairs, root) == [
        ("im/a.ome.tif", "an/a.x"),
        ("im/b.ome.tif", "an/b.ome.x"),
        ("im/b.tif", "an/b.x"),
    ]
    assert losses == []


def test_pairs_when_a_name_differs_then_the_nearest_is_named(make):
    root = make("im/slide_01.tif", "im/zz.tif", "an/slide-1.x")
    losses = pair_files(root / "im", root / "an", (".x",))[1]
    assert [loss.hint for loss in losses] == [
        "; the nearest is slide-1.x",
        "",
        "; the nearest is slide_01.tif",
    ]
