"""Objects of countable classes, from labels and a plane that is high within objects and low between them.

The plane, *energy*, is the output *interior* of a network, or the confidence. Pixels of countable classes with at
least the energy `ObjectRule.floor` of their class form *cores*, their 4-connected components. A core is read from its
highest energy down: *parts* that are large enough stay objects of their own where they meet. Parts then grow by
`ObjectRules.reach` pixels within the labels. Pixels that no part reaches, and all other classes, form an object per
4-connected component of a class. Objects that are too small or too weak are dropped.

Every object is 4-connected, and none depends on how the scene is cut into strips: memory is that of the rows that
cores span, which is why cores of more than `LARGEST` rows or columns are not separated, and about 20 bytes per object.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from geoseg.legend import IGNORE
from geoseg.polygons import object_kernels as kernels
from geoseg.polygons.attributes import RowArea
from geoseg.polygons.object_rules import MAX_ENERGY, ObjectRules

LARGEST = 1024
"""Largest number of rows or columns of a core that is separated."""

INTERIOR_LEVELS = (160, 120, 80, 40)
"""Falling energies at which parts of a core are compared, for the output *interior*.

Parts with a valley between them that crosses no level are one object, so coarse levels ignore the valleys of noise.
"""

CONFIDENCE_LEVELS = (
    *(199, 198, 195, 192, 188, 184, 179, 171, 160, 149, 140, 130, 120, 110, 100, 80, 60, 40, 20),
)
"""The same for the confidence, denser where the softmax of a trained network is."""

_ROUNDING = 1e-9

_PIXELS = 1 << 20
"""Pixels that are decoded at once, beside those of undecided rows."""

_ROWS = 64
"""Smallest number of rows that are decoded at once."""

EnergyStrip = tuple[NDArray[np.uint8], NDArray[np.uint8]]
"""Labels and energy (rows, columns) of some rows of a scene."""

T = TypeVar("T", bound=np.generic)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Decoding:
    """What decides how objects are separated."""

    rules: ObjectRules
    """Rules of each class."""

    countable: Sequence[bool]
    """(classes,) True for classes whose objects are separated."""

    across_classes: bool
    """True for the output *interior*: an object may have pixels of several countable classes, the most frequent one is
    its class. False for the confidence: objects do not leave their class. The levels differ too."""

    min_pixels: int = 0
    """Smallest area of any object in pixels, in addition to the rules."""

    min_area_m2: float = 0.0
    """Smallest area of any object on the ground; needs `row_area`."""

    row_area: RowArea | None = None
    """Area of a pixel by row."""

    largest: int = LARGEST
    """Largest number of rows or columns of a core that is separated."""

    def __post_init__(self) -> None:
        if len(self.rules.rules) != len(self.countable):
            raise ValueError(
                f"rules for {len(self.rules.rules)} classes, but {len(self.countable)} classes"
            )
        if self.min_area_m2 and self.row_area is None:
            raise ValueError("min_area_m2 needs row_area")


@dataclass(frozen=True, slots=True, eq=False)
class Objects:
    """Objects of a scene in memory. Object n has ID n + 1, in the order of first pixels, row by row."""

    ids: NDArray[np.int32]
    """(h, w) ID of the object of each pixel; 0 outside."""

    class_id: NDArray[np.uint8]
    """(n,) class IDs."""

    pixels: NDArray[np.int64]
    """(n,) areas in pixels."""


@dataclass(frozen=True, slots=True, eq=False)
class ObjectTable:
    """Final objects of a decoded scene, and the IDs of their provisional numbers."""

    class_id: NDArray[np.uint8]
    """(n + 1,) class of each object by its ID; 0 is background."""

    pixels: NDArray[np.int64]
    """(n + 1,) area of each object in pixels."""

    of_parts: NDArray[np.uint32]
    """ID of each positive provisional number; 0 for none."""

    of_others: NDArray[np.uint32]
    """ID of each negative one, without its sign."""

    def finish(self, provisional: NDArray[np.int32]) -> NDArray[np.uint32]:
        """Return (h, w) IDs from provisional numbers."""
        return kernels.renumber(provisional, self.of_parts, self.of_others)


def decode_objects(
    labels: NDArray[np.uint8],
    energy: NDArray[np.uint8],
    rules: ObjectRules,
    countable: Sequence[bool],
    *,
    across_classes: bool,
    largest: int = LARGEST,
) -> Objects:
    """Decode the objects of a scene in memory.

    Parameters
    ----------
    labels
        (h, w) class IDs; 0 is background and 255 nodata.
    energy
        (h, w) 0 to 200; 255 is nodata and counts as 0.
    rules
        Rules of each class.
    countable
        (classes,) True for classes whose objects are separated.
    across_classes
        True for the output *interior*: an object may have pixels of several countable classes, the most frequent one
        is its class. False for the confidence: objects do not leave their class.
    largest
        Largest number of rows or columns of a core that is separated.

    Examples
    --------
    >>> import numpy as np
    >>> from geoseg import ObjectRule, ObjectRules, decode_objects
    >>> labels = np.ones((3, 7), np.uint8)
    >>> energy = np.array([[150, 200, 150, 20, 150, 200, 150]] * 3, np.uint8)
    >>> rules = ObjectRules((ObjectRule(seed=100, part=4, min_pixels=4),) * 2)
    >>> decode_objects(labels, energy, rules, [False, True], across_classes=True).ids[0]
    array([1, 1, 1, 1, 2, 2, 2], dtype=int32)
    """
    decoder = ObjectDecoder(Decoding(rules, countable, across_classes, largest=largest))
    rows = list(decoder.decode([(labels, energy)]))
    table = decoder.finish()
    provisional = np.concatenate(rows) if rows else np.zeros(labels.shape, np.int32)
    ids = table.finish(provisional).astype(np.int32)
    return Objects(ids, table.class_id[1:], table.pixels[1:])


@dataclass(slots=True, eq=False)
class _Measures:
    """Measures of provisional objects, numbered from 1. Arrays have room for more than `used` + 1."""

    used: int = 0
    class_id: NDArray[np.uint8] = field(default_factory=lambda: np.zeros(1, np.uint8))
    pixels: NDArray[np.int64] = field(default_factory=lambda: np.zeros(1, np.int64))
    start: NDArray[np.int64] = field(default_factory=lambda: np.zeros(1, np.int64))
    peak: NDArray[np.uint8] = field(default_factory=lambda: np.zeros(1, np.uint8))
    area: NDArray[np.float64] = field(default_factory=lambda: np.zeros(1))
    """Empty but for its first item if areas are not measured."""

    def extend(self, used: int, *, area: bool) -> None:
        """Make room for `used` objects, and for their areas if they are measured."""
        self.used = used
        for name in ("class_id", "pixels", "start", "peak", "area")[: 5 if area else 4]:
            setattr(self, name, _extend(getattr(self, name), used + 1))

    def trim(self) -> _Measures:
        """Return the measures of the objects in use."""
        arrays = (getattr(self, f.name)[: self.used + 1] for f in fields(self) if f.name != "used")
        return _Measures(self.used, *arrays)

    def add(
        self, ids: NDArray[np.int32], energy: NDArray[np.uint8], row_area: NDArray[np.float64],
        first: int, sign: int,
    ) -> None:  # fmt: skip
        """Add rows of provisional numbers, see `geoseg.polygons.object_kernels.measure_objects`."""
        kernels.measure_objects(
            ids, energy, row_area, first, sign, self.pixels, self.start, self.peak, self.area
        )


def _extend(values: NDArray[T], length: int) -> NDArray[T]:
    """Return an array with at least `length` rows."""
    if length <= len(values):
        return values
    longer = np.zeros((max(length, len(values) * 3 // 2), *values.shape[1:]), values.dtype)
    longer[: len(values)] = values
    return longer


class ObjectDecoder:
    """Decode a scene in strips: provisional numbers of objects first, their IDs when the scene has ended.

    Parameters
    ----------
    decoding
        Rules and classes.

    Notes
    -----
    Rows are buffered until all cores that begin in them, and within reach below, are complete or too large. Cores of
    the buffer that are complete have their *seeds*, the numbers of their parts. Growth reads up to two rows per
    step, so twice `reach` rows above the first row that is not final stay in the buffer too.
    """

    def __init__(self, decoding: Decoding) -> None:
        self._decoding = decoding
        rules = decoding.rules
        self._margin = max(1, 2 * rules.reach)
        self._measures_area = bool(decoding.min_area_m2)
        classes = np.arange(256)
        countable = np.zeros(256, bool)
        countable[: len(decoding.countable)] = decoding.countable
        countable[[0, 255]] = False
        self._keys = np.where(countable, 1 if decoding.across_classes else classes, 0)
        self._keys = self._keys.astype(np.uint8)
        self._weights = np.full(256, kernels.SIGNIFICANT)
        for class_id, rule in enumerate(rules.rules):
            self._weights[class_id] = -(-kernels.SIGNIFICANT // rule.part)
        self._floors = np.full(256, MAX_ENERGY, np.uint8)
        self._floors[: len(rules.rules)] = [rule.floor for rule in rules.rules]
        levels = INTERIOR_LEVELS if decoding.across_classes else CONFIDENCE_LEVELS
        self._level_of = np.zeros(256, np.uint8)
        for index, level in enumerate([*levels, 1]):
            self._level_of[:level] = index + 1
        self._rows: _Rows | None = None
        self._first = 0  # row of the scene that is the first one not final
        self._done = 0  # rows of the buffer that are final
        self._above: tuple[NDArray[np.int32], NDArray[np.uint8]] | None = None
        self._parts, self._others = _Measures(), _Measures()
        self._parent = np.zeros(1, np.int32)
        self._large = np.zeros(1, bool)
        self._votes = np.zeros((0, len(rules.rules)), np.int32)
        self._votes_first = 1
        self._decided: deque[tuple[int, int]] = deque()  # last part and row after its rows

    def decode(self, strips: Iterable[EnergyStrip]) -> Iterator[NDArray[np.int32]]:
        """Yield (rows, columns) provisional numbers from top to bottom; strips of any height.

        Raises ValueError for arrays of another shape or dtype, and labels without a rule.
        """
        for labels, energy in strips:
            self._check(labels, energy)
            rows = max(_ROWS, _PIXELS // max(1, labels.shape[1]))
            for top in range(0, len(labels), rows):
                part = slice(top, top + rows)
                self._append(labels[part], energy[part])
                yield from self._decode_buffer(last=False)
        yield from self._decode_buffer(last=True)

    def finish(self) -> ObjectTable:
        """Return the objects, after the last row."""
        self._close_votes(None)
        parts, others = self._parts.trim(), self._others.trim()
        roots, large = self._parent[: others.used + 1], self._large[: others.used + 1]
        kernels.merge_measures(roots, others.pixels, others.start, others.peak, others.area, large)
        kept = [self._select(measures) for measures in (parts, others)]
        kept[1] &= roots == np.arange(len(roots))
        if whole := int((kept[1] & large).sum()):
            size = self._decoding.largest
            log.warning(
                "regions of more than %d rows or columns are not separated: %d polygons",
                size,
                whole,
            )
        order = np.argsort(np.concatenate([parts.start[kept[0]], others.start[kept[1]]]))
        ids = np.empty(len(order), np.uint32)
        ids[order] = np.arange(1, len(order) + 1)
        of_parts, of_others = (np.zeros(len(chosen), np.uint32) for chosen in kept)
        of_parts[kept[0]], of_others[kept[1]] = np.split(ids, [int(kept[0].sum())])
        class_id = np.concatenate([parts.class_id[kept[0]], others.class_id[kept[1]]])
        pixels = np.concatenate([parts.pixels[kept[0]], others.pixels[kept[1]]])
        return ObjectTable(
            np.append(np.uint8(0), class_id[order]),
            np.append(np.int64(0), pixels[order]),
            of_parts,
            of_others[roots],
        )

    def _select(self, measures: _Measures) -> NDArray[np.bool_]:
        """Return (used + 1,) True for objects that are large and certain enough."""
        decoding, rules = self._decoding, self._decoding.rules.rules
        min_pixels = np.array([max(rule.min_pixels, decoding.min_pixels, 1) for rule in rules])
        seed = np.where(decoding.countable, [rule.seed for rule in rules], 0)
        class_id = measures.class_id
        kept = (measures.pixels >= min_pixels[class_id]) & (measures.peak >= seed[class_id])
        if decoding.min_area_m2:
            kept &= ~(measures.area < decoding.min_area_m2 * (1 - _ROUNDING))
        return np.asarray(kept & (class_id > 0))

    def _check(self, labels: NDArray[np.uint8], energy: NDArray[np.uint8]) -> None:
        if labels.ndim != 2 or labels.dtype != np.uint8:
            raise ValueError(
                f"labels must be (rows, columns) uint8, got {labels.shape} {labels.dtype}"
            )
        if energy.shape != labels.shape or energy.dtype != np.uint8:
            raise ValueError(
                f"energy must be {labels.shape} uint8 as the labels, got {energy.shape} {energy.dtype}"
            )
        classes = len(self._decoding.countable)
        if ((labels >= classes) & (labels != IGNORE)).any():
            raise ValueError(f"labels must be below {classes} or {IGNORE}")

    def _append(self, labels: NDArray[np.uint8], energy: NDArray[np.uint8]) -> None:
        energy = np.where(energy > MAX_ENERGY, 0, energy).astype(np.uint8)
        strip = _Rows(labels, energy, np.zeros(labels.shape, np.int32))
        self._rows = strip if self._rows is None else self._rows.append(strip)

    def _decode_buffer(self, *, last: bool) -> Iterator[NDArray[np.int32]]:
        """Decode what can be decided and yield the rows that are final."""
        rows = self._rows
        if rows is None:
            return
        key = self._keys[rows.labels]
        known = self._place_seeds(rows, key, last=last)
        final = len(key) if last else max(self._done, known - self._margin)
        if final > self._done:
            ids = rows.seeds.copy()
            kernels.grow(ids, key, self._decoding.rules.reach)
            done, final_rows = self._done, slice(self._done, final)
            self._measure(ids[final_rows], rows.labels[final_rows], rows.energy[final_rows])
            self._first += final - done
            yield ids[final_rows]
        drop = max(0, final - self._margin)
        self._rows, self._done = rows.drop(drop), final - drop

    def _place_seeds(self, rows: _Rows, key: NDArray[np.uint8], *, last: bool) -> int:
        """Decide the cores of the buffer that are complete; return its first row with another core."""
        on = (key > 0) & (rows.energy >= self._floors[rows.labels]) & (rows.seeds == 0)
        cores, count = kernels.connect_pixels(key, on)
        decisions, known = kernels.decide_cores(
            cores, count, key, rows.seeds, self._decoding.largest, last
        )
        used = kernels.place_seeds(
            cores, decisions, self._level_of, rows.energy, rows.labels, self._weights, rows.seeds,
            self._parts.used,
        )  # fmt: skip
        self._parts.extend(used, area=self._measures_area)
        self._votes = _extend(self._votes, used + 1 - self._votes_first)
        reaches = self._first - self._done + len(key) + self._decoding.rules.reach
        self._decided.append((used, reaches))
        return int(known)

    def _measure(
        self, ids: NDArray[np.int32], labels: NDArray[np.uint8], energy: NDArray[np.uint8]
    ) -> None:
        """Number the remaining components of final rows, in place, and measure all objects."""
        if self._above is None:
            self._above = np.zeros(ids.shape[1], np.int32), np.zeros(ids.shape[1], np.uint8)
        whole = ids == kernels.WHOLE
        self._parent = _extend(self._parent, self._others.used + ids.size + 1)
        used = kernels.connect_remaining(ids, labels, *self._above, self._parent, self._others.used)
        self._above = ids[-1].copy(), labels[-1].copy()
        self._others.extend(used, area=self._measures_area)
        self._large = _extend(self._large, used + 1)
        kernels.describe_remaining(ids, labels, whole, self._others.class_id, self._large)
        areas = self._decoding.row_area
        row_area = areas(self._first, len(ids)) if areas and self._measures_area else np.empty(0)
        first = self._first * ids.shape[1]
        self._parts.add(ids, energy, row_area, first, 1)
        self._others.add(ids, energy, row_area, first, -1)
        kernels.count_labels(ids, labels, self._votes_first, self._votes)
        self._close_votes(self._first + len(ids))

    def _close_votes(self, row: int | None) -> None:
        """Choose the classes of the parts that end above a row of the scene, or of all."""
        while self._decided and (row is None or self._decided[0][1] <= row):
            used, _ = self._decided.popleft()
            count = used + 1 - self._votes_first
            if count > 0:
                chosen = slice(self._votes_first, used + 1)
                self._parts.class_id[chosen] = self._votes[:count].argmax(axis=1)
                self._votes = self._votes[count:].copy()
                self._votes_first = used + 1


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """Rows of a scene that are buffered."""

    labels: NDArray[np.uint8]
    energy: NDArray[np.uint8]
    seeds: NDArray[np.int32]
    """Numbers of the parts of cores that are decided; 0 for none."""

    def append(self, more: _Rows) -> _Rows:
        return _Rows(
            np.concatenate([self.labels, more.labels]),
            np.concatenate([self.energy, more.energy]),
            np.concatenate([self.seeds, more.seeds]),
        )

    def drop(self, rows: int) -> _Rows:
        if not rows:
            return self
        return _Rows(self.labels[rows:].copy(), self.energy[rows:].copy(), self.seeds[rows:].copy())
