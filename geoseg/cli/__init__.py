"""Command line: one module per command, imported when the command is used."""

from __future__ import annotations

import difflib
import sys
from importlib import import_module
from typing import NoReturn

import click

from geoseg._version import __version__
from geoseg.cli import boundary
from geoseg.cli.process import request_huge_pages
from geoseg.cli.renamed import RENAMED_COMMANDS

GROUPS = {
    "Data": {
        "prepare": "Build a dataset from scenes and annotations.",
        "stats": "Measure the class distribution of a DATASET.",
        "chip": "Export training chips of a DATASET for other tools.",
        "suggest": "Suggest which frames of a SCENE to annotate next.",
        "preview": "Draw training windows of a CONFIG with their labels.",
    },
    "Training": {
        "fit": "Teach a model the classes of some polygons on SCENEs, in minutes.",
        "init": "Write the training configuration NAME, with comments.",
        "train": "Train a model from a CONFIG file.",
        "evaluate": "Score a model on a DATASET, per pixel and per object.",
        "compare": "Compare two label rasters, or two models on a dataset.",
    },
    "Inference": {
        "segment": "Segment SCENEs and write the objects as polygons.",
        "vectorize": "Vectorize a LABELS raster into polygons.",
        "view": "Write an offline HTML map of POLYGONS over their SCENE.",
    },
    "Tools": {
        "export": "Export a model to ONNX.",
        "tune": "Choose by which rules a model separates objects, on a DATASET.",
        "margin": "Measure how labels and objects of SCENEs change with the margin.",
        "info": "Describe PATH: a scene, a model file or a dataset folder.",
        "qgis-install": "Add the geoseg algorithms to the toolbox of QGIS.",
        "demo": "Run every tool on synthetic scenes, in FOLDER.",
    },
}
"""Commands with their summaries, which are here too so that ``geoseg --help`` imports no command."""

COMMANDS = {name: text for group in GROUPS.values() for name, text in group.items()}


class _Commands(click.Group):
    """Group that imports a command when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        module = cmd_name.replace("-", "_")
        command: click.Command = getattr(import_module(f"geoseg.cli.{module}"), module)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        width = max(map(len, COMMANDS))
        for group, commands in GROUPS.items():
            with formatter.section(group):
                formatter.write_dl([(f"{name:{width}}", text) for name, text in commands.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            if name in RENAMED_COMMANDS:
                raise click.UsageError(f"{name}: renamed to {RENAMED_COMMANDS[name]!r}", ctx)
            close = difflib.get_close_matches(name, COMMANDS, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(COMMANDS)}"
            raise click.UsageError(f"no command {name!r} ({hint})", ctx)
        return super().resolve_command(ctx, args)


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, message="%(prog)s %(version)s")
@click.option("--debug", is_flag=True, help="Show tracebacks of errors, and debug messages.")
def geoseg(debug: bool) -> None:
    """Semantic segmentation of aerial and satellite scenes: from polygons to models and back.

    Products are written to files; stdout gets their paths, stderr all messages. Run `geoseg COMMAND
    --help` for the options of a command and examples.
    """
    request_huge_pages()
    if debug:
        boundary.log_debug_messages()


def main() -> NoReturn:
    """Run the command line of this process."""
    sys.exit(boundary.run(geoseg))
