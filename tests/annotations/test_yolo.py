"""YOLO text: corners and outlines as fractions of the image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import shapely
import yaml
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st

from geoseg.annotations.readers import NamedAnnotations, ReaderOptions
from geoseg.annotations.validation import IssueKind, ValidationReport
from geoseg.annotations.yolo import read_class_names, read_yolo_obb, read_yolo_seg
from geoseg.cli import boundary, geoseg
from geoseg.dataset.folder import Dataset
from geoseg.errors import AnnotationError
from geoseg.raster.scene import SceneInfo
from tests.scenes import picture, write_scene

READERS = {"obb": read_yolo_obb, "seg": read_yolo_seg}
QUAD = "0.1 0.1 0.5 0.1 0.5 0.4 0.1 0.4"


def scene(name: str = "a", width: int = 200, height: int = 100) -> SceneInfo:
    path = Path(f"scenes/{name}.tif")
    return SceneInfo(path, width, height, 3, "uint8", None, Affine.identity(), None, None)


def folder(place: Path, text: str | None, *, names: str = "names: [car, tree]") -> Path:
    labels = place / "labels" / "train"
    labels.mkdir(parents=True, exist_ok=True)
    (place / "data.yaml").write_text(names, encoding="utf-8")
    if text is not None:
        (labels / "a.txt").write_text(text, encoding="utf-8")
    return place / "labels"


def read(
    path: Path, *scenes: SceneInfo, kind: str = "obb", report: ValidationReport | None = None
) -> list[NamedAnnotations | None]:
    report = ValidationReport() if report is None else report
    found = READERS[kind](path, scenes or (scene(),), ReaderOptions(), report)
    report.raise_rejected()
    return list(found)


def only(
    path: Path, *, kind: str = "obb", report: ValidationReport | None = None
) -> NamedAnnotations:
    (drawn,) = read(path, kind=kind, report=report)
    assert drawn is not None
    return drawn


# --- geometry -----------------------------------------------------------------------------------


@given(
    st.lists(
        st.tuples(
            st.integers(0, 1),
            st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=3, max_size=9),
        ),
        min_size=1,
        max_size=8,
    )
)
def test_outlines_come_back_in_pixels_to_the_last_digit(
    tmp_path_factory: pytest.TempPathFactory, objects: list[tuple[int, list[tuple[float, float]]]]
) -> None:
    polygons = [shapely.Polygon(corners) for _, corners in objects]
    objects = [o for o, p in zip(objects, polygons, strict=True) if p.is_valid and p.area > 1e-3]
    text = "\n".join(
        f"{number} " + " ".join(f"{x!r} {y!r}" for x, y in corners) for number, corners in objects
    )
    drawn = only(folder(tmp_path_factory.mktemp("yolo"), text), kind="seg")
    assert drawn.name.tolist() == [("car", "tree")[number] for number, _ in objects]
    for geometry, (_, corners) in zip(drawn.geometry, objects, strict=True):
        expected = shapely.Polygon(np.array(corners) * (200, 100))  # closes a ring once
        np.testing.assert_array_equal(*map(shapely.get_coordinates, (geometry, expected)))


def test_corners_are_shares_of_width_and_height(tmp_path: Path) -> None:
    drawn = only(folder(tmp_path, f"1 {QUAD}\n\n0 {QUAD}\n"))
    assert drawn.geometry[0].equals(shapely.box(20, 10, 100, 40))
    assert drawn.name.tolist() == ["tree", "car"]


def test_an_object_may_reach_over_the_edge(tmp_path: Path) -> None:
    drawn = only(folder(tmp_path, "0 -0.1 -0.1 0.5 0 1.2 0.4 0 1.01"))
    assert drawn.geometry[0].bounds == pytest.approx((-20, -10, 240, 101))


def test_issues_are_repaired_and_reported(tmp_path: Path) -> None:
    crossed = "0.1 0.1 0.5 0.4 0.5 0.1 0.1 0.4"
    report = ValidationReport()
    path = folder(tmp_path, f"0 {crossed}\n0 {QUAD} 0.87\n0 0.1 0.1 0.2 0.2 0.3 0.3 0.4 0.4\n")
    (path / "train" / "stranger.txt").write_text("")
    drawn = only(path, report=report)
    assert shapely.area(drawn.geometry) == pytest.approx([80 * 30] * 2)
    assert {f.kind: f.count for f in report} == {
        IssueKind.INVALID_RING: 1,
        IssueKind.NO_AREA: 1,
        IssueKind.CONFIDENCE: 1,
        IssueKind.NO_IMAGE: 1,
    }
    drawn = only(folder(tmp_path, f"0 {crossed}\n"), kind="seg")
    assert shapely.area(drawn.geometry) == pytest.approx([80 * 30 / 2])


def test_an_image_without_a_file_has_no_objects_and_is_reported(tmp_path: Path) -> None:
    report = ValidationReport()
    found = read(folder(tmp_path, f"0 {QUAD}"), scene("a"), scene("b"), report=report)
    assert [len(drawn) for drawn in found if drawn is not None] == [1, 0]
    assert [(f.kind, f.scene) for f in report] == [(IssueKind.NO_LABELS, "b")]


# --- names --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("names: [car, tree]", ["car", "tree"]),
        ("names:\n  1: tree\n  0: car\npath: /somewhere\ntrain: images", ["car", "tree"]),
        (
            "names:\n  0: small vehicle\n  1: Soccer Ball Field",
            ["small-vehicle", "soccer-ball-field"],
        ),
        ("names:\n- small vehicle\n- house", ["small vehicle", "house"]),
    ],
)
def test_names_may_be_a_list_or_a_mapping(tmp_path: Path, text: str, expected: list[str]) -> None:
    assert read_class_names(folder(tmp_path, None, names=text)) == expected


def test_names_may_be_lines_of_a_text_file_and_the_nearest_counts(tmp_path: Path) -> None:
    labels = folder(tmp_path, f"0 {QUAD}")
    (labels / "classes.txt").write_text("shed\nfield of wheat\n", encoding="utf-8")
    assert only(labels).name.tolist() == ["shed"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("names: [car, no]", "name of class 1 is not text. Quote it"),
        ("names: {0: car, 2: tree}", "numbered from 0 without gaps"),
        ("names: {car: 0}", "numbered from 0"),
        ("nc: 2", "no class names"),
        ("names: []", "no class names"),
        ("- car", "no class names"),
        ("nc: 2\nnames: [car", "data.yaml:2: invalid YAML"),
        ("names: !!python/object/apply:os.getcwd []", "data.yaml:1: invalid YAML"),
        ("[" * 1500, "invalid YAML"),
        ("a: &a [x, x]\nb: &b [*a, *a]\nnames: [*b, *b]", "class 0 is not text"),
        ("#" * (1 << 21), "too large"),
    ],
)
def test_invalid_class_names_are_an_error_of_one_line(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(AnnotationError, match=why) as caught:
        read_class_names(folder(tmp_path, None, names=text))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_code_in_a_yaml_file_is_not_run(tmp_path: Path) -> None:
    trap = f"names: !!python/object/apply:os.mkdir ['{tmp_path}/made']"
    with pytest.raises(AnnotationError):
        read_class_names(folder(tmp_path, None, names=trap))
    assert not (tmp_path / "made").exists()
    with pytest.raises(yaml.YAMLError):
        yaml.safe_load(trap)


# --- mistakes -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "line", "why"),
    [
        ("obb", "0 0.5 0.5 0.1 0.1", "box of 5 fields"),
        ("obb", "0 0.5 0.5 0.1", "4 fields, expected 9: a class and 4 corners"),
        ("seg", f"0 {QUAD} 0.9", "10 fields, expected a class and two for each"),
        ("seg", "0 0.1 0.1 0.2", "4 fields"),
        ("seg", "", "no label file"),
        ("obb", f"2 {QUAD}", "class '2' is not one of 0 to 1"),
        ("obb", f"-1 {QUAD}", "class '-1'"),
        ("obb", f"1.0 {QUAD}", "class '1.0'"),
        ("obb", f"² {QUAD}", "class '²'"),
        ("obb", f"0 x{QUAD}", "'x0.1' is not a coordinate"),
        ("obb", f"0 {QUAD.replace('0.5', 'nan')}", "far outside 0 to 1"),
        ("obb", "0 20 10 100 10 100 40 20 40", "far outside 0 to 1; they may be in pixels"),
    ],
)
def test_an_invalid_line_is_named_by_number(tmp_path: Path, kind: str, line: str, why: str) -> None:
    path = folder(tmp_path, f"0 {QUAD}\n{line}\n{line}\n" if line else None)
    with pytest.raises(AnnotationError, match=why) as caught:
        read(path, kind=kind)
    if line:
        assert str(caught.value).startswith(f"{path}/train/a.txt:2: ")
        assert "(and 1 more lines)" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_ambiguous_and_unreadable_files_are_named(tmp_path: Path) -> None:
    path = folder(tmp_path, f"0 {QUAD}")
    (path / "a.txt").write_text(f"0 {QUAD}")
    with pytest.raises(AnnotationError, match="there is also"):
        read(path)
    (path / "a.txt").unlink()
    (path / "train" / "a.txt").write_bytes(b"\xff\xfe0 1")
    with pytest.raises(AnnotationError, match="cannot be read as text"):
        read(path)
    (tmp_path / "data.yaml").unlink()
    with pytest.raises(AnnotationError, match=r"no data\.yaml and no classes\.txt"):
        read(path)
    with pytest.raises(AnnotationError, match="not a folder"):
        read(path / "train" / "a.txt")
    with pytest.raises(AnnotationError, match="has the same name as"):
        read(path, scene("a"), scene("a", 7))


def test_the_command_reads_a_folder_of_images_and_one_of_labels(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = folder(tmp_path, f"0 {QUAD}\n")
    (tmp_path / "images").mkdir()
    for name in "abc":
        write_scene(tmp_path / "images" / f"{name}.png", picture(100, 200), driver="PNG")
        (path / "train" / f"{name}.txt").write_text(f"0 {QUAD}\n1 {QUAD}\n")
    command = [
        "prepare",
        str(tmp_path / "images"),
        "-o",
        str(tmp_path / "out"),
        "--annotations",
        str(path),
    ]
    assert boundary.run(geoseg, [*command, "--format", "yolo-box"]) == 2
    assert "yolo-obb, yolo-seg" in capsys.readouterr().err
    assert boundary.run(geoseg, [*command, "--format", "yolo-obb", "--colours", "isaid"]) == 2
    assert boundary.run(geoseg, [*command, "--format", "yolo-obb", "--block", "1000"]) == 0
    dataset = Dataset.open(tmp_path / "out")
    assert dataset.layers["outlines"].objects == {"car": 3, "tree": 3}
    (path / "train" / "b.txt").write_text("0 1 2 3\n")
    bad = [*command, "--format", "yolo-obb", "--overwrite", "--block", "1000"]
    assert boundary.run(geoseg, bad) == 3
    assert boundary.run(geoseg, [*bad, "--skip-bad"]) == 6
    assert {s.name for s in Dataset.open(tmp_path / "out").scenes} == {"a", "c"}
