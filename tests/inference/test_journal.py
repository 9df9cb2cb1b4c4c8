"""Journal entries survive a kill, and an incomplete entry is detected."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rasterio.windows import Window

from geoseg.errors import ConfigError
from geoseg.inference.journal import JournalEntry, open_journal

DEPENDENCIES: dict[str, Any] = {"model": "abc", "--core": 64, "--gsd": (1.0, 1.0)}


def make_entries(count: int) -> list[JournalEntry]:
    rng = np.random.default_rng(count)
    entries = []
    for number in range(count):
        height, width = rng.integers(1, 9, 2).tolist()
        planes = rng.integers(0, 255, (2, height, width), np.uint8) if number % 3 else None
        entries.append(JournalEntry(number, Window(number, 7, width, height), planes))
    return entries


def equal(one: JournalEntry, other: JournalEntry) -> bool:
    if one.planes is None or other.planes is None:
        return one.number == other.number and one.planes is other.planes
    same = one.number, one.window
    return same == (other.number, other.window) and np.array_equal(one.planes, other.planes)


def write(path: Path, entries: list[JournalEntry]) -> None:
    with open_journal(path, DEPENDENCIES, output=Path("out.gpkg")) as journal:
        list(journal.read_entries())
        for entry in entries:
            journal.append(entry)


def read(path: Path) -> list[JournalEntry]:
    with open_journal(path, DEPENDENCIES, output=Path("out.gpkg")) as journal:
        return list(journal.read_entries())


@given(count=st.integers(1, 9), cut=st.integers(0, 10_000), noise=st.binary(max_size=60))
def test_complete_entries_are_kept_and_the_others_can_be_appended_again(
    tmp_path_factory: pytest.TempPathFactory, count: int, cut: int, noise: bytes
) -> None:
    path = tmp_path_factory.mktemp("journal") / "journal"
    entries = make_entries(count)
    write(path, entries)
    whole = path.read_bytes()
    path.write_bytes(whole[: cut % (len(whole) + 1)] + noise)  # a torn write
    kept = read(path)
    assert all(map(equal, kept, entries[: len(kept)]))
    write(path, entries[len(kept) :])
    again = read(path)
    assert len(again) == count
    assert all(map(equal, again, entries))


@given(flip=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_a_damaged_entry_is_dropped(
    tmp_path_factory: pytest.TempPathFactory, flip: int, bit: int
) -> None:
    path = tmp_path_factory.mktemp("journal") / "journal"
    entries = make_entries(6)
    write(path, entries)
    data = bytearray(path.read_bytes())
    first = data.index(b"\n") + 1
    data[first + flip % (len(data) - first)] ^= 1 << bit
    path.write_bytes(data)
    kept = read(path)
    assert len(kept) < len(entries)
    assert all(map(equal, kept, entries[: len(kept)]))


def test_an_error_names_the_changed_setting(tmp_path: Path) -> None:
    write(tmp_path / "journal", make_entries(2))
    other = DEPENDENCIES | {"--core": 128}
    with (
        pytest.raises(ConfigError, match=r"--core was 64, is 128.*--restart") as caught,
        open_journal(tmp_path / "journal", other, output=Path("out.gpkg")),
    ):
        pass
    assert "model was" not in str(caught.value)
    assert len(read(tmp_path / "journal")) == 2  # unchanged
