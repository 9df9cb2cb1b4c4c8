"""A GeoPackage of several scenes, and one with a layer for each class."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import pytest
from affine import Affine
from rasterio.crs import CRS

from geoseg.errors import GeosegError, OutputError
from geoseg.legend import Legend
from tests.calls import vectorize

UTM = CRS.from_epsg(32632)
LEGEND = Legend.of({"house": "#e6194b", "tree": "#3cb44b", "Tree": "#4363d8", "gpkg_x": "#123456"})
LABELS = np.array([[1, 1, 0, 3], [0, 2, 0, 3], [4, 0, 1, 0]], np.uint8)


def place(number: int = 0) -> dict[str, Any]:
    east = 600000 + 100 * number
    return {
        "crs": UTM,
        "transform": Affine(0.5, 0, east, 0, -0.5, 5800000),
        "legend": LEGEND,
        "name": f"scene{number}.tif",
    }


def sql(path: Path, statement: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as database:
        return database.execute(statement).fetchall()


@pytest.mark.parametrize("append", [True, "in place"])
def test_the_file_speaks_of_all_its_scenes(tmp_path: Path, append: Any) -> None:
    path = tmp_path / "out.gpkg"
    for number in range(3):
        vectorize(LABELS, path, append=append, **place(number))
    table = pyogrio.read_dataframe(path, layer="segments")
    assert len(table) == 15
    assert table["scene"].value_counts().to_dict() == {f"scene{n}.tif": 5 for n in range(3)}
    ((title, abstract, left, right),) = sql(
        path,
        "SELECT identifier, description, min_x, max_x FROM gpkg_contents"
        " WHERE table_name = 'segments'",
    )
    assert title == "segments in 3 scenes"
    assert "in scene0.tif, scene1.tif, scene2.tif" in abstract
    assert (left, right) == (600000, 600202)
    assert sql(path, "SELECT count(*) FROM rtree_segments_geom") == [(15,)]
    assert sql(path, "SELECT feature_count FROM gpkg_ogr_contents") == [(15,)]
    assert sql(path, "SELECT count(*) FROM layer_styles") == [(1,)]
    records = [json.loads(text) for (text,) in sql(path, "SELECT metadata FROM gpkg_metadata")]
    assert [record["scene"] for record in records] == [f"scene{n}.tif" for n in range(3)]
    assert sql(path, "PRAGMA integrity_check") == [("ok",)]


def test_each_class_that_occurs_has_a_layer(tmp_path: Path) -> None:
    path = tmp_path / "out.gpkg"
    vectorize(LABELS, path, layer_per_class=True, **place())
    layers = {"house": 1, "tree": 2, "Tree_3": 3, "class_gpkg_x": 4}
    names = [name for name, _ in pyogrio.list_layers(path)]
    assert names == [*layers, "layer_styles"]
    for name, class_id in layers.items():
        table = pyogrio.read_dataframe(path, layer=name)
        assert set(table["class_id"]) == {class_id}
        assert table["pixels"].sum() == np.count_nonzero(class_id == LABELS)
    vectorize(LABELS, path, layer_per_class=True, append=True, **place(1))
    assert pyogrio.read_info(path, layer="house")["features"] == 4


def test_a_class_that_comes_with_a_later_scene_gets_its_layer_then(tmp_path: Path) -> None:
    path = tmp_path / "out.gpkg"
    vectorize(np.minimum(LABELS, 1), path, layer_per_class=True, **place())
    vectorize(LABELS, path, layer_per_class=True, append=True, **place(1))
    assert {name for name, _ in pyogrio.list_layers(path)} >= {"house", "tree", "Tree_3"}


def test_without_any_class_there_is_one_empty_layer(tmp_path: Path) -> None:
    path = tmp_path / "out.gpkg"
    vectorize(np.zeros_like(LABELS), path, layer_per_class=True, **place())
    assert pyogrio.read_info(path, layer="segments")["features"] == 0


def test_appending_to_nothing_makes_the_file(tmp_path: Path) -> None:
    path = vectorize(LABELS, tmp_path / "out.gpkg", append=True, **place())
    assert pyogrio.read_info(path, layer="segments")["features"] == 5


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "has the polygons of scene0.tif already"),
        ({"name": "b", "crs": CRS.from_epsg(25832)}, "another coordinate reference system"),
        ({"name": "b", "legend": Legend.of({"house": "#000001", "a": "#000002", "b": "#000003",
                                           "c": "#000004"})}, "other classes or colours"),
        ({"name": "b", "layer_per_class": True}, "Append without --layer-per-class"),
        ({"name": "b", "overwrite": True}, "exclude each other"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_and_the_file_stays(
    tmp_path: Path, options: dict[str, Any], words: str
) -> None:
    path = vectorize(LABELS, tmp_path / "out.gpkg", **place())
    before = path.read_bytes()
    with pytest.raises(GeosegError, match=words):
        vectorize(LABELS, path, append=True, **{**place(), **options})
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["out.gpkg"]


def test_a_file_of_somebody_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "out.gpkg"
    path.write_bytes(b"mine")
    with pytest.raises(OutputError, match="not a GeoPackage of geoseg"):
        vectorize(LABELS, path, append=True, **place())
    assert path.read_bytes() == b"mine"
    frame = vectorize(LABELS, **place())
    path.unlink()
    frame.to_file(path, layer="segments")
    with pytest.raises(OutputError, match="not a GeoPackage of geoseg"):
        vectorize(LABELS, path, append=True, **place(1))


def test_a_file_that_is_open_elsewhere_is_refused(tmp_path: Path) -> None:
    path = vectorize(LABELS, tmp_path / "out.gpkg", **place())
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("UPDATE gpkg_contents SET description = 'x'")
        database.commit()
        with pytest.raises(OutputError, match="open in another program"):
            vectorize(LABELS, path, append=True, **place(1))


KILLED = """
import os, signal, sys
from tests.calls import vectorize
from pathlib import Path
from tests.polygons.test_append import LABELS, place

def killed(path, *arguments, **options):
    written = real(path, *arguments, **options)
    os.kill(os.getpid(), signal.SIGKILL)

module = sys.modules["geoseg.tools.vectorize"]
real = module.append_polygons
module.append_polygons = killed
vectorize(LABELS, Path(sys.argv[1]), append=True, **place(1))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_a_kill_leaves_the_old_file(tmp_path: Path) -> None:
    path = vectorize(LABELS, tmp_path / "out.gpkg", **place())
    before = path.read_bytes()
    run = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
    assert run.returncode == -9
    assert path.read_bytes() == before
    vectorize(LABELS, path, append=True, **place(1))
    assert pyogrio.read_info(path, layer="segments")["features"] == 10
