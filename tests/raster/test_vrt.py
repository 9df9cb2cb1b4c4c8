"""Virtual rasters are read only if allowed, and only with plain files in their folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.shutil import copy
from rasterio.windows import Window

from geoseg.errors import SceneError
from geoseg.raster.checks import list_parts
from geoseg.raster.scene import open_scene
from tests.scenes import UTM, picture, write_scene

PIXELS = picture(20, 30)


@pytest.fixture
def part(tmp_path: Path) -> Path:
    (tmp_path / "vrt").mkdir()
    return write_scene(tmp_path / "vrt" / "part.tif", PIXELS, **UTM)


def vrt(part: Path, *changes: tuple[str, str], name: str = "scene.vrt") -> Path:
    """Write a VRT of a raster, as GDAL does, with texts in it replaced."""
    path = part.parent / name
    copy(part, path, driver="VRT")
    text = path.read_text(encoding="utf-8")
    for old, new in changes:
        assert old in text, text
        text = text.replace(old, new)
    path.write_text(text, encoding="utf-8")
    return path


def read(path: Path, **selection: Any) -> Any:
    with open_scene(path, allow_vrt=True, **selection) as scene:
        return scene.read(Window(0, 0, scene.info.width, scene.info.height))


def refusal(path: Path) -> str:
    with pytest.raises(SceneError) as caught:
        read(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


def test_a_virtual_raster_needs_permission(part: Path) -> None:
    path = vrt(part)
    with pytest.raises(SceneError, match="--allow-vrt"):
        open_scene(path).__enter__()
    pixels, valid = read(path)
    assert np.array_equal(pixels, PIXELS)
    assert valid.all()


@pytest.mark.parametrize("head", ["<?xml version='1.0'?>\n", "\ufeff", " \n"])
def test_a_declaration_a_mark_or_space_may_precede_it(part: Path, head: str) -> None:
    path = vrt(part)
    path.write_text(head + path.read_text(encoding="utf-8"), encoding="utf-8")
    assert np.array_equal(read(path)[0], PIXELS)


def test_bands_of_several_files_are_stacked_with_their_names(tmp_path: Path) -> None:
    bands = []
    for number, name in enumerate(("B04", "B08")):
        path = write_scene(tmp_path / f"{name}.tif", PIXELS[[number]].astype(np.uint16), **UTM)
        source = vrt(path, name=f"{name}.vrt").read_text(encoding="utf-8")
        band = source[source.index("<VRTRasterBand") : source.index("</VRTDataset>")]
        named = band.replace('band="1"', f'band="{number + 1}"', 1)
        bands.append(
            named.replace("<ColorInterp>", f"<Description>{name}</Description><ColorInterp>")
        )
        head = source[: source.index("<VRTRasterBand")]
    path = tmp_path / "stack.vrt"
    path.write_text(head + "".join(bands) + "</VRTDataset>", encoding="utf-8")
    assert np.array_equal(read(path, indexes=("nir", "red"))[0], PIXELS[[1, 0]])


def test_a_mosaic_is_valid_where_a_part_has_data(tmp_path: Path) -> None:
    left = write_scene(tmp_path / "a.tif", PIXELS, nodata=0, **UTM)
    with rasterio.open(left) as dataset:
        expected = dataset.read()
    path = vrt(left, ('rasterXSize="30"', 'rasterXSize="50"'))
    pixels, valid = read(path)
    assert valid[:, :30].all()
    assert not valid[:, 30:].any()
    assert np.array_equal(pixels[:, :, :30], expected)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (">part.tif<", ">../outside.tif<", "outside its folder"),
        (">part.tif<", ">/etc/passwd<", "outside its folder"),
        (">part.tif<", ">link.tif<", "outside its folder"),
        (">part.tif<", ">missing.tif<", "not a file"),
        (">part.tif<", ">/vsicurl/http://localhost/a.tif<", "not a file"),
        (">part.tif<", ">http://localhost/a.tif<", "not a file"),
        (">part.tif<", ">GTIFF_DIR:1:part.tif<", "not a file"),
        (">part.tif<", "><", "not a file"),
        ("<VRTDataset", '<VRTDataset subClass="VRTWarpedDataset"', "subClass"),
        ("<VRTRasterBand", '<VRTRasterBand subClass="VRTDerivedRasterBand"', "subClass"),
        ("<VRTRasterBand", '<VRTRasterBand subClass="VRTRawRasterBand"', "subClass"),
        ("<SourceBand>", "<OpenOptions><OOI key='a'>b</OOI></OpenOptions><SourceBand>", "OpenOpt"),
        ("<SourceBand>", "<PixelFunctionType>a</PixelFunctionType><SourceBand>", "PixelFunction"),
        ("<VRTDataset", "<!DOCTYPE a [<!ENTITY b 'c'>]><VRTDataset", "not a GeoTIFF"),
        ("</VRTDataset>", "", "damaged"),
        ("</VRTDataset>", "<VRTDataset/></VRTDataset>", "<VRTDataset>"),
        ("</VRTDataset>", "<Group name='/'/></VRTDataset>", "<Group>"),
    ],
)
def test_what_could_reach_beyond_the_folder_is_refused(
    part: Path, old: str, new: str, words: str
) -> None:
    outside = write_scene(part.parent.parent / "outside.tif", PIXELS, **UTM)
    (part.parent / "link.tif").symlink_to(outside)
    assert words in refusal(vrt(part, (old, new)))


def test_a_document_type_is_found_in_every_encoding(part: Path) -> None:
    path = vrt(part)
    text = "<!DOCTYPE VRTDataset [<!ENTITY a 'b'>]>" + path.read_text(encoding="utf-8")
    declared = f"<?xml version='1.0' encoding='iso-8859-1'?>{text}"
    path.write_text(declared, encoding="iso-8859-1")
    assert "document type" in refusal(path)


def test_parts_pass_the_checks_of_a_scene(part: Path) -> None:
    path = vrt(part)
    whole = part.read_bytes()
    part.write_bytes(whole[:-500])
    with pytest.raises(SceneError, match=r"part\.tif: truncated"):
        read(path)
    part.write_bytes(b"<html>")
    with pytest.raises(SceneError, match=r"part\.tif: is a web page"):
        read(path)
    nested = part.with_name("inner.vrt")
    nested.write_bytes(b"<VRTDataset/>")
    assert "is a VRT" in refusal(vrt_of(path, nested))


def vrt_of(path: Path, other: Path) -> Path:
    """Let a VRT refer to another file."""
    text = path.read_text(encoding="utf-8").replace("part.tif", other.name)
    path.write_text(text, encoding="utf-8")
    return path


def test_wrong_sizes_of_parts_are_corrected(part: Path) -> None:
    path = vrt(part)
    text = path.read_text(encoding="utf-8")
    start = text.index("<SourceProperties")
    stored = text[start : text.index("/>", start)]
    path.write_text(text.replace(stored, '<SourceProperties RasterXSize="99999999"'))
    assert np.array_equal(read(path)[0], PIXELS)


def test_the_geotransform_is_that_of_the_virtual_raster(part: Path) -> None:
    with open_scene(vrt(part), allow_vrt=True) as scene:
        assert scene.info.transform == Affine(0.3, 0, 500_000, 0, -0.3, 5_500_000)
        assert scene.info.path == part.parent / "scene.vrt"


def test_the_parts_of_a_virtual_raster_are_listed(part: Path) -> None:
    assert list_parts(vrt(part)) == (part.resolve(),)
    assert list_parts(part) == ()
