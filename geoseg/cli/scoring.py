"""Options of the commands that score: which scenes, against which truth, and how."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce, wraps
from typing import Any

import click

from geoseg.cli.command import options_of
from geoseg.options import PolygonOptions

_OPTIONS = (
    click.option("--split", default="val", show_default=True, help="Which scenes of the dataset."),
    click.option(
        "--truth",
        "layers",
        multiple=True,
        metavar="LAYER",
        help="Score against this layer only: outlines or quads. [default: every one there is]",
    ),
    click.option(
        "--difficult",
        type=click.Choice(["keep", "ignore", "drop"]),
        default="keep",
        show_default=True,
        help="Objects marked as difficult: score them, leave their pixels out, or see background.",
    ),
    click.option(
        "--boundary",
        type=click.IntRange(1, 255),
        default=5,
        show_default=True,
        metavar="PX",
        help="Boundary IoU looks at pixels up to PX from a contour.",
    ),
    click.option(
        "--match",
        type=click.FloatRange(0, 1, min_open=True),
        default=0.5,
        show_default=True,
        metavar="IOU",
        help="A polygon that was found is an annotated one if their IoU is at least this.",
    ),
)


def scoring(command: Callable[..., None]) -> Callable[..., None]:
    """Add these options to a command; it gets `split`, `layers`, and `rules`, the `Rules` they ask for."""

    @options_of(
        PolygonOptions,
        "cleaning",
        only=("min_pixels", "fill_holes", "split", "oriented_boxes"),
        flags={"split": "--split-objects"},
    )
    @wraps(command)
    def with_rules(*, cleaning: PolygonOptions, **arguments: Any) -> None:
        from geoseg.metrics.evaluation import Rules

        rules = Rules(
            difficult=arguments.pop("difficult"),
            boundary=arguments.pop("boundary"),
            match=arguments.pop("match"),
            cleaning=cleaning,
        )
        command(**arguments, rules=rules)

    return reduce(lambda wrapped, option: option(wrapped), reversed(_OPTIONS), with_rules)
