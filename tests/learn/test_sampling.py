from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from geoseg.dataset import Dataset
from geoseg.learn.config import Augment
from geoseg.learn.sampling import Sampler, Scenes, batch_of
from geoseg.legend import IGNORE
from tests.drawn import COLOURS, dataset

STILL = Augment(brightness=0, contrast=0, saturation=0, hue=0)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return Dataset.open(dataset(tmp_path_factory.mktemp("drawn")))


def sampler(
    drawn: Dataset,
    *,
    seed: int = 0,
    size: int = 64,
    balanced: float = 0.5,
    augment: Augment = STILL,
) -> Sampler:
    scenes = Scenes(drawn, "train", layer=None, difficult="keep")
    return Sampler(scenes, seed=seed, size=size, balanced=balanced, augment=augment)


def test_sample_n_depends_on_seed_and_n_alone(drawn: Dataset) -> None:
    one = sampler(drawn, augment=Augment(rotate=0.5, scale=(0.7, 1.4)))
    in_order = [one(n) for n in range(8)]
    with ThreadPoolExecutor(4) as pool:
        shuffled = dict(zip(range(7, -1, -1), pool.map(one, range(7, -1, -1)), strict=True))
    for n, sample in enumerate(in_order):
        assert (sample.pixels == shuffled[n].pixels).all()
        assert (sample.labels == shuffled[n].labels).all()
    other = sampler(drawn, seed=1, augment=STILL)
    assert any((one(n).pixels != other(n).pixels).any() for n in range(8))


@pytest.mark.parametrize(
    "augment", [STILL, Augment(brightness=0, contrast=0, saturation=0, hue=0, rotate=1.0)]
)
def test_labels_lie_on_the_objects(drawn: Dataset, augment: Augment) -> None:
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


def test_beyond_a_scene_nothing_counts(drawn: Dataset) -> None:
    sample = sampler(drawn, size=256)(0)
    assert 0.3 < sample.valid.mean() < 0.45  # 160 of 256, squared
    assert (sample.labels[~sample.valid] == IGNORE).all()
    assert not sample.pixels[~sample.valid].any()
    inputs, _ = batch_of([sample], [100, 100, 100], [50, 50, 50])
    assert not inputs[0][:, ~sample.valid].any()
    assert inputs.dtype == np.float32


def test_balanced_windows_hold_every_class_equally_often(drawn: Dataset) -> None:
    draw = sampler(drawn, balanced=1.0, size=32)
    rng_classes = Counter(
        int(draw.scenes.indexes[number].annotations.class_id[rank])
        for n in range(600)
        for number, rank in [chosen(draw, n)]
    )
    assert len(rng_classes) == len(COLOURS)
    for count in rng_classes.values():
        assert count == pytest.approx(600 / len(COLOURS), rel=0.2)


def chosen(draw: Sampler, n: int) -> tuple[int, int]:
    """The object nearest to where sample n is placed: the drawn ones are few and apart."""
    number, centre = draw._place(np.random.default_rng((draw.seed, n)))
    objects = draw.scenes.indexes[number].annotations
    bounds = [g.bounds for g in objects.geometry]
    spread = 0.35 * draw.size
    inside = [
        rank
        for rank, (left, top, right, bottom) in enumerate(bounds)
        if left - spread <= centre[0] <= right + spread
        and top - spread <= centre[1] <= bottom + spread
    ]
    assert inside  # a balanced window always lies around an object
    distance = [
        np.hypot(
            centre[0] - objects.geometry[r].centroid.x, centre[1] - objects.geometry[r].centroid.y
        )
        for r in inside
    ]
    return number, inside[int(np.argmin(distance))]


def test_validation_windows_cover_the_split_once(drawn: Dataset) -> None:
    scenes = Scenes(drawn, "val", layer=None, difficult="keep")
    tiles = scenes.tiles(64, 10_000)
    assert len(tiles) == 3 * 3 * 3
    counted = sum((scenes.read(n, t, 64).labels != IGNORE).sum() for n, t in tiles)
    assert counted == 3 * 160 * 160
    assert len(scenes.tiles(64, 5)) == 5
