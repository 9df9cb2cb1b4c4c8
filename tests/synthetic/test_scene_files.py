"""Files of the demo."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely

from geoseg.annotations.dota import read_dota
from geoseg.errors import OutputError
from geoseg.legend import DOTA_V1
from geoseg.synthetic.scenes import (
    EPSG,
    PIXEL_SIZE,
    SIDE,
    SUBURB,
    Label,
    SyntheticScene,
    plan_scenes,
    scene_origin,
    write_labels,
    write_outlines,
    write_scene,
)
from geoseg.tools.demo import MARK, create_folder


@pytest.fixture
def demo_folder(tmp_path: Path) -> Path:
    for kind in ("images", "labelTxt"):
        (tmp_path / "train" / kind).mkdir(parents=True)
    write_scene(
        SyntheticScene("small", "train", SUBURB, 300, 1, 6), tmp_path, tmp_path / "unseen.tif"
    )
    return tmp_path


def test_a_scene_is_a_tiled_geotiff_at_its_own_place(demo_folder: Path) -> None:
    with rasterio.open(demo_folder / "train" / "images" / "small.tif") as scene:
        assert (scene.width, scene.height, scene.count, scene.dtypes[0]) == (300, 300, 3, "uint8")
        assert scene.crs.to_epsg() == EPSG
        assert scene.res == (PIXEL_SIZE, PIXEL_SIZE)
        assert (scene.bounds.left, scene.bounds.top) == scene_origin(6)
        assert scene.profile["tiled"]


def test_the_same_seed_writes_the_same_bytes(demo_folder: Path, tmp_path: Path) -> None:
    image = demo_folder / "train" / "images" / "small.tif"
    text = demo_folder / "train" / "labelTxt" / "small.txt"
    first = image.read_bytes(), text.read_bytes()
    write_scene(
        SyntheticScene("small", "train", SUBURB, 300, 1, 6), tmp_path, tmp_path / "unseen.tif"
    )
    assert (image.read_bytes(), text.read_bytes()) == first


def test_scenes_do_not_overlap() -> None:
    places = [
        shapely.box(x, y - plan.size * PIXEL_SIZE, x + plan.size * PIXEL_SIZE, y)
        for plan in plan_scenes(0)
        for x, y in [scene_origin(plan.number)]
    ]
    assert len(shapely.STRtree(places).query(places, predicate="intersects")[0]) == len(places)


def test_the_unseen_scene_is_large_and_has_no_labels() -> None:
    unseen = plan_scenes(0)[-1]
    assert unseen.size == 4096
    assert unseen.split is None


def test_labels_round_trip_through_their_text(tmp_path: Path) -> None:
    quad = np.array([[1.0, 2.0], [11.0, 2.0], [11.0, 7.5], [1.0, 7.5]])
    shape = shapely.Polygon(quad)
    file = tmp_path / "a.txt"
    write_labels(file, [Label(quad, shape, "plane", False), Label(quad + 20, shape, "ship", True)])
    back = read_dota(file, DOTA_V1)
    assert back.gsd == PIXEL_SIZE
    assert [DOTA_V1.names[i] for i in back.annotations.class_id] == ["plane", "ship"]
    assert list(back.annotations.difficult) == [False, True]
    assert shapely.equals(back.annotations.geometry[0], shape)


def test_outlines_are_geoparquet_in_pixels(tmp_path: Path) -> None:
    quad = np.array([[1.0, 2.0], [11.0, 2.0], [11.0, 7.5], [1.0, 7.5]])
    label = Label(quad, shapely.Polygon(quad), "plane", True)
    write_outlines(tmp_path / "o.parquet", {"one": [label], "two": []})
    table = gpd.read_parquet(tmp_path / "o.parquet")
    assert list(table.columns) == ["image", "category", "difficult", "geometry"]
    assert table.crs is None
    assert table.total_bounds.tolist() == [1, 2, 11, 7.5]


def test_another_folder_is_refused_even_with_overwrite(tmp_path: Path) -> None:
    (tmp_path / "dota").mkdir()
    (tmp_path / "dota" / "precious.txt").touch()
    for overwrite in (False, True):
        with pytest.raises(OutputError, match="not empty"):
            create_folder(tmp_path, 0, overwrite=overwrite)
    assert (tmp_path / "dota" / "precious.txt").exists()


def test_an_earlier_demo_is_replaced_only_with_overwrite(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "demo"
    create_folder(folder, 0, overwrite=False)
    (folder / "dota").mkdir()
    (folder / "notes.txt").touch()
    with pytest.raises(OutputError, match="--overwrite"):
        create_folder(folder, 0, overwrite=False)
    create_folder(folder, 1, overwrite=True)
    assert sorted(p.name for p in folder.iterdir()) == [MARK, "notes.txt"]


def test_a_file_instead_of_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="not a folder"):
        create_folder(tmp_path / "file", 0, overwrite=True)
    with pytest.raises(OutputError, match="cannot be created"):
        create_folder(tmp_path / "file" / "demo", 0, overwrite=False)


def test_every_training_scene_has_the_same_size() -> None:
    assert {plan.size for plan in plan_scenes(3) if plan.split} == {SIDE}
