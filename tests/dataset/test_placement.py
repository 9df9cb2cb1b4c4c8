"""Positions of the scenes of a dataset."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import pytest
import rasterio
import shapely
from affine import Affine
from rasterio.windows import Window

from geoseg.annotations.burn import transform_geometry
from geoseg.dataset.folder import Dataset, DatasetScene
from geoseg.dataset.split import compute_footprint
from tests.calls import prepare, prepare_scenes
from tests.dataset.issues import count_issues
from tests.dota_folder import SHIP, add, annotated

SITE = Affine(0.5, 0, 100, 0, -0.5, 900)
"""Transform in the local coordinate system of a site."""


def footprint(scene: DatasetScene) -> shapely.Geometry:
    return compute_footprint(Affine(*scene.transform), Window(0, 0, scene.width, scene.height))


def write_world_file(image: Path, transform: Affine) -> None:
    a, b, c, d, e, f = transform[:6]
    centre = (
        c + (a + b) / 2,
        f + (d + e) / 2,
    )  # world files refer to the centre of the first pixel
    lines = "\n".join(map(str, (a, d, b, e, *centre)))
    image.with_suffix(".pgw").write_text(lines, encoding="ascii")


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Two adjacent images with world files, and no CRS."""
    for number, name in enumerate(("a", "b")):
        image = add(tmp_path / "site", name, [SHIP])
        write_world_file(image, SITE @ Affine.translation(100 * number, 0))
    return tmp_path / "site"


def test_a_geotransform_without_a_crs_is_kept(site: Path, tmp_path: Path) -> None:
    dataset = Dataset.open(prepare(site, tmp_path / "out"))
    assert dataset.crs is None
    assert dataset.local_coordinates
    for number, scene in enumerate(dataset.scenes):
        expected = SITE @ Affine.translation(100 * number, 0)
        assert Affine(*scene.transform) == expected
        with rasterio.open(dataset.path(scene)) as image:
            assert image.transform == expected
    ships = gpd.read_file(tmp_path / "out" / "annotations.gpkg", layer="quads")
    (local,) = transform_geometry(annotated([SHIP]).geometry, SITE)
    assert ships.geometry[0].normalize().equals_exact(local.normalize(), 1e-9)


def test_a_dataset_in_local_coordinates_keeps_them_as_a_source(site: Path, tmp_path: Path) -> None:
    first = Dataset.open(prepare(site, tmp_path / "first"))
    second = Dataset.open(prepare(tmp_path / "first", tmp_path / "second"))
    assert second.local_coordinates
    assert [s.transform for s in second.scenes] == [s.transform for s in first.scenes]


def test_vector_annotations_in_local_coordinates_keep_them(site: Path, tmp_path: Path) -> None:
    (local,) = transform_geometry(annotated([SHIP]).geometry, SITE)
    frame = gpd.GeoDataFrame({"class": ["ship"]}, geometry=[local])
    frame.to_file(tmp_path / "ships.gpkg")
    out = prepare_scenes(
        site / "images", tmp_path / "out", annotations=tmp_path / "ships.gpkg", block=10_000
    )
    (scene, _) = Dataset.open(out).scenes
    assert Affine(*scene.transform) == SITE


def test_scenes_without_any_georeference_lie_beside_those_with_a_geotransform(
    site: Path, tmp_path: Path
) -> None:
    for name in ("c", "d"):
        add(site, name, [SHIP])
    dataset = Dataset.open(prepare(site, tmp_path / "out"))
    a, b, c, d = dataset.scenes
    assert Affine(*a.transform) == SITE
    others = [footprint(c), footprint(d)]
    assert not shapely.intersects(*others)
    assert not shapely.intersects(shapely.union(footprint(a), footprint(b)), others).any()
    again = Dataset.open(prepare(tmp_path / "out", tmp_path / "again"))
    assert [s.transform for s in again.scenes] == [s.transform for s in dataset.scenes]


def test_overlaps_of_splits_in_local_coordinates_are_reported(tmp_path: Path) -> None:
    for split in ("train", "val"):
        write_world_file(add(tmp_path / "site" / split, split, [SHIP]), SITE)
    out = prepare(tmp_path / "site", tmp_path / "out")
    issues = count_issues(out, "overlapping scenes in two splits", "kept")
    assert list(issues) == ["in train, with val in val"]


def test_scenes_without_georeference_are_laid_out_as_a_dataset_and_as_a_source(
    tmp_path: Path,
) -> None:
    for name in ("a", "b"):
        add(tmp_path / "dota", name, [SHIP])
    first = Dataset.open(prepare(tmp_path / "dota", tmp_path / "first"))
    assert not first.local_coordinates
    merged = Dataset.open(prepare([tmp_path / "first", tmp_path / "dota"], tmp_path / "merged"))
    ground = [footprint(scene) for scene in merged.scenes]
    assert len(ground) == 4
    assert shapely.union_all(ground).area == sum(box.area for box in ground)
