"""Write a training configuration to start from."""

from __future__ import annotations

from pathlib import Path

from geoseg.errors import ConfigError
from geoseg.files import write_text
from geoseg.options import StrPath

TEMPLATES = {name: Path(__file__).with_name(f"{name}.toml") for name in ("finetune",)}
"""Configurations by name."""


def init(output: StrPath, *, name: str = "finetune", overwrite: bool = False) -> Path:
    """Write a training configuration with comments.

    Parameters
    ----------
    output
        TOML file to write.
    name
        One of `TEMPLATES`. ``finetune``: fine-tune the shipped model on own classes.
    overwrite
        Replace an existing file.

    Raises
    ------
    ConfigError
        For an unknown name.
    OutputError
        If the file exists or cannot be written.
    """
    if name not in TEMPLATES:
        raise ConfigError(f"{name}: no such configuration. Known: {', '.join(TEMPLATES)}")
    write_text(Path(output), TEMPLATES[name].read_text(encoding="utf-8"), overwrite=overwrite)
    return Path(output)
