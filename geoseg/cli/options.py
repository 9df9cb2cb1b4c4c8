"""Arguments and options that several commands share, so that they look and mean the same everywhere.

Paths are plain paths: whether a file exists and is what it should be is the tool's to say, in its own words and
with its own exit code.
"""

from __future__ import annotations

import glob
import re
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import reduce, wraps
from pathlib import Path
from typing import Any

import click

from geoseg.errors import ConfigError
from geoseg.files import Source, Url, input_file, source
from geoseg.options import PolygonOptions

EXISTING_FILE = click.Path(path_type=Path)
EXISTING_FOLDER = click.Path(path_type=Path)
NEW_FILE = click.Path(path_type=Path)
NEW_FOLDER = click.Path(path_type=Path)

output = click.option(
    "-o", "--output", type=NEW_FILE, required=True, help="File or folder to write."
)
overwrite = click.option("--overwrite", is_flag=True, help="Replace an output that exists.")
model = click.option(
    "-m", "--model", type=EXISTING_FILE, help="Model file. [default: the one geoseg ships with]"
)
settings = click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="SECTION.KEY=VALUE",
    help="Change a setting, e.g. training.steps=500. May be repeated.",
)
jobs = click.option(
    "--jobs", type=click.IntRange(min=1), help="Files worked on at once. [default: cores]"
)
restart = click.option(
    "--restart", is_flag=True, help="Forget what an interrupted run has left, and begin anew."
)
device = click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda", "mps"]),
    default="auto",
    show_default=True,
    help="Where the network runs.",
)
progress = click.option(
    "--progress",
    type=click.Choice(["auto", "json", "none"]),
    default="auto",
    show_default=True,
    help="A bar on the terminal, JSON lines on stdout for a program to read, or nothing.",
)
min_pixels = click.option(
    "--min-pixels",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    metavar="N",
    help="Leave out polygons of fewer pixels.",
)
fill_holes = click.option(
    "--fill-holes",
    type=click.IntRange(min=0),
    default=0,
    metavar="N",
    help="Fill holes of up to N pixels that one class surrounds.",
)
oriented_boxes = click.option(
    "--oriented-boxes",
    is_flag=True,
    help="The smallest rectangle around every object, at any angle, instead of its outline.",
)

_SHAPING = (
    min_pixels,
    click.option(
        "--min-area",
        "min_area_m2",
        type=click.FloatRange(min=0),
        default=0.0,
        metavar="M2",
        help="Leave out polygons of fewer square metres.",
    ),
    fill_holes,
    click.option(
        "--split", is_flag=True, help="Separate objects of a class that touch, at narrow necks."
    ),
    click.option(
        "--simplify",
        type=click.FloatRange(min=0),
        default=0.0,
        metavar="PX",
        help="Leave out corners of less than PX x PX pixels; shared borders stay shared. "
        "1 removes the steps of pixels.",
    ),
    click.option(
        "--smooth",
        type=click.FloatRange(min=0),
        default=0.0,
        metavar="PX",
        help="Round corners, from PX pixels before them; shared borders stay shared.",
    ),
    oriented_boxes,
)

_PRODUCTS = (
    click.option(
        "--layer-per-class", is_flag=True, help="A layer for each class, instead of one for all."
    ),
    click.option(
        "--append",
        is_flag=True,
        help="Add to a GeoPackage that geoseg made of other scenes.",
    ),
    click.option(
        "--dota-results",
        type=NEW_FOLDER,
        metavar="FOLDER",
        help="Also write oriented boxes as DOTA result text, a file for each class.",
    ),
    click.option(
        "--picture",
        type=NEW_FILE,
        metavar="PNG",
        help="Also draw the polygons over the scene, with a legend.",
    ),
)


def command_line() -> str:
    """What was typed, for a product's provenance; addresses without the keys that some carry."""
    typed = shlex.join(["geoseg", *sys.argv[1:]])
    return re.sub(r"(\w+://)(?:[^/\s@]*@)?([^\s?']+)(?:\?[^\s']*)?", r"\1\2", typed)


def polygons(command: Callable[..., None]) -> Callable[..., None]:
    """Add all options about polygons to a command.

    It gets `cleaning`, the `PolygonOptions` that they ask for, and `layer_per_class`, `append`,
    `dota_results` and `picture` as the tools take them.
    """

    @wraps(command)
    def with_cleaning(**arguments: Any) -> None:
        given = {name: arguments.pop(name) for name in PolygonOptions.__slots__}
        try:
            cleaning = PolygonOptions(**given)
        except ValueError as fault:
            raise click.UsageError(str(fault).replace("_", "-")) from fault
        command(**arguments, cleaning=cleaning)

    return reduce(
        lambda wrapped, option: option(wrapped), reversed(_SHAPING + _PRODUCTS), with_cleaning
    )


# The scenes that a command line names: files, patterns, lists, and addresses where that is allowed.


def expanded(
    names: Sequence[str], listed: Path | None = None, *, allow_remote: bool = False
) -> list[Source]:
    """The scenes that `names` and the lines of the text file `listed` stand for, each once.

    A name with ``*``, ``?`` or ``[`` that is no file is a pattern. Names in a list are relative to its
    folder; empty lines and those that begin with ``#`` do not count. Raises ConfigError when a
    pattern finds nothing or the list cannot be read.
    """
    found = [
        path
        for name in (*names, *(_lines(listed) if listed else ()))
        for path in _matches(name, allow_remote=allow_remote)
    ]
    if not found:
        raise ConfigError("no SCENE is given. name at least one, see 'geoseg segment --help'")
    return list(dict.fromkeys(found))


def _lines(listed: Path) -> Iterator[str]:
    try:
        text = input_file(listed, ConfigError).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{listed}: is not a text file in UTF-8. name a scene a line") from error
    for line in map(str.strip, text.splitlines()):
        if line and not line.startswith("#"):
            is_url = isinstance(source(line, allow_remote=True), Url)
            yield line if is_url else str(listed.parent / line)


def _matches(name: str, *, allow_remote: bool) -> list[Source]:
    named = source(name, allow_remote=allow_remote)
    if isinstance(named, Url) or not glob.has_magic(name) or named.exists():
        return [named]
    found = sorted(glob.glob(name, recursive=True))  # noqa: PTH207
    if not found:
        raise ConfigError(f"{name}: no file matches. check the pattern")
    return [Path(path) for path in found]
