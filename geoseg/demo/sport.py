"""Lots for courts and fields, and the roundabout: see `town` for what a lot is."""

from __future__ import annotations

import numpy as np

from geoseg.demo import craft, sites
from geoseg.demo.shapes import Texture, Thing, box, ground, pick, rectangle, shaded, vary
from geoseg.demo.town import ASPHALT, LAWN, UP, Generator, edge_trees, park


def tennis(rng: Generator, width: float, height: float, count: int) -> list[Thing]:
    """`count` courts side by side on a fenced hard floor."""
    surround, court = pick(rng, sites.COURT_COLOURS), pick(rng, sites.COURT_COLOURS)
    things = [
        ground(box(0, 0, width, height), vary(rng, LAWN), Texture.LAWN),
        ground(box(1, 1, width - 1, height - 1), shaded(surround, 0.85), Texture.PLAIN),
    ]
    for i in range(count):
        at = ((i + 0.5) * width / count, height / 2)
        things.append(sites.tennis_court(rng, court).placed(at, UP))
    return things


def basketball(rng: Generator, width: float, height: float, count: int) -> list[Thing]:
    things = [ground(box(0, 0, width, height), vary(rng, ASPHALT, 0.15), Texture.CONCRETE)]
    for i in range(count):
        at = ((i + 0.5) * width / count, height / 2)
        things.append(sites.basketball_court(rng).placed(at, UP))
    return things


def soccer(rng: Generator, width: float, height: float, _count: int) -> list[Thing]:
    field = sites.soccer_field(rng, rng.uniform(0.9, 1.0)).placed((width / 2, height / 2))
    return [*park(rng, width, height, 0), field]


def track(rng: Generator, width: float, height: float, _count: int) -> list[Thing]:
    """A running track with a soccer field inside."""
    scale = rng.uniform(0.85, 1.0)
    middle = (width / 2, height / 2)
    return [
        ground(box(0, 0, width, height), vary(rng, LAWN), Texture.MEADOW),
        sites.track_field(rng, scale).placed(middle),
        sites.soccer_field(rng, 0.84 * scale).placed(middle),
        *edge_trees(rng, width, height),
    ]


def baseball(rng: Generator, width: float, height: float, _count: int) -> list[Thing]:
    turn = int(rng.integers(4)) * np.pi / 2
    field = sites.baseball_diamond(rng).placed((width / 2, height / 2), turn)
    return [*park(rng, width, height, 0), field]


def circus(rng: Generator, width: float, height: float, _count: int) -> list[Thing]:
    """Four streets meet in a roundabout; the corners between them are a small park."""
    middle = np.array([width / 2, height / 2])
    lane = vary(rng, ASPHALT)
    things = park(rng, width, height, 0)
    for arm in (rectangle(width + 6, 8, middle), rectangle(8, height + 6, middle)):
        things.append(ground(arm, lane, Texture.ASPHALT))
    things.append(sites.roundabout(rng).placed(middle))
    for turn in rng.uniform(0, 2 * np.pi) + np.array([0.0, 1.9, 3.7]):
        at = middle + np.array([np.cos(turn), np.sin(turn)]) * 12.0
        things.append(craft.car(rng).placed(at, turn - np.pi / 2))
    return [*things, *edge_trees(rng, width, height, clear=middle)]
