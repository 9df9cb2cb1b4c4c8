"""Options that several commands share, and names of scenes."""

from __future__ import annotations

import glob
import os
import re
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import Any

import click

from geoseg.cli.command import option, option_of, options_of
from geoseg.errors import ConfigError
from geoseg.files import ScenePath, Url, input_file, scene_path
from geoseg.options import (
    ComputeOptions,
    PolygonOptions,
    ScoringOptions,
    StatsOptions,
)

PATH = click.Path(path_type=Path)
"""A path; the tools check whether it exists, so that messages and exit codes are theirs."""

output = option(
    "-o",
    "--output",
    type=PATH,
    required=True,
    metavar="PATH",
    group="Output",
    help="Write to this file or folder.",
)
model = option(
    "-m",
    "--model",
    type=PATH,
    metavar="FILE",
    show_default="the shipped model",
    group="Input",
    help="Use this model file.",
)
settings = option(
    "--set",
    "settings",
    multiple=True,
    metavar="SECTION.KEY=VALUE",
    group="Input",
    help="Change a key of the configuration, e.g. training.steps=500. May be repeated.",
)
device = option_of(ComputeOptions, "device")
progress = option(
    "--progress",
    type=click.Choice(["auto", "json", "none"]),
    default="auto",
    show_default=True,
    help="Report progress. auto: a bar on a terminal, lines in a log; json: JSON lines on stdout; "
    "none: nothing.",
)

reference = option_of(StatsOptions, "layer")

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


def command_line() -> str:
    """Return the command of this process for a product's provenance, without secrets in addresses.

    A program that passes temporary names sets the variable GEOSEG_COMMAND to the command that a user would type.
    """
    typed = os.environ.get("GEOSEG_COMMAND") or shlex.join(["geoseg", *sys.argv[1:]])
    return re.sub(r"(\w+://)(?:[^/\s@]*@)?([^\s?']+)(?:\?[^\s']*)?", r"\1\2", typed)


def expand_names(
    names: Sequence[str], listed: Path | None = None, *, allow_remote: bool = False
) -> list[ScenePath]:
    """Return the scenes that `names` and the lines of the text file `listed` stand for, each once.

    A name with ``*``, ``?`` or ``[`` that is no file is a pattern. Names in a list are relative to
    its folder; empty lines and lines that begin with ``#`` are ignored.

    Raises
    ------
    ConfigError
        If a pattern has no match, or the list cannot be read.
    """
    found = [
        path
        for name in (*names, *(_lines(listed) if listed else ()))
        for path in _matches(name, allow_remote=allow_remote)
    ]
    if not found:
        raise ConfigError("no SCENE given. Name at least one, see 'geoseg segment --help'")
    return list(dict.fromkeys(found))


def _lines(listed: Path) -> Iterator[str]:
    try:
        text = input_file(listed, ConfigError).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{listed}: not a text file in UTF-8. Write one name of a scene per line"
        ) from error
    for line in map(str.strip, text.splitlines()):
        if line and not line.startswith("#"):
            is_url = isinstance(scene_path(line, allow_remote=True), Url)
            yield line if is_url else str(listed.parent / line)


def _matches(name: str, *, allow_remote: bool) -> list[ScenePath]:
    named = scene_path(name, allow_remote=allow_remote)
    if isinstance(named, Url) or not glob.has_magic(name) or named.exists():
        return [named]
    found = sorted(glob.glob(name, recursive=True))  # noqa: PTH207
    if not found:
        raise ConfigError(f"{name}: no file matches. Check the pattern")
    return [Path(path) for path in found]
