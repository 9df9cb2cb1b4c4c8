"""``geoseg prepare``: exit code, stderr and product."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from geoseg.cli import boundary, geoseg
from geoseg.dataset.folder import Dataset
from tests.dota_folder import add


@pytest.fixture
def dota(tmp_path: Path) -> Path:
    add(tmp_path / "dota" / "train", "a")
    add(tmp_path / "dota" / "val", "b")
    add(tmp_path / "dota" / "extra", "c")
    return tmp_path / "dota"


def run(*args: object) -> int:
    return boundary.run(geoseg, ["prepare", *map(str, args)])


def test_the_dataset_is_written_and_its_path_printed(
    dota: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "data set"
    assert run(dota, "-o", out, "--splits", "train, val", "--legend", "dota-v1.5") == 0
    assert capsys.readouterr().out == f"{out}\n"
    dataset = Dataset.open(out)
    assert dataset.splits == ("train", "val")
    assert len(dataset.legend) == 17


def test_json_progress_ends_with_the_product(
    dota: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(dota, "-o", tmp_path / "out", "--progress", "json", "--jobs", 1) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {"event": "progress", "done": 3, "total": 3, "text": "write scenes"} in lines
    assert lines[-1] == {"event": "result", "path": str(tmp_path / "out")}


def test_bad_input_is_one_line_and_exit_code_3(
    dota: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    label = dota / "val" / "labelTxt" / "b.txt"
    label.write_text("1 2 3 4 5 6 7 8 Plane 0\n", encoding="utf-8")
    assert run(dota, "-o", tmp_path / "out", "--progress", "none") == 3
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith(
        f"geoseg: error: {label}:1: unknown class 'Plane' (did you mean 'plane'?"
    )
    assert not (tmp_path / "out").exists()


def test_skipped_input_is_exit_code_6_with_the_product(
    dota: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    label = dota / "val" / "labelTxt" / "b.txt"
    label.unlink()
    assert run(dota, "-o", tmp_path / "out", "--skip-bad", "--progress", "none") == 6
    captured = capsys.readouterr()
    assert captured.out == f"{tmp_path / 'out'}\n"
    assert captured.err.splitlines()[-1].startswith(f"geoseg: error: {tmp_path / 'out'}: complete")
    assert "b.png: no label file" in captured.err
    assert len(Dataset.open(tmp_path / "out").scenes) == 2


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (["--legend", "dota-v9"], 2, "legend 'dota-v9'"),
        (["--val-share", "1"], 2, "--val-share"),
        (["--splits", "test"], 3, "no folder images"),
        (["--outlines", "none.parquet"], 3, "none.parquet"),
        ([], 0, ""),
    ],
)
def test_each_mistake_has_its_exit_code(
    dota: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    code: int,
    says: str,
) -> None:
    assert run(dota, "-o", tmp_path / "out", "--progress", "none", *options) == code
    assert says in capsys.readouterr().err
    assert (tmp_path / "out").exists() == (code == 0)


def test_an_existing_dataset_is_exit_code_4(dota: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run(dota, "-o", out, "--progress", "none") == 0
    assert run(dota, "-o", out, "--progress", "none") == 4
    assert run(dota, "-o", out, "--progress", "none", "--overwrite") == 0


def test_the_validation_report_is_a_table_on_stderr(
    dota: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with (dota / "val" / "labelTxt" / "b.txt").open("a", encoding="utf-8") as labels:
        labels.write("500 500 600 500 600 600 500 600 ship 0\n")
    assert run(dota, "-o", tmp_path / "out", "--progress", "none", "--difficult", "drop") == 0
    captured = capsys.readouterr()
    assert captured.out == f"{tmp_path / 'out'}\n"
    first, head, *rows = captured.err.splitlines()
    report = tmp_path / "out" / "report.json"
    assert first == f"geoseg: warning: validation report (details in {report}):"
    assert re.fullmatch(" +issue +action +count +files +example", head)
    assert re.fullmatch(" +object outside its scene +left out +1 +1 +b.txt: quads", rows[1])
    assert re.fullmatch(" +difficult object +left out +3 +3 +c.txt: quads", rows[2])


def test_folders_are_merged_and_classes_and_splits_follow_files(dota: Path, tmp_path: Path) -> None:
    classes, splits = tmp_path / "classes.toml", tmp_path / "splits.csv"
    classes.write_text('ship = "boat"\n', encoding="utf-8")
    splits.write_text("scene,split\na,val\nb,train\n", encoding="utf-8")
    command = [dota / "train", dota / "val", "-o", tmp_path / "out", "--progress", "none"]
    assert run(*command, "--classes", classes, "--split-list", splits) == 0
    dataset = Dataset.open(tmp_path / "out")
    assert {s.name: s.split for s in dataset.scenes} == {"a": "val", "b": "train"}
    assert "boat" in dataset.legend.names


def test_a_repeated_run_reports_what_it_reused(
    dota: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [dota, "-o", tmp_path / "out", "--progress", "none"]
    assert run(*command) == 0
    assert run(*command) == 4
    assert "--overwrite, which writes only what has changed" in capsys.readouterr().err
    assert run(*command, "--overwrite") == 0
    assert "3 of 3 scenes are unchanged and were reused" in capsys.readouterr().err
    assert run(*command, "--overwrite", "--restart") == 0
    assert "had not changed" not in capsys.readouterr().err


def test_blocks_and_a_gap_are_for_dota_folders_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    add(tmp_path / "dota", "a", width=200, height=160)
    command = [tmp_path / "dota", "--progress", "none", "--gap", 4]
    assert run(*command, "-o", tmp_path / "none") == 2
    assert "without a split" in capsys.readouterr().err
    assert run(*command, "-o", tmp_path / "out", "--block", 64) == 0
    assert len(Dataset.open(tmp_path / "out").scenes) == 6
