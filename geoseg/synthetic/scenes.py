"""The scenes of the demo: what each shows, and which of its things get which label."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import shapely

from geoseg.synthetic.layout import compose
from geoseg.synthetic.lots import Lot, Theme
from geoseg.synthetic.render import Image, Sun, render
from geoseg.synthetic.shapes import Points, Thing

PIXEL_SIZE = 0.3
"""Metres."""

SIDE, LARGE_SIDE = 1536, 4096
"""Pixels of a training scene and of the unseen one."""

SUN_ELEVATION = (28.0, 48.0)
"""Degrees."""

DROP_BELOW, DIFFICULT_BELOW = 0.3, 0.75
"""Visible share of an object below which it gets no label, or one marked difficult."""

AIRPORT = Theme(
    "airport",
    (
        (Lot("runway"),),
        (Lot("apron", 8),),
        (Lot("flying club", 20), Lot("heliport", 9)),
        (Lot("track"), Lot("parking")),
    ),
    fillers=("meadow", "crops", "crops", "parking", "sheds", "forest"),
)
HARBOUR = Theme(
    "harbour",
    (
        (Lot("tanks", 14), Lot("depot", 2)),
        (Lot("containers", 2), Lot("tanks", 12)),
        (Lot("coast", 14),),
    ),
    fillers=("sheds", "containers", "houses", "parking", "depot"),
)
RIVER_TOWN = Theme(
    "river",
    (
        (Lot("villas", 4), Lot("circus"), Lot("tennis", 3)),
        (Lot("track"), Lot("tanks", 12)),
        (Lot("river", 5),),
        (Lot("villas", 4), Lot("depot"), Lot("parking")),
    ),
    fillers=("houses", "houses", "houses", "glasshouses", "forest", "sheds", "parking"),
)
SUBURB = Theme(
    "suburb",
    (
        (Lot("track"), Lot("track")),
        (Lot("soccer"), Lot("baseball"), Lot("soccer"), Lot("baseball")),
        (Lot("villas", 4), Lot("tennis", 4), Lot("basketball", 3)),
        (Lot("depot"),),
    ),
    fillers=("houses", "houses", "forest", "parking", "meadow"),
)
REGION = Theme(
    "unseen",
    (
        (Lot("runway"),),
        (Lot("apron", 14), Lot("parking"), Lot("forest")),
        (Lot("flying club", 20), Lot("heliport", 12), Lot("track"), Lot("crops")),
        (Lot("soccer"), Lot("soccer"), Lot("baseball"), Lot("track"), Lot("forest")),
        (Lot("villas", 7), Lot("tennis", 5), Lot("basketball", 3), Lot("circus"), Lot("tennis", 2)),
        (Lot("river", 8),),
        (Lot("villas", 8), Lot("baseball"), Lot("depot", 3), Lot("circus")),
        (Lot("soccer"), Lot("parking", 2), Lot("forest"), Lot("tennis", 4), Lot("meadow")),
        (Lot("tanks", 24), Lot("containers", 2), Lot("depot", 2), Lot("tanks", 10)),
        (Lot("coast", 24),),
    ),
    fillers=("houses", "houses", "houses", "forest", "meadow", "crops", "parking", "sheds", "glasshouses"),
)  # fmt: skip
THEMES = (AIRPORT, HARBOUR, RIVER_TOWN, SUBURB)
ROUNDS = {"train": 2, "val": 1}
"""How often every theme is drawn in a split."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a scene is to show."""

    name: str
    split: str | None
    """None for the scene without labels."""

    theme: Theme
    size: int
    """Pixels of a side."""

    seed: int
    number: int
    """Counts the scenes of a demo from 0."""

    def compose(self) -> Scene:
        rng = np.random.default_rng((self.seed, self.number))
        things = compose(self.theme, self.size * PIXEL_SIZE, rng)
        sun = Sun(rng.uniform(0, 2 * np.pi), np.radians(rng.uniform(*SUN_ELEVATION)))
        return Scene(tuple(things), self.size, sun, rng)


@dataclass(frozen=True, slots=True)
class Scene:
    """A composed scene: everything but the pixels."""

    things: tuple[Thing, ...]
    """In metres from the top left corner."""

    size: int
    sun: Sun
    rng: np.random.Generator

    def image(self) -> Image:
        """(size, size, 3) uint8 RGB; call it once, for the noise takes its numbers from `rng`."""
        return render(self.things, self.size, pixel_size=PIXEL_SIZE, sun=self.sun, rng=self.rng)

    def labels(self) -> list[Label]:
        return list(labels(self.things, self.size))


@dataclass(frozen=True, slots=True)
class Label:
    """One annotation, in pixels of its scene."""

    quad: Points
    """(4, 2), clockwise in the image."""

    outline: shapely.Geometry
    """What is drawn of the object, within the scene; Polygon or MultiPolygon."""

    category: str
    difficult: bool


def plans(seed: int) -> list[Plan]:
    """Every scene of the demo; the unseen one comes last."""
    wanted = [
        (split, turn, theme)
        for split, rounds in ROUNDS.items()
        for turn in range(1, rounds + 1)
        for theme in THEMES
    ]
    labelled = [
        Plan(f"{theme.name}_{split}_{turn}", split, theme, SIDE, seed, number)
        for number, (split, turn, theme) in enumerate(wanted)
    ]
    return [*labelled, Plan(REGION.name, None, REGION, LARGE_SIDE, seed, len(labelled))]


def labels(things: tuple[Thing, ...], size: int) -> Iterator[Label]:
    """Labels of what can be seen: in the scene and not under a crown."""
    scene = shapely.box(0, 0, size, size)
    rims = [t.place(t.shapes[0].corners) / PIXEL_SIZE for t in things if t.covers]
    crowns = shapely.STRtree([shapely.Polygon(rim) for rim in rims])
    for thing in things:
        if thing.category is None or thing.quad is None:
            continue
        quad = thing.place(thing.quad) / PIXEL_SIZE
        if quad.max(axis=0).min() <= 0 or quad.min(axis=0).max() >= size:
            continue
        outline = thing.outline(PIXEL_SIZE)
        inside = outline.intersection(scene)
        share = seen(inside, crowns).area / outline.area
        if share >= DROP_BELOW:
            yield Label(quad, inside, thing.category, bool(share < DIFFICULT_BELOW))


def seen(outline: shapely.Geometry, crowns: shapely.STRtree) -> shapely.Geometry:
    """What of an outline lies under no crown."""
    over = crowns.query(outline, predicate="intersects")
    return outline.difference(shapely.union_all(crowns.geometries[over])) if len(over) else outline
