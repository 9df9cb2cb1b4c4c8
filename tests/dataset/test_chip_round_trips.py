"""Round trips of chips in each format: the same objects as in the dataset."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import shapely

from geoseg.annotations.burn import Annotations
from geoseg.annotations.dota import read_dota
from geoseg.dataset.folder import Dataset
from geoseg.legend import DOTA_V1
from geoseg.options import ChipOptions
from tests.calls import chip, prepare, prepare_scenes
from tests.dataset.chip_folders import dataset, dota

WHOLE = ChipOptions(size=None)


def test_dota_text_comes_back_with_its_corners_classes_and_marks(tmp_path: Path) -> None:
    source = dota(tmp_path / "dota")
    folder = prepare(source, tmp_path / "set")
    out = chip(folder, tmp_path / "out", format="dota", chips=WHOLE).folder
    compare(source, out)
    again = prepare(out, tmp_path / "again")
    assert Dataset.open(again).layers == Dataset.open(folder).layers


@pytest.mark.parametrize("format", ["coco", "yolo-seg", "yolo-obb"])
def test_polygons_come_back_with_their_corners_classes_and_marks(
    tmp_path: Path, format: str
) -> None:
    folder = dataset(tmp_path)
    layer = "quads" if format == "yolo-obb" else "outlines"
    out = chip(folder, tmp_path / "out", format=format, chips=WHOLE, splits=["train"]).folder
    truth = out / ("annotations/instances_train.json" if format == "coco" else "train/labels")
    images = sorted((out / "train/images").iterdir())
    again = tmp_path / "again"
    prepare_scenes(images, again, annotations=truth, format=format, val_share=0, block=10_000)
    before, after = Dataset.open(folder), Dataset.open(again)
    for name in ("a", "b"):
        objects = before.annotations(layer)[name]
        found = after.annotations()[name]
        pairs = zip(parts(objects, format), parts(found, format), strict=True)
        for (class_id, difficult, polygon), (other_id, other_difficult, other) in pairs:
            assert before.legend[class_id].name == after.legend[other_id].name
            assert other_difficult == (difficult and format == "coco")
            scene = shapely.box(0, 0, 300, 220)
            if scene.covers(polygon):
                assert shapely.equals_exact(polygon.normalize(), other.normalize(), 1e-6)


def parts(objects: Annotations, format: str) -> list[tuple[int, bool, shapely.Polygon]]:
    """Return class, mark and polygon of every object as the format represents it."""
    rows = zip(objects.geometry, objects.class_id, objects.difficult, strict=True)
    if format == "coco":
        return [(int(c), bool(d), geometry) for geometry, c, d in rows]
    return [
        (int(c), bool(d), shapely.Polygon(part.exterior))
        for geometry, c, d in rows
        for part in shapely.get_parts(geometry)
    ]


@pytest.mark.slow
def test_real_dota_text_comes_back(real_data: Path, tmp_path: Path) -> None:
    source = tmp_path / "dota"
    for part in ("images", "labelTxt"):
        (source / "val" / part).mkdir(parents=True)
        for file in sorted((real_data / "dota/val" / part).iterdir())[:12]:
            (source / "val" / part / file.name).symlink_to(file)
    folder = prepare(source, tmp_path / "set")
    compare(source, chip(folder, tmp_path / "out", format="dota", chips=WHOLE).folder)


def compare(source: Path, out: Path) -> None:
    texts = sorted(source.glob("*/labelTxt/*.txt"))
    assert texts
    for text in texts:
        before = read_dota(text, DOTA_V1)
        after = read_dota(out / text.relative_to(source), DOTA_V1)
        assert (after.gsd, after.image_source) == (before.gsd, before.image_source)
        objects, same = before.annotations, after.annotations
        assert (same.class_id == objects.class_id).all()
        assert (same.difficult == objects.difficult).all()
        corners, found = (shapely.get_coordinates(of.geometry) for of in (objects, same))
        assert np.abs(found - corners).max(initial=0) <= 1e-6
