"""Annotated area of a dataset: pixels outside count neither in labels nor in scores."""

from __future__ import annotations

import json
import logging
import sqlite3
from contextlib import closing
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from rasterio.features import geometry_mask

from geoseg.annotations.burn import burn
from geoseg.dataset.folder import Dataset
from geoseg.errors import AnnotationError, ConfigError
from geoseg.legend import IGNORE
from geoseg.metrics.objects import ObjectCollector
from geoseg.training.config import AugmentSection, DataSection
from geoseg.training.sampler import Sampler
from geoseg.training.windows import SplitReader
from tests.calls import chip, prepare, prepare_scenes
from tests.scenes import picture, write_scene

UTM = Affine(0.5, 0, 500_000, 0, -0.5, 5_800_000)
WIDTH, HEIGHT = 420, 300
AREA = shapely.union(
    shapely.Polygon([(40.3, 30.2), (260.7, 50.1), (200.4, 240.9), (60.2, 200.8)]),
    shapely.box(300.2, 150.3, 380.1, 280.4),
)


def to_map(geometry: shapely.Geometry) -> shapely.Geometry:
    return shapely.transform(geometry, lambda xy: xy * (UTM.a, UTM.e) + (UTM.c, UTM.f))


@pytest.fixture
def drawn(tmp_path: Path) -> Path:
    """A scene, squares of two classes all over it, and an annotated area in another CRS."""
    write_scene(tmp_path / "s.tif", picture(HEIGHT, WIDTH), crs="EPSG:32631", transform=UTM)
    corners = [(x, y) for x in range(5, WIDTH - 12, 24) for y in range(5, HEIGHT - 12, 24)]
    squares = gpd.GeoDataFrame(
        {"class": ["roof" if n % 3 else "shed" for n in range(len(corners))]},
        geometry=[to_map(shapely.box(x, y, x + 10, y + 10)) for x, y in corners],
        crs="EPSG:32631",
    )
    squares.to_file(tmp_path / "squares.gpkg")
    area = gpd.GeoDataFrame(geometry=[to_map(part) for part in AREA.geoms], crs="EPSG:32631")
    area.to_crs("EPSG:4326").to_file(tmp_path / "area.gpkg")
    return tmp_path


def prepared(drawn: Path, **options: object) -> Dataset:
    output = prepare_scenes(
        drawn / "s.tif",
        drawn / "dataset",
        annotations=drawn / "squares.gpkg",
        annotated_area=drawn / "area.gpkg",
        **options,
    )
    return Dataset.open(output)


def stitch(dataset: Dataset) -> np.ndarray:
    labels = np.full((HEIGHT, WIDTH), IGNORE, np.uint8)
    annotations = dataset.annotations()
    for scene in dataset.scenes:
        left, top = scene.corner
        part = burn(annotations[scene.name], scene.height, scene.width)
        labels[top : top + scene.height, left : left + scene.width] = part
    return labels


def expected_labels(drawn: Path, dataset: Dataset) -> np.ndarray:
    table = gpd.read_file(drawn / "squares.gpkg")
    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
    for name, geometry in zip(table["class"], table.geometry, strict=True):
        mask = geometry_mask([geometry], labels.shape, UTM, invert=True)
        labels[mask] = dataset.legend.id_of(name)
    labels[geometry_mask([to_map(AREA)], labels.shape, UTM)] = IGNORE
    return labels


@pytest.mark.parametrize("block", [None, 50, 1000])
def test_labels_are_those_of_the_scene_inside_of_the_area_and_ignored_outside(
    drawn: Path, block: int | None
) -> None:
    dataset = prepared(drawn, block=block, val_share=0.3 if block != 1000 else 0)
    labels, expected = stitch(dataset), expected_labels(drawn, dataset)
    assert (labels != expected).sum() <= 3  # reprojection may move a pixel centre across an edge
    counts = dataset.layers["outlines"].pixels
    for c in dataset.legend:
        assert counts[c.name] == (labels == c.id).sum()
    assert dataset.annotated_area
    assert json.loads((dataset.folder / "dataset.json").read_text())["annotated_area"] is True
    stored = gpd.read_file(dataset.folder / "annotations.gpkg", layer="annotated_area")
    assert set(stored.columns) == {"scene", "geometry"}
    assert set(stored["scene"]) == {scene.name for scene in dataset.scenes}
    assert stored.area.sum() == pytest.approx(AREA.area * 0.25, rel=1e-3)


def test_objects_outside_of_the_area_are_left_out_and_reported(drawn: Path) -> None:
    dataset = prepared(drawn, block=1000, val_share=0)
    table = gpd.read_file(drawn / "squares.gpkg")
    area = to_map(AREA)
    outside, across = table.disjoint(area).sum(), table.crosses(area).sum()
    across = (table.intersects(area) & ~table.within(area)).sum()
    findings = json.loads((dataset.folder / "report.json").read_text())["findings"]
    count = {finding["kind"]: finding["count"] for finding in findings}
    assert count["object outside the annotated area"] == outside > 0
    assert count["object cut by the border of the annotated area"] == across > 0
    assert sum(dataset.layers["outlines"].objects.values()) == len(table) - outside


def test_no_training_window_is_ignored_wholly(drawn: Path) -> None:
    dataset = prepared(drawn, block=50)
    reader = SplitReader(dataset, "train", layer=None, difficult="keep")
    sampler = Sampler(
        reader, seed=0, data=DataSection(window=32, balanced=0.5), augment=AugmentSection()
    )
    outside = 0
    for n in range(60):
        sample = sampler(n)
        assert (sample.labels != IGNORE).any()
        outside += (sample.labels == IGNORE).any()
    assert outside


def test_training_learns_no_label_of_another_split(drawn: Path) -> None:
    dataset = prepared(drawn, block=50, val_share=0.4)
    val = np.zeros((HEIGHT, WIDTH), bool)
    for scene in dataset.split("val"):
        left, top = scene.corner
        val[top : top + scene.height, left : left + scene.width] = True
    reader = SplitReader(dataset, "train", layer=None, difficult="keep")
    (extent,) = reader.scenes
    sampler = Sampler(
        reader, seed=0, data=DataSection(window=64), augment=AugmentSection(scale=(1, 1))
    )
    seen = 0
    for n in range(20):
        view, sample = sampler.view(n), sampler(n)
        rows, columns = np.nonzero(sample.labels != IGNORE)
        x, y = ~view.transform @ (columns + 0.5, rows + 0.5)
        x, y = (
            np.floor(x).astype(int) + extent.corner[0],
            np.floor(y).astype(int) + extent.corner[1],
        )
        assert (
            val[y, x].mean() < 0.01
        )  # a pixel of a rotated window may be nearest to one across the border
        seen += len(x)
    assert seen


def test_the_area_remains_in_a_dataset_of_datasets(drawn: Path) -> None:
    first = prepared(drawn, block=50)
    again = Dataset.open(prepare(first.folder, drawn / "again"))
    assert again.annotated_area
    assert [scene.window for scene in again.scenes] == [scene.window for scene in first.scenes]
    assert again.layers == first.layers
    assert np.array_equal(stitch(again), stitch(first))


def test_predictions_outside_of_the_area_do_not_count(drawn: Path) -> None:
    dataset = prepared(drawn, block=1000, val_share=0)
    (annotations,) = dataset.annotations().values()
    collector = ObjectCollector(annotations, len(dataset.legend), width=WIDTH, height=HEIGHT)
    table = gpd.read_file(drawn / "squares.gpkg")
    squares = shapely.transform(
        table.geometry.to_numpy(), lambda xy: (xy - (UTM.c, UTM.f)) / (UTM.a, UTM.e)
    )
    classes = np.array([dataset.legend.id_of(name) for name in table["class"]], np.uint8)
    collector.add(squares, classes)
    objects = collector.finish()
    matched = objects.match(0.5)
    assert objects.select_predicted(matched.predicted).all()
    within = shapely.covers(AREA.buffer(0.01), squares)
    assert (~objects.uncounted).sum() == within.sum() > 0


@pytest.mark.parametrize(
    ("geometry", "message"),
    [
        (shapely.box(9, 9, 10, 10), "none of its 1 polygons lies on a scene"),
        (shapely.Point(0, 0), "no polygons"),
    ],
)
def test_an_area_that_is_empty_or_misses_the_scenes_is_an_error(
    drawn: Path, geometry: shapely.Geometry, message: str
) -> None:
    gpd.GeoDataFrame(geometry=[geometry], crs="EPSG:4326").to_file(drawn / "wrong.gpkg")
    with pytest.raises(AnnotationError, match=message):
        prepare_scenes(
            drawn / "s.tif",
            drawn / "dataset",
            annotations=drawn / "squares.gpkg",
            annotated_area=drawn / "wrong.gpkg",
        )
    assert not (drawn / "dataset").exists()


def test_large_parts_without_annotation_are_reported_once(
    drawn: Path, caplog: pytest.LogCaptureFixture
) -> None:
    table = gpd.read_file(drawn / "squares.gpkg")
    left = table[table.centroid.x < UTM.c + 60]
    left.to_file(drawn / "left.gpkg")
    for file, warned in ((drawn / "squares.gpkg", 0), (drawn / "left.gpkg", 1)):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            prepare_scenes(drawn / "s.tif", drawn / "dataset", annotations=file, overwrite=True)
        assert sum("--annotated-area" in record.message for record in caplog.records) == warned


def test_the_layer_of_the_area_has_a_style(drawn: Path) -> None:
    path = prepared(drawn, block=50).folder / "annotations.gpkg"
    with closing(sqlite3.connect(path)) as database:
        styles = dict(database.execute("SELECT f_table_name, styleQML FROM layer_styles"))
    assert set(styles) == {"outlines", "annotated_area"}
    assert "singleSymbol" in styles["annotated_area"]


def test_chips_are_ignored_outside_of_the_area(drawn: Path) -> None:
    dataset = prepared(drawn, block=1000, val_share=0)
    summary = chip(dataset.folder, drawn / "chips", size=64, overlap=0, edge="crop")
    expected = stitch(dataset)
    files = sorted((drawn / "chips").rglob("*.png"))
    labels = [path for path in files if path.parent.name == "labels"]
    assert 0 < len(labels) < 35
    assert summary.notes["chips outside the annotated area were left out"] == 35 - len(labels)
    for path in labels:
        left, top = map(int, path.stem.replace("___", "__").split("__")[-2:])
        with rasterio.open(path) as opened:
            part = expected[top : top + opened.height, left : left + opened.width]
            assert np.array_equal(opened.read(1), part)


def test_the_area_needs_annotations() -> None:
    with pytest.raises(ConfigError, match="--annotated-area: has no effect without --annotations"):
        from geoseg.cli.prepare import _refuse

        _refuse("without", annotated_area=Path("a.gpkg"))
