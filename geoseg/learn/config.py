"""Reading a training configuration: TOML, checked, unknown keys refused with a suggestion."""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from geoseg.errors import ConfigError
from geoseg.files import input_file
from geoseg.learn.sections import TrainConfig

_DEEPEST = 8  # configurations that build on one another


def read_config(path: Path, settings: Sequence[str] = ()) -> TrainConfig:
    """A configuration file, with ``section.key=value`` settings on top of it.

    ``extends = "other.toml"`` at its head names a file, beside it, that it builds on: what it does not
    say, that says. A relative dataset folder in a file starts at the file's folder, one in a setting at
    the working directory. Raises ConfigError.
    """
    values = _read(path, _DEEPEST)
    for setting in settings:
        _set(values, setting)
    return parse_config(values, str(path))


def parse_config(values: dict[str, Any], where: str) -> TrainConfig:
    """Check plain values; `where` names them in a ConfigError."""
    try:
        # through JSON, in which a TOML array may become a tuple, though strictness lets no text become a
        # number
        return TrainConfig.model_validate_json(json.dumps(values, default=str))
    except ValidationError as error:
        raise ConfigError(f"{where}: " + "; ".join(map(_explain, error.errors()[:5]))) from error
    except ValueError as error:
        raise ConfigError(f"{where}: {error}. numbers must be finite") from error


def _read(path: Path, deepest: int) -> dict[str, Any]:
    """What a file and those that it builds on say."""
    file = input_file(path, ConfigError)
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise ConfigError(f"{file}: is not TOML ({error}). see configs/ for examples") from error
    data = values.get("data")
    if isinstance(data, dict) and isinstance(data.get("dataset"), str):
        data["dataset"] = str(file.parent / data["dataset"])
    base = values.pop("extends", None)
    if base is None:
        return values
    if not isinstance(base, str):
        raise ConfigError(f"{file}: extends: name one file, got {base!r}")
    if not deepest:
        raise ConfigError(f"{file}: extends: goes round in circles, or too deep. shorten it")
    below = _read(file.parent / base, deepest - 1)
    below.pop("card", None)  # it speaks of another model
    return _merged(below, values)


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of both; of tables that both hold, table by table, otherwise `above` wins."""
    merged = {**below, **above}
    for section in below.keys() & above.keys():
        if isinstance(below[section], dict) and isinstance(above[section], dict):
            merged[section] = {**below[section], **above[section]}
    return merged


def _set(values: dict[str, Any], setting: str) -> None:
    key, equals, text = setting.partition("=")
    section, dot, name = key.strip().partition(".")
    if not equals or not dot or not name:
        raise ConfigError(f"--set {setting!r}: write section.key=value, e.g. training.steps=500")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()  # a bare word is a string
    if not isinstance(table := values.setdefault(section, {}), dict):
        raise ConfigError(f"--set {setting!r}: {section!r} is no section")
    table[name] = value


def _explain(error: Any) -> str:
    location = [str(part) for part in error["loc"]]
    name = ".".join(location)
    if error["type"] == "value_error":  # ours: it says itself what it found
        return f"{name}: {error['ctx']['error']}"
    if error["type"] != "extra_forbidden":
        return f"{name}: {error['msg'][0].lower()}{error['msg'][1:]}, got {error['input']!r}"
    section: type[BaseModel] = TrainConfig
    for part in location[:-1]:
        annotation = section.model_fields[part].annotation
        assert isinstance(annotation, type) and issubclass(annotation, BaseModel)
        section = annotation
    near = difflib.get_close_matches(location[-1], section.model_fields, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(section.model_fields)}"
    return f"unknown key {name!r}. {hint}"
