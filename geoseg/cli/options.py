"""Arguments and options that several commands share, so that they look and mean the same everywhere.

Paths are plain paths: whether a file exists and is what it should be is the tool's to say, in its own words and
with its own exit code.
"""

from __future__ import annotations

from pathlib import Path

import click

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
