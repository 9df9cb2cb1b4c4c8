"""Into a dataset and out again: the same objects, in the words of each format."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import shapely

from geoseg.dataset import Dataset
from geoseg.dota import read_dota
from geoseg.legend import DOTA_V1
from geoseg.prepare import prepare
from geoseg.tile import Tiling, tile
from tests.tile.folders import dota

WHOLE = Tiling(size=None)


def test_dota_text_comes_back_with_its_corners_classes_and_marks(tmp_path: Path) -> None:
    source = dota(tmp_path / "dota")
    folder = prepare(source, tmp_path / "set")
    out = tile(folder, tmp_path / "out", format="dota", tiling=WHOLE).folder
    compare(source, out)
    again = prepare(out, tmp_path / "again")
    assert Dataset.open(again).layers == Dataset.open(folder).layers


@pytest.mark.slow
def test_real_dota_text_comes_back(real_data: Path, tmp_path: Path) -> None:
    source = tmp_path / "dota"
    for part in ("images", "labelTxt"):
        (source / "val" / part).mkdir(parents=True)
        for file in sorted((real_data / "dota/val" / part).iterdir())[:12]:
            (source / "val" / part / file.name).symlink_to(file)
    folder = prepare(source, tmp_path / "set")
    compare(source, tile(folder, tmp_path / "out", format="dota", tiling=WHOLE).folder)


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
