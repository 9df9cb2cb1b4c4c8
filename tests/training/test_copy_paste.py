from collections.abc import Callable

import cv2
import numpy as np
import pytest
from affine import Affine

from geoseg.dataset.folder import Dataset
from geoseg.errors import ConfigError
from geoseg.legend import BACKGROUND, IGNORE
from geoseg.training.augmentation import CopyPaste
from geoseg.training.config import AugmentSection
from geoseg.training.windows import ObjectIndex, Sample, SplitReader, View
from tests.synthetic_dataset import COLOURS, dataset

SIZE = 96
HERE = View(0, Affine.identity())


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> SplitReader:
    folder = dataset(tmp_path_factory.mktemp("drawn"), scenes=4, size=200)
    return SplitReader(Dataset.open(folder), "train", layer=None, difficult="keep")


def paster(
    scenes: SplitReader, **settings: object
) -> Callable[[np.random.Generator, Sample, View], Sample]:
    """Paste objects, and return the sample without their numbers."""
    augment = AugmentSection(**{"copy_paste": 1.0, **settings})  # type: ignore[arg-type]
    paste = CopyPaste(scenes, ObjectIndex(scenes), augment, SIZE)
    return lambda rng, sample, view: paste(rng, sample, view)[0]


def empty(value: int = 120) -> Sample:
    return Sample(
        np.full((SIZE, SIZE, 3), value, np.uint8),
        np.zeros((SIZE, SIZE), np.uint8),
        np.ones((SIZE, SIZE), bool),
    )


def test_an_object_comes_with_its_label_and_in_its_colours(scenes: SplitReader) -> None:
    paste = paster(scenes)
    looks = {scenes.legend.id_of(name): colour for name, colour in COLOURS.items()}
    found = set()
    for n in range(20):
        pasted = paste(np.random.default_rng(n), empty(), HERE)
        for class_id in set(np.unique(pasted.labels)) - {BACKGROUND}:
            inside = pasted.labels == class_id
            assert inside.sum() > 9
            near = np.abs(pasted.pixels[inside].astype(int) - looks[class_id]) < 12
            assert near.all(-1).mean() > 0.8  # its edge may hold a pixel of the ground around it
            found.add(class_id)
    assert found == looks.keys()


def test_the_border_fades_and_beyond_it_nothing_changes(scenes: SplitReader) -> None:
    changed = 0
    for n in range(20):
        before = empty(0)  # the ground of the drawn scenes is bright
        after = paster(scenes, copy_paste_objects=1)(np.random.default_rng(n), before, HERE)
        inside = after.labels != BACKGROUND
        if not inside.any():
            continue
        changed += 1
        rows, columns = np.nonzero(inside)
        grey = after.pixels.max(-1)
        far = np.ones_like(inside)
        far[
            max(rows.min() - 4, 0) : rows.max() + 5, max(columns.min() - 4, 0) : columns.max() + 5
        ] = False
        assert not grey[far].any()
        border = grey[~far & ~inside]
        assert ((border > 0) & (border < 120)).any()  # between black and the ground it came from
        assert grey[inside].min() > border.mean()
    assert changed > 10


def test_nothing_is_pasted_over_objects_or_where_there_is_no_data(scenes: SplitReader) -> None:
    before = empty()
    before.labels[:, :40] = 7
    before.labels[60:, :] = IGNORE
    taken = before.labels != BACKGROUND
    pasted = 0
    for n in range(30):
        after = paster(scenes)(np.random.default_rng(n), before, HERE)
        assert (after.labels[taken] == before.labels[taken]).all()
        assert (after.pixels[taken] == before.pixels[taken]).all()
        pasted += int((after.labels != before.labels).any())
    assert pasted > 5


def test_a_window_without_room_stays_as_it_is(scenes: SplitReader) -> None:
    full = empty()
    full.labels[:] = 7
    after = paster(scenes)(np.random.default_rng(0), full, HERE)
    assert (after.pixels == full.pixels).all()
    assert (after.labels == 7).all()


def test_objects_keep_their_size_on_the_ground(scenes: SplitReader) -> None:
    areas = {}
    for zoom in (0.5, 1.0):
        view = View(0, Affine.scale(zoom))
        objects = [
            (
                paster(scenes, copy_paste_objects=1)(np.random.default_rng(n), empty(), view).labels
                > 0
            ).sum()
            for n in range(60)
        ]
        areas[zoom] = np.mean([area for area in objects if area])
    assert areas[0.5] / areas[1.0] == pytest.approx(0.25, rel=0.35)


def test_rare_classes_are_drawn_more_often(scenes: SplitReader) -> None:
    objects = ObjectIndex(scenes)
    few, *_, many = sorted(objects.by_class)
    objects.by_class[few] = objects.by_class[few][:1]
    chances = CopyPaste(scenes, objects, AugmentSection(copy_paste=1.0), SIZE).probabilities
    assert chances[few] / chances[many] == pytest.approx(np.sqrt(4 / 1))
    assert sum(chances.values()) == pytest.approx(1)


def test_only_the_classes_that_are_named_are_pasted(scenes: SplitReader) -> None:
    ship = scenes.legend.id_of("ship")
    paste = paster(scenes, copy_paste_classes=("ship",))
    labels = np.concatenate(
        [paste(np.random.default_rng(n), empty(), HERE).labels for n in range(10)]
    )
    assert set(np.unique(labels)) == {BACKGROUND, ship}
    with pytest.raises(ConfigError, match="did you mean 'ship'"):
        paster(scenes, copy_paste_classes=("shipp",))


def test_the_share_of_windows_that_get_something_is_as_asked_for(scenes: SplitReader) -> None:
    paste = paster(scenes, copy_paste=0.3)
    got = [paste(np.random.default_rng(n), empty(), HERE).labels.any() for n in range(200)]
    assert np.mean(got) == pytest.approx(0.3, abs=0.1)


def test_every_pasted_object_has_an_id_of_its_own(scenes: SplitReader) -> None:
    paste = CopyPaste(scenes, ObjectIndex(scenes), AugmentSection(copy_paste=1.0), SIZE)
    most = 0
    for n in range(20):
        sample, pasted = paste(np.random.default_rng(n), empty(), HERE)
        assert ((pasted > 0) == (sample.labels != BACKGROUND)).all()
        ids = set(np.unique(pasted)) - {0}
        assert all(len(np.unique(sample.labels[pasted == each])) == 1 for each in ids)
        parts, _ = cv2.connectedComponents((sample.labels != BACKGROUND).astype(np.uint8))
        assert len(ids) >= parts - 1  # objects that lie on a pasted one have their own
        most = max(most, len(ids))
    assert most >= 3
