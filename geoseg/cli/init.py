"""``geoseg init``"""

from __future__ import annotations

from pathlib import Path

import click

from geoseg.cli import options
from geoseg.cli.command import command, option, options_of
from geoseg.options import WriteOptions

EXAMPLES = """
geoseg init
geoseg init finetune -o roofs.toml
"""


@command(EXAMPLES)
@click.argument("name", default="finetune")
@option(
    "-o",
    "--output",
    type=options.PATH,
    metavar="FILE",
    show_default="NAME.toml",
    group="Output",
    help="Write to this file.",
)
@options_of(WriteOptions, "write")
def init(*, name: str, output: Path | None, write: WriteOptions) -> None:
    """Write the training configuration NAME, with comments.

    NAME is finetune: fine-tune the shipped model on your own classes, as geoseg fit does.
    """
    from geoseg.tools.init import init as tool

    click.echo(tool(output or Path(f"{name}.toml"), name=name, overwrite=write.overwrite))
