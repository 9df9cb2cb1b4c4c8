"""COCO and iSAID instances, against COCO's own tools."""

from __future__ import annotations

import json
import time
import tracemalloc
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from geoseg.annotations import json_stream as long_json
from geoseg.annotations import rle
from geoseg.annotations.burn import Annotations, burn
from geoseg.annotations.coco import read_coco
from geoseg.annotations.json_stream import read_members
from geoseg.annotations.readers import NamedAnnotations, ReaderOptions
from geoseg.annotations.rle import decode_counts, decode_outline
from geoseg.annotations.validation import IssueKind, ValidationReport
from geoseg.cli import boundary, geoseg
from geoseg.dataset.folder import Dataset
from geoseg.errors import AnnotationError
from geoseg.legend import DOTA_V1
from geoseg.raster.scene import SceneInfo
from tests.calls import prepare_scenes
from tests.scenes import picture, write_scene

SHED = [[10, 10, 30, 10, 30, 25, 10, 25]]
MASKS = arrays(
    np.uint8, st.tuples(st.integers(1, 20), st.integers(1, 20)), elements=st.integers(0, 1)
)


def scene(name: str = "a", width: int = 60, height: int = 40) -> SceneInfo:
    path = Path(f"scenes/{name}.tif")
    return SceneInfo(path, width, height, 3, "uint8", None, Affine.identity(), None, None)


def coco(*annotations: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return a file of one image and two classes; IDs are added to the annotations."""
    common = {"image_id": 7, "category_id": 1, "iscrowd": 0}
    return {
        "info": {"year": 2026},
        "images": [{"id": 7, "file_name": "sub/folder/a.png", "width": 60, "height": 40}],
        "annotations": [{"id": n, **common, **a} for n, a in enumerate(annotations, start=1)],
        "categories": [{"id": 1, "name": "shed"}, {"id": 5, "name": "pond"}],
        **more,
    }


def read(
    folder: Path, data: Any, *scenes: SceneInfo, report: ValidationReport | None = None
) -> list[NamedAnnotations | None]:
    path = folder / "instances.json"
    path.write_text(data if isinstance(data, str) else json.dumps(data), encoding="utf-8")
    report = ValidationReport() if report is None else report
    found = read_coco(path, scenes or [scene()], ReaderOptions(), report)
    report.raise_rejected()
    return found


def only(
    folder: Path, *annotations: dict[str, Any], report: ValidationReport | None = None
) -> NamedAnnotations:
    (drawn,) = read(folder, coco(*annotations), report=report)
    assert drawn is not None
    return drawn


def mask_of(geometry: shapely.Geometry, height: int, width: int) -> NDArray[np.uint8]:
    one = Annotations(np.array([geometry], object), np.ones(1, np.uint8), np.zeros(1, bool))
    return burn(one, height, width)


# --- geometry -----------------------------------------------------------------------------------


@given(MASKS)
def test_run_lengths_become_outlines_that_burn_to_the_same_mask(mask: NDArray[np.uint8]) -> None:
    compressed = coco_mask.encode(np.asfortranarray(mask))["counts"].decode()
    height, width = mask.shape
    found = decode_outline(height, width, compressed)
    assert found.is_valid
    assert found.area == mask.sum()
    np.testing.assert_array_equal(mask_of(found, height, width), mask)
    plain = decode_counts(compressed).tolist()
    assert decode_outline(height, width, plain).equals(found)
    again = coco_mask.frPyObjects({"size": [height, width], "counts": plain}, height, width)
    np.testing.assert_array_equal(coco_mask.decode(again), mask)


@given(st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=40))
def test_compressed_counts_are_those_of_coco(counts: list[int]) -> None:
    assert decode_counts(compressed(counts)).tolist() == counts


def compressed(counts: list[int]) -> str:
    """Encode as the format is specified, one count at a time."""
    text = ""
    for number, count in enumerate(counts):
        value = count - counts[number - 2] if number > 2 else count
        more = True
        while more:
            digit, value = value & 31, value >> 5
            more = value != (-1 if digit & 16 else 0)
            text += chr(48 + digit + 32 * more)
    return text


def test_a_mask_is_decoded_by_parts_however_large_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rle, "_PIXELS", 100)
    mask = (np.random.default_rng(0).random((37, 61)) < 0.6).astype(np.uint8)
    text = coco_mask.encode(np.asfortranarray(mask))["counts"].decode()
    np.testing.assert_array_equal(mask_of(decode_outline(37, 61, text), 37, 61), mask)


def test_a_small_object_of_a_vast_image_takes_little() -> None:
    side = 100_000
    counts = [side * 50_000 + 7, 20, side - 20, 20, side * side - side * 50_001 - 27]
    began = time.process_time()
    assert decode_outline(side, side, counts).equals(shapely.box(50_000, 7, 50_002, 27))
    assert time.process_time() - began < 5  # of this process: other load does not count


def test_parts_are_one_object_and_count_once_where_they_overlap(tmp_path: Path) -> None:
    rings = [[0, 0, 20, 0, 20, 20, 0, 20], [10, 10, 30, 10, 30, 30, 10, 30], [40, 1, 50, 1, 50, 9]]
    (found,) = only(tmp_path, {"segmentation": rings}).geometry
    assert found.is_valid
    assert found.area == 400 + 400 - 100 + 40
    assert found.equals(shapely.union_all([shapely.Polygon(np.reshape(r, (-1, 2))) for r in rings]))


def test_polygons_burn_to_nearly_what_coco_s_tools_make_of_them(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    angles = np.sort(rng.uniform(0, 2 * np.pi, (30, 9)))
    radius = rng.uniform(3, 18, (30, 9))
    rings = np.stack([30 + radius * np.cos(angles), 20 + radius * np.sin(angles)], 2).reshape(
        30, -1
    )
    drawn = only(tmp_path, *({"segmentation": [ring.tolist()]} for ring in rings))
    for ring, geometry in zip(rings, drawn.geometry, strict=True):
        theirs = coco_mask.decode(coco_mask.frPyObjects([ring.tolist()], 40, 60))[..., 0]
        ours = mask_of(geometry, 40, 60)
        # COCO's tools also set pixels that the outline only touches
        assert (ours > theirs).sum() <= 0.1 * geometry.length
        assert (ours != theirs).sum() <= geometry.length


def test_coco_comes_back_as_it_was_written(tmp_path: Path) -> None:
    shapes = [
        shapely.box(1, 2, 9, 8),
        shapely.MultiPolygon([shapely.box(20, 1, 25, 9), shapely.box(30, 3, 39, 9)]),
    ]
    parts = [shapely.get_parts(shape) for shape in shapes]
    drawn = only(
        tmp_path,
        *(
            {
                "segmentation": [shapely.get_coordinates(p).ravel().tolist() for p in ps],
                "category_id": c,
                "iscrowd": c == 5,
            }
            for ps, c in zip(parts, (1, 5), strict=True)
        ),
    )
    assert shapely.equals(drawn.geometry, np.array(shapes, object)).all()
    assert drawn.name.tolist() == ["shed", "pond"]
    assert drawn.difficult.tolist() == [False, True]


# --- issues --------------------------------------------------------------------------------


def test_issues_are_repaired_and_reported(tmp_path: Path) -> None:
    report = ValidationReport()
    bow = [[0, 0, 10, 10, 10, 0, 0, 10]]
    drawn = only(
        tmp_path,
        {"segmentation": bow},
        {"segmentation": [], "bbox": [2, 3, 10, 20]},
        {"segmentation": SHED},
        {"segmentation": SHED},
        {"segmentation": [[1, 1, 5, 5]]},
        {"segmentation": [[100, 100, 110, 100, 110, 110]]},
        {"segmentation": [[60, 0, 70, 0, 70, 10, 60, 10]]},
        {"segmentation": SHED, "image_id": 99},
        {"segmentation": SHED, "category_id": 5, "id": 3, "iscrowd": 1},
        report=report,
    )
    assert len(drawn) == 7
    assert drawn.geometry[0].area == 50
    assert drawn.geometry[1].bounds == (2, 3, 12, 23)
    assert {finding.kind: finding.count for finding in report} == {
        IssueKind.INVALID_RING: 1,
        IssueKind.BOX_ONLY: 1,
        IssueKind.NO_AREA: 1,
        IssueKind.NO_IMAGE: 1,
        IssueKind.ID_TWICE: 1,
        IssueKind.CROWD: 1,
    }


@pytest.mark.parametrize("mark", [{"iscrowd": 1}, {"difficult": 1}, {"difficult": True}])
def test_crowd_and_difficult_objects_are_read_as_difficult(
    tmp_path: Path, mark: dict[str, Any]
) -> None:
    annotations = only(tmp_path, {"segmentation": SHED, **mark}, {"segmentation": SHED})
    assert annotations.difficult.tolist() == [True, False]


def test_isaid_s_classes_are_dota_s_and_others_stay_as_they_are(tmp_path: Path) -> None:
    for names, expected in [
        (["Small_Vehicle", "storage_tank"], ["small-vehicle", "storage-tank"]),
        (["Small_Vehicle", "House"], ["Small_Vehicle", "House"]),
    ]:
        categories = [{"id": i, "name": n} for i, n in zip((1, 5), names, strict=True)]
        data = coco(
            {"segmentation": SHED}, {"segmentation": SHED, "category_id": 5}, categories=categories
        )
        (drawn,) = read(tmp_path, data)
        assert drawn is not None
        assert drawn.name.tolist() == expected


@pytest.mark.parametrize(
    ("annotation", "why"),
    [
        ({"segmentation": SHED, "category_id": 3}, "annotation 1: unknown category 3"),
        ({"segmentation": [[1, 2, 3, 4, 5]]}, "has 5 numbers; a corner needs two"),
        ({"segmentation": [[1, 2, "3", 4, 5, 6]]}, "must be a list of numbers"),
        ({"segmentation": [1, 2, 3, 4, 5, 6]}, "must be a list of numbers"),
        ({"segmentation": [[1, 2, 1e9, 4, 5, 6]]}, "more than 1,000,000 pixels"),
        ({"segmentation": [[1, 2, float("nan"), 4, 5, 6]]}, "more than"),
        ({"segmentation": [[1, 2, 10**400, 4, 5, 6]]}, "more than"),
        ({"segmentation": []}, "neither segmentation nor bbox"),
        ({"segmentation": SHED, "iscrowd": 2}, "iscrowd must be 0 or 1"),
        ({"segmentation": SHED, "difficult": 2}, "difficult must be 0 or 1"),
        (
            {"segmentation": {"size": [60, 40], "counts": [2400]}},
            r"the size \[60, 40\], the image \[40, 60\]",
        ),
        ({"segmentation": {"size": [40, 60], "counts": [3, 4]}}, "have 7 pixels, the image 2,400"),
        ({"segmentation": {"size": [40, 60], "counts": [-3, 2403]}}, "its runs"),
        ({"segmentation": {"size": [40, 60], "counts": "zzz"}}, "not compressed run lengths"),
        ({"segmentation": {"size": [40, 60], "counts": "käse"}}, "not compressed run lengths"),
        (
            {"segmentation": {"size": [40, 60], "counts": [2**63 - 1, 2**63 - 1, 2402]}},
            "its runs",  # which add up to 2,400 in 64 bits
        ),
        ({"segmentation": {"size": [40, 60]}}, "neither integers nor"),
        ({"segmentation": {"size": [40, 60], "counts": [10**30]}}, "too large"),
        ({"segmentation": "none"}, "list of rings or run lengths"),
    ],
)
def test_an_invalid_annotation_is_named_with_its_file(
    tmp_path: Path, annotation: dict[str, Any], why: str
) -> None:
    with pytest.raises(AnnotationError, match=why) as caught:
        read(tmp_path, coco(annotation))
    assert str(caught.value).startswith(f"{tmp_path}/instances.json: annotation 1: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ('{"images": [', "instances.json:1: invalid JSON"),
        ('{"images": [],\n "annotations": [}', "instances.json:2: invalid JSON"),
        ('{"images": []} more', "extra data after the end"),
        ("[" * 100_000, "contains a list"),
        ('{"a": ' + "[" * 100_000, "nested too deeply"),
        ('{"a": ' + "1" * 5000 + "}", "instances.json:1: invalid JSON"),
        ("[1]", "contains a list"),
        ("1", "expected '{'"),
        ({"images": []}, "has no categories and no images"),
        (coco(images=[{"file_name": "a.png"}]), "invalid element of 'images' .no 'id'"),
        (coco(images=[{"id": [1], "file_name": "a.png"}]), "neither a number nor text"),
        (coco(categories=[{"id": 1, "name": " "}]), "is not a name"),
        (coco(annotations=[1]), "'annotations' must list objects"),
        (
            coco(images=[{"id": 1, "file_name": "x/a.png"}, {"id": 2, "file_name": "y\\a.jpg"}]),
            "Keep one",
        ),
        (
            coco(images=[{"id": 7, "file_name": "a.png", "width": 40, "height": 60}]),
            "40 x 60 pixels, but",
        ),
        (coco(images=[{"id": 7, "file_name": "b.png"}]), "scenes/a.tif: not among the images"),
    ],
)
def test_an_invalid_file_is_an_error_of_one_line(tmp_path: Path, data: Any, why: str) -> None:
    with pytest.raises(AnnotationError, match=why) as caught:
        read(tmp_path, data)
    assert "\n" not in str(caught.value)


def test_an_invalid_scene_can_be_left_out(tmp_path: Path) -> None:
    report = ValidationReport(skip=True)
    found = read(tmp_path, coco({"segmentation": SHED}), scene("a"), scene("b"), report=report)
    assert found[1] is None
    assert found[0] is not None
    assert len(found[0]) == 1
    assert [finding.kind for finding in report] == [IssueKind.NO_LABELS]


# --- long files ---------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


@given(st.dictionaries(st.text(), JSON), st.sampled_from([None, 1]), st.integers(1, 40))
def test_members_are_those_that_python_reads_whatever_the_chunks(
    tmp_path_factory: pytest.TempPathFactory, data: dict[str, Any], indent: int | None, chunk: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_text(json.dumps(data, indent=indent, ensure_ascii=False), encoding="utf-8")
    expected = [
        (key, element)
        for key, value in data.items()
        for element in (value if isinstance(value, list) else [value])
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(long_json, "_CHUNK", chunk)
        assert list(read_members(path)) == expected


def test_memory_does_not_hold_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(long_json, "_CHUNK", 1 << 16)
    path = tmp_path / "long.json"
    element = json.dumps({"segmentation": [list(range(200))]})
    path.write_text('{"annotations": [' + ", ".join([element] * 3_000) + "]}", encoding="utf-8")
    tracemalloc.start()
    assert sum(1 for _ in read_members(path)) == 3_000
    assert tracemalloc.get_traced_memory()[1] < path.stat().st_size / 5
    tracemalloc.stop()


# --- real outlines ------------------------------------------------------------------------------


def test_real_outlines_come_through_a_dataset_unchanged(real_data: Path, tmp_path: Path) -> None:
    table = gpd.read_parquet(real_data / "dota" / "instances.parquet")
    table = table[table["split"] == "val"]
    names = table["image"].value_counts().index[30:33].tolist()
    table = table[table["image"].isin(names)].reset_index(drop=True)
    classes = sorted(table["category"].unique())
    annotations = [
        {
            "image_id": names.index(row.image),
            "category_id": classes.index(row.category),
            "segmentation": [
                shapely.get_coordinates(part.exterior).ravel().tolist()
                for part in shapely.get_parts(row.geometry)
            ],
        }
        for row in table.itertuples()
    ]
    data = coco(
        *annotations,
        images=[{"id": n, "file_name": f"val/{name}.png"} for n, name in enumerate(names)],
        categories=[
            {"id": n, "name": name.title().replace("-", "_")} for n, name in enumerate(classes)
        ],
    )
    (tmp_path / "val.json").write_text(json.dumps(data))
    out = prepare_scenes(
        [real_data / "dota" / "val" / "images" / f"{name}.jpg" for name in names],
        tmp_path / "out",
        annotations=tmp_path / "val.json",
        format="coco",
        block=10_000,
        legend="dota-v1.0",
    )
    found = Dataset.open(out).annotations()
    for name in names:
        rows = table[table["image"] == name]
        expected = shapely.make_valid(rows.geometry.to_numpy(), method="structure")
        apart = shapely.area(shapely.symmetric_difference(found[name].geometry, expected))
        assert apart.max() < 1e-6
        assert [DOTA_V1[c].name for c in found[name].class_id] == rows["category"].tolist()


# --- the command --------------------------------------------------------------------------------


def test_the_command_makes_a_dataset_of_scenes_without_a_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = [{"id": n, "file_name": f"{n}.png", "width": 90, "height": 70} for n in range(4)]
    mask = np.zeros((70, 90), np.uint8)
    mask[5:30, 10:50] = 1
    run_lengths = {
        "size": [70, 90],
        "counts": coco_mask.encode(np.asfortranarray(mask))["counts"].decode(),
    }
    annotations = [
        {"image_id": n, "segmentation": s}
        for n in range(4)
        for s in (run_lengths, [[60, 40, 80, 40, 80, 60, 60, 60]])
    ]
    (tmp_path / "c.json").write_text(json.dumps(coco(*annotations, images=images)))
    scenes = [
        str(write_scene(tmp_path / f"{n}.png", picture(70, 90), driver="PNG")) for n in range(4)
    ]
    out = tmp_path / "out"
    command = [
        "prepare",
        *scenes,
        "--annotations",
        str(tmp_path / "c.json"),
        "--format",
        "coco",
        "-o",
        str(out),
    ]
    assert boundary.run(geoseg, [*command, "--block", "1000"]) == 0
    dataset = Dataset.open(out)
    assert {s.split for s in dataset.scenes} == {"train", "val"}
    assert dataset.legend.names == ("background", "shed")
    assert dataset.layers["outlines"].pixels["shed"] == 4 * (25 * 40 + 20 * 20)
    mask[40:60, 60:80] = 1
    for objects in dataset.annotations().values():
        np.testing.assert_array_equal(burn(objects, 70, 90), mask)
    capsys.readouterr()
    (tmp_path / "c.json").write_text(
        json.dumps(coco({"segmentation": SHED, "category_id": 8}, images=images[:1]))
    )
    assert boundary.run(geoseg, [*command, "--overwrite"]) == 3
    assert capsys.readouterr().err.startswith("geoseg: error: ")
