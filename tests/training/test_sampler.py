from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from scipy.stats import chisquare

from geoseg.dataset.folder import Dataset
from geoseg.training.config import AugmentSection, DataSection
from geoseg.training.sampler import Sampler
from geoseg.training.windows import ObjectIndex, SplitReader
from tests.synthetic_dataset import COLOURS, dataset

STILL = AugmentSection(brightness=0, contrast=0, saturation=0, hue=0)
EVERYTHING = AugmentSection(rotate=0.5, scale=(0.7, 1.4), blur=0.5, noise=0.1, copy_paste=1.0)
UNLIKELY = 1e-3  # a fair draw is called unfair this often


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return Dataset.open(dataset(tmp_path_factory.mktemp("drawn"), scenes=4, size=200))


def sampler(
    drawn: Dataset,
    *,
    seed: int = 0,
    size: int = 64,
    balanced: float = 0.5,
    background: float = 0.0,
    unlabelled: float = 0.0,
    augment: AugmentSection = STILL,
) -> Sampler:
    scenes = SplitReader(drawn, "train", layer=None, difficult="keep")
    data = DataSection(window=size, balanced=balanced, background=background, unlabelled=unlabelled)
    return Sampler(scenes, seed=seed, data=data, augment=augment)


def centre(draw: Sampler, n: int) -> tuple[int, tuple[float, float]]:
    """The scene of sample n, and the point of it in the middle of the window."""
    view = draw.view(n)
    return view.scene, ~view.transform @ (draw.size / 2, draw.size / 2)


def test_sample_n_depends_on_seed_and_n_alone(drawn: Dataset) -> None:
    one = sampler(drawn, augment=EVERYTHING, balanced=0.4, background=0.3)
    in_order = [one(n) for n in range(8)]
    again = sampler(drawn, augment=EVERYTHING, balanced=0.4, background=0.3)
    with ThreadPoolExecutor(4) as pool:
        shuffled = dict(zip(range(7, -1, -1), pool.map(again, range(7, -1, -1)), strict=True))
    for n, sample in enumerate(in_order):
        assert (sample.pixels == shuffled[n].pixels).all()
        assert (sample.labels == shuffled[n].labels).all()
    other = sampler(drawn, seed=1, augment=EVERYTHING)
    assert any((one(n).pixels != other(n).pixels).any() for n in range(8))


def test_what_is_switched_on_leaves_the_windows_where_they_were(drawn: Dataset) -> None:
    plain = sampler(drawn)
    for augment in (
        AugmentSection(copy_paste=1.0),
        AugmentSection(blur=1.0, noise=0.2),
        AugmentSection(hue=0.3),
    ):
        changed = sampler(drawn, augment=augment)
        assert [plain.view(n) for n in range(20)] == [changed.view(n) for n in range(20)]


@pytest.mark.parametrize(
    "augment", [STILL, AugmentSection(brightness=0, contrast=0, saturation=0, hue=0, rotate=1.0)]
)
def test_labels_lie_on_the_objects(drawn: Dataset, augment: AugmentSection) -> None:
    draw = sampler(drawn, augment=augment, balanced=1.0)
    ids = {drawn.legend.id_of(name): colour for name, colour in COLOURS.items()}
    agreed = total = 0
    for n in range(12):
        sample = draw(n)
        for class_id, colour in ids.items():
            looks = (np.abs(sample.pixels.astype(int) - colour) < 8).all(-1)
            agreed += (looks & (sample.labels == class_id)).sum()
            total += (looks | (sample.labels == class_id)).sum()
    assert agreed / total > (0.9 if augment.rotate else 0.999)  # rotated edges are blended


@pytest.mark.parametrize("unlabelled", [0.0, 1.0])
def test_uniform_windows_lie_anywhere(drawn: Dataset, unlabelled: float) -> None:
    unrotated = AugmentSection(flip=False, rotate90=False)
    draw = sampler(drawn, balanced=0.0, unlabelled=unlabelled, size=32, augment=unrotated)
    points = [centre(draw, n) for n in range(1200)]
    by_scene = np.bincount([scene for scene, _ in points], minlength=4)
    assert chisquare(by_scene).pvalue > UNLIKELY
    inner = np.array([p for _, p in points])
    inner = inner[((inner > 20) & (inner < 180)).all(axis=1)]  # beside them, edges gather windows
    quarters = Counter(map(tuple, (inner // 40).astype(int).tolist()))
    counts = [quarters[x, y] for x in range(1, 4) for y in range(1, 4)]
    assert chisquare(counts).pvalue > UNLIKELY


def test_balanced_windows_are_drawn_around_every_class_equally_often(drawn: Dataset) -> None:
    draw = sampler(drawn, balanced=1.0, size=32)
    objects = ObjectIndex(draw.reader)
    boxes = {
        class_id: [(objects[n][0], objects[n][1].geometry[0].bounds) for n in numbers.tolist()]
        for class_id, numbers in objects.by_class.items()
    }
    near: Counter[int] = Counter()
    for n in range(600):
        scene, (x, y) = centre(draw, n)
        distance = {
            class_id: min(
                max(left - x, x - right, top - y, y - bottom)
                for number, (left, top, right, bottom) in known
                if number == scene
            )
            for class_id, known in boxes.items()
        }
        nearest = min(distance, key=lambda class_id: distance[class_id])
        # a third of a window, and what moving a window inside the scene adds
        assert distance[nearest] <= 0.35 * 32 + 16
        near[nearest] += 1
    assert len(near) == len(COLOURS)
    # a window may lie nearer to another object than to the one it was drawn for
    assert min(near.values()) > 0.6 * 600 / len(COLOURS)


def test_every_class_is_as_likely_however_rare_its_objects(drawn: Dataset) -> None:
    draw = sampler(drawn, balanced=1.0)
    plane = drawn.legend.id_of("plane")
    rare = draw._objects.by_class[plane][:1]
    draw._classes = [
        rare if class_id == plane else numbers
        for class_id, numbers in draw._objects.by_class.items()
    ]
    scene, only = draw._objects[int(rare[0])]
    drawn_for = Counter[bool]()
    for n in range(900):
        rng = np.random.default_rng((draw.seed, n))
        rng.random()  # which kind of window
        number, (x, y) = draw._draw_near_object(rng)
        left, top, right, bottom = only.geometry[0].bounds
        spread = 0.35 * draw.size
        inside = left - spread <= x <= right + spread and top - spread <= y <= bottom + spread
        rng = np.random.default_rng((draw.seed, n))
        rng.random()
        chosen = draw._classes[rng.integers(len(draw._classes))] is rare
        drawn_for[chosen] += 1
        assert not chosen or (number == scene and inside)
    assert chisquare([drawn_for[True], drawn_for[False]], [300, 600]).pvalue > UNLIKELY


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_as_many_windows_hold_no_object_as_asked_for(drawn: Dataset, share: float) -> None:
    draw = sampler(drawn, balanced=0.0, background=share, size=32)
    plain = sampler(drawn, balanced=0.0, size=32)
    empty, by_chance = (
        np.array([not each.reader.count_objects(each.view(n), 32) for n in range(400)])
        for each in (draw, plain)
    )
    expected = share + (1 - share) * by_chance.mean()
    assert empty.mean() == pytest.approx(expected, abs=0.08)
    assert share < 1 or empty.all()


def test_windows_without_objects_are_kept_and_count(drawn: Dataset) -> None:
    draw = sampler(drawn, balanced=0.0, background=1.0, size=32)
    for n in range(10):
        sample = draw(n)
        assert not sample.labels.any()
        assert sample.valid.all()


def test_where_no_place_is_free_of_objects_a_window_is_drawn_nevertheless(
    drawn: Dataset,
) -> None:
    draw = sampler(drawn, balanced=0.0, background=1.0, size=256)
    assert draw(0).labels.shape == (256, 256)


def test_pixels_of_windows_have_the_sizes_on_the_ground_that_were_asked_for(
    drawn: Dataset,
) -> None:
    draw = sampler(drawn, augment=AugmentSection(pixel_size_m=(0.25, 1.0), rotate=0.3))
    sizes = np.array([0.5 / abs(draw.view(n).transform.determinant) ** 0.5 for n in range(400)])
    assert 0.25 <= sizes.min() < 0.26
    assert 0.97 < sizes.max() <= 1.0
    octaves = np.histogram(np.log2(sizes), bins=4, range=(-2, 0))[0]
    assert chisquare(octaves).pvalue > UNLIKELY  # even in the logarithm


def test_classes_are_drawn_by_a_power_of_the_number_of_their_objects(drawn: Dataset) -> None:
    reader = SplitReader(drawn, "train", layer=None, difficult="keep")
    plane = drawn.legend.id_of("plane")
    (of_planes,) = (i for i, c in enumerate(ObjectIndex(reader).by_class) if c == plane)
    for power, expected in ((0.0, 1 / 3), (1.0, 1 / 9), (0.5, 1 / 5)):
        index = ObjectIndex(reader)
        index.by_class[plane] = index.by_class[plane][:1]  # one plane, four of each other class
        data = DataSection(window=64, balanced=1.0, class_power=power)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("geoseg.training.sampler.ObjectIndex", lambda _, index=index: index)
            draw = Sampler(reader, seed=0, data=data, augment=STILL)
        drawn_classes = [draw._draw_class(np.random.default_rng(n)) for n in range(900)]
        planes = drawn_classes.count(of_planes)
        assert chisquare([planes, 900 - planes], [900 * expected, 900 * (1 - expected)]).pvalue > (
            UNLIKELY
        )
