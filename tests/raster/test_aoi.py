"""A region is where its coordinates lie, in any coordinate system, on any scene."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely
from affine import Affine
from rasterio.crs import CRS
from rasterio.features import geometry_mask
from rasterio.windows import Window

from geoseg.errors import AnnotationError, ConfigError
from geoseg.raster.aoi import aoi_from_bbox, intersect_aois, read_aoi

UTM = CRS.from_epsg(32633)
TRANSFORM = Affine(0.5, 0, 500_000, 0, -0.5, 5_500_000)
TURNED = Affine(0.4, 0.3, 500_000, 0.3, -0.4, 5_500_000)
WHOLE = Window(0, 0, 80, 60)


def file(path: Path, geometry: object, epsg: int | None) -> Path:
    table = gpd.GeoDataFrame({"name": ["here"]}, geometry=[geometry], crs=epsg)
    if path.suffix == ".parquet":
        table.to_parquet(path)
    else:
        table.to_file(path)
    return path


@pytest.mark.parametrize("transform", [TRANSFORM, TURNED])
@pytest.mark.parametrize("name", ["aoi.gpkg", "aoi.geojson", "aoi.fgb", "aoi.shp", "aoi.parquet"])
def test_a_file_of_another_coordinate_system_covers_the_same_pixels(
    tmp_path: Path, transform: Affine, name: str
) -> None:
    x, y = transform @ (40, 30)
    disc = shapely.Point(x, y).buffer(9)
    degrees = gpd.GeoSeries([disc], crs=UTM.to_wkt()).to_crs(4326).iloc[0]
    area = read_aoi(file(tmp_path / name, degrees, 4326), UTM, transform, (80, 60))
    expected = geometry_mask([disc], (60, 80), transform, invert=True)
    found = area.rasterize(WHOLE)
    assert found.any()
    assert (found != expected).sum() <= 2  # centres that lie on the edge but for a rounding
    part = Window(33, 20, 21, 17)
    assert np.array_equal(area.rasterize(part), found[part.toslices()])
    assert area.intersects(part)
    assert not area.intersects(Window(0, 0, 5, 5))
    assert not area.rasterize(Window(0, 0, 5, 5)).any()


def test_a_box_is_in_the_scenes_coordinates() -> None:
    area = aoi_from_bbox((500_005, 5_499_980, 500_015, 5_499_995), TRANSFORM)
    inside = area.rasterize(WHOLE)
    assert np.argwhere(inside).min(axis=0).tolist() == [10, 10]
    assert np.argwhere(inside).max(axis=0).tolist() == [39, 29]
    assert inside.sum() == 30 * 20


def test_a_scene_without_georeference_lies_where_qgis_shows_it() -> None:
    area = aoi_from_bbox((10, -30, 20, -5), Affine.identity())
    assert np.argwhere(area.rasterize(WHOLE)).min(axis=0).tolist() == [5, 10]


def test_two_regions_give_what_they_share() -> None:
    one = aoi_from_bbox((500_000, 5_499_980, 500_015, 5_500_000), TRANSFORM)
    other = aoi_from_bbox((500_010, 5_499_970, 500_040, 5_499_990), TRANSFORM)
    both = intersect_aois([one, other]).rasterize(WHOLE)
    assert np.array_equal(both, one.rasterize(WHOLE) & other.rasterize(WHOLE))


def test_mistakes_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="west,south,east,north"):
        aoi_from_bbox((3, 0, 1, 2), TRANSFORM)
    points = file(tmp_path / "points.gpkg", shapely.Point(0, 0), 4326)
    with pytest.raises(AnnotationError, match="no polygon"):
        read_aoi(points, UTM, TRANSFORM, (80, 60))
    bare = file(tmp_path / "bare.gpkg", shapely.box(0, 0, 1, 1), None)
    with pytest.raises(AnnotationError, match="coordinate reference system"):
        read_aoi(bare, UTM, TRANSFORM, (80, 60))


@pytest.mark.parametrize("name", ["aoi.gpkg", "aoi.geojson", "aoi.vrt"])
def test_a_file_that_points_elsewhere_is_not_opened(tmp_path: Path, name: str) -> None:
    target = file(tmp_path / "target.gpkg", shapely.box(0, 0, 1, 1), 4326)
    disguised = tmp_path / "in" / name
    disguised.parent.mkdir()
    disguised.write_text(
        f'<OGRVRTDataSource><OGRVRTLayer name="target"><SrcDataSource>{target}</SrcDataSource>'
        "</OGRVRTLayer></OGRVRTDataSource>"
    )
    with pytest.raises(AnnotationError, match="not a GeoPackage"):
        read_aoi(disguised, UTM, TRANSFORM, (80, 60))


def test_the_whole_world_covers_a_scene(tmp_path: Path) -> None:
    world = file(tmp_path / "world.geojson", shapely.box(-180, -90, 180, 90), 4326)
    assert read_aoi(world, UTM, TRANSFORM, (80, 60)).rasterize(WHOLE).all()


def test_all_layers_count(tmp_path: Path) -> None:
    path = tmp_path / "two.gpkg"
    for name, left in (("one", 500_000), ("other", 500_020)):
        frame = gpd.GeoDataFrame(
            geometry=[shapely.box(left, 5_499_980, left + 10, 5_499_990)], crs=32633
        )
        frame.to_file(path, layer=name)
    inside = read_aoi(path, UTM, TRANSFORM, (80, 60)).rasterize(WHOLE)
    assert inside.sum() == 2 * 20 * 20


def test_an_area_elsewhere_is_empty(tmp_path: Path) -> None:
    elsewhere = file(tmp_path / "elsewhere.gpkg", shapely.box(4, 51, 5, 52), 4326)
    assert read_aoi(elsewhere, UTM, TRANSFORM, (80, 60)).geometry.is_empty


def test_coordinates_on_a_scene_without_any_are_refused(tmp_path: Path) -> None:
    here = file(tmp_path / "here.gpkg", shapely.box(0, 0, 1, 1), 4326)
    with pytest.raises(AnnotationError, match="the scene has none"):
        read_aoi(here, None, Affine.identity(), (80, 60))
