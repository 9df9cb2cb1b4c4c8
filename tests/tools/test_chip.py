"""Training chips: their contents, formats, and interrupted exports."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from rasterio.enums import MaskFlags
from rasterio.windows import Window

from geoseg.annotations.burn import AnnotationIndex, burn
from geoseg.cli import boundary, geoseg
from geoseg.dataset.folder import Dataset
from geoseg.errors import ConfigError, DatasetError, OutputError, SceneError, SkippedInputsError
from geoseg.legend import IGNORE
from geoseg.options import ChipOptions
from geoseg.work_folder import work_folder_path
from tests.calls import chip, prepare
from tests.dataset.chip_decoding import pixels_of_rle, polygon_of, yolo
from tests.dataset.chip_folders import OVER_THE_EDGE, RING, TWO, dataset
from tests.dota_folder import SHIP, Thing, add, drawn, write_image

T = TypeVar("T")
SMALL = ChipOptions(size=128, overlap=32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return dataset(tmp_path_factory.mktemp("tiled"))


def manifest(made: Path) -> Any:
    return json.loads((made / "chips.json").read_text(encoding="utf-8"))


def files(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def read(path: Path, window: Window | None = None) -> Any:
    with rasterio.open(path) as raster:
        return raster.read(window=window)


# --- label images -------------------------------------------------------------------------------


@pytest.mark.parametrize("edge", ["shift", "pad", "crop"])
@pytest.mark.parametrize("format", ["png", "tif"])
def test_pairs_are_windows_of_the_scene_and_of_its_burned_annotations(
    folder: Path, tmp_path: Path, format: str, edge: str
) -> None:
    tiling = ChipOptions(size=128, overlap=32, edge=edge)  # type: ignore[arg-type]
    tiles = chip(folder, tmp_path / "out", format=format, chips=tiling)
    opened = Dataset.open(folder)
    truth = opened.annotations("outlines")
    entries = manifest(tmp_path / "out")["windows"]
    assert tiles.chips == {"train": 3 * 2 + 1, "val": 3 * 2}
    assert len(entries) == sum(tiles.chips.values())
    scenes = {scene.name: scene for scene in opened.scenes}
    for entry in entries:
        scene = scenes[entry["scene"]]
        left, top, width, height = entry["window"]
        whole = np.full((height + scene.height, width + scene.width), IGNORE, np.uint8)
        whole[: scene.height, : scene.width] = burn(truth[scene.name], scene.height, scene.width)
        labels = read(tmp_path / "out" / entry["truth"])
        assert labels.shape == (1, height, width)
        assert (labels[0] == whole[top : top + height, left : left + width]).all()
        image = read(tmp_path / "out" / entry["image"])
        across, down = min(width, scene.width - left), min(height, scene.height - top)
        pixels = read(opened.path(scene), Window(left, top, across, down))
        assert (image[:, :down, :across] == pixels).all()
        assert not image[:, down:].any()
        assert not image[:, :, across:].any()
        assert entry["image"].startswith(f"{scene.split}/images/{scene.name}__128__{left}___{top}.")
        touching = AnnotationIndex(truth[scene.name]).query_window(Window(left, top, across, down))
        assert sum(entry["objects"].values()) == len(touching)
    names = (tmp_path / "out" / "classes.txt").read_text().split()
    assert names == list(opened.legend.names)


def test_a_viewer_shows_the_legend_s_colours_and_a_gis_the_place(
    folder: Path, tmp_path: Path
) -> None:
    opened = Dataset.open(folder)
    for format in ("png", "tif"):
        made = chip(folder, tmp_path / format, format=format, chips=SMALL, splits=["train"]).folder
        labels = made / f"train/labels/b__128__0___0.{format}"
        with rasterio.open(labels) as raster:
            colours = raster.colormap(1)
            assert all(colours[c.id][:3] == opened.legend.rgb(c.id) for c in opened.legend)
    with rasterio.open(labels) as raster:
        assert raster.nodata == IGNORE
    scene = next(s for s in opened.scenes if s.name == "a")
    for part in ("images", "labels"):
        with rasterio.open(made / f"train/{part}/a__128__96___92.tif") as raster:
            assert raster.transform == Affine(*scene.transform) @ Affine.translation(96, 92)
    with rasterio.open(made / "train/images/b__128__0___0.tif") as image:
        assert MaskFlags.per_dataset in image.mask_flag_enums[0]
        assert image.dataset_mask()[:50, :70].all()
        assert image.dataset_mask().sum() == 255 * 50 * 70


def test_difficult_objects_are_what_was_asked_for(folder: Path, tmp_path: Path) -> None:
    found = {}
    for difficult in ("keep", "ignore", "drop"):
        how = ChipOptions(size=None, difficult=difficult)
        made = chip(folder, tmp_path / difficult, chips=how, layer="quads", splits=["val"]).folder
        found[difficult] = read(made / "val/labels/c.png")[0]
    plane = Dataset.open(folder).legend.id_of("plane")
    assert (found["keep"] == plane).any()
    assert ((found["ignore"] == IGNORE) == (found["keep"] == plane)).all()
    assert not np.isin(found["drop"], (plane, IGNORE)).any()


def test_windows_without_objects_or_data_are_left_out_and_counted(tmp_path: Path) -> None:
    pixels = drawn([SHIP], 100, 400)
    pixels[:, :, :100] = np.maximum(pixels[:, :, :100], 1)
    pixels[:, :, 200:] = 7
    add(tmp_path / "dota", "a", [SHIP, Thing((210, 10, 240, 10, 240, 30, 210, 30))])
    (tmp_path / "dota/images/a.png").unlink()
    write_image(tmp_path / "dota/images/a.tif", pixels, nodata=0)
    folder = prepare(tmp_path / "dota", tmp_path / "set", val_share=0)
    everything = chip(folder, tmp_path / "all", chips=ChipOptions(size=100, overlap=0))
    assert everything.chips == {"train": 3}
    assert everything.notes == {"chips without data were left out": 1}
    few = chip(folder, tmp_path / "few", chips=ChipOptions(size=100, overlap=0, empty=0))
    assert few.chips == {"train": 2}
    assert few.notes == {"chips without objects were left out": 2}
    how = ChipOptions(size=20, overlap=0, empty=0.5)
    half = chip(folder, tmp_path / "half", chips=how)
    left = half.notes["chips without objects were left out"]
    assert 25 < left < 70  # of about 95
    assert chip(folder, tmp_path / "again", chips=how).notes == half.notes


# --- text ---------------------------------------------------------------------------------------


def test_coco_has_parts_exactly_and_holes_as_pixels(folder: Path, tmp_path: Path) -> None:
    tiles = chip(
        folder, tmp_path / "out", format="coco", chips=ChipOptions(size=None), layer="outlines"
    )
    told = json.loads((tmp_path / "out/annotations/instances_train.json").read_text())
    images = {image["id"]: image for image in told["images"]}
    assert {i["file_name"]: (i["width"], i["height"]) for i in images.values()} == {
        "a.png": (300, 220),
        "b.png": (70, 50),
    }
    names = {c["id"]: c["name"] for c in told["categories"]}
    objects = {names[a["category_id"]]: a for a in told["annotations"]}
    assert len({a["id"] for a in told["annotations"]}) == len(told["annotations"]) == 3
    assert {images[a["image_id"]]["file_name"] for a in told["annotations"]} == {"a.png"}
    ring = objects["ship"]
    assert tiles.notes == {"objects with holes are written as pixels (RLE) in COCO": 1}
    filled = pixels_of_rle(ring["segmentation"])
    assert filled.sum() == ring["area"] == RING.area
    assert not filled[20:31, 20:30].any()
    assert ring["bbox"] == [10, 10, 30, 30]
    assert polygon_of(objects["harbor"]["segmentation"]).equals(TWO)
    assert objects["harbor"]["area"] == TWO.area
    assert {a["iscrowd"] for a in told["annotations"]} == {0}, "trainers drop crowd regions"
    assert {name: a["difficult"] for name, a in objects.items()} == {
        "ship": 0,
        "harbor": 0,
        "plane": 1,
    }


def test_coco_polygons_are_those_of_shapely_in_every_window(folder: Path, tmp_path: Path) -> None:
    chip(folder, tmp_path / "out", format="coco", chips=SMALL, layer="quads", splits=["train"])
    told = json.loads((tmp_path / "out/annotations/instances_train.json").read_text())
    entries = manifest(tmp_path / "out")["windows"]
    truth = Dataset.open(folder).annotations("quads")
    assert len(told["images"]) == len(entries)
    assert len(told["annotations"]) == sum(sum(e["objects"].values()) for e in entries)
    for image, entry in zip(told["images"], entries, strict=True):
        left, top, width, height = entry["window"]
        box = shapely.box(left, top, left + width, top + height)
        within = [g.intersection(box) for g in truth[entry["scene"]].geometry if g.intersects(box)]
        found = [a for a in told["annotations"] if a["image_id"] == image["id"]]
        assert len(found) == len(within)
        for annotation, part in zip(found, within, strict=True):
            polygon = polygon_of(annotation["segmentation"])
            moved = shapely.transform(polygon, lambda xy, o=(left, top): xy + o)
            assert moved.symmetric_difference(part).area < 1e-3
            assert annotation["area"] == pytest.approx(part.area, abs=1e-3)
            x, y, across, down = annotation["bbox"]
            assert shapely.box(x, y, x + across, y + down).bounds == pytest.approx(polygon.bounds)


def test_yolo_gets_outlines_with_a_line_for_each_part(folder: Path, tmp_path: Path) -> None:
    tiles = chip(folder, tmp_path / "out", format="yolo-seg", chips=ChipOptions(size=None))
    assert tiles.notes == {
        "objects in several parts are written as several lines in YOLO": 1,
        "objects have holes, which are filled in YOLO": 1,
    }
    legend = Dataset.open(folder).legend
    found = yolo(tmp_path / "out/train/labels/a.txt", 300, 220)
    named = [(legend[number + 1].name, polygon) for number, polygon in found]
    assert [name for name, _ in named] == ["ship", "harbor", "harbor", "plane"]
    assert shapely.equals_exact(shapely.MultiPolygon([p for _, p in named[1:3]]), TWO, 1e-6)
    assert named[0][1].area == pytest.approx(900)
    assert (tmp_path / "out/train/labels/b.txt").read_text() == ""
    yaml = (tmp_path / "out/data.yaml").read_text().splitlines()
    assert yaml[:3] == ["train: train/images", "val: val/images", "names:"]
    assert yaml[3] == '  0: "plane"'


def test_yolo_s_oriented_boxes_are_the_quads_and_stay_in_their_windows(
    folder: Path, tmp_path: Path
) -> None:
    chip(folder, tmp_path / "out", format="yolo-obb", chips=SMALL)
    truth = Dataset.open(folder).annotations("quads")
    for entry in manifest(tmp_path / "out")["windows"]:
        left, top, width, height = entry["window"]
        found = yolo(tmp_path / "out" / entry["truth"], width, height)
        box = shapely.box(left, top, left + width, top + height)
        objects = truth[entry["scene"]]
        shown = [g for g in objects.geometry if g.intersection(box).area > 0.01]
        assert len(found) == len(shown)
        for (_, polygon), original in zip(found, shown, strict=True):
            assert len(polygon.exterior.coords) == 5
            if box.covers(original):
                moved = shapely.transform(polygon, lambda xy, o=(left, top): xy + o)
                assert shapely.equals_exact(moved, original, 1e-6)


def test_yolo_cannot_mark_objects(folder: Path, tmp_path: Path) -> None:
    for how in (
        ChipOptions(difficult="ignore"),
        ChipOptions(min_visible=0.5, hardly_visible="difficult"),
    ):
        with pytest.raises(ConfigError, match="cannot mark difficult"):
            chip(folder, tmp_path / "out", format="yolo-obb", chips=how)


# --- interruptions and products -----------------------------------------------------------------


def stopping(after: int) -> Any:
    """Return a `track` that is interrupted."""

    def track(items: Iterable[T], /, text: Any = "", total: int | None = None) -> Iterable[T]:
        for number, item in enumerate(items):
            if number == after:
                raise KeyboardInterrupt
            yield item

    return track


@pytest.mark.parametrize(
    ("format", "lost"),
    [
        ("png", "products/train/images"),
        ("png", "products/train/labels"),
        ("yolo-seg", "products/train/labels"),
        ("coco", "products/train/images"),
        ("png", "state"),
        ("coco", "state"),
    ],
)
def test_an_interrupted_run_goes_on_to_the_same_files(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format: str, lost: str
) -> None:
    once = chip(folder, tmp_path / "once", format=format, chips=SMALL).folder
    again = tmp_path / "again"
    with pytest.raises(KeyboardInterrupt):
        chip(folder, again, format=format, chips=SMALL, jobs=1, track=stopping(1))
    assert not again.exists()
    left = work_folder_path(again) / lost
    written = sorted(path for path in left.iterdir() if path.name != "journal")
    assert written
    for file in written[:: len(written) - 1]:
        os.truncate(
            file, file.stat().st_size // 3 if lost == "state" else 0
        )  # as after a power failure
    with pytest.raises(ConfigError, match="overlap was 32, is 0"):
        chip(folder, again, format=format, chips=ChipOptions(size=128, overlap=0))
    with monkeypatch.context() as later, pytest.raises(ConfigError, match=r"geoseg was .* is 99"):
        later.setattr("geoseg.tools.chip.__version__", "99")
        chip(folder, again, format=format, chips=SMALL)
    chip(folder, again, format=format, chips=SMALL)
    assert files(again) == files(once)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_threads_change_nothing(folder: Path, tmp_path: Path) -> None:
    made = [
        files(chip(folder, tmp_path / f"{jobs}", format="coco", chips=SMALL, jobs=jobs).folder)
        for jobs in (1, 5)
    ]
    assert made[0] == made[1]


def test_only_windows_are_ever_replaced(folder: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    chip(folder, mine, chips=SMALL)
    with pytest.raises(OutputError, match="--overwrite"):
        chip(folder, mine, chips=SMALL)
    chip(folder, mine, format="dota", chips=SMALL, overwrite=True)
    assert not (mine / "train/labels").exists()
    (mine / "chips.json").unlink()
    with pytest.raises(OutputError, match="has no chips"):
        chip(folder, mine, chips=SMALL, overwrite=True)
    with pytest.raises(OutputError, match="Create"):
        chip(folder, tmp_path / "no/where", chips=SMALL)
    with pytest.raises(DatasetError, match="no split 'test'"):
        chip(folder, tmp_path / "out", splits=["test"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine"]


def test_the_folder_one_stands_in_may_be_filled(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    chip(folder, Path(), chips=SMALL)
    assert manifest(tmp_path / "here")["counts"] == {"train": 7, "val": 6}


def test_a_damaged_scene_stops_the_work_or_is_left_out(tmp_path: Path) -> None:
    folder = dataset(tmp_path)
    scene = folder / "scenes/c.tif"
    os.truncate(scene, scene.stat().st_size // 2)
    with pytest.raises(SceneError, match=r"c\.tif.*--skip-bad"):
        chip(folder, tmp_path / "out", chips=SMALL)
    assert not (tmp_path / "out").exists()
    with pytest.raises(SkippedInputsError, match=r"c\.tif"):
        chip(folder, tmp_path / "out", chips=SMALL, skip_bad=True)
    assert manifest(tmp_path / "out")["counts"] == {"train": 7, "val": 0}
    assert list((tmp_path / "out/val/images").iterdir()) == []


# --- the command --------------------------------------------------------------------------------


def run(*arguments: object) -> int:
    return boundary.run(geoseg, ["chip", *map(str, arguments)])


def test_the_command_reports_what_it_wrote(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run(folder, "-o", out, "--size", 128, "--min-visible", 0.5) == 0
    told = capsys.readouterr()
    assert told.out == f"{out}\n"
    assert "13 chips (train 7, val 6)" in told.err
    assert "hardly visible in a chip and were left out there" in told.err
    again = (
        "--overwrite",
        "--progress",
        "json",
        "--size",
        "0",
        "--split",
        "val",
        "--empty",
        "drop",
    )
    assert run(folder, "-o", out, "--reference", "quads", *again) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["counts"] == {"val": 1}
    assert result["objects"] == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--size", 100, "--overlap", 100), "overlap must be less"),
        (("--empty", "some"), "keep, drop"),
        (("--empty", "2"), "empty must be 0 to 1"),
        (("--format", "voc"), "voc"),
        (("--format", "yolo-seg", "--difficult", "ignore"), "cannot mark difficult"),
    ],
)
def test_wrong_options_are_an_error_of_one_line(
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[object, ...],
    words: str,
) -> None:
    assert run(folder, "-o", tmp_path / "out", *arguments) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert words in err
    assert not (tmp_path / "out").exists()


def test_objects_over_the_edge_keep_their_quads_in_dota(folder: Path, tmp_path: Path) -> None:
    chip(folder, tmp_path / "out", format="dota", chips=SMALL, splits=["train"])
    text = (tmp_path / "out/train/labelTxt/a__128__0___0.txt").read_text().splitlines()
    assert text[:2] == ["imagesource:unknown", "gsd:0.5"]
    harbors = [line.split() for line in text if "harbor" in line]
    assert np.array(harbors[1][:8], float) == pytest.approx(np.array(OVER_THE_EDGE.corners))
