import numpy as np
import pytest
import tifffile

from cellseg.datasets.folder_facts import read_folder_facts
from cellseg.errors import CellDataError, CellsegError
from cellseg.formats.conversion.names import settle_classes
from cellseg.formats.monusac import read_monusac, read_regions

SQUARE = ((2, 3), (8, 3), (8, 9), (2, 9))


def region(corners, number=1, attributes=""):
    vertices = "".join(f'<Vertex X="{x}" Y="{y}" Z="0"/>' for x, y in corners)
    return (
        f'<Region Id="{number}" Type="0" {attributes}><Attributes><Attribute Name="not a class"/>'
        f"</Attributes><Vertices>{vertices}</Vertices></Region>"
    )


def layer(name, *regions):
    return (
        f'<Annotation Id="1" Name="" Visible="1"><Attributes><Attribute Name="{name}" Id="0" '
        'Value=""/></Attributes><Regions><RegionAttributeHeaders><AttributeHeader Id="9999" '
        f'Name="Region"/></RegionAttributeHeaders>{"".join(regions)}</Regions><Plots/></Annotation>'
    )


def document(*layers):
    return (
        f'<?xml version="1.0"?><Annotations MicronsPerPixel="0.25">{"".join(layers)}</Annotations>'
    )


@pytest.fixture
def draw(tmp_path):
    """Return a function that writes an XML and an image of 20 x 30 pixels."""

    def write(text, name="TCGA-1/TCGA-1_1", suffix=".tif"):
        path = tmp_path / "data" / f"{name}.xml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        pixels = np.random.default_rng(0).integers(0, 255, (20, 30, 3), dtype=np.uint8)
        tifffile.imwrite(path.with_suffix(suffix), pixels, photometric="rgb", compression="jpeg")
        return tmp_path / "data"

    return write


@pytest.mark.parametrize("suffix", [".svs", ".tif"])
def test_monusac_when_converted_then_classes_and_ambiguous_regions_lie_apart(
    draw, run, read, suffix, tmp_path
):
    folder = draw(
        document(
            layer("Epithelial", region(SQUARE)),
            layer("Macrophage", region([(20, 10), (24, 10), (24, 12), (20, 12)])),
            layer("Ambiguous", region([(0, 15), (5, 15), (5, 20), (0, 20)])),
        ),
        suffix=suffix,
    )
    report = run(read_monusac(folder))
    expected = np.zeros((20, 30), int)
    expected[3:9, 2:8] = 1
    np.testing.assert_array_equal(read("TCGA-1_1/class1.tif"), expected)
    assert np.count_nonzero(read("TCGA-1_1/class4.tif")) == 8
    assert np.count_nonzero(read("TCGA-1_1/ignore.tif")) == 25
    assert report.classes == ("epithelial", "lymphocyte", "neutrophil", "macrophage")
    assert report.cells == {"epithelial": 1, "macrophage": 1}
    assert report.losses == []
    assert read_folder_facts(tmp_path / "out").pixel_size_um == 0.25


def test_monusac_when_svs_and_tif_are_there_then_one_image(draw):
    draw(document(), suffix=".svs")
    (image,) = read_monusac(draw(document())).images
    assert image.origin.endswith("TCGA-1_1.tif")


def test_monusac_regions_of_no_use_are_counted(draw, run):
    ellipse = region(SQUARE).replace('Type="0"', 'Type="2"')
    report = run(
        read_monusac(
            draw(
                document(
                    layer(
                        "Lymphocyte",
                        region(SQUARE[:2], 1),
                        ellipse,
                        region(SQUARE, 3, 'NegativeROA="1"'),
                        region([("nan", 1), (2, 2), (3, 9)], 4),
                        region([("x", 1), (2, 2), (3, 9)], 5),
                        region([(99, 1), (120, 2), (110, 9)], 6),
                        region(SQUARE, 7),
                    )
                )
            )
        )
    )
    assert report.cells == {"lymphocyte": 1}
    assert [loss.reason.split()[0] for loss in report.losses] == [
        "fewer",
        "is",
        "is",
        "coordinates",
        "coordinates",
        "lies",
    ]


def test_monuseg_layer_without_a_name_when_mapped_then_nucleus(draw, run):
    folder = draw(document(layer("Description", region(SQUARE))))
    with pytest.raises(CellsegError, match="unnamed"):
        settle_classes(read_monusac(folder))
    report = run(read_monusac(folder), classes=["nucleus"], class_map={"unnamed": "nucleus"})
    assert report.cells == {"nucleus": 1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "cannot be read as XML"),
        (document(layer("Epithelial", region(SQUARE)))[:-30], "cannot be read as XML"),
        ("<a>&b;</a>", "cannot be read as XML"),
        ("<html></html>", "holds <html>"),
        (
            '<?xml version="1.0" encoding="none"?><Annotations/>',
            r"cannot be read as XML.*unknown encoding: none",
        ),
        ('<?xml version="1.0" encoding="zlib"?><Annotations/>', "cannot be read as XML"),
        ("<Annotations>" * 100_000, "is nested more than 32 deep"),
        (
            '<!DOCTYPE a [<!ENTITY b "bb"><!ENTITY c "&b;&b;">]><Annotations>&c;</Annotations>',
            "declares a document type",
        ),
        (
            '<!DOCTYPE a SYSTEM "file:///etc/passwd"><Annotations></Annotations>',
            "declares a document type",
        ),
    ],
)
def test_xml_that_is_damaged_or_dangerous_is_refused_and_counted(draw, run, text, message):
    folder = draw(text)
    with pytest.raises(CellDataError, match=rf"TCGA-1_1\.xml: {message}"):
        read_regions(folder / "TCGA-1" / "TCGA-1_1.xml")
    with pytest.raises(CellDataError, match=message):
        run(read_monusac(folder))
    report = run(read_monusac(folder), skip_bad=True)
    assert [loss.kind for loss in report.losses] == ["image"]


def test_monusac_when_image_or_xml_is_missing_then_both_are_named(draw, run):
    folder = draw(document(layer("Epithelial", region(SQUARE))))
    (folder / "lone.xml").write_text(document())
    tifffile.imwrite(folder / "bare.tif", np.zeros((4, 4), np.uint8))
    with pytest.raises(CellDataError) as error:
        run(read_monusac(folder))
    assert "bare.tif: the image has no annotation file" in str(error.value)
    assert "lone.xml: the annotation file has no image" in str(error.value)
    assert run(read_monusac(folder), skip_bad=True).written == 1


def test_monusac_of_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(CellDataError, match=r"holds no file that ends in \.xml"):
        read_monusac(tmp_path)
    with pytest.raises(CellDataError, match="no such folder"):
        read_monusac(tmp_path / "absent")


def test_xml_of_many_regions_when_read_then_all_are_there(draw):
    many = document(layer("Lymphocyte", *(region(SQUARE, i) for i in range(20_000))))
    assert len(read_regions(draw(many) / "TCGA-1" / "TCGA-1_1.xml")) == 20_000
