"""Progress passes items through unchanged, and says what it promises where it promises it."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg.cli import progress
from geoseg.progress import format_duration, silent
from tests.processes import HANG


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


@given(items=st.lists(st.integers()), mode=st.sampled_from(["auto", "json", "none"]))
def test_items_come_through_in_their_order(items: list[int], mode: str) -> None:
    assert list(progress.tracker(mode)(items, "stage")) == items


def test_none_is_the_library_s_own_silence() -> None:
    assert progress.tracker("none") is silent


def test_json_lines_count_what_is_done_and_end_with_the_result(
    capsys: pytest.CaptureFixture[str],
) -> None:
    track = progress.tracker("json")
    assert list(track("abc", "segment")) == ["a", "b", "c"]
    progress.report(Path("out") / "dächer.gpkg", "json", count=7)
    out, err = capsys.readouterr()
    assert err == ""
    assert lines(out) == [
        {"event": "progress", "done": 0, "total": 3, "text": "segment"},
        {"event": "progress", "done": 3, "total": 3, "text": "segment"},
        {"event": "result", "path": os.path.join("out", "dächer.gpkg"), "count": 7},  # noqa: PTH118
    ]
    assert out.isascii()


def test_json_counts_an_item_when_its_work_is_done(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = iter(range(1000))
    monkeypatch.setattr(progress, "monotonic", lambda: next(now))  # a second passes at every look
    seen = []
    for item in progress.tracker("json")(range(3)):
        seen += [(item, event["done"]) for event in lines(capsys.readouterr().out)]
    assert seen == [(0, 0), (1, 1), (2, 2)]
    assert [event["done"] for event in lines(capsys.readouterr().out)] == [3]


@given(gaps=st.lists(st.floats(0, 0.9), min_size=1, max_size=30))
def test_json_speaks_at_least_every_second_while_items_flow(gaps: list[float]) -> None:
    clock = [0.0]
    spoken = []

    def slowly() -> Iterator[float]:
        for gap in gaps:
            clock[0] += gap / 2
            yield gap
            clock[0] += gap / 2

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(progress, "monotonic", lambda: clock[0])
        patch.setattr(progress, "_emit", lambda _event: spoken.append(clock[0]))
        list(progress.tracker("json")(slowly(), total=len(gaps)))
    quiet = [after - before for before, after in zip(spoken, [*spoken[1:], clock[0]], strict=True)]
    assert max(quiet) <= 1.15 + 1e-9


def test_a_total_that_nobody_knows_is_null(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(progress.tracker("json")(iter("ab"))) == ["a", "b"]
    assert {event["total"] for event in lines(capsys.readouterr().out)} == {None}


def test_a_given_total_wins_over_the_length(capsys: pytest.CaptureFixture[str]) -> None:
    list(progress.tracker("json")("ab", total=5))
    assert {event["total"] for event in lines(capsys.readouterr().out)} == {5}


def test_without_a_terminal_stdout_stays_empty_and_the_log_speaks_now_and_then(
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = iter(range(0, 1000, 4))
    monkeypatch.setattr(progress, "monotonic", lambda: next(now))
    caplog.set_level(logging.INFO, logger="geoseg")
    list(progress.tracker("auto")(range(6), "tiles"))
    assert capsys.readouterr().out == ""
    assert [record.getMessage() for record in caplog.records] == ["tiles: 3 of 6", "tiles: 6 of 6"]


def test_without_json_the_result_is_the_path_alone(capsys: pytest.CaptureFixture[str]) -> None:
    progress.report(Path("out.gpkg"), "auto", count=7)
    assert capsys.readouterr().out == "out.gpkg\n"


def test_rich_is_loaded_only_for_a_bar() -> None:
    code = (
        "import sys\nfrom geoseg.cli.progress import tracker\n"
        "for mode in ('auto', 'json', 'none'): list(tracker(mode)('abc'))\nassert 'rich' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")
def test_on_a_terminal_a_bar_is_drawn_on_stderr_only() -> None:
    import pty

    code = (
        "from geoseg.cli.progress import tracker\ntrack = tracker('auto')\n"
        "for a in track('ab', 'outer'):\n    for b in track(range(3), 'inner'): pass\nprint('product')"
    )
    terminal, end = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=end,
        env={**os.environ, "TERM": "xterm"},
        check=True,
        timeout=HANG,
    )
    os.close(end)
    drawn = os.read(terminal, 100_000).decode()
    os.close(terminal)
    assert done.stdout == b"product\n"
    assert "outer" in drawn
    assert "2/2" in drawn


def test_the_remaining_time_is_shown_once_and_in_one_format(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    display = progress._start_display()
    display.stop()
    times = display.columns[-1]
    assert not isinstance(times, str)
    plain = display.add_task("segment", total=4)
    own = display.add_task("train, loss 0.5, 5 min left", total=4)
    shown = {}
    for task in display.tasks:
        task._progress.clear()
        object.__setattr__(task, "start_time", 0.0)
        monkeypatch.setattr(type(task), "elapsed", property(lambda _: 65.0))
        monkeypatch.setattr(type(task), "time_remaining", property(lambda _: 25.0))
        shown[task.id] = str(times(task))
    capsys.readouterr()
    assert shown[plain] == "1 min, 25 s left"
    assert shown[own] == "1 min"


@given(seconds=st.floats(0, 1e6))
def test_durations_are_within_half_of_their_last_digit(seconds: float) -> None:
    text = format_duration(seconds).replace(" ", "")
    units = {"h": 3600, "min": 60, "s": 1}
    parsed = sum(int(n) * units[u] for n, u in re.findall(r"(\d+)(h|min|s)", text))
    assert abs(parsed - seconds) <= (0.5 if text.endswith("s") else 30)


def test_the_facts_of_a_plan_are_a_json_line_only_with_json(
    capsys: pytest.CaptureFixture[str],
) -> None:
    log = logging.getLogger("geoseg.inference")
    progress.tracker("json")
    log.warning("scene.tif: 20 tiles", extra={"plan": {"tiles": 20}})
    assert lines(capsys.readouterr().out) == [{"event": "plan", "tiles": 20}]
    progress.tracker("none")
    log.warning("scene.tif: 20 tiles", extra={"plan": {"tiles": 20}})
    assert capsys.readouterr().out == ""
