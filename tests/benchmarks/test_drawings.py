"""Pictures of merged regions beside objects."""

from __future__ import annotations

import sys
from pathlib import Path

import geopandas
import numpy as np
import pandas as pd
import pytest
import shapely
from affine import Affine
from PIL import Image

from benchmarks.objects import drawings
from geoseg.annotations.burn import transform_geometry
from geoseg.dataset.folder import Dataset
from tests.synthetic_dataset import dataset

THEMES = {"ships": (("ship", "plane"), 120), "none": (("no class of the legend",), 50)}


def write_polygons(data: Dataset, path: Path) -> None:
    """Write the annotations of the validation scenes as if they were found."""
    tables = []
    for name, of_scene in data.annotations(scenes=data.split("val")).items():
        (scene,) = (scene for scene in data.scenes if scene.name == name)
        geometry = transform_geometry(of_scene.geometry, Affine(*scene.transform))
        names = [data.legend.names[n] for n in of_scene.class_id]
        tables.append(geopandas.GeoDataFrame({"scene": name, "class": names}, geometry=geometry))
    pd.concat(tables).set_crs("EPSG:32631").to_file(path)


def test_a_picture_shows_windows_with_the_classes_of_their_themes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = dataset(tmp_path)
    data = Dataset.open(folder)
    annotations = data.annotations(scenes=data.split("val"))
    monkeypatch.setattr(drawings, "THEMES", THEMES)
    views = drawings.choose_views(data, annotations)
    assert list(views) == ["ships"]
    of_scene = annotations[views["ships"].scene.name]
    for name in THEMES["ships"][0]:
        assert drawings.count_inside(of_scene, data.legend, name, views["ships"].box) > 0
    found, picture = tmp_path / "found.gpkg", tmp_path / "objects.png"
    write_polygons(data, found)
    geometry, names = drawings.read_polygons(found, views["ships"].scene, "none")
    assert shapely.equals_exact(geometry, of_scene.geometry, 1e-3).all()
    assert names == [data.legend.names[n] for n in of_scene.class_id]
    monkeypatch.setattr(
        sys, "argv", ["drawings", str(folder), str(found), str(found), str(picture)]
    )
    drawings.main()
    assert views["ships"].scene.name in capsys.readouterr().out
    with Image.open(picture) as opened:
        assert opened.width > 1000 and len(np.unique(np.asarray(opened))) > 5
