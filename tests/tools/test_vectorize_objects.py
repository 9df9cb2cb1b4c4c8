"""`vectorize` with separated objects: polygons, raster of IDs and rules agree with the decoder in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.features import rasterize

from geoseg.cli import boundary, geoseg
from geoseg.errors import ConfigError, OutputError, SceneError
from geoseg.legend import Legend
from geoseg.options import PolygonOptions, VectorizeOutputs
from geoseg.polygons.object_rules import (
    RULES_TAG,
    ObjectRule,
    ObjectRules,
    default_rules,
    rule_tags,
)
from geoseg.polygons.objects import decode_objects
from geoseg.raster.labels import legend_tags
from geoseg.tools.vectorize import vectorize

LEGEND = Legend.of({"ship": "#88ffee", "small-vehicle": "#d628ff", "harbor": "#c297ff"})
RULES = ObjectRules((ObjectRule(floor=30, seed=90, part=5, min_pixels=9),) * 4, reach=3)
TRANSFORM = Affine(0.5, 0, 600000, 0, -0.5, 5800000)

Bytes = NDArray[np.uint8]


def scene(height: int = 150, width: int = 130) -> tuple[Bytes, Bytes]:
    """Return labels of three classes, with holes, and the interior of cells that touch."""
    y, x = np.mgrid[:height, :width]
    waves = np.sin(x / 17) + np.sin(y / 21) + np.sin((x + y) / 33)
    labels = np.digitize(waves, [-1.0, 0.3, 1.5]).astype(np.uint8)
    labels[::37, ::23] = 0
    cells = np.minimum(np.abs((x + y // 3) % 11 - 5), np.abs(y % 14 - 7) + 2)
    interior = np.clip(40 * cells, 0, 200).astype(np.uint8)
    return labels, interior


def save(path: Path, values: NDArray[Any], **tags: str) -> Path:
    height, width = values.shape
    with rasterio.open(
        path, "w", driver="GTiff", height=height, width=width, count=1, dtype=values.dtype,
        crs="EPSG:32632", transform=TRANSFORM, blockysize=16, nodata=255,
    ) as file:  # fmt: skip
        file.write(values, 1)
        file.update_tags(**tags)
    return path


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    return save(tmp_path / "labels.tif", scene()[0], **legend_tags(LEGEND))


@pytest.fixture
def interior(tmp_path: Path) -> Path:
    return save(tmp_path / "interior.tif", scene()[1], **rule_tags(RULES, LEGEND))


def read(path: Path) -> Any:
    return pyogrio.read_dataframe(path, layer="segments").sort_values("id")


def read_ids(path: Path) -> NDArray[np.uint32]:
    with rasterio.open(path) as dataset:
        assert (dataset.dtypes[0], dataset.nodata) == ("uint32", 0)
        assert dataset.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert dataset.transform == TRANSFORM
        ids: NDArray[np.uint32] = dataset.read(1)
    return ids


def burn(polygons: Any, shape: tuple[int, int]) -> NDArray[np.uint32]:
    burned: NDArray[np.uint32] = rasterize(
        zip(polygons.geometry, polygons["id"], strict=True),
        shape,
        transform=TRANSFORM,
        dtype="uint32",
    )
    return burned


def test_polygons_and_raster_are_the_objects_of_the_rules_in_the_raster(
    labels: Path, interior: Path
) -> None:
    output, ids = labels.with_name("out.gpkg"), labels.with_name("ids.tif")
    vectorize(labels, output, interior=interior, outputs=VectorizeOutputs(objects=ids))
    expected = decode_objects(*scene(), RULES, LEGEND.countable, across_classes=True)
    assert len(expected.class_id) > 30
    polygons = read(output)
    np.testing.assert_array_equal(read_ids(ids), expected.ids)
    np.testing.assert_array_equal(burn(polygons, expected.ids.shape), expected.ids)
    assert polygons["id"].tolist() == list(range(1, len(expected.class_id) + 1))
    assert polygons["class_id"].tolist() == expected.class_id.tolist()
    assert polygons["pixels"].tolist() == expected.pixels.tolist()


def test_without_rules_in_the_raster_the_default_ones_apply(labels: Path, tmp_path: Path) -> None:
    plain = save(tmp_path / "plain.tif", scene()[1])
    found = vectorize(labels, interior=plain)
    rules = default_rules(len(LEGEND))
    expected = decode_objects(*scene(), rules, LEGEND.countable, across_classes=True)
    assert sorted(found["pixels"]) == sorted(expected.pixels)


def test_confidence_separates_objects_within_their_class(labels: Path, interior: Path) -> None:
    options = PolygonOptions(split="confidence")
    found = vectorize(labels, confidence=interior, polygons=options)
    expected = decode_objects(*scene(), RULES, LEGEND.countable, across_classes=False)
    assert sorted(found["pixels"]) == sorted(expected.pixels)
    assert found["confidence"].notna().all()


def test_neighbouring_objects_share_their_border(labels: Path, interior: Path) -> None:
    options = PolygonOptions(simplify=1.5, smooth=2)
    found = vectorize(labels, interior=interior, polygons=options)
    assert shapely.is_valid(found.geometry.to_numpy()).all()
    assert shapely.coverage_is_valid(found.geometry.to_numpy())
    traced = vectorize(labels, interior=interior)
    assert found["id"].tolist() == traced["id"].tolist()


def test_filled_holes_and_dropped_objects_are_the_same_in_polygons_and_raster(
    labels: Path, interior: Path
) -> None:
    output, ids = labels.with_name("out.gpkg"), labels.with_name("ids.tif")
    options = PolygonOptions(min_pixels=60, min_area_m2=16, fill_holes=5)
    vectorize(
        labels, output, interior=interior, polygons=options, outputs=VectorizeOutputs(objects=ids)
    )
    polygons, raster = read(output), read_ids(ids)
    np.testing.assert_array_equal(burn(polygons, raster.shape), raster)
    assert polygons["id"].tolist() == list(range(1, len(polygons) + 1))
    plain = decode_objects(*scene(), RULES, LEGEND.countable, across_classes=True)
    assert len(polygons) == (plain.pixels >= 64).sum()
    assert (raster > 0).sum() > plain.pixels[plain.pixels >= 64].sum()


def test_merged_polygons_are_regions_of_labels_numbered_in_their_order(
    labels: Path, interior: Path
) -> None:
    merged = vectorize(labels, interior=interior, polygons=PolygonOptions(split="none"))
    assert sorted(merged["pixels"]) == sorted(vectorize(labels)["pixels"])
    large = vectorize(labels, polygons=PolygonOptions(min_pixels=30))
    assert large["id"].tolist() == list(range(1, len(large) + 1))


@pytest.mark.parametrize("split", [True, False, "interor"])
def test_a_split_is_one_of_its_choices(split: Any) -> None:
    """Before it had choices, True meant necks: nothing is separated silently otherwise."""
    with pytest.raises(ValueError, match="split must be one of auto, interior, confidence, necks"):
        PolygonOptions(split=split)


def test_a_raster_of_ids_needs_separated_objects(labels: Path) -> None:
    ids = labels.with_name("ids.tif")
    with pytest.raises(ConfigError, match=r"ids.tif: objects are not separated. Pass --interior"):
        vectorize(labels, outputs=VectorizeOutputs(objects=ids))


def test_a_method_needs_its_raster(labels: Path) -> None:
    for method in ("interior", "confidence"):
        with pytest.raises(ConfigError, match=f"--split {method} needs .* Pass --{method} TIF"):
            vectorize(labels, polygons=PolygonOptions(split=method))


@pytest.mark.parametrize(
    "rules",
    [
        "{}",
        "[",
        "[]",
        '{"reach": 400, "rules": {"ship": {}, "small-vehicle": {}, "harbor": {}}}',
        '{"reach": 4, "rules": {"ship": null, "small-vehicle": {}, "harbor": {}}}',
        '{"reach": 4, "rules": {"ship": {"seed": 1e999}, "small-vehicle": {}, "harbor": {}}}',
    ],
)
def test_damaged_rules_and_those_of_other_classes_are_refused(
    labels: Path, tmp_path: Path, rules: str
) -> None:
    damaged = save(tmp_path / "damaged.tif", scene()[1], **{RULES_TAG: rules})
    with pytest.raises(SceneError, match="GEOSEG_OBJECT_RULES is damaged"):
        vectorize(labels, interior=damaged)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("out.gpkg", "out.gpkg: named for two outputs"),
        ("ids.png", "ids.png: not a name for a GeoTIFF"),
    ],
)
def test_a_raster_of_ids_has_a_name_of_its_own(
    labels: Path, interior: Path, name: str, message: str
) -> None:
    ids = labels.with_name(name)
    outputs = VectorizeOutputs(objects=ids)
    with pytest.raises(ConfigError, match=message):
        vectorize(labels, labels.with_name("out.gpkg"), interior=interior, outputs=outputs)
    assert not ids.exists()


def test_errors_name_the_kind_of_the_raster(labels: Path, tmp_path: Path) -> None:
    small = save(tmp_path / "small.tif", scene()[1][1:])
    wide = save(tmp_path / "wide.tif", scene()[1].astype(np.uint16))
    with pytest.raises(SceneError, match="Use the interior of the same run"):
        vectorize(labels, interior=small)
    with pytest.raises(SceneError, match="Use the confidence of the same run"):
        vectorize(labels, confidence=small)
    with pytest.raises(
        SceneError, match=r"interior has one of uint8\. .* segment --interior wrote"
    ):
        vectorize(labels, interior=wide)
    with pytest.raises(ValueError, match="interior must be"):
        vectorize(scene()[0], interior=scene()[1][1:])


def test_a_legend_without_countable_classes_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    roofs = Legend.of({"roof": "#88ffee", "road": "#d628ff", "harbor": "#c297ff"})
    labels = save(tmp_path / "roofs.tif", scene()[0], **legend_tags(roofs))
    vectorize(labels, interior=save(tmp_path / "plain.tif", scene()[1]))
    assert "roofs.tif: no class is countable, so no objects are separated" in caplog.messages


def test_an_existing_raster_of_ids_is_kept(labels: Path, interior: Path) -> None:
    ids = labels.with_name("ids.tif")
    ids.write_bytes(b"mine")
    output = labels.with_name("out.gpkg")
    with pytest.raises(OutputError, match="exists already"):
        vectorize(labels, output, interior=interior, outputs=VectorizeOutputs(objects=ids))
    assert ids.read_bytes() == b"mine"
    assert sorted(path.name for path in labels.parent.iterdir()) == [
        "ids.tif", "interior.tif", "labels.tif",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("given", "count"),
    [
        (["--interior", "{interior}"], "objects"),
        (["--confidence", "{interior}", "--split", "confidence"], "objects"),
        (["--interior", "{interior}", "--merged"], "regions"),
        (["--split"], "necks"),
    ],
)
def test_the_command_names_the_method(
    labels: Path, interior: Path, given: list[str], count: str
) -> None:
    output = labels.with_name("out.gpkg")
    arguments = [text.format(interior=interior) for text in given]
    assert boundary.run(geoseg, ["vectorize", str(labels), "-o", str(output), *arguments]) == 0
    expected = {
        "objects": PolygonOptions(split="interior"),
        "regions": PolygonOptions(),
        "necks": PolygonOptions(split="necks"),
    }[count]
    within = None if count != "objects" else interior
    if "--confidence" in given:
        expected, within = PolygonOptions(split="confidence"), None
    same = vectorize(labels, interior=within, confidence=interior, polygons=expected)
    assert sorted(read(output)["pixels"]) == sorted(same["pixels"])
