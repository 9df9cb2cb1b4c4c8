"""Datasets from scenes and vector annotations."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import EntryPoint
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from rasterio.features import rasterize
from rasterio.windows import Window

from geoseg.annotations import readers
from geoseg.annotations.burn import burn
from geoseg.annotations.readers import NamedAnnotations, ReaderOptions, derive_legend
from geoseg.annotations.validation import ValidationReport
from geoseg.cli import boundary, geoseg
from geoseg.dataset.folder import Dataset, DatasetScene
from geoseg.dataset.split import choose_validation, cut_blocks, group_overlapping
from geoseg.errors import AnnotationError, ConfigError, DatasetError, GeosegError, SceneError
from geoseg.legend import DOTA_V1
from geoseg.raster.scene import SceneInfo
from tests.calls import prepare_scenes
from tests.scenes import LEGEND, model_file, picture, write_scene

UTM = Affine(0.5, 0, 500_000, 0, -0.5, 5_800_000)
NAMES = ("shed", "pond", "plane")


def scene(path: Path, *, size: tuple[int, int] = (300, 420), transform: Affine = UTM) -> Path:
    profile = {"crs": "EPSG:32631", "transform": transform}
    return write_scene(path, picture(*size), **profile)


def polygons(transform: Affine = UTM, *, count: int = 40, seed: int = 0) -> gpd.GeoDataFrame:
    """Triangles all over a scene of 420 x 300 pixels, a little beyond its edges too."""
    rng = np.random.default_rng(seed)
    centres = rng.uniform((-5, -5), (425, 305), (count, 2))
    corners = centres[:, None] + rng.uniform(-25, 25, (count, 3, 2))
    xy = corners @ np.array([[transform.a, 0], [0, transform.e]]) + (transform.c, transform.f)
    return gpd.GeoDataFrame(
        {"what": rng.choice(NAMES, count)},
        geometry=[shapely.Polygon(ring) for ring in xy],
        crs="EPSG:32631",
    )


def stitched(dataset: Dataset, size: tuple[int, int], transform: Affine) -> NDArray[np.uint8]:
    """Return the labels of all scenes of a dataset, assembled by their position on the map."""
    labels = np.full(size, 99, np.uint8)
    annotations = dataset.annotations()
    for part in dataset.scenes:
        column, row = ~transform @ (part.transform[2], part.transform[5])
        block = burn(annotations[part.name], part.height, part.width)
        labels[round(row) :, round(column) :][: part.height, : part.width] = block
    return labels


# --- where things lie ---------------------------------------------------------------------------


@pytest.mark.parametrize("crs", ["EPSG:32631", "EPSG:4326", "EPSG:3857"])
def test_polygons_of_any_crs_become_the_labels_that_gdal_burns_into_the_whole_scene(
    tmp_path: Path, crs: str
) -> None:
    table = polygons()
    table.to_crs(crs).to_file(tmp_path / "drawn.gpkg")
    folder = prepare_scenes(
        [scene(tmp_path / "s.tif")],
        tmp_path / "dataset",
        annotations=tmp_path / "drawn.gpkg",
        class_column="what",
        block=100,
    )
    dataset = Dataset.open(folder)
    assert dataset.legend.names == ("background", "plane", "pond", "shed")
    ids = [dataset.legend.id_of(name) for name in table["what"]]
    # larger first; the comparison leaves out pixels where polygons overlap
    order = np.argsort(-table.area)
    shapes = [(table.geometry[i], ids[i]) for i in order]
    expected = rasterize(shapes, (300, 420), transform=UTM, dtype="uint8")
    often = rasterize(
        [(g, 1) for g in table.geometry],
        (300, 420),
        transform=UTM,
        merge_alg=rasterio.enums.MergeAlg.add,
    )
    found = stitched(dataset, (300, 420), UTM)
    assert (found == 99).sum() == 0
    wrong = (found != expected) & (often < 2)
    assert wrong.sum() <= (
        0 if crs == "EPSG:32631" else 5
    )  # rounding may move a pixel centre across an edge


def test_the_pixels_of_the_blocks_are_those_of_the_scene(tmp_path: Path) -> None:
    polygons().to_file(tmp_path / "drawn.gpkg")
    source = scene(tmp_path / "s.tif")
    folder = prepare_scenes(
        [source], tmp_path / "dataset", annotations=tmp_path / "drawn.gpkg", class_column="what"
    )
    together = np.zeros((3, 300, 420), np.uint8)
    dataset = Dataset.open(folder)
    for part in dataset.scenes:
        column, row = ~UTM @ (part.transform[2], part.transform[5])
        with dataset.open_scene(part) as opened:
            together[:, round(row) :, round(column) :][:, : part.height, : part.width] = (
                opened.read(Window(0, 0, part.width, part.height))[0]
            )
    np.testing.assert_array_equal(together, picture(300, 420))


def test_a_scene_without_georeference_is_drawn_on_as_qgis_shows_it(tmp_path: Path) -> None:
    write_scene(tmp_path / "plain.tif", picture(300, 420))
    hung = Affine.scale(1, -1)
    table = polygons(hung).set_crs(None, allow_override=True)
    table.to_file(tmp_path / "drawn.gpkg")
    folder = prepare_scenes(
        [tmp_path / "plain.tif"],
        tmp_path / "dataset",
        annotations=tmp_path / "drawn.gpkg",
        class_column="what",
        block=1000,
        val_share=0,
    )
    (only,) = Dataset.open(folder).scenes
    found = burn(Dataset.open(folder).annotations()[only.name], 300, 420)
    expected = rasterize([(g, 1) for g in table.geometry], (300, 420), transform=hung)
    np.testing.assert_array_equal(found > 0, expected > 0)


# --- splits -------------------------------------------------------------------------------------


def test_no_ground_is_in_two_splits_even_where_scenes_overlap(tmp_path: Path) -> None:
    scenes = [
        scene(tmp_path / f"s{number}.tif", transform=UTM @ Affine.translation(150 * number, 10))
        for number in range(4)
    ]
    polygons().to_file(tmp_path / "drawn.gpkg")
    folder = prepare_scenes(
        scenes,
        tmp_path / "dataset",
        annotations=tmp_path / "drawn.gpkg",
        class_column="what",
        block=60,
    )
    dataset = Dataset.open(folder)
    ground = {
        split: shapely.union_all([shapely.box(*bounds(s)) for s in dataset.split(split)])
        for split in ("train", "val")
    }
    assert ground["train"].area > 0
    assert ground["val"].area > 0
    assert ground["train"].intersection(ground["val"]).area == 0


def bounds(scene: DatasetScene) -> tuple[float, float, float, float]:
    transform = Affine(*scene.transform)
    (left, top), (right, bottom) = transform @ (0, 0), transform @ (scene.width, scene.height)
    return left, bottom, right, top


def test_every_class_is_in_both_splits_and_val_has_about_its_share(tmp_path: Path) -> None:
    polygons(count=200).to_file(tmp_path / "drawn.gpkg")
    folder = prepare_scenes(
        [scene(tmp_path / "s.tif")],
        tmp_path / "dataset",
        annotations=tmp_path / "drawn.gpkg",
        class_column="what",
        block=50,
        val_share=0.3,
    )
    counts = Dataset.open(folder).layers["outlines"]
    for name in NAMES:
        assert 0.15 < counts.splits["val"].pixels[name] / counts.pixels[name] < 0.45


@given(st.integers(1, 2000), st.integers(1, 2000), st.one_of(st.none(), st.integers(32, 900)))
def test_blocks_cover_a_scene_exactly_once(width: int, height: int, side: int | None) -> None:
    image = SceneInfo(Path("s"), width, height, 3, "uint8", None, Affine.identity(), None, None)
    windows = [block.window for block in cut_blocks([image], side)]
    assert sum(w.width * w.height for w in windows) == width * height
    assert {(w.col_off, w.row_off) for w in windows} == {
        (x, y) for x in {w.col_off for w in windows} for y in {w.row_off for w in windows}
    }
    assert max(w.col_off + w.width for w in windows) == width
    assert max(w.row_off + w.height for w in windows) == height


@given(
    arrays(float, st.tuples(st.integers(2, 30), st.integers(1, 5)), elements=st.floats(0.001, 1)),
    st.floats(0.01, 0.99),
)
def test_validation_gets_some_and_training_too(shares: NDArray[np.float64], target: float) -> None:
    shares = shares / shares.sum(axis=0)
    chosen = choose_validation(shares, target)
    assert 1 <= chosen.sum() < len(shares)
    assert np.array_equal(chosen, choose_validation(shares, target))


def test_those_that_share_ground_are_one_group_and_neighbours_are_not() -> None:
    boxes = [(0, 0, 1, 1), (1, 0, 2, 1), (1.5, 0, 3, 1), (2.5, 0, 4, 1), (9, 9, 10, 10)]
    found = group_overlapping(np.array([shapely.box(*box) for box in boxes], object))
    assert found[1] == found[2] == found[3]
    assert len({found[0], found[1], found[4]}) == 3


# --- legend -------------------------------------------------------------------------------------


def test_every_class_gets_a_colour_of_its_own_and_dota_s_classes_keep_theirs() -> None:
    names = np.array([f"class {n}" for n in range(60)] + ["plane", "background"], object)
    legend = derive_legend([NamedAnnotations(np.empty(62, object), names, np.zeros(62, bool))])
    assert len(legend) == 62
    assert len({c.colour for c in legend}) == 62
    assert legend[legend.id_of("plane")].colour == DOTA_V1[1].colour


@pytest.mark.parametrize("name", ["shipped", "m.safetensors"])
def test_the_legend_can_be_that_of_a_model(tmp_path: Path, name: str) -> None:
    table = polygons()
    table["what"] = "plane"
    table.to_file(tmp_path / "drawn.gpkg")
    model_file(tmp_path / "m.safetensors")
    folder = prepare_scenes(
        [scene(tmp_path / "s.tif")],
        tmp_path / "dataset",
        annotations=tmp_path / "drawn.gpkg",
        class_column="what",
        val_share=0,
        legend=name if name == "shipped" else str(tmp_path / name),
    )
    assert Dataset.open(folder).legend == (DOTA_V1 if name == "shipped" else LEGEND)


# --- mistakes -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "more", "kind", "why"),
    [
        ({}, {"class_column": "klasse"}, AnnotationError, "no column 'klasse'.*what"),
        ({"what": None}, {}, AnnotationError, "40 polygons have no class"),
        ({"far": True}, {}, AnnotationError, "none of its 40 polygons lies on a scene"),
        ({"points": True}, {}, AnnotationError, "no polygons"),
        ({}, {"legend": "dota-v1.0"}, AnnotationError, "unknown class '(pond|shed)'"),
        ({}, {"format": "kml?"}, ConfigError, "'kml\\?': unknown format. Use one of: .*vector"),
        ({}, {"block": 1000}, DatasetError, "too small"),
        ({"what": "background"}, {}, AnnotationError, "column of the classes"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(
    tmp_path: Path,
    change: dict[str, object],
    more: dict[str, object],
    kind: type[GeosegError],
    why: str,
) -> None:
    table = polygons()
    if "far" in change:
        table.geometry = table.translate(1e5)
    elif "points" in change:
        table.geometry = table.centroid
    elif change:
        table["what"] = change["what"]
    table.to_file(tmp_path / "drawn.gpkg")
    settings = {"class_column": "what", "block": 100} | more
    with pytest.raises(kind, match=why) as caught:
        prepare_scenes(
            [scene(tmp_path / "s.tif")],
            tmp_path / "dataset",
            annotations=tmp_path / "drawn.gpkg",
            **settings,
        )
    assert "\n" not in str(caught.value)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["drawn.gpkg", "s.tif"]


def test_a_file_that_only_points_elsewhere_is_not_followed(tmp_path: Path) -> None:
    polygons().to_file(tmp_path / "secret.gpkg")
    lure = tmp_path / "drawn.gpkg"
    lure.write_text(
        f"<OGRVRTDataSource><OGRVRTLayer name='secret'><SrcDataSource>{tmp_path / 'secret.gpkg'}"
        "</SrcDataSource></OGRVRTLayer></OGRVRTDataSource>"
    )
    with pytest.raises(AnnotationError, match="not a GeoPackage"):
        prepare_scenes(
            [scene(tmp_path / "s.tif")], tmp_path / "d", annotations=lure, class_column="what"
        )


def test_one_of_several_layers_is_asked_for(tmp_path: Path) -> None:
    for layer in ("roofs", "ponds"):
        polygons().to_file(tmp_path / "drawn.gpkg", layer=layer)
    settings = {"annotations": tmp_path / "drawn.gpkg", "class_column": "what"}
    source = scene(tmp_path / "s.tif")
    with pytest.raises(
        AnnotationError, match=r"Choose one by --layer: (roofs, ponds|ponds, roofs)"
    ):
        prepare_scenes([source], tmp_path / "dataset", **settings)
    with pytest.raises(AnnotationError, match=r"no layer 'lakes' with geometries\. Name one"):
        prepare_scenes([source], tmp_path / "dataset", layer="lakes", **settings)
    prepare_scenes([source], tmp_path / "dataset", layer="ponds", **settings)


def test_two_scenes_without_georeference_are_refused(tmp_path: Path) -> None:
    scenes = [write_scene(tmp_path / f"{n}.tif", picture(64, 64)) for n in "ab"]
    polygons().to_file(tmp_path / "drawn.gpkg")
    with pytest.raises(SceneError, match="no georeference"):
        prepare_scenes(scenes, tmp_path / "d", annotations=tmp_path / "drawn.gpkg")


# --- other formats, and the command -------------------------------------------------------------


def read_all_as_ponds(
    path: Path, images: Sequence[SceneInfo], options: ReaderOptions, report: ValidationReport, /
) -> list[NamedAnnotations]:
    """A reader of another package: one pond in every scene."""
    pond = np.array([shapely.box(1, 2, 30, 40)], object)
    return [NamedAnnotations(pond, np.array(["pond"], object), np.zeros(1, bool)) for _ in images]


def test_another_package_can_bring_a_format(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    point = EntryPoint("ponds", f"{__name__}:read_all_as_ponds", "geoseg.annotations")
    monkeypatch.setattr(EntryPoint, "load", lambda _: read_all_as_ponds)
    monkeypatch.setattr(readers, "entry_points", lambda **_: [point])
    folder = prepare_scenes(
        [scene(tmp_path / "s.tif")],
        tmp_path / "dataset",
        annotations=tmp_path / "any.ponds",
        format="ponds",
        val_share=0,
    )
    assert Dataset.open(folder).layers["outlines"].pixels["pond"] == 29 * 38


def test_the_command_makes_it_and_refuses_options_of_the_other_way(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    polygons().to_file(tmp_path / "drawn.gpkg")
    source, out = scene(tmp_path / "meine Szene.tif"), tmp_path / "out"
    command = ["prepare", str(source), "--class-column", "what", "-o", str(out)]
    drawn = ["--annotations", str(tmp_path / "drawn.gpkg")]
    assert boundary.run(geoseg, [*command, *drawn, "--splits", "train"]) == 2
    assert boundary.run(geoseg, command) == 2
    assert "--annotations" in capsys.readouterr().err
    assert boundary.run(geoseg, [*command, *drawn, "--block", "100"]) == 0
    assert capsys.readouterr().out == f"{out}\n"
    assert {s.name for s in Dataset.open(out).scenes} == {
        f"meine Szene-{n:02d}" for n in range(1, 13)
    }


def test_an_assumed_pixel_size_is_recorded_and_places_scenes_in_metres(tmp_path: Path) -> None:
    picture_file = write_scene(tmp_path / "plain.png", picture(90, 120), driver="PNG")
    outline = shapely.box(10, -40, 30, -20)
    drawn = gpd.GeoDataFrame({"class": ["shed"]}, geometry=[outline])
    drawn.to_file(tmp_path / "drawn.gpkg")
    given = {"annotations": tmp_path / "drawn.gpkg", "block": 64, "pixel_size_m": 0.25}
    dataset = Dataset.open(prepare_scenes([picture_file], tmp_path / "dataset", **given))
    assert {part.pixel_size_m for part in dataset.scenes} == {0.25}
    assert all(part.transform[0] == 0.25 == -part.transform[4] for part in dataset.scenes)


@pytest.mark.parametrize("column", ["kind", "geometry", "number"])
def test_a_wrong_class_column_is_an_error_with_the_columns_that_exist(
    tmp_path: Path, column: str
) -> None:
    drawn = polygons(count=300).assign(number=np.arange(300) / 7)
    drawn.to_file(tmp_path / "drawn.gpkg")
    given = {"annotations": tmp_path / "drawn.gpkg", "class_column": column}
    with pytest.raises(AnnotationError, match=r"by --class-column: what, number$"):
        prepare_scenes([scene(tmp_path / "scene.tif")], tmp_path / "dataset", **given)
