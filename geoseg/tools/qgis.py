"""Installation of geoseg's Processing scripts in QGIS profiles."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from geoseg._version import __version__
from geoseg.errors import ConfigError, OutputError
from geoseg.files import replacing, write_text
from geoseg.options import StrPath, as_path

NOTE = "geoseg.json"
"""Sidecar file of the scripts with the path of the Python that has geoseg."""

_SCRIPTS = Path("processing", "scripts", "geoseg")
_GENERATIONS = ("QGIS3", "QGIS4")


def qgis_install(
    *,
    profile: str | None = None,
    profiles: StrPath | None = None,
    python: StrPath | None = None,
) -> list[Path]:
    """Copy the scripts into a QGIS profile, with the path of a Python that has geoseg.

    Earlier scripts of geoseg are replaced.

    Parameters
    ----------
    profile
        Name of the profile; default: the one that QGIS starts with.
    profiles
        Folder of the profiles; default: those of QGIS 3 and QGIS 4 on this machine.
    python
        Python that runs geoseg; default: this one.

    Returns
    -------
    list of Path
        Folders of the scripts.

    Raises
    ------
    ConfigError
        If there is no such profile.
    OutputError
        If a profile cannot be written.
    """
    folders = []
    for home in _profiles(profile, as_path(profiles)):
        folder = home / _SCRIPTS
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as fault:
            raise OutputError(
                f"{folder}: cannot be created ({fault.strerror}). Check its permissions"
            ) from fault
        # the note first: QGIS may load a script as soon as it exists
        note = {"python": str(python or sys.executable), "geoseg": __version__}
        write_text(folder / NOTE, json.dumps(note, indent=1) + "\n", overwrite=True)
        for script in scripts():
            with replacing(folder / script.name, overwrite=True) as scratch:
                shutil.copyfile(script, scratch)
        folders.append(folder)
    return folders


def qgis_uninstall(*, profile: str | None = None, profiles: StrPath | None = None) -> list[Path]:
    """Remove the files that `qgis_install` copied; other files are kept.

    Parameters
    ----------
    profile, profiles
        See `qgis_install`.

    Returns
    -------
    list of Path
        Folders that had scripts.

    Raises
    ------
    ConfigError
        If there is no such profile.
    """
    folders = []
    for home in _profiles(profile, as_path(profiles)):
        folder = home / _SCRIPTS
        if not folder.is_dir():
            continue
        for name in (NOTE, *(script.name for script in scripts())):
            (folder / name).unlink(missing_ok=True)
        shutil.rmtree(folder / "__pycache__", ignore_errors=True)
        if not any(folder.iterdir()):
            folder.rmdir()
        folders.append(folder)
    return folders


def scripts() -> Sequence[Path]:
    """Return the scripts and the catalogues of their translations, of an installation or of a checkout."""
    package = Path(__file__).parents[1]
    for folder in (package / "qgis_scripts", package.parent / "qgis_scripts"):
        if found := sorted(folder.glob("geoseg_*.py")):
            return [*sorted(folder.glob("geoseg_*.json")), *found]
    raise ConfigError("this installation has no QGIS scripts. Install geoseg again")


def profile_folders() -> list[Path]:
    """Return the existing folders of QGIS profiles on this machine."""
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
            f"{profiles}: not a folder. Pass the folder named profiles, which has a folder per profile"
        )
    if not folders:
        raise ConfigError(
            "no QGIS profile found. Start QGIS once, or pass the folder of the profiles with "
            "--profiles (in QGIS: Settings > User Profiles > Open Active Profile Folder, one above)"
        )
    homes = [folder / (profile or _default_profile(folder)) for folder in folders]
    existing = [home for home in homes if home.is_dir()]
    if not existing:
        names = sorted({p.name for folder in folders for p in folder.iterdir() if p.is_dir()})
        raise ConfigError(
            f"{homes[0]}: no such profile. Choose one of: {', '.join(names) or 'none'}"
        )
    return existing


def _default_profile(folder: Path) -> str:
    """Return the name of the profile that QGIS starts with."""
    try:
        lines = (folder / "profiles.ini").read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return "default"
    names = [line.partition("=")[2].strip() for line in lines if line.startswith("defaultProfile=")]
    return names[0] if names and (folder / names[0]).is_dir() else "default"
