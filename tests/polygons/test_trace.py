"""The tracer against GDAL, and against counting pixels."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio.features
import shapely
from affine import Affine
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

import geoseg
from geoseg.polygons.kernels import sweep
from geoseg.polygons.trace import PolygonBatch, trace

Labels = NDArray[np.uint8]

IDENTITY = Affine.identity()
NORTH_UP = Affine(0.3, 0, 500_000.1, 0, -0.3, 5_000_000.7)
SOUTH_UP = Affine(0.3, 0, 500_000.1, 0, 0.3, 5_000_000.7)
ROTATED = Affine(0.3, 0.1, 7, 0.05, -0.2, 11)


def rasters(labels: int = 4, side: int = 14) -> st.SearchStrategy[Labels]:
    shapes = st.tuples(st.integers(1, side), st.integers(1, side))
    return arrays.arrays(np.uint8, shapes, elements=st.integers(0, labels - 1), fill=st.nothing())


HEIGHTS = st.lists(st.integers(1, 5), min_size=1, max_size=4)


def cut(
    labels: Labels, heights: list[int], confidence: Labels | None = None
) -> Iterator[tuple[Labels, Labels | None]]:
    row = turn = 0
    while row < len(labels):
        part = slice(row, row + heights[turn % len(heights)])
        yield labels[part], None if confidence is None else confidence[part]
        row, turn = part.stop, turn + 1


def traced(
    labels: Labels,
    heights: list[int] | None = None,
    *,
    confidence: Labels | None = None,
    skip: tuple[int, ...] = (0, 255),
) -> PolygonBatch:
    """All polygons in one batch: no test raster is large enough for two."""
    batches = list(trace(cut(labels, heights or [len(labels)], confidence), skip=skip))
    assert len(batches) <= 1
    return batches[0] if batches else nothing()


def nothing() -> PolygonBatch:
    none = np.empty(0)
    return PolygonBatch(
        class_id=none.astype(np.uint8),
        pixels=none.astype(np.int64),
        confidence_mean=none.astype(np.float32),
        confidence_min=none.astype(np.float32),
        touches_edge=none.astype(bool),
        perimeter_xy=np.empty((0, 2), np.int64),
        coordinates=np.empty((0, 2), np.int32),
        ring_offsets=np.zeros(1, np.int64),
        polygon_offsets=np.zeros(1, np.int64),
    )


def normalised(polygons: NDArray[np.object_], labels: Labels) -> list[tuple[int, bytes]]:
    wkb = shapely.to_wkb(shapely.normalize(polygons))
    return sorted((int(label), geometry) for label, geometry in zip(labels, wkb, strict=True))


def from_gdal(
    labels: Labels, skip: tuple[int, ...] = (0, 255), transform: Affine = IDENTITY
) -> list[tuple[int, bytes]]:
    shapes = rasterio.features.shapes(labels, connectivity=4, transform=transform)
    found = [(shapely.geometry.shape(shape), int(value)) for shape, value in shapes]
    kept = [(polygon, value) for polygon, value in found if value not in skip]
    polygons = np.array([polygon for polygon, _ in kept], dtype=object)
    return normalised(polygons, np.array([value for _, value in kept], np.uint8))


def as_gdal(batch: PolygonBatch, transform: Affine = IDENTITY) -> list[tuple[int, bytes]]:
    return normalised(batch.geometry(transform), batch.class_id)


def checkerboard(side: int = 12) -> Labels:
    rows, columns = np.indices((side, side))
    labels: Labels = ((rows + columns) % 2 + 1).astype(np.uint8)
    return labels


def spiral(side: int = 21) -> Labels:
    """A line of one pixel's width, wound inwards, one pixel apart."""
    labels = np.zeros((side, side), np.uint8)
    row, column, length = 0, -1, side
    for turn, (down, right) in enumerate(4 * side * [(0, 1), (1, 0), (0, -1), (-1, 0)]):
        if length <= 0:
            break
        for _ in range(length):
            row, column = row + down, column + right
            labels[row, column] = 1
        length -= (turn == 0) + 2 * (turn > 0 and turn % 2 == 0)
    return labels


def nested(side: int = 17) -> Labels:
    """Holes in holes: square rings of two labels."""
    rows, columns = np.indices((side, side))
    ring = np.minimum.reduce([rows, columns, side - 1 - rows, side - 1 - columns])
    labels: Labels = (ring % 2 + 1).astype(np.uint8)
    return labels


def touching_holes() -> Labels:
    """Holes that meet each other and the outside in corners, in one region."""
    return np.array(
        [
            [1, 1, 1, 1, 1, 1, 1, 1],
            [1, 0, 1, 0, 1, 1, 1, 1],
            [1, 1, 0, 1, 0, 1, 0, 1],
            [1, 0, 1, 0, 1, 1, 1, 0],
            [1, 1, 1, 1, 0, 1, 1, 1],
            [1, 0, 1, 1, 1, 1, 1, 0],
        ],
        np.uint8,
    )


def sieve(side: int) -> Labels:
    """One region with a hole in every second row and column."""
    labels = np.ones((side, side), np.uint8)
    labels[1:-1:2, 1:-1:2] = 0
    return labels


def noise(side: int, full: float) -> Labels:
    return (np.random.default_rng(1).random((side, side + 7)) < full).astype(np.uint8)


PATTERNS = {
    "one pixel": np.ones((1, 1), np.uint8),
    "one pixel of many": np.pad(np.ones((1, 1), np.uint8), 3),
    "one row": np.array([[1, 1, 0, 2, 2, 1, 3]], np.uint8),
    "one column": np.array([[1, 1, 0, 2, 2, 1, 3]], np.uint8).T,
    "a full raster": np.full((9, 13), 7, np.uint8),
    "a checkerboard": checkerboard(),
    "a spiral": spiral(),
    "holes in holes": nested(),
    "holes touching in corners": touching_holes(),
    "a sieve": sieve(31),
    "percolating noise": noise(150, 0.65),
    "dense noise": noise(150, 0.9),
    "thin noise": noise(150, 0.4),
    "every label": np.arange(256, dtype=np.uint8).reshape(16, 16),
}


@pytest.mark.parametrize("heights", [[1], [3, 1, 4], [1000]], ids=str)
@pytest.mark.parametrize("name", PATTERNS)
def test_polygons_are_gdals(name: str, heights: list[int]) -> None:
    labels = PATTERNS[name]
    assert as_gdal(traced(labels, heights)) == from_gdal(labels)


@settings(deadline=None, max_examples=200)
@given(rasters(), HEIGHTS, st.sets(st.integers(0, 3)))
@example(touching_holes(), [1], set())
def test_polygons_of_any_raster_are_gdals(
    labels: Labels, heights: list[int], skip: set[int]
) -> None:
    batch = traced(labels, heights, skip=tuple(skip))
    assert as_gdal(batch) == from_gdal(labels, tuple(skip))


@settings(deadline=None, max_examples=100)
@given(rasters(labels=2), HEIGHTS)
def test_polygons_are_valid_and_fill_their_labels(labels: Labels, heights: list[int]) -> None:
    batch = traced(labels, heights, skip=())
    polygons = batch.geometry(IDENTITY)
    assert shapely.is_valid(polygons).all()
    burned = rasterio.features.rasterize(
        zip(polygons, batch.class_id, strict=True), labels.shape, fill=9, dtype="uint8"
    )
    np.testing.assert_array_equal(burned, labels)


@settings(deadline=None, max_examples=100)
@given(rasters(), st.data(), HEIGHTS)
def test_attributes_are_those_of_the_pixels(
    labels: Labels, data: st.DataObject, heights: list[int]
) -> None:
    values = st.one_of(st.integers(0, 200), st.just(255))
    confidence = data.draw(arrays.arrays(np.uint8, labels.shape, elements=values))
    batch = traced(labels, heights, confidence=confidence)
    if not len(batch):
        return
    numbered = zip(batch.geometry(IDENTITY), range(len(batch)), strict=True)
    owner = rasterio.features.rasterize(numbered, labels.shape, fill=-1, dtype="int32")
    for index in range(len(batch)):
        inside = owner == index
        known = confidence[inside & (confidence != 255)].astype(float) / 200
        framed = np.pad(inside, 1)
        assert batch.pixels[index] == inside.sum()
        assert batch.touches_edge[index] == (inside[1:-1, 1:-1].sum() < inside.sum())
        assert batch.perimeter_xy[index, 0] == np.diff(framed, axis=0).sum()
        assert batch.perimeter_xy[index, 1] == np.diff(framed, axis=1).sum()
        mean, lowest = (known.mean(), known.min()) if known.size else (np.nan, np.nan)
        np.testing.assert_allclose(batch.confidence_mean[index], mean, rtol=1e-6)
        np.testing.assert_allclose(batch.confidence_min[index], lowest, rtol=1e-6)


@settings(deadline=None, max_examples=50)
@given(rasters(), st.data(), HEIGHTS)
def test_the_mean_uncertainty_is_measured_as_that_of_the_confidence(
    labels: Labels, data: st.DataObject, heights: list[int]
) -> None:
    values = st.one_of(st.integers(0, 200), st.just(255))
    planes = data.draw(arrays.arrays(np.uint8, (*labels.shape, 2), elements=values))
    both = traced(labels, heights, confidence=planes)
    one, other = (traced(labels, confidence=planes[..., plane].copy()) for plane in (0, 1))
    np.testing.assert_array_equal(both.confidence_mean, one.confidence_mean)
    np.testing.assert_array_equal(both.confidence_min, one.confidence_min)
    if len(both):
        assert both.uncertainty_mean is not None
        np.testing.assert_allclose(both.uncertainty_mean, other.confidence_mean, rtol=1e-6)


@settings(deadline=None, max_examples=100)
@given(rasters(labels=3), HEIGHTS)
def test_strips_change_nothing_not_even_the_order(labels: Labels, heights: list[int]) -> None:
    whole, stripped = traced(labels), traced(labels, heights)
    for field in PolygonBatch.__slots__:
        np.testing.assert_array_equal(getattr(whole, field), getattr(stripped, field))


@pytest.mark.parametrize("transform", [NORTH_UP, SOUTH_UP, ROTATED], ids=["north", "south", "any"])
def test_coordinates_are_gdals_to_the_last_bit(transform: Affine) -> None:
    labels = noise(60, 0.6)
    assert as_gdal(traced(labels), transform) == from_gdal(labels, transform=transform)


@pytest.mark.parametrize("transform", [NORTH_UP, SOUTH_UP, ROTATED], ids=["north", "south", "any"])
def test_shells_run_counter_clockwise_and_holes_clockwise(transform: Affine) -> None:
    polygons = traced(PATTERNS["percolating noise"]).geometry(transform)
    assert shapely.is_ccw(shapely.get_exterior_ring(polygons)).all()
    holes = [hole for polygon in polygons for hole in polygon.interiors]
    assert holes
    assert not shapely.is_ccw(holes).any()


@settings(deadline=None, max_examples=50)
@given(rasters(labels=3))
def test_wkb_and_geometry_agree(labels: Labels) -> None:
    batch = traced(labels)
    wkb = batch.wkb(NORTH_UP)
    assert wkb.null_count == 0
    polygons = shapely.from_wkb(wkb.to_numpy(zero_copy_only=False))
    assert shapely.equals_exact(polygons, batch.geometry(NORTH_UP)).all()
    wkb.validate(full=True)


def test_a_raster_of_skipped_labels_has_no_polygons() -> None:
    assert list(trace([(np.zeros((40, 30), np.uint8), None)])) == []
    assert list(trace([])) == []


def test_without_confidence_it_is_nan() -> None:
    batch = traced(nested())
    assert np.isnan(batch.confidence_mean).all()
    assert np.isnan(batch.confidence_min).all()


def test_batches_hold_what_is_finished(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("geoseg.polygons.trace.BATCH_CORNERS", 100)
    labels = PATTERNS["thin noise"]
    strips = cut(labels, [10])
    first = next(trace(strips))
    assert next(strips)[0].shape == (10, 157)  # it came before the last strip was read
    batches = list(trace(cut(labels, [10])))
    assert len(batches) > 10
    assert first.class_id.tolist() == batches[0].class_id.tolist()
    found = [polygon for batch in batches for polygon in as_gdal(batch)]
    assert sorted(found) == from_gdal(labels)


def test_a_region_may_have_very_many_holes() -> None:
    side = 801
    batch = traced(sieve(side), [50])
    assert batch.polygon_offsets.tolist() == [0, 1 + 400**2]
    assert batch.pixels.tolist() == [side**2 - 400**2]


def test_arrays_of_any_layout_use_one_compiled_kernel() -> None:
    labels = PATTERNS["dense noise"]
    frozen = labels.copy()
    frozen.flags.writeable = False
    wide = np.repeat(labels, 2, axis=1)[:, ::2]
    expected = as_gdal(traced(labels))
    for same in (frozen, wide, np.asfortranarray(labels)):
        assert as_gdal(traced(same, confidence=same)) == expected
    assert len(sweep.signatures) == 1  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("strips", "message"),
    [
        ([(np.zeros((2, 2), np.int16), None)], "uint8"),
        ([(np.zeros(4, np.uint8), None)], "rows, columns"),
        ([(np.zeros((2, 2), np.uint8), np.zeros((2, 3), np.uint8))], "confidence"),
        ([(np.zeros((2, 2), np.uint8), np.zeros((2, 2)))], "confidence"),
        ([(np.zeros((2, 2), np.uint8), None), (np.zeros((2, 3), np.uint8), None)], "columns wide"),
        ([(np.broadcast_to(np.uint8(0), (2**31, 1)), None)], "rows"),
        ([(np.broadcast_to(np.uint8(0), (1, 2**31)), None)], "columns"),
    ],
)
def test_wrong_strips_are_value_errors(strips: list[Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        list(trace(strips))


def test_labels_to_skip_are_labels() -> None:
    with pytest.raises(ValueError, match="skip"):
        list(trace([], skip=(256,)))


PEAK = """
import resource, sys
import numpy as np
from affine import Affine
from geoseg.polygons.trace import trace

def strips(rows):
    random = np.random.default_rng(0)
    for _ in range(0, rows, 250):
        labels = random.integers(0, 4, (50, 400), np.uint8).repeat(5, axis=0).repeat(5, axis=1)
        labels[random.random(labels.shape) < 0.05] = 1
        yield labels, labels

batches = sum(len(batch.wkb(Affine.identity())) > 0 for batch in trace(strips(int(sys.argv[1]))))
assert batches > 1
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_height() -> None:
    def peak(rows: int) -> int:
        command = [sys.executable, "-c", PEAK, str(rows)]
        return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    assert peak(8000) < 1.05 * peak(2000)


RUN = """
import numpy as np
from geoseg.polygons.kernels import sweep
from geoseg.polygons.trace import trace
batch, = trace([(np.ones((3, 4), np.uint8), None)])
print(batch.pixels[0], sum(sweep.stats.cache_hits.values()))
"""


@pytest.mark.slow
@pytest.mark.parametrize("cache", [True, False])
def test_a_read_only_package_is_cached_elsewhere_or_compiled_anew(
    tmp_path: Path, cache: bool
) -> None:
    package = Path(geoseg.__file__).parent
    copy = tmp_path / "geoseg"
    shutil.copytree(package, copy, ignore=shutil.ignore_patterns("__pycache__", "*.safetensors"))
    for folder in (copy, copy / "polygons"):
        (folder / "__pycache__").touch()  # no folder can be made here, not even by root
    environment = {
        name: value for name, value in os.environ.items() if name not in ("HOME", "NUMBA_CACHE_DIR")
    }
    nowhere = tmp_path / "file"
    nowhere.touch()
    environment |= {"PYTHONPATH": str(tmp_path), "XDG_CACHE_HOME": str(nowhere / "cache")}
    if cache:
        environment["NUMBA_CACHE_DIR"] = str(tmp_path / "cache")

    def run() -> str:
        command = [sys.executable, "-c", RUN]
        answer = subprocess.run(
            command, check=True, capture_output=True, text=True, env=environment, cwd=tmp_path
        )
        return answer.stdout.strip()

    assert run() == "12 0"
    if cache:
        assert run() == "12 1"
