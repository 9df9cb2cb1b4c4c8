"""Label rasters of IDs and colours: burning the annotations returns their pixels."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from geoseg.annotations import label_rasters as label_raster
from geoseg.annotations.burn import burn
from geoseg.annotations.colours import COLOUR_MAPS, load_colour_map
from geoseg.annotations.label_rasters import read_label_rasters
from geoseg.annotations.readers import NamedAnnotations, ReaderOptions
from geoseg.annotations.validation import IssueKind, ValidationReport
from geoseg.cli import boundary, geoseg
from geoseg.dataset.folder import Dataset
from geoseg.dataset.images import inspect_image
from geoseg.errors import AnnotationError, ConfigError, GeosegError
from geoseg.legend import IGNORE, Legend
from geoseg.training.windows import ObjectIndex, SplitReader, View
from tests.calls import prepare_scenes
from tests.scenes import LEGEND, UTM, picture, write_scene

LABELS = arrays(
    np.uint8,
    st.tuples(st.integers(1, 24), st.integers(1, 24)),
    elements=st.sampled_from([0, 1, 2, 3, IGNORE]),
)
SIDE = UTM["transform"].a


def raster(path: Path, labels: NDArray[Any], **profile: Any) -> Path:
    bands = labels if labels.ndim == 3 else labels[None]
    return write_scene(path, bands, **profile)


def blotches(
    height: int, width: int, values: tuple[int, ...] = (0, 1, 2, 3, IGNORE)
) -> NDArray[np.uint8]:
    labels: NDArray[np.uint8] = np.array(values, np.uint8)[
        picture(height, width, bands=1)[0] % len(values)
    ]
    return labels


def read(
    path: Path, *scenes: Path, report: ValidationReport | None = None, **how: Any
) -> list[NamedAnnotations | None]:
    report = ValidationReport() if report is None else report
    infos = [inspect_image(scene) for scene in scenes]
    found = read_label_rasters(path, infos, ReaderOptions(**how), report)
    report.raise_rejected()
    return found


def burned(
    drawn: NamedAnnotations | None, legend: Legend, height: int, width: int
) -> NDArray[np.uint8]:
    assert drawn is not None
    return burn(drawn.to_annotations(legend), height, width)


# --- the labels come back -----------------------------------------------------------------------


@given(LABELS)
def test_burning_gives_the_raster_back(
    tmp_path_factory: pytest.TempPathFactory, labels: NDArray[np.uint8]
) -> None:
    folder = tmp_path_factory.mktemp("labels")
    height, width = labels.shape
    labels[0, 0] = 1
    scene = write_scene(folder / "s.tif", picture(height, width))
    path = raster(folder / "l.tif", labels)
    (drawn,) = read(path, scene, legend=LEGEND)
    np.testing.assert_array_equal(burned(drawn, LEGEND, height, width), labels)


@pytest.mark.parametrize("block", [30, 1000])
def test_a_dataset_of_labels_has_the_same_labels_and_training_ignores_what_they_ignore(
    tmp_path: Path, block: int
) -> None:
    labels = blotches(70, 90)
    scenes = [write_scene(tmp_path / f"{n}.tif", picture(70, 90), **_at(200 * n)) for n in range(2)]
    (tmp_path / "labels").mkdir()
    for n in range(2):
        raster(tmp_path / "labels" / f"{n}.png", labels, driver="PNG")
    (tmp_path / "legend.json").write_text(json.dumps(LEGEND.to_json()))
    folder = prepare_scenes(
        scenes,
        tmp_path / "out",
        annotations=tmp_path / "labels",
        format="labels",
        legend=str(tmp_path / "legend.json"),
        block=max(block, 32),
    )
    dataset = Dataset.open(folder)
    assert dataset.legend == LEGEND
    counts = dataset.layers["outlines"]
    assert [counts.pixels[name] for name in LEGEND.names] == [
        2 * int((labels == number).sum()) for number in range(4)
    ]
    assert set(counts.objects) == set(LEGEND.names[1:])
    annotations = dataset.annotations()
    for part in dataset.scenes:
        left, top = ~_at(200 * int(part.name[0]))["transform"] @ (
            part.transform[2],
            part.transform[5],
        )
        there = labels[round(top) :, round(left) :][: part.height, : part.width]
        np.testing.assert_array_equal(burn(annotations[part.name], part.height, part.width), there)
    for_training = SplitReader(dataset, "train", layer=None, difficult="keep")
    sample = for_training.read(View(0, Affine.identity()), 32)
    assert (sample.labels == IGNORE).any()
    assert set(ObjectIndex(for_training).by_class) == {1, 2, 3}


def _at(columns: float) -> dict[str, Any]:
    return {**UTM, "transform": UTM["transform"] @ Affine.translation(columns, 0)}


def test_one_raster_on_the_grid_is_for_all_scenes_and_ground_beyond_it_is_ignored(
    tmp_path: Path,
) -> None:
    labels = blotches(60, 100)
    path = raster(tmp_path / "all.tif", labels, **_at(0))
    scenes = [write_scene(tmp_path / f"{x}.tif", picture(40, 50), **_at(x)) for x in (-10, 30, 70)]
    report = ValidationReport()
    found = read(path, *scenes, report=report, legend=LEGEND)
    around = np.full((60, 140), IGNORE, np.uint8)
    around[:, 10:110] = labels
    for x, drawn in zip((0, 40, 80), found, strict=True):
        np.testing.assert_array_equal(burned(drawn, LEGEND, 40, 50), around[:40, x : x + 50])
    assert [(f.kind, f.scene) for f in report] == [
        (IssueKind.UNLABELLED, "-10"),
        (IssueKind.UNLABELLED, "70"),
    ]
    assert "20.0% of the scene" in next(iter(report)).note


def test_strips_of_any_height_give_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = blotches(150, 60)
    tiles = {"tiled": True, "blockxsize": 16, "blockysize": 16}
    path = raster(tmp_path / "l.tif", labels, **tiles, **UTM)
    scene = write_scene(tmp_path / "s.tif", picture(90, 40), **_at(7))
    monkeypatch.setattr(label_raster, "_STRIP_ROWS", 32)
    heights = []
    kept = label_raster.LabelRaster.read_strips

    def watched(self: Any, window: Any) -> Any:
        for strip, nothing in kept(self, window):
            heights.append(len(strip))
            yield strip, nothing

    monkeypatch.setattr(label_raster.LabelRaster, "read_strips", watched)
    (drawn,) = read(path, scene, legend=LEGEND)
    assert heights == [32, 32, 26]
    np.testing.assert_array_equal(burned(drawn, LEGEND, 90, 40), labels[:90, 7:47])


# --- names --------------------------------------------------------------------------------------


def test_names_are_the_raster_s_own_and_nodata_is_ignored(tmp_path: Path) -> None:
    labels = np.tile(np.array([[0, 1, 2, 99]], np.int16), (8, 5))
    path = raster(tmp_path / "s_mask.tif", labels, nodata=99)
    with rasterio.open(path, "r+") as opened:
        opened.update_tags(GEOSEG_LEGEND=json.dumps(LEGEND.to_json()))
    scene = write_scene(tmp_path / "s.tif", picture(8, 20))
    (drawn,) = read(tmp_path, scene)
    assert drawn is not None
    assert set(drawn.name) == {"plane", "ship", "ignore"}
    path.unlink()
    raster(path, labels.astype(np.uint8))
    (drawn,) = read(tmp_path, scene)
    assert drawn is not None
    assert set(drawn.name) == {"class_1", "class_2", "class_99"}


@pytest.mark.parametrize("known", sorted(COLOUR_MAPS))
@pytest.mark.parametrize("palette", [True, False])
def test_colours_become_their_classes_whether_as_rgb_or_as_palette(
    tmp_path: Path, known: str, palette: bool
) -> None:
    colours = [tuple(bytes.fromhex(colour[1:])) for colour in COLOUR_MAPS[known]]
    numbers = picture(40, 60, bands=1)[0] % len(colours)
    scene = write_scene(tmp_path / "top_1_RGB.tif", picture(40, 60))
    folder = tmp_path / "labels" / "deeper"
    folder.mkdir(parents=True)
    path = folder / "top_1_label_noBoundary.tif"
    if palette:
        with rasterio.open(
            path, "w", driver="GTiff", width=60, height=40, count=1, dtype="uint8"
        ) as out:
            out.write(numbers, 1)
            out.write_colormap(1, dict(enumerate(colours)))
    else:
        raster(path, np.moveaxis(np.array(colours, np.uint8)[numbers], 2, 0))
    (drawn,) = read(tmp_path / "labels", scene, colours=known)
    named = load_colour_map(known)
    legend = Legend.of({name: f"#{n:06x}" for n, name in enumerate(named.names[1:], start=1)})
    expected = np.array([legend.label_of(name) for name in COLOUR_MAPS[known].values()], np.uint8)
    np.testing.assert_array_equal(burned(drawn, legend, 40, 60), expected[numbers])


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("c.toml", '"#ffffff" = "roof"\n"*" = "ignore"\n0 = "background"'),
        ("c.json", '{"255,255,255": "roof", "0": "background", "*": "ignore"}'),
        (
            "c.json",
            '[{"id": 0, "name": "background", "colour": "#000000"}, {"id": 1, "name": "roof", "colour": "#FFFFFF"},'
            '{"id": 2, "name": "ignore", "colour": "#070707"}]',
        ),
    ],
)
def test_a_file_defines_the_classes_of_values(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    values = np.tile(np.array([[0, 255, 7]], np.uint8), (6, 4))
    path = raster(tmp_path / "l.png", values, driver="PNG")
    scene = write_scene(tmp_path / "s.tif", picture(6, 12))
    (drawn,) = read(path, scene, colours=str(tmp_path / name))
    legend = Legend.of({"roof": "#ff0000"})
    expected = np.select([values == 255, values == 7], [1, IGNORE])
    np.testing.assert_array_equal(burned(drawn, legend, 6, 12), expected)


def test_what_is_transparent_is_ignored(tmp_path: Path) -> None:
    pixels = np.full((4, 6, 8), 255, np.uint8)
    pixels[3, 2:4] = 0
    path = raster(tmp_path / "l.tif", pixels)
    (drawn,) = read(path, write_scene(tmp_path / "s.tif", picture(6, 8)), colours="potsdam")
    assert drawn is not None
    assert sorted(drawn.name) == ["ignore", "impervious-surface", "impervious-surface"]


# --- mistakes -----------------------------------------------------------------------------------


def small(**profile: Any) -> Callable[[Path], Path]:
    return lambda folder: raster(folder / "labels" / "s.tif", blotches(20, 30), **profile)


MISTAKES: list[tuple[Callable[[Path], object], dict[str, Any], type[GeosegError], str]] = [
    (lambda _: None, {}, AnnotationError, "s.tif: no label raster in .*Add one named s.tif"),
    (
        lambda f: raster(f / "labels" / "s.png", blotches(20, 31)),
        {},
        AnnotationError,
        "31 x 20 pixels, .* 30 x 20",
    ),
    (
        small(**{**UTM, "crs": "EPSG:32634"}),
        {},
        AnnotationError,
        "the CRS differs",
    ),
    (small(**_at(0.5)), {}, AnnotationError, "not on the pixel grid"),
    (small(**_at(500)), {}, AnnotationError, "s.tif: outside"),
    (
        lambda f: (small()(f), raster(f / "labels" / "s.png", blotches(20, 30))),
        {},
        AnnotationError,
        "there is also",
    ),
    (
        small(),
        {"legend": Legend.of({"roof": "#ff0000"})},
        AnnotationError,
        "has class ID 3, but the legend ends at 1",
    ),
    (
        lambda f: raster(f / "labels" / "s.tif", picture(20, 30)),
        {},
        AnnotationError,
        "Name its colour map",
    ),
    (
        lambda f: raster(f / "labels" / "s.tif", _spotted()),
        {"colours": "isaid"},
        AnnotationError,
        r"unknown colours #010203 \(2 pixels, first at column 4, row 3\)",
    ),
    (
        lambda f: raster(
            f / "labels" / "s.tif", np.where(blotches(20, 30) > 1, 255, 0).astype(np.uint8)
        ),
        {},
        AnnotationError,
        "has no class.*If 255 is a class",
    ),
    (
        lambda f: raster(f / "labels" / "s.tif", blotches(20, 30).astype(np.float32)),
        {},
        GeosegError,
        "class IDs are integers",
    ),
    (small(), {"colours": "mars"}, ConfigError, "unknown colour map. Use isaid, potsdam"),
    (small(), {"colours": "nowhere.json"}, ConfigError, "cannot be read"),
]


def _spotted() -> NDArray[np.uint8]:
    pixels = np.zeros((3, 20, 30), np.uint8)
    pixels[:, 3, 4] = pixels[:, 9, 2] = 1, 2, 3
    return pixels


@pytest.mark.parametrize(("make", "how", "kind", "why"), MISTAKES)
def test_a_mistake_is_one_line(
    tmp_path: Path,
    make: Callable[[Path], object],
    how: dict[str, Any],
    kind: type[GeosegError],
    why: str,
) -> None:
    (tmp_path / "labels").mkdir()
    make(tmp_path)
    scene = write_scene(tmp_path / "s.tif", picture(20, 30), **_at(0))
    with pytest.raises(kind, match=why) as caught:
        read(tmp_path / "labels", scene, **how)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "cannot be read"),
        ("{}", "must map colours"),
        ('{"#ff00": "roof"}', "invalid colour '#ff00'"),
        ('{"1,2,300": "roof"}', "invalid colour"),
        ('{"#ff0000": 3}', "has no class name"),
        ('{"#ff0000": "background"}', ": 0 classes"),
        ("[1]", "not a legend"),
    ],
)
def test_an_invalid_colour_map_is_named(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "c.json").write_text(text)
    with pytest.raises(ConfigError, match=why):
        load_colour_map(str(tmp_path / "c.json"))


def test_reading_a_photograph_stops_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label_raster, "_MAX_UNKNOWN", 20)
    path = raster(tmp_path / "l.tif", picture(60, 60))
    with pytest.raises(AnnotationError, match=r"and [0-9]+ more"):
        read(path, write_scene(tmp_path / "s.tif", picture(60, 60)), colours="isaid")


def test_one_raster_without_a_place_is_for_one_scene(tmp_path: Path) -> None:
    path = raster(tmp_path / "l.tif", blotches(8, 8))
    scenes = [write_scene(tmp_path / f"{n}.tif", picture(8, 8)) for n in range(2)]
    with pytest.raises(AnnotationError, match="has no georeference"):
        read(path, *scenes)


def test_the_command_needs_a_map_for_colours(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    colours = np.array([(0, 0, 0), (0, 0, 63), (0, 127, 255)], np.uint8)
    raster(
        tmp_path / "P1_instance_color_RGB.png",
        np.moveaxis(colours[picture(80, 90, bands=1)[0] % 3], 2, 0),
        driver="PNG",
    )
    scene = write_scene(tmp_path / "P1.png", picture(80, 90), driver="PNG")
    command = [
        "prepare",
        str(scene),
        "--annotations",
        str(tmp_path),
        "--format",
        "labels",
        "-o",
        str(tmp_path / "out"),
        "--block",
        "40",
    ]
    assert boundary.run(geoseg, command) == 3
    assert "--colours" in capsys.readouterr().err
    assert boundary.run(geoseg, [*command, "--colours", "mars"]) == 2
    assert boundary.run(geoseg, [*command, "--colours", "isaid"]) == 0
    assert Dataset.open(tmp_path / "out").legend.names == ("background", "plane", "ship")
