"""Several scenes, parts of scenes, scenes in pieces, scenes on a server."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import geopandas as gpd
import numpy as np
import pyogrio
import pytest
import rasterio
from affine import Affine
from rasterio.shutil import copy

from geoseg.errors import ConfigError, OutputError, SceneError, SkippedInputsError
from geoseg.files import Url
from geoseg.legend import IGNORE
from geoseg.models.model_file import save_model
from geoseg.options import PolygonOptions
from geoseg.report.quicklook import read_mosaic_quicklook, read_quicklook
from tests.calls import segment, segment_each
from tests.scenes import LEGEND, UTM, card, model_file, picture, tiny_network, write_scene


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return model_file(tmp_path_factory.mktemp("model") / "tiny.safetensors")


def at(column: int, row: int) -> dict[str, Any]:
    return UTM | {"transform": UTM["transform"] @ Affine.translation(column, row)}


def labels_of(path: Path) -> Any:
    with rasterio.open(path) as dataset:
        return dataset.read(1)


def broken(path: Path) -> Path:
    tiled = {"tiled": True, "blockxsize": 64, "blockysize": 64, "compress": "deflate"}
    write_scene(path, picture(128, 128), **tiled, **UTM)
    with rasterio.open(path) as dataset:
        start = int(dataset.get_tag_item("BLOCK_OFFSET_1_1", "TIFF", bidx=1))
    data = bytearray(path.read_bytes())
    data[start : start + 60] = bytes(60)
    path.write_bytes(data)
    return path


def test_an_unreadable_scene_is_skipped(tmp_path: Path, model: Path) -> None:
    good = [write_scene(tmp_path / f"{n}.tif", picture(40, 50, seed=n), **UTM) for n in (1, 2)]
    text = tmp_path / "text.tif"
    text.write_text("no raster")
    scenes = [text, good[0], broken(tmp_path / "broken.tif"), good[1]]
    with pytest.raises(SkippedInputsError) as caught:
        segment(scenes, tmp_path / "out.gpkg", model=model, core=64)
    assert caught.value.exit_code == 6
    assert all(name in str(caught.value) for name in ("text.tif", "broken.tif", "2 scenes"))
    found = pyogrio.read_dataframe(tmp_path / "out.gpkg", layer="segments")
    assert set(found.scene) == {"1.tif", "2.tif"}
    with pytest.raises(SceneError, match=r"text\.tif"):
        segment([text, tmp_path / "no.tif"], tmp_path / "none.gpkg", model=model)
    with pytest.raises(ConfigError, match="two scenes have this name"):
        segment([good[0], good[0]], tmp_path / "none.gpkg", model=model)
    assert not (tmp_path / "none.gpkg").exists()


def test_a_folder_gets_a_file_for_each_scene_and_a_second_call_resumes(
    tmp_path: Path, model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    places = [UTM, {"crs": "EPSG:3857", "transform": Affine(0.5, 0, 0, 0, -0.5, 0)}]
    scenes = [
        write_scene(tmp_path / f"{n}.tif", picture(30, 30), **p) for n, p in enumerate(places)
    ]
    out, labels = tmp_path / "out", tmp_path / "labels"
    with pytest.raises(SkippedInputsError):
        segment_each([broken(tmp_path / "bad.tif"), *scenes], out, labels=labels, model=model)
    assert {p.name for p in out.iterdir()} == {"0.gpkg", "1.gpkg"}
    assert {p.name for p in labels.iterdir() if p.suffix == ".tif"} == {"0.tif", "1.tif"}
    before = (out / "0.gpkg").read_bytes()
    (out / "1.gpkg").unlink()
    (labels / "1.tif").unlink()
    segment_each(scenes, out, labels=labels, model=model)
    assert (out / "0.gpkg").read_bytes() == before
    assert (out / "1.gpkg").exists()
    with pytest.raises(OutputError, match=r"gpkg: exists already"):  # but not all of its products
        segment_each(scenes, out, picture=tmp_path / "seen", model=model)
    segment_each(scenes, out, picture=tmp_path / "seen", model=model, overwrite=True)
    assert {p.name for p in (tmp_path / "seen").iterdir()} == {"0.png", "1.png"}
    with pytest.raises(ConfigError, match="one file for all"):
        segment_each(scenes, out, append=True, model=model)
    with pytest.raises(ConfigError, match="one name"):
        segment_each([scenes[0], tmp_path / "other" / "0.tif"], out, model=model)


@pytest.fixture
def folder_of_one(tmp_path: Path, model: Path) -> dict[str, Any]:
    """Arguments of `segment_each` whose products exist."""
    given = {
        "scenes": [write_scene(tmp_path / "0.tif", picture(30, 30), **UTM)],
        "folder": tmp_path / "out",
        "model": model,
        "labels": tmp_path / "labels",
    }
    segment_each(**given)
    return given


def test_a_scene_is_skipped_with_a_message_if_nothing_has_changed(
    folder_of_one: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    product = folder_of_one["folder"] / "0.gpkg"
    before = product.read_bytes()
    faster = {"core": 16, "device": "cpu"}
    for more in ({}, faster):
        caplog.clear()
        segment_each(**folder_of_one | more)
        assert "0.gpkg: skipped: same scene, model and options" in caplog.text
    assert product.read_bytes() == before


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"bbox": (500_000, 5_499_990, 500_005, 5_500_000)}, "--bbox was None"),
        ({"margin": 4}, "--margin was auto, is 4"),
        ({"tta": True}, "--tta was False, is True"),
        ({"polygons": PolygonOptions(min_area_m2=3)}, "--min-area was 0.0, is 3"),
    ],
)
def test_products_made_with_other_options_are_an_error_before_any_work(
    folder_of_one: dict[str, Any], more: dict[str, Any], words: str
) -> None:
    product = folder_of_one["folder"] / "0.gpkg"
    before = product.read_bytes()
    later = write_scene(folder_of_one["folder"].parent / "1.tif", picture(30, 30), **UTM)
    given = folder_of_one | more | {"scenes": [later, *folder_of_one["scenes"]]}
    with pytest.raises(OutputError, match=r"0\.gpkg: exists already.*--overwrite") as caught:
        segment_each(**given)
    assert words in str(caught.value)
    assert product.read_bytes() == before
    assert not product.with_name("1.gpkg").exists()
    segment_each(**given, overwrite=True)
    segment_each(**given)


def test_products_of_another_model_scene_or_origin_are_an_error(
    folder_of_one: dict[str, Any], tmp_path: Path
) -> None:
    other = save_model(tmp_path / "other.safetensors", tiny_network(seed=1).state_dict(), card())
    with pytest.raises(OutputError, match=r"model was \w{64}, is \w{64}.*--overwrite"):
        segment_each(**folder_of_one | {"model": other})
    write_scene(tmp_path / "0.tif", picture(30, 31), **UTM)
    with pytest.raises(OutputError, match=r"scene was 0\.tif of .* bytes, is 0\.tif of"):
        segment_each(**folder_of_one)
    (tmp_path / "out" / "0.gpkg").write_bytes(b"made by hand")
    with pytest.raises(OutputError, match=r"provenance is unknown.*--overwrite"):
        segment_each(**folder_of_one)
    assert (tmp_path / "out" / "0.gpkg").read_bytes() == b"made by hand"


def test_pieces_of_a_scene_as_a_mosaic_are_the_scene(tmp_path: Path, model: Path) -> None:
    pixels = picture(90, 120)
    whole = write_scene(tmp_path / "whole.tif", pixels, **UTM)
    pieces = [
        write_scene(tmp_path / "left.tif", pixels[:, :, :70], **UTM),
        write_scene(tmp_path / "right.tif", pixels[:, :, 50:], **at(50, 0)),
    ]
    one, other = tmp_path / "one.tif", tmp_path / "other.tif"
    segment(whole, tmp_path / "one.gpkg", labels=one, model=model)
    segment(pieces, tmp_path / "other.gpkg", labels=other, mosaic=True, model=model, core=32)
    # the margin of this model is not exact, hence one core for one and several for the other
    segment(whole, tmp_path / "cut.gpkg", labels=tmp_path / "cut.tif", model=model, core=32)
    assert np.array_equal(labels_of(tmp_path / "cut.tif"), labels_of(other))
    with rasterio.open(one) as a, rasterio.open(other) as b:
        assert a.transform == b.transform
    found = pyogrio.read_dataframe(tmp_path / "other.gpkg", layer="segments")
    assert set(found.scene) == {"left.tif and 1 more"}


def test_the_picture_of_a_mosaic_shows_its_pixels_where_they_lie(tmp_path: Path) -> None:
    pixels = picture(90, 120)
    whole = write_scene(tmp_path / "whole.tif", pixels, **UTM)
    pieces = [
        write_scene(tmp_path / "right.tif", pixels[:, 10:, 50:], **at(50, 10)),
        write_scene(tmp_path / "left.tif", pixels[:, :, :70], **UTM),
    ]
    one, mosaic = read_quicklook(whole, size=480), read_mosaic_quicklook(pieces, size=480)
    assert mosaic.picture.shape == one.picture.shape
    assert mosaic.to_picture.almost_equals(one.to_picture)
    # enlarged apart, so pixels near the edges of a piece differ
    assert np.array_equal(mosaic.picture[:, :190], one.picture[:, :190])
    assert np.array_equal(mosaic.picture[60:, 300:], one.picture[60:, 300:])
    assert not mosaic.valid[:38, 290:].any()
    assert mosaic.valid[42:].all()
    model = model_file(tmp_path / "model.safetensors")
    drawn = tmp_path / "drawn.png"
    segment(
        pieces, tmp_path / "out.gpkg", mosaic=True, model=model, picture=drawn, min_pixels=10**6
    )
    shown = np.asarray(cv2.imread(str(drawn)))[..., ::-1]
    assert np.array_equal(shown[:360, :480], mosaic.picture)


def test_labels_and_polygons_stay_inside_the_area(tmp_path: Path, model: Path) -> None:
    scene = write_scene(tmp_path / "scene.tif", picture(80, 80), **UTM)
    west, north = UTM["transform"] @ (16, 24)
    east, south = UTM["transform"] @ (60, 70)
    labels = tmp_path / "labels.tif"
    segment(scene, tmp_path / "o.gpkg", labels=labels, model=model, bbox=(west, south, east, north))
    inside = np.zeros((80, 80), bool)
    inside[24:70, 16:60] = True
    assert np.array_equal(labels_of(labels) != IGNORE, inside)
    bounds = pyogrio.read_info(tmp_path / "o.gpkg", layer="segments")["total_bounds"]
    assert west <= bounds[0] < bounds[2] <= east
    assert south <= bounds[1] < bounds[3] <= north
    away = (west + 1000, south, east + 1000, north)
    with pytest.raises(ConfigError, match="does not intersect"):
        segment(scene, tmp_path / "away.gpkg", model=model, bbox=away)


def test_probabilities_are_bands_with_the_names_of_the_classes(tmp_path: Path, model: Path) -> None:
    pixels = picture(60, 70)
    pixels[:, :20] = 0
    scene = write_scene(tmp_path / "scene.tif", pixels, nodata=0, **UTM)
    likely, labels, sure = (tmp_path / f"{name}.tif" for name in ("likely", "labels", "sure"))
    segment(
        scene, tmp_path / "o.gpkg", model=model,
        probabilities=likely, labels=labels, confidence=sure,
    )  # fmt: skip
    with rasterio.open(likely) as dataset:
        assert dataset.descriptions == LEGEND.names
        assert dataset.nodata == IGNORE
        shares = dataset.read()
    assert (shares[:, :20] == IGNORE).all()
    data = shares[:, 20:].astype(int)
    assert np.abs(data.sum(axis=0) - 200).max() <= 2  # four roundings
    best = np.sort(data, axis=0)
    clear = best[-1] > best[-2]
    assert np.array_equal(data.argmax(axis=0)[clear], labels_of(labels)[20:][clear])
    assert np.array_equal(best[-1], labels_of(sure)[20:])


class Ranges(BaseHTTPRequestHandler):
    """Serves a folder by byte ranges; every third request fails first."""

    folder: Path
    asked = 0

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        type(self).asked += 1
        file = self.folder / self.path.lstrip("/")
        if self.asked % 3 == 0:
            self.send_error(503)
            return
        if not file.is_file():
            self.send_error(404)
            return
        data = file.read_bytes()
        wanted = re.match(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        first, last = map(int, wanted.groups()) if wanted else (0, len(data))
        last = min(last, len(data) - 1)
        self.send_response(206 if wanted else 200)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(last + 1 - first))
        if wanted:
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(data)}")
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data[first : last + 1])

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def server(folder: Path) -> Iterator[str]:
    handler = type("Handler", (Ranges,), {"folder": folder})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_address[1]}"
        running.shutdown()


def test_a_scene_on_a_server_is_read_by_ranges_and_retried(tmp_path: Path, model: Path) -> None:
    tiled = {"tiled": True, "blockxsize": 64, "blockysize": 64, "compress": "deflate"}
    scene = write_scene(tmp_path / "a scene.tif", picture(150, 150), **tiled, **UTM)
    near, far = tmp_path / "near.tif", tmp_path / "far.tif"
    segment(scene, tmp_path / "near.gpkg", labels=near, model=model)
    (tmp_path / "served").mkdir()
    scene.rename(tmp_path / "served" / "scene.tif")
    with server(tmp_path / "served") as address:
        url = Url(f"{address}/scene.tif")
        segment(url, tmp_path / "far.gpkg", labels=far, model=model)
        with pytest.raises(SceneError, match=r"missing\.tif: no GeoTIFF"):
            segment(Url(f"{address}/missing.tif"), tmp_path / "no.gpkg", model=model)
    assert np.array_equal(labels_of(near), labels_of(far))
    found = pyogrio.read_dataframe(tmp_path / "far.gpkg", layer="segments")
    assert set(found.scene) == {"scene.tif"}


def test_a_failed_append_does_not_change_the_file(tmp_path: Path, model: Path) -> None:
    one = write_scene(tmp_path / "one.tif", picture(40, 50, seed=1), **UTM)
    two = write_scene(tmp_path / "two.tif", picture(40, 50, seed=2), **at(60, 0))
    out = tmp_path / "out.gpkg"
    segment(one, out, model=model)
    before = out.read_bytes()
    with pytest.raises(SceneError):
        segment(broken(tmp_path / "bad.tif"), out, append=True, model=model)
    assert out.read_bytes() == before
    segment(two, out, append=True, model=model)
    together = tmp_path / "together.gpkg"
    segment([one, two], together, model=model)
    left, right = (pyogrio.read_dataframe(path, layer="segments") for path in (out, together))
    assert left.equals(right)
    with pytest.raises(OutputError, match="already"):
        segment(two, out, append=True, model=model)


@pytest.mark.parametrize("name", ["o.parquet", "o.fgb", "o.geojson"])
def test_other_formats_hold_the_same_polygons(tmp_path: Path, model: Path, name: str) -> None:
    scene = write_scene(tmp_path / "scene.tif", picture(40, 50), **UTM)
    segment(scene, tmp_path / name, polygons=PolygonOptions(min_pixels=9), model=model)
    segment(scene, tmp_path / "o.gpkg", polygons=PolygonOptions(min_pixels=9), model=model)
    read = gpd.read_parquet if name.endswith("parquet") else gpd.read_file
    found, expected = read(tmp_path / name), gpd.read_file(tmp_path / "o.gpkg", layer="segments")
    assert sorted(found.pixels) == sorted(expected.pixels)
    assert (tmp_path / "o.qml").exists()
    with pytest.raises(ConfigError, match="several scenes"):
        segment([scene, tmp_path / "b.tif"], tmp_path / f"two{Path(name).suffix}", model=model)
    with pytest.raises(ConfigError, match="needs a single scene"):
        segment(
            [scene, tmp_path / "b.tif"],
            tmp_path / "t.gpkg",
            picture=tmp_path / "t.png",
            model=model,
        )


def test_a_virtual_raster_gives_the_labels_and_the_picture_of_its_part(
    tmp_path: Path, model: Path
) -> None:
    scene = write_scene(tmp_path / "scene.tif", picture(41, 67), **UTM)
    copy(scene, tmp_path / "scene.vrt", driver="VRT")
    found = []
    for source in (scene, tmp_path / "scene.vrt"):
        labels, image = (
            tmp_path / f"{source.suffix[1:]}-labels.tif",
            tmp_path / f"{source.name}.png",
        )
        products = {"labels": labels, "picture": image}
        output = tmp_path / f"{source.name}.gpkg"
        segment(source, output, model=model, allow_vrt=True, **products)
        with rasterio.open(labels) as raster:
            found.append((raster.read(), np.asarray(cv2.imread(str(image)))))
    assert np.array_equal(found[0][0], found[1][0])
    assert np.array_equal(found[0][1][60:, :-60], found[1][1][60:, :-60])  # without the title
    with pytest.raises(SceneError, match="--allow-vrt"):
        segment(tmp_path / "scene.vrt", tmp_path / "other.gpkg", model=model)
