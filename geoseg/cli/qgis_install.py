"""``geoseg qgis-install``"""

from __future__ import annotations

from pathlib import Path

import click

from geoseg.cli import options

NEXT = """
In QGIS, open Processing > Toolbox: under Scripts > geoseg there are now Segment scene, Vectorize labels,
Train model and Evaluate model. Where QGIS was open, restart it first.
"""


@click.command("qgis-install")
@click.option("--profile", metavar="NAME", help="QGIS profile. [default: the one QGIS starts with]")
@click.option(
    "--profiles",
    type=options.PATH,
    help="Folder that has the profiles. [default: where QGIS keeps them]",
)
@click.option("--uninstall", is_flag=True, help="Remove the scripts again.")
def qgis_install(*, profile: str | None, profiles: Path | None, uninstall: bool) -> None:
    """Add the geoseg algorithms to the toolbox of QGIS.

    Copies its scripts into a QGIS profile, with the path of this Python, in which they run geoseg.
    """
    from geoseg.tools import qgis

    tool = qgis.qgis_uninstall if uninstall else qgis.qgis_install
    for folder in tool(profile=profile, profiles=profiles):
        click.echo(folder)
    if not uninstall:
        click.echo(NEXT, err=True)
