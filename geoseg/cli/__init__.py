"""The command line: one file per command, loaded when it is called."""

from __future__ import annotations

import difflib
import sys
from importlib import import_module
from typing import NoReturn

import click

from geoseg._version import __version__
from geoseg.cli import boundary
from geoseg.heap import ask_for_huge_pages

# in the order of the work; the help is here too, so that `geoseg --help` loads none of them
COMMANDS = {
    "prepare": "Turn scenes and annotations into a dataset.",
    "stats": "Tell how unevenly the classes of a DATASET occur.",
    "chip": "Export training chips of a DATASET: image and label pairs for other tools.",
    "preview": "Draw windows as CONFIG.toml would train on them, with their labels.",
    "train": "Train a model as CONFIG.toml says.",
    "evaluate": "Score a model on a DATASET, pixel by pixel and object by object.",
    "compare": "Compare two label rasters of one place, or two models on a dataset.",
    "segment": "Find the objects in a SCENE and outline them.",
    "vectorize": "Turn a LABELS raster into polygons.",
    "view": "Make a map of POLYGONS, over their SCENE, that any browser opens, offline.",
    "export": "Write a model as ONNX, for onnxruntime and the QGIS plugin Deepness.",
    "margin": "Measure how many labels of SCENEs change with the margin.",
    "qgis-install": "Put geoseg into the Processing toolbox of QGIS.",
    "info": "Tell what PATH is: a scene, a model file or a dataset folder.",
    "demo": "See every tool at work on drawn scenes, into DIR.",
}


class _Commands(click.Group):
    """A group whose commands are imported one at a time, by name."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        module = cmd_name.replace("-", "_")
        command: click.Command = getattr(import_module(f"geoseg.cli.{module}"), module)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            close = difflib.get_close_matches(name, COMMANDS, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(COMMANDS)}"
            raise click.UsageError(f"no command {name!r} ({hint})", ctx)
        return super().resolve_command(ctx, args)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="%(prog)s %(version)s")
@click.option("--debug", is_flag=True, help="Show the traceback of an error, and more messages.")
def geoseg(debug: bool) -> None:
    """Polygons to models, models to polygons: semantic segmentation of aerial and satellite scenes.

    Results go to the files you name and their paths to stdout; everything else goes to stderr.
    """
    ask_for_huge_pages()
    if debug:
        boundary.talk_more()


def main() -> NoReturn:
    """Run the command line of this process."""
    sys.exit(boundary.run(geoseg))
