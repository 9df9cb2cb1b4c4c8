"""Reading of dataset folders."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from geoseg.dataset.folder import Dataset
from geoseg.errors import AnnotationError, DatasetError
from geoseg.legend import DOTA_V1
from tests.calls import prepare
from tests.dota_folder import PLANE, SHIP, Thing, add, annotated


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    add(tmp_path / "dota" / "train", "a", [SHIP, PLANE])
    add(tmp_path / "dota" / "train", "b", [], gsd=0.3)
    add(tmp_path / "dota" / "val", "c", [PLANE], gsd=0.1)
    return prepare(tmp_path / "dota", tmp_path / "dataset")


def test_a_dataset_describes_its_contents(folder: Path) -> None:
    dataset = Dataset.open(folder)
    assert dataset.legend == DOTA_V1
    assert (dataset.bands, dataset.dtype, dataset.crs) == (3, "uint8", None)
    assert [scene.name for scene in dataset.scenes] == ["a", "b", "c"]
    assert dataset.splits == ("train", "val")
    assert [scene.name for scene in dataset.split("train")] == ["a", "b"]
    assert dataset.path(dataset.scenes[0]) == folder / "scenes" / "a.tif"
    assert dataset.default_layer == "quads"
    assert dataset.layers["quads"].objects["plane"] == 2
    assert dataset.layers["quads"].splits["val"].objects["plane"] == 1


def test_annotations_come_back_in_pixels_of_their_scene(folder: Path) -> None:
    found = Dataset.open(folder).annotations()
    assert list(found) == ["a", "b", "c"]
    for name, things in {"a": [SHIP, PLANE], "b": [], "c": [PLANE]}.items():
        truth = annotated(things)
        assert shapely.equals_exact(found[name].geometry, truth.geometry, 0).all()
        assert np.array_equal(found[name].class_id, truth.class_id)
        assert np.array_equal(found[name].difficult, truth.difficult)


@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    scenes=st.lists(
        st.tuples(
            st.none() | st.floats(0.03, 20),
            st.lists(
                st.tuples(st.floats(-40, 90), st.floats(-40, 70), st.floats(12, 300)), max_size=4
            ),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_whatever_the_scale_coordinates_come_back_to_a_millionth_of_a_pixel(
    tmp_path_factory: pytest.TempPathFactory,
    scenes: list[tuple[float | None, list[tuple[float, float, float]]]],
) -> None:
    tmp_path = tmp_path_factory.mktemp("dataset")
    truth = {}
    for n, (gsd, boxes) in enumerate(scenes):
        squares = [
            Thing((x, y, x + side, y, x + side, y + side, x, y + side)) for x, y, side in boxes
        ]
        things = [s for s in squares if s.corners[2] > 0 and s.corners[5] > 0]
        add(tmp_path / "dota", f"P{n}", things, gsd=gsd)
        truth[f"P{n}"] = annotated(things)
    found = Dataset.open(prepare(tmp_path / "dota", tmp_path / "out")).annotations()
    for name, objects in truth.items():
        assert shapely.equals_exact(found[name].geometry, objects.geometry, 1.1e-6).all()


def renamed(folder: Path, **change: str) -> None:
    path = folder / "dataset.json"
    told = json.loads(path.read_text())
    told["scenes"][0] |= change
    path.write_text(json.dumps(told))


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda f: (f / "dataset.json").unlink(), "not a dataset, no dataset.json"),
        (lambda f: (f / "dataset.json").write_text("{"), "damaged"),
        (lambda f: (f / "dataset.json").write_text("[]"), "damaged"),
        (lambda f: (f / "dataset.json").write_text('{"format": "x"}'), "format is 'x'"),
        (lambda f: renamed(f, name="../../b"), r"damaged .*'\.\./\.\./b' is not a name"),
        (lambda f: renamed(f, file="../a.tif"), r"damaged .*'\.\.' is not a name"),
        (lambda f: renamed(f, file="/a.tif"), "damaged .*'' is not a name"),
        (lambda f: renamed(f, split="/tmp"), "damaged .*'/tmp' is not a name"),
        (lambda f: renamed(f, split=""), "damaged .*'' is not a name"),
        (lambda f: (f / "scenes" / "b.tif").unlink(), r"b\.tif: missing"),
        (lambda f: (f / "annotations.gpkg").unlink(), r"annotations\.gpkg: missing"),
    ],
)
def test_an_incomplete_dataset_is_not_opened(folder: Path, spoil: object, says: str) -> None:
    assert callable(spoil)
    spoil(folder)
    with pytest.raises(DatasetError, match=says):
        Dataset.open(folder)


def test_a_missing_folder_is_no_dataset(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no dataset"):
        Dataset.open(tmp_path / "none")


def test_errors_for_unknown_splits_and_layers_list_the_known_ones(folder: Path) -> None:
    dataset = Dataset.open(folder)
    with pytest.raises(DatasetError, match=r"no split 'test'\. Use train, val"):
        dataset.split("test")
    with pytest.raises(DatasetError, match=r"no layer 'outlines'\. Use quads"):
        dataset.annotations("outlines")


def redrawn(folder: Path, **changes: object) -> Dataset:
    """Return the dataset with a change of its first feature, as made in a GIS."""
    path = folder / "annotations.gpkg"
    table = gpd.read_file(path, layer="quads")
    for column, value in changes.items():
        table[column] = table[column].astype(object)
        table.loc[0, column] = value
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "'crs' was not provided")
        table.to_file(path, layer="quads")
    return Dataset.open(folder)


def test_a_feature_changed_in_a_gis_counts_by_the_name_of_its_class(folder: Path) -> None:
    dataset = redrawn(folder, **{"class": "harbor", "difficult": None})
    first = dataset.annotations()["a"][:1]
    assert first.class_id.tolist() == [DOTA_V1.id_of("harbor")]
    assert first.difficult.tolist() == [False]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"class": "boat"}, "unknown class 'boat'"),
        ({"scene": "z"}, "unknown scene 'z'"),
        ({"scene": None}, "unknown scene 'None'"),
    ],
)
def test_a_feature_that_fits_nothing_is_an_error(
    folder: Path, changes: dict[str, object], says: str
) -> None:
    with pytest.raises(AnnotationError, match=says):
        redrawn(folder, **changes).annotations()


def test_a_geopackage_that_cannot_be_read_is_an_error(folder: Path) -> None:
    (folder / "annotations.gpkg").write_bytes(b"no")
    with pytest.raises(AnnotationError, match="layer quads cannot be read"):
        Dataset.open(folder).annotations()


def test_dataset_json_is_as_documented(folder: Path) -> None:
    data = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    assert data["format"] == "geoseg dataset 1"
    background = {"id": 0, "name": "background", "colour": "#000000", "countable": False}
    assert data["legend"][0] == background
    assert data["scenes"][2]["file"] == "scenes/c.tif"
    assert data["scenes"][2]["pixel_size_m"] == 0.1
    assert data["layers"]["quads"]["objects"]["ship"] == 1
    assert set(data["layers"]["quads"]["splits"]) == {"train", "val"}


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_annotations_are_the_same_however_many_are_read_at_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    dataset = Dataset.open(folder)
    whole = dataset.annotations()
    monkeypatch.setattr("geoseg.dataset.folder._BATCH", batch)
    some = dataset.annotations(scenes=dataset.split("train"))
    assert some.keys() == {"a", "b"}
    for name, objects in [*dataset.annotations().items(), *some.items()]:
        assert (objects.geometry == whole[name].geometry).all()
        assert (objects.class_id == whole[name].class_id).all()
        assert (objects.difficult == whole[name].difficult).all()


def test_a_dataset_of_an_earlier_version_is_rgb_without_statistics(folder: Path) -> None:
    path = folder / "dataset.json"
    data = json.loads(path.read_text(encoding="utf-8"))
    del data["band_names"], data["statistics"]
    path.write_text(json.dumps(data), encoding="utf-8")
    dataset = Dataset.open(folder)
    assert dataset.band_names == ("red", "green", "blue")
    assert dataset.statistics == ()


@pytest.mark.parametrize("key", ["band_names", "statistics"])
def test_descriptions_of_another_number_of_bands_are_an_error(folder: Path, key: str) -> None:
    path = folder / "dataset.json"
    data = json.loads(path.read_text(encoding="utf-8"))
    values = dict.fromkeys(("minimum", "p2", "p98", "maximum", "mean", "std"), 0.0)
    data[key] = ["red", "green"] if key == "band_names" else [values] * 2
    path.write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(DatasetError, match="damaged"):
        Dataset.open(folder)
