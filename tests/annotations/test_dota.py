"""DOTA text: round trips, and errors with their line."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import shapely
from hypothesis import example, given
from hypothesis import strategies as st

from geoseg.annotations.burn import Annotations
from geoseg.annotations.dota import LIMIT, read_dota, write_dota
from geoseg.errors import AnnotationError
from geoseg.legend import DOTA_V1, DOTA_V2

BOX = "50 40 110 40 110 70 50 70"
TEXT = (
    f"imagesource:GoogleEarth\ngsd:0.146\n{BOX} plane 0\n200.5 100 260 120 250 150 190 130 ship 1\n"
)


def written(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "P0001.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def fault(path: Path) -> str:
    with pytest.raises(AnnotationError) as error:
        read_dota(path, DOTA_V1)
    message = str(error.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message.removeprefix(str(path))


@st.composite
def quads(draw: st.DrawFn) -> list[tuple[float, float]]:
    """Four corners on an ellipse, in order: a convex quad of any size, place and winding."""
    radius = draw(st.floats(0.01, 1e5))
    x, y = draw(st.tuples(st.floats(-8e5, 8e5), st.floats(-8e5, 8e5)))
    begin = draw(st.floats(0, 6))
    turns = np.cumsum([begin, *draw(st.tuples(*[st.floats(0.3, 1.5)] * 3))])
    if draw(st.booleans()):
        turns = turns[::-1]
    return [(x + radius * math.cos(t), y + radius * math.sin(t)) for t in turns]


@given(
    objects=st.lists(st.tuples(quads(), st.integers(1, 18), st.booleans()), max_size=8),
    gsd=st.none() | st.floats(0.01, 100),
)
def test_what_is_written_is_read_again_to_the_last_digit(
    tmp_path_factory: pytest.TempPathFactory,
    objects: list[tuple[list[tuple[float, float]], int, bool]],
    gsd: float | None,
) -> None:
    annotations = Annotations(
        shapely.polygons([quad for quad, _, _ in objects]) if objects else np.empty(0, object),
        np.array([class_id for _, class_id, _ in objects], np.uint8),
        np.array([difficult for _, _, difficult in objects], bool),
    )
    path = tmp_path_factory.mktemp("dota") / "a.txt"
    write_dota(path, annotations, DOTA_V2, gsd=gsd, image_source="GoogleEarth")
    labels = read_dota(path, DOTA_V2)
    assert shapely.equals_exact(labels.annotations.geometry, annotations.geometry, 0).all()
    assert np.array_equal(labels.annotations.class_id, annotations.class_id)
    assert np.array_equal(labels.annotations.difficult, annotations.difficult)
    assert (labels.gsd, labels.image_source) == (gsd, "GoogleEarth")
    assert (labels.repaired, labels.skipped) == (0, 0)


@pytest.mark.parametrize(
    "text",
    [
        TEXT.encode(),
        TEXT.replace("\n", "\r\n").encode(),
        TEXT.replace("\n", "\r").encode(),
        b"\xef\xbb\xbf" + TEXT.encode(),
        TEXT.replace(" ", "\t").replace("\n", "  \n").encode(),
        TEXT.replace("\n", "\n \n\t\n\n").encode(),
        TEXT.rstrip("\n").encode(),
        TEXT.replace(" 1\n", " 2\n").encode(),
        TEXT.replace("imagesource:", "ImageSource: ").encode(),
        TEXT.replace("gsd", "acquisition dates:2016-05-04\nGSD").encode(),
    ],
    ids=["lf", "crlf", "cr", "bom", "tabs", "blank", "no-end", "difficult-2", "case", "dates"],
)
def test_the_same_objects_are_read_however_the_file_was_saved(tmp_path: Path, text: bytes) -> None:
    labels = read_dota(written(tmp_path, text), DOTA_V1)
    plane, ship = labels.annotations.geometry
    assert shapely.get_coordinates(plane)[:4].tolist() == [[50, 40], [110, 40], [110, 70], [50, 70]]
    assert shapely.get_coordinates(ship)[0].tolist() == [200.5, 100]
    assert [DOTA_V1[i].name for i in labels.annotations.class_id] == ["plane", "ship"]
    assert labels.annotations.difficult.tolist() == [False, True]
    assert (labels.gsd, labels.image_source) == (0.146, "GoogleEarth")


@pytest.mark.parametrize("gsd", ["", "gsd:null\n", "gsd:None\n", "gsd:\n", "gsd: nan\n"])
def test_a_file_need_not_know_its_gsd(tmp_path: Path, gsd: str) -> None:
    labels = read_dota(written(tmp_path, f"{gsd}{BOX} plane 0\n"), DOTA_V1)
    assert labels.gsd is None
    assert labels.image_source is None
    assert len(labels.annotations) == 1


@pytest.mark.parametrize("text", ["", "\n\n", "imagesource:GoogleEarth\ngsd:0.2\n"])
def test_a_file_may_hold_no_objects(tmp_path: Path, text: str) -> None:
    assert len(read_dota(written(tmp_path, text), DOTA_V1).annotations) == 0


def test_the_difficult_flag_may_be_left_out(tmp_path: Path) -> None:
    labels = read_dota(written(tmp_path, f"{BOX} plane\n"), DOTA_V1)
    assert labels.annotations.difficult.tolist() == [False]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (BOX, "8 fields, expected 9 or 10"),
        (f"{BOX} small vehicle 0", "11 fields, expected"),
        (BOX.replace(" ", ",") + ",plane,0", "1 fields, expected"),
        ("50 40 110 40 110 70 50 plane 0", "'plane' is not a coordinate"),
        (f"nan{BOX[2:]} plane 0", "'nan' is not a coordinate"),
        (f"inf{BOX[2:]} plane 0", "'inf' is not a coordinate"),
        (f"5_0{BOX[2:]} plane 0", "'5_0' is not a coordinate"),
        (f"50,5{BOX[2:]} plane 0", "'50,5' is not a coordinate"),
        (f"\uff15\uff10{BOX[2:]} plane 0", "is not a coordinate"),
        (f"1e300{BOX[2:]} plane 0", "'1e300' is more than 1,000,000 pixels away"),
        (f"-2147483648{BOX[2:]} plane 0", "is more than"),
        (f"1{'0' * 400}{BOX[2:]} plane 0", "is more than"),
        (f"{BOX} plane yes", "difficult must be 0, 1 or 2, got 'yes'"),
        (f"{BOX} Plane 0", "unknown class 'Plane' (did you mean 'plane'?"),
        (f"{BOX} small_vehicle 0", "did you mean 'small-vehicle'?"),
        (f"{BOX} background 0", "not a class of objects"),
        ("\0" * 300, "1 fields, expected"),
        ("gsd:fast", "gsd must be metres per pixel or null, got 'fast'"),
        ("gsd:-1", "gsd must be"),
    ],
)
def test_an_error_names_its_line(tmp_path: Path, line: str, says: str) -> None:
    message = fault(written(tmp_path, f"imagesource:GoogleEarth\n\n{line}\n"))
    assert message.startswith(":3: ")
    assert says in message
    assert len(message) < 500


@pytest.mark.parametrize("data", [TEXT.encode("utf-16"), b"50 40 pl\xe4ne", b"\x89PNG\r\n\x1a\n"])
def test_what_is_not_utf8_is_refused(tmp_path: Path, data: bytes) -> None:
    assert "not UTF-8" in fault(written(tmp_path, data))


def test_a_header_after_objects_is_an_error(tmp_path: Path) -> None:
    assert fault(written(tmp_path, f"{BOX} plane 0\ngsd:0.1\n")).startswith(":2: ")


def test_a_missing_file_is_an_error_about_annotations(tmp_path: Path) -> None:
    assert "No such file" in fault(tmp_path / "none.txt")


def test_up_to_twenty_errors_of_a_file_are_listed(tmp_path: Path) -> None:
    message = fault(written(tmp_path, "".join(f"x{n} {BOX[3:]} plane 0\n" for n in range(25))))
    assert message.startswith(":1: 'x0'")
    assert "line 20: 'x19'" in message
    assert "x20" not in message
    assert "and 5 more" in message


def test_a_repeated_error_is_listed_once(tmp_path: Path) -> None:
    message = fault(written(tmp_path, f"{BOX} Plane 0\n{BOX} plane 0\n" * 30))
    assert message.count("did you mean") == 1
    assert "also line 3, 5, 7" in message
    assert "and 9 more" in message


@given(text=st.text() | st.binary())
@example("gsd:1e400\n")
@example("\x1c")
@example(f"{'1' * 5000} 2 3 4 5 6 7 8 plane 0")
def test_any_file_is_either_read_or_refused_in_one_line(
    tmp_path_factory: pytest.TempPathFactory, text: str | bytes
) -> None:
    path = tmp_path_factory.mktemp("dota") / "a.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode(errors="surrogatepass"))
    try:
        read_dota(path, DOTA_V1)
    except AnnotationError as error:
        assert str(error).startswith(str(path))
        assert len(str(error).splitlines()) == 1


@given(quad=quads(), order=st.permutations(range(4)))
def test_crossing_sides_are_put_in_order(
    tmp_path_factory: pytest.TempPathFactory, quad: list[tuple[float, float]], order: list[int]
) -> None:
    path = tmp_path_factory.mktemp("dota") / "a.txt"
    corners = " ".join(f"{v!r}" for i in order for v in quad[i])
    path.write_text(f"{corners} plane 0\n", encoding="utf-8")
    labels = read_dota(path, DOTA_V1)
    (geometry,) = labels.annotations.geometry
    whole = shapely.MultiPoint(quad).convex_hull
    assert geometry.is_valid
    assert geometry.area == pytest.approx(whole.area, rel=1e-6)
    assert labels.repaired == (not shapely.Polygon([quad[i] for i in order]).is_valid)


def test_a_bow_tie_keeps_its_four_corners(tmp_path: Path) -> None:
    labels = read_dota(written(tmp_path, "50 40 110 70 110 40 50 70 plane 0\n"), DOTA_V1)
    assert labels.annotations.geometry[0].equals(shapely.box(50, 40, 110, 70))
    assert labels.repaired == 1


@pytest.mark.parametrize(
    "corners", ["50 40 80 40 110 40 140 40", "7 7 7 7 7 7 7 7", "0 0 1 1 0 0 1 1"]
)
def test_lines_and_points_are_left_out_and_counted(tmp_path: Path, corners: str) -> None:
    labels = read_dota(written(tmp_path, f"{corners} plane 0\n{BOX} ship 1\n"), DOTA_V1)
    assert labels.skipped == 1
    assert labels.annotations.class_id.tolist() == [DOTA_V1.id_of("ship")]
    assert labels.annotations.difficult.tolist() == [True]


@pytest.mark.parametrize(
    ("corners", "area"),
    [
        ("50 40 110 40 110 70 110 70", 900),
        ("50 40 110 40 70 50 50 70", 600),
        ("50 70 110 70 110 40 50 40", 1800),
        ("50.1 40.1 50.3 40.1 50.3 40.3 50.1 40.3", 0.04),
    ],
    ids=["triangle", "concave", "other-way-round", "smaller-than-a-pixel"],
)
def test_unusual_quads_stay_as_they_are(tmp_path: Path, corners: str, area: float) -> None:
    labels = read_dota(written(tmp_path, f"{corners} plane 0\n"), DOTA_V1)
    assert labels.annotations.geometry[0].area == pytest.approx(area)
    assert (labels.repaired, labels.skipped) == (0, 0)


@given(
    points=st.lists(
        st.tuples(st.integers(0, 500), st.integers(0, 500)), min_size=5, max_size=9, unique=True
    )
)
def test_what_is_no_quad_is_written_as_its_smallest_rectangle(
    tmp_path_factory: pytest.TempPathFactory, points: list[tuple[int, int]]
) -> None:
    hull = shapely.MultiPoint(points).convex_hull
    if hull.area == 0 or len(hull.exterior.coords) == 5:
        return
    path = tmp_path_factory.mktemp("dota") / "a.txt"
    one = Annotations(np.array([hull], object), np.array([1], np.uint8), np.array([False]))
    write_dota(path, one, DOTA_V1)
    (quad,) = read_dota(path, DOTA_V1).annotations.geometry
    assert len(quad.exterior.coords) == 5
    assert quad.buffer(1e-6).contains(hull)
    assert quad.area == pytest.approx(hull.minimum_rotated_rectangle.area)


def test_coordinates_up_to_the_limit_are_taken(tmp_path: Path) -> None:
    text = f"{-LIMIT} 0 {LIMIT} 0 {LIMIT} {LIMIT} 0 {LIMIT} plane 0\n"
    (geometry,) = read_dota(written(tmp_path, text), DOTA_V1).annotations.geometry
    assert geometry.bounds == (-LIMIT, 0, LIMIT, LIMIT)


def test_every_line_of_the_original_dota_files_is_accounted_for(real_data: Path) -> None:
    for path in sorted((real_data / "dota" / "originals" / "labelTxt").glob("*.txt")):
        labels = read_dota(path, DOTA_V1)
        lines = [line.split() for line in path.read_text().splitlines()]
        objects = [line for line in lines if len(line) == 10]
        assert len(labels.annotations) + labels.skipped == len(objects)
        difficult = {tuple(map(float, line[:8])): line[9] != "0" for line in objects}
        assert labels.repaired == 0
        rows = zip(labels.annotations.geometry, labels.annotations.difficult, strict=True)
        for geometry, hard in rows:
            assert difficult[tuple(shapely.get_coordinates(geometry)[:4].ravel())] == hard
