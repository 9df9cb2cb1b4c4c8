import numpy as np
import shapely
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from rasterio.windows import Window

from geoseg.annotations.burn import AnnotationIndex, Annotations, burn
from geoseg.legend import IGNORE


def annotations(*objects: tuple[shapely.Geometry, int], difficult: bool = False) -> Annotations:
    geometry = np.array([g for g, _ in objects], object)
    return Annotations(
        geometry,
        np.array([c for _, c in objects], np.uint8),
        np.full(len(objects), difficult),
    )


def centres_inside(polygon: shapely.Geometry, height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width] + 0.5
    return np.asarray(shapely.contains_xy(polygon, x.ravel(), y.ravel()).reshape(height, width))


corner = st.tuples(
    st.floats(-20, 60, allow_nan=False).map(lambda v: round(v, 2) + 0.003),
    st.floats(-20, 60, allow_nan=False).map(lambda v: round(v, 2) + 0.003),
)


@given(st.lists(corner, min_size=3, max_size=6))
def test_a_pixel_takes_the_class_of_the_polygon_that_holds_its_centre(
    corners: list[tuple[float, float]],
) -> None:
    hull = shapely.MultiPoint(corners).convex_hull
    if hull.geom_type != "Polygon":
        return
    labels = burn(annotations((hull, 7)), 40, 50)
    assert (labels[centres_inside(hull, 40, 50)] == 7).all()
    grown = hull.buffer(1e-9)  # a centre on an edge may be inside or outside
    assert (labels[~centres_inside(grown, 40, 50)] == 0).all()


@given(x=st.integers(-30, 30), y=st.integers(-30, 30), size=st.integers(1, 40))
def test_a_window_holds_the_same_labels_as_the_scene(x: int, y: int, size: int) -> None:
    whole = annotations(
        (shapely.box(2.3, 4.1, 30.7, 22.2), 1),
        (shapely.Point(20, 20).buffer(9.3), 2),
        (shapely.box(18.2, 18.4, 20.9, 24.6), 3),
    )
    scene = np.pad(burn(whole, 40, 40), 80)
    window = Window(x, y, size, size)
    labels = burn(
        AnnotationIndex(whole).query_window(window),
        size,
        size,
        transform=Affine.translation(-x, -y),
    )
    assert (labels == scene[80 + y :, 80 + x :][:size, :size]).all()


def test_small_objects_stay_on_top_whatever_the_order() -> None:
    small, large = (shapely.box(4, 4, 6, 6), 1), (shapely.box(0, 0, 10, 10), 2)
    for order in ((small, large), (large, small)):
        assert burn(annotations(*order), 10, 10)[5, 5] == 1


def test_annotations_turn_as_vectors() -> None:
    ship = shapely.Polygon([(3.2, 2.1), (15.3, 6.4), (13.9, 9.7), (2.2, 5.9)])
    turned = burn(annotations((ship, 1)), 20, 20, transform=Affine(0, -1, 20, 1, 0, 0))
    assert (turned == np.rot90(burn(annotations((ship, 1)), 20, 20), -1)).all()


def test_difficult_objects_are_kept_ignored_or_dropped() -> None:
    hard = annotations((shapely.box(0, 0, 4, 4), 3), difficult=True)
    assert burn(hard, 4, 4, difficult="keep").max() == 3
    assert burn(hard, 4, 4, difficult="ignore").max() == IGNORE
    assert burn(hard, 4, 4, difficult="drop").max() == 0


def test_holes_and_parts_are_burned_as_they_are() -> None:
    ring = shapely.box(0, 0, 9, 9) - shapely.box(3, 3, 6, 6)
    both = shapely.MultiPolygon([ring, shapely.box(12, 0, 14, 2)])
    labels = burn(annotations((both, 1)), 10, 15)
    assert labels.sum() == 81 - 9 + 4
    assert labels[4, 4] == 0


def test_no_annotations_are_background() -> None:
    assert burn(Annotations.empty(), 3, 5).tolist() == [[0] * 5] * 3
