"""Merging of several sources into one dataset."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine

from geoseg.annotations.burn import burn
from geoseg.dataset.folder import Dataset
from geoseg.errors import ConfigError, DatasetError, SceneError
from geoseg.legend import DOTA_V1, DOTA_V2
from tests.calls import prepare, prepare_scenes
from tests.dataset.issues import count_issues
from tests.dota_folder import PLANE, SHIP, Thing, add
from tests.scenes import picture, write_scene


def drawn(folder: Path, name: str, classes: list[str], *, left: float = 0) -> Path:
    """A dataset of one scene in UTM with a square of each class."""
    folder.mkdir(exist_ok=True)
    place = Affine(1, 0, 500_000 + left, 0, -1, 5_000_000)
    scene = write_scene(folder / f"{name}.tif", picture(90, 80), crs="EPSG:32631", transform=place)
    shapes = [
        shapely.box(500_000 + left + 10 * n, 4_999_950, 500_009 + left + 10 * n, 4_999_990)
        for n in range(len(classes))
    ]
    table = gpd.GeoDataFrame({"class": classes}, geometry=shapes, crs="EPSG:32631")
    table.to_file(folder / f"{name}.gpkg")
    annotations = folder / f"{name}.gpkg"
    return prepare_scenes([scene], folder / "data", annotations=annotations, val_share=0, block=999)


def outline(path: Path) -> Path:
    """A ship in scene a."""
    table = gpd.GeoDataFrame(
        {"image": ["a"], "category": "ship"}, geometry=[shapely.box(0, 0, 5, 5)]
    )
    table.to_parquet(path)
    return path


def labels(dataset: Dataset) -> dict[str, np.ndarray]:
    annotations = dataset.annotations()
    names = np.array(dataset.legend.names)
    return {s.name: names[burn(annotations[s.name], s.height, s.width)] for s in dataset.scenes}


def test_a_merged_dataset_shows_what_its_parts_show(tmp_path: Path) -> None:
    add(tmp_path / "one", "a", [SHIP, PLANE], gsd=0.5)
    add(tmp_path / "one", "b", [PLANE], gsd=0.25)
    add(tmp_path / "two" / "train", "c", [Thing(SHIP.corners, "helipad")])
    add(tmp_path / "two" / "test", "d", [SHIP], width=600)
    parts = [prepare(tmp_path / n, tmp_path / f"data-{n}") for n in ("one", "two")]
    merged = Dataset.open(prepare(parts, tmp_path / "both"))
    assert merged.legend == DOTA_V2
    assert {s.name: s.split for s in merged.scenes} == {
        s.name: s.split for part in parts for s in Dataset.open(part).scenes
    }
    expected: dict[str, np.ndarray] = {}
    for part in parts:
        dataset = Dataset.open(part)
        expected |= labels(dataset)
        for scene in dataset.scenes:
            (twin,) = (s for s in merged.scenes if s.name == scene.name)
            assert (twin.pixel_size_m, twin.image_source) == (
                scene.pixel_size_m,
                scene.image_source,
            )
            with rasterio.open(dataset.path(scene)) as one, rasterio.open(merged.path(twin)) as two:
                np.testing.assert_array_equal(one.read(), two.read())
    found_labels = labels(merged)
    assert found_labels.keys() == expected.keys()
    for name, truth in expected.items():
        np.testing.assert_array_equal(found_labels[name], truth)
    # and folders of DOTA can be given together too, or with a dataset
    at_once = prepare([tmp_path / "one", tmp_path / "two"], tmp_path / "at-once")
    assert labels(Dataset.open(at_once)).keys() == expected.keys()
    mixed = Dataset.open(prepare([parts[0], tmp_path / "two"], tmp_path / "mixed"))
    for name, truth in labels(mixed).items():
        np.testing.assert_array_equal(truth, expected[name])


def test_legends_are_united_by_name_and_every_class_has_a_colour_of_its_own(tmp_path: Path) -> None:
    parts = [
        drawn(tmp_path / "north", "n", ["shed", "pond"]),
        drawn(tmp_path / "south", "s", ["pond", "barn", "plane"], left=500),
    ]
    merged = Dataset.open(prepare(parts, tmp_path / "both"))
    assert set(merged.legend.names[1:]) == {"shed", "pond", "barn", "plane"}
    assert len({c.colour for c in merged.legend}) == 5
    assert sum(merged.layers["outlines"].objects.values()) == 5
    assert merged.crs is not None
    assert count_issues(tmp_path / "both", "class with two colours", "repaired")
    for part in parts:
        dataset = Dataset.open(part)
        for name, truth in labels(dataset).items():
            np.testing.assert_array_equal(labels(merged)[name], truth)


def test_scenes_of_one_name_get_that_of_their_dataset_before_it(tmp_path: Path) -> None:
    for name in ("one", "two"):
        add(tmp_path / name, "a", [SHIP])
    (tmp_path / "two" / "images" / "a.png").rename(tmp_path / "two" / "images" / "A.png")
    (tmp_path / "two" / "labelTxt" / "a.txt").rename(tmp_path / "two" / "labelTxt" / "A.txt")
    out = prepare([tmp_path / "one", tmp_path / "two"], tmp_path / "both")
    assert {s.name for s in Dataset.open(out).scenes} == {"one-a", "two-A"}
    assert sum(count_issues(out, "duplicate scene name", "repaired").values()) == 2
    assert sum(count_issues(out, "duplicate image", "kept").values()) == 1


def test_only_layers_that_all_have_are_kept_and_none_is_a_mistake(tmp_path: Path) -> None:
    add(tmp_path / "dota", "a", [SHIP])
    outlines = outline(tmp_path / "outlines.parquet")
    with_both = prepare(tmp_path / "dota", tmp_path / "with-both", outlines=outlines)
    add(tmp_path / "more", "b", [SHIP])
    out = prepare([with_both, tmp_path / "more"], tmp_path / "out")
    assert list(Dataset.open(out).layers) == ["quads"]
    assert count_issues(out, "layer missing in some sources", "left out") == {"outlines": 1}
    only_outlines = drawn(tmp_path / "north", "n", ["ship"])
    with pytest.raises(DatasetError, match="no annotation layer in common"):
        prepare([tmp_path / "more", only_outlines], tmp_path / "none")


def test_parts_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    add(tmp_path / "dota", "a", [SHIP])
    outlines = outline(tmp_path / "outlines.parquet")
    local = prepare(tmp_path / "dota", tmp_path / "local", outlines=outlines)
    on_map = drawn(tmp_path / "north", "n", ["ship"])
    with pytest.raises(SceneError, match="Reproject to one CRS"):
        prepare([local, on_map], tmp_path / "out")
    with pytest.raises(ConfigError, match="Leave out --outlines"):
        prepare(local, tmp_path / "out", outlines=outlines)
    with pytest.raises(DatasetError, match="no split 'test'"):
        prepare(local, tmp_path / "out", splits=["test"])
    assert not (tmp_path / "out").exists()


def test_a_dataset_prepared_again_with_other_classes_is_one_more_way_to_change_it(
    tmp_path: Path,
) -> None:
    add(tmp_path / "dota", "a", [SHIP, PLANE])
    data = prepare(tmp_path / "dota", tmp_path / "data")
    assert Dataset.open(data).legend == DOTA_V1
    classes = tmp_path / "classes.toml"
    classes.write_text('ship = "boat"\n"*" = ""\n', encoding="utf-8")
    boats = Dataset.open(prepare(data, tmp_path / "boats", classes=classes))
    assert boats.legend.names == ("background", "boat")
    assert boats.layers["quads"].objects == {"boat": 1}
