"""Options of the commands that score predictions against a dataset."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from typing import Any

from geoseg.cli.command import option, options_of
from geoseg.options import PolygonOptions, ScoringOptions

split = option(
    "--split",
    default="val",
    show_default=True,
    metavar="NAME",
    group="Input",
    help="Score the scenes of this split.",
)
references = option(
    "--reference",
    "layers",
    multiple=True,
    metavar="LAYER",
    show_default="all layers of the dataset",
    group="Input",
    help="Score against this layer of annotations: outlines or quads. May be repeated.",
)


def scoring(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of scores to a command, which gets `split`, `layers` and `scoring`."""

    @split
    @references
    @options_of(ScoringOptions, "scoring")
    @options_of(
        PolygonOptions,
        "cleaning",
        only=("min_pixels", "fill_holes", "split", "oriented_boxes"),
        flags={"split": "--split-objects"},
    )
    @wraps(command)
    def with_scoring(*, scoring: ScoringOptions, cleaning: PolygonOptions, **given: Any) -> None:
        command(**given, scoring=replace(scoring, cleaning=cleaning))

    decorated: Callable[..., None] = with_scoring
    return decorated
