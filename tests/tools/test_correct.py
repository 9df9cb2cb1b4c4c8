"""Results, edited in a GIS and prepared with frames: the labels are as docs/correct.md has them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import pytest
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.features import rasterize

from geoseg.annotations.burn import burn, transform_geometry
from geoseg.annotations.validation import IssueKind
from geoseg.dataset.folder import Dataset
from geoseg.legend import IGNORE
from tests.calls import prepare_scenes, segment
from tests.exact_network import exact_model_file
from tests.scenes import LEGEND, UTM, picture, write_scene

SIDE, FRAME = 128, 64
TRANSFORM: Affine = UTM["transform"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exact_model_file(tmp_path_factory.mktemp("model") / "exact.safetensors", seed=3)


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    return write_scene(tmp_path / "scene.tif", picture(SIDE, SIDE), **UTM)


@pytest.fixture
def results(tmp_path: Path, scene: Path, model: Path) -> gpd.GeoDataFrame:
    out = segment(scene, tmp_path / "objects.gpkg", model=model, min_pixels=12)
    return pyogrio.read_dataframe(out, layer="segments")


def to_map(*boxes: tuple[int, int, int, int]) -> NDArray[np.object_]:
    return transform_geometry(np.array([shapely.box(*box) for box in boxes], object), TRANSFORM)


def write_frames(folder: Path, *boxes: tuple[int, int, int, int]) -> Path:
    table = gpd.GeoDataFrame({"rank": range(len(boxes))}, geometry=to_map(*boxes), crs=UTM["crs"])
    table.to_file(folder / "frames.gpkg", layer="frames", engine="pyogrio")
    return folder / "frames.gpkg"


def prepare(
    folder: Path, scene: Path, edited: gpd.GeoDataFrame, model: Path, **given: Any
) -> tuple[NDArray[np.uint8], dict[str, int]]:
    """Prepare edited results; return the labels of the whole scene, and the issues of the report."""
    edited.to_file(folder / "edited.gpkg", layer="segments", engine="pyogrio")
    prepare_scenes(
        scene,
        folder / "dataset",
        annotations=folder / "edited.gpkg",
        legend=str(model),
        block=64,
        **given,
    )
    dataset = Dataset.open(folder / "dataset")
    annotations = dataset.annotations()
    labels = np.full((SIDE, SIDE), IGNORE, np.uint8)  # blocks without annotated area are left out
    for part in dataset.scenes:
        left, top, width, height = part.window or (0, 0, SIDE, SIDE)
        burned = burn(annotations[part.name], height, width)
        labels[top : top + height, left : left + width] = burned
    report = json.loads((folder / "dataset" / "report.json").read_text())
    return labels, {line["kind"]: line["count"] for line in report["summary"]}


def mask(geometry: Any) -> NDArray[np.bool_]:
    shapes = [g for g in np.atleast_1d(np.asarray(geometry, object)) if not g.is_empty]
    if not shapes:
        return np.zeros((SIDE, SIDE), bool)
    found = rasterize(shapes, out_shape=(SIDE, SIDE), transform=TRANSFORM, dtype="uint8")
    return np.asarray(found == 1)


def edit(results: gpd.GeoDataFrame) -> tuple[gpd.GeoDataFrame, gpd.GeoDataFrame]:
    """Edit results as in a GIS; return them, and the polygons that are deleted in the frame."""
    frame = to_map((0, 0, FRAME, FRAME))[0]
    touches = results.geometry.intersection(frame).area > 0
    framed, outside = results[touches], results[~touches]
    edited = results.assign(status=None).astype({"status": object})
    names = LEGEND.names
    changed, rejected, redrawn = outside.index[:3]
    edited.loc[changed, "status"] = "accepted"
    other = names[1] if edited.loc[changed, "class"] != names[1] else names[2]
    edited.loc[changed, "class"] = other
    edited.loc[rejected, "status"] = "rejected"
    edited.loc[redrawn, "status"] = "accepted"
    edited.loc[redrawn, "geometry"] = to_map((90, 100, 101, 109))[0]
    edited.loc[framed.index[0], "status"] = "rejected"
    gone = framed.index[1:3]
    new = gpd.GeoDataFrame(
        {"class": [names[2]], "status": ["accepted"]}, geometry=to_map((70, 110, 80, 120)),
        crs=results.crs,
    )  # fmt: skip
    edited = pd.concat([edited.drop(index=gone), new], ignore_index=True)
    return edited, results.loc[gone]


def test_labels_of_corrected_results_are_as_documented(
    tmp_path: Path, scene: Path, results: gpd.GeoDataFrame, model: Path
) -> None:
    edited, gone = edit(results)
    frames = write_frames(tmp_path, (0, 0, FRAME, FRAME))
    labels, issues = prepare(tmp_path, scene, edited, model, annotated_area=frames)
    frame = mask(to_map((0, 0, FRAME, FRAME)))
    reviewed = edited[edited["status"].notna()]
    expected = np.full((SIDE, SIDE), IGNORE, np.uint8)
    area = frame | mask(reviewed.geometry.to_numpy())
    expected[area] = 0
    empty = edited["status"].isna()
    objects = edited[(edited["status"] == "accepted") | empty]
    for _, row in objects.loc[objects.area.sort_values(ascending=False).index].iterrows():
        part = mask(row.geometry)
        if row["status"] == "accepted" or (part & frame).any():
            expected[part & area] = LEGEND.id_of(row["class"])
    np.testing.assert_array_equal(labels, expected)
    assert (labels[mask(gone.geometry.to_numpy()) & frame] == 0).any()
    assert issues[IssueKind.ACCEPTED] == 3
    assert issues[IssueKind.REJECTED] == 2
    left_out = sum(not (mask(g) & frame).any() for g in edited.geometry[empty])
    assert issues[IssueKind.NOT_REVIEWED] == left_out > 3


def test_without_frames_only_reviewed_polygons_are_annotated(
    tmp_path: Path, scene: Path, results: gpd.GeoDataFrame, model: Path
) -> None:
    status = np.full(len(results), None, object)
    status[::3], status[1::3] = "accepted", "rejected"
    labels, _ = prepare(tmp_path, scene, results.assign(status=status), model)
    accepted, rejected, others = (
        mask(results.geometry[status == value].to_numpy())
        for value in ("accepted", "rejected", None)
    )
    assert ((labels != IGNORE) == (accepted | rejected)).all()
    assert ((labels > 0) & (labels != IGNORE) == accepted).all()
    assert (labels[rejected & ~accepted] == 0).all()
    assert not others.all()


def test_results_without_a_status_are_annotations_of_the_whole_scene(
    tmp_path: Path, scene: Path, results: gpd.GeoDataFrame, model: Path
) -> None:
    labels, issues = prepare(tmp_path, scene, results.assign(status=None), model)
    assert IGNORE not in labels
    assert ((labels > 0) == mask(results.geometry.to_numpy())).all()
    assert IssueKind.ACCEPTED not in issues
