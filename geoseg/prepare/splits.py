"""Which split each scene belongs to: by a list, or by a share of them.

A list is a CSV file (commas, semicolons or tabs) with the columns ``scene`` and ``split``; scenes go by
their name, with or without the suffix of their file.
"""

from __future__ import annotations

import csv
import difflib
import hashlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from geoseg.dataset import is_plain_name
from geoseg.errors import ConfigError, SceneError
from geoseg.files import input_file
from geoseg.prepare.findings import Done, Findings, Kind

TRAIN, VAL = "train", "val"

_WINDOW = re.compile(r"__[0-9.]+__[0-9]+___[0-9]+$")  # of DOTA's tools: scale, left, top


def read_split_list(path: Path) -> dict[str, str]:
    """Scene name → split. Raises ConfigError, with the line."""
    try:
        text = input_file(path, ConfigError).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as fault:
        raise ConfigError(f"{path}: is not UTF-8 text. save it as UTF-8") from fault
    header = text.partition("\n")[0]
    between = next((mark for mark in "\t,;" if mark in header), ",")
    rows = csv.DictReader(text.splitlines(), delimiter=between)
    if not {"scene", "split"} <= set(rows.fieldnames or ()):
        raise ConfigError(
            f"{path}:1: must name the columns scene and split, got {header.strip()!r}. correct its first line"
        )
    splits: dict[str, str] = {}
    for row in rows:
        scene, split = (row["scene"] or "").strip(), (row["split"] or "").strip()
        if not scene or not split:
            raise ConfigError(f"{path}:{rows.line_num}: needs a scene and a split. complete it")
        if not is_plain_name(split):
            raise ConfigError(
                f"{path}:{rows.line_num}: split {split!r} cannot name a folder. choose another name"
            )
        if splits.setdefault(scene, split) != split:
            raise ConfigError(
                f"{path}:{rows.line_num}: {scene} is in {splits[scene]} already. choose one split"
            )
    if not splits:
        raise ConfigError(f"{path}: names no scene. add a line for each")
    return splits


def by_list(names: Mapping[str, Path], path: Path, findings: Findings) -> dict[str, str]:
    """Scene name → split of those in the list; `names` leads from scenes to their files.

    A scene that is not in the list is at fault; a name in the list that is no scene is told.
    """
    listed = read_split_list(path)
    found: dict[str, str] = {}
    used = set()
    for name, file in names.items():
        key = next((key for key in (name, file.name) if key in listed), None)
        if key is None:
            near = difflib.get_close_matches(name, listed, n=1)
            hint = f", which has {near[0]!r}" if near else ""
            findings.fault(SceneError(f"{file}: {name} is not in {path}{hint}. add it to the list"))
        else:
            used.add(key)
            found[name] = listed[key]
    for name in listed:
        if name not in used:
            findings.add(Kind.NOT_LISTED, path, Done.LEFT_OUT, scene=name)
    return found


def by_share(names: Iterable[str], share: float) -> dict[str, str]:
    """Scene name → *train* or *val*: about `share` of them into *val*, but some if there are two.

    The same every time, and nearly the same of nearly the same names. Windows of one scene, by names like
    ``P0001__1__824___0`` as DOTA's tools give them, overlap and are never parted.
    """
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(_WINDOW.sub("", name), []).append(name)
    ranked = sorted(groups, key=lambda name: hashlib.sha256(name.encode()).digest())
    total = sum(map(len, groups.values()))
    wanted = round(share * total) or int(share > 0)
    splits: dict[str, str] = {}
    val = 0
    for number, scene in enumerate(ranked, start=1):
        validates = val < wanted and number < len(ranked)
        val += len(groups[scene]) * validates
        splits |= dict.fromkeys(groups[scene], VAL if validates else TRAIN)
    return splits
