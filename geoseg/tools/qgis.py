"""geoseg's Processing scripts in QGIS's profiles."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import geoseg
from geoseg._version import __version__
from geoseg.errors import ConfigError, OutputError
from geoseg.files import replacing

NOTE = "geoseg.json"
"""Beside the scripts: which Python has geoseg."""

_SCRIPTS = Path("processing", "scripts", "geoseg")
_GENERATIONS = ("QGIS3", "QGIS4")


def qgis_install(
    *,
    profile: str | None = None,
    profiles: Path | None = None,
    python: Path | None = None,
) -> list[Path]:
    """Copy the scripts into a QGIS profile, with the path of this Python, and return the folders.

    `profile` is a profile's name (default: the one that QGIS starts with), `profiles` the folder that has
    them (default: where QGIS 3 and QGIS 4 keep them on this machine). Former scripts of geoseg are
    replaced. Raises ConfigError when there is no such profile, OutputError when it cannot be written.
    """
    made = []
    for home in _profiles(profile, profiles):
        folder = home / _SCRIPTS
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as fault:
            raise OutputError(
                f"{folder}: cannot be made ({fault.strerror}). check its permissions"
            ) from fault
        # the note first: QGIS may load a script as soon as it is there
        with replacing(folder / NOTE, overwrite=True) as scratch:
            note = {"python": str(python or sys.executable), "geoseg": __version__}
            scratch.write_text(json.dumps(note, indent=1) + "\n", encoding="utf-8")
        for script in scripts():
            with replacing(folder / script.name, overwrite=True) as scratch:
                shutil.copyfile(script, scratch)
        made.append(folder)
    return made


def qgis_uninstall(*, profile: str | None = None, profiles: Path | None = None) -> list[Path]:
    """Remove what `qgis_install` has copied, and nothing else; returns the folders in which it was."""
    left = []
    for home in _profiles(profile, profiles):
        folder = home / _SCRIPTS
        if not folder.is_dir():
            continue
        for name in (NOTE, *(script.name for script in scripts())):
            (folder / name).unlink(missing_ok=True)
        shutil.rmtree(folder / "__pycache__", ignore_errors=True)
        if not any(folder.iterdir()):
            folder.rmdir()
        left.append(folder)
    return left


def scripts() -> Sequence[Path]:
    """The scripts, in an installation or in a checkout."""
    package = Path(geoseg.__file__).parent
    for folder in (package / "qgis_scripts", package.parent / "qgis_scripts"):
        if found := sorted(folder.glob("geoseg_*.py")):
            return found
    raise ConfigError("this installation has no QGIS scripts. install geoseg again")


def profile_folders() -> list[Path]:
    """Where QGIS keeps its profiles on this machine; those folders that are there."""
    if custom := os.environ.get("QGIS_CUSTOM_CONFIG_PATH"):
        candidates = [Path(custom, "profiles")]
    else:
        candidates = [_data_folder() / "QGIS" / name / "profiles" for name in _GENERATIONS]
    return [folder for folder in candidates if folder.is_dir()]


def _data_folder() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("APPDATA") or Path.home() / "AppData" / "Roaming")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support"
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")


def _profiles(profile: str | None, profiles: Path | None) -> list[Path]:
    folders = [profiles] if profiles else profile_folders()
    if profiles and not profiles.is_dir():
        raise ConfigError(
            f"{profiles}: is no folder. it is called profiles, and has one per profile"
        )
    if not folders:
        raise ConfigError(
            "no QGIS profile is found. start QGIS once, or name the folder that has the profiles with "
            "--profiles (in QGIS: Settings > User Profiles > Open Active Profile Folder, one above)"
        )
    homes = [folder / (profile or _usual(folder)) for folder in folders]
    found = [home for home in homes if home.is_dir()]
    if not found:
        there = sorted({p.name for folder in folders for p in folder.iterdir() if p.is_dir()})
        raise ConfigError(
            f"{homes[0]}: there is no such profile. there are: {', '.join(there) or 'none'}"
        )
    return found


def _usual(folder: Path) -> str:
    """The profile that QGIS starts with."""
    try:
        lines = (folder / "profiles.ini").read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return "default"
    named = [line.partition("=")[2].strip() for line in lines if line.startswith("defaultProfile=")]
    return named[0] if named and (folder / named[0]).is_dir() else "default"
