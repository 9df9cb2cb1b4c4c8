from pathlib import Path

import pytest

from geoseg.errors import ConfigError
from geoseg.training.config import RENAMED_KEYS, TrainConfig, read_config

CONFIGS = sorted((Path(__file__).parents[2] / "configs").rglob("*.toml"))


def config(folder: Path, text: str, *settings: str) -> TrainConfig:
    file = folder / "config.toml"
    file.write_text(text, encoding="utf-8")
    return read_config(file, settings)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_the_configs_that_come_with_geoseg_are_valid(path: Path) -> None:
    read_config(path)


def test_a_config_that_says_nothing_is_the_defaults(tmp_path: Path) -> None:
    assert config(tmp_path, "# nothing") == TrainConfig()


def test_a_relative_dataset_lies_beside_the_config(tmp_path: Path) -> None:
    assert config(tmp_path, 'data.dataset = "my data"').data.dataset == str(tmp_path / "my data")


def test_a_relative_dataset_in_a_setting_lies_in_the_working_directory(tmp_path: Path) -> None:
    changed = config(tmp_path, 'data.dataset = "other"', "data.dataset=mine/dataset")
    assert changed.data.dataset == "mine/dataset"


def test_settings_win_over_the_file(tmp_path: Path) -> None:
    changed = config(
        tmp_path,
        "[training]\nsteps = 5",
        "training.steps=7",
        "loss.weights=sqrt",
        "augment.scale=[0.5, 2.0]",
        "network.parameters={width=8}",
    )
    assert (changed.training.steps, changed.loss.weights) == (7, "sqrt")
    assert changed.augment.scale == (0.5, 2.0)
    assert changed.network.parameters == {"width": 8}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[training]\nstep = 5", r"unknown key 'training.step'. Did you mean 'steps'\?"),
        ("[trainig]\nsteps = 5", r"unknown key 'trainig'. Did you mean 'training'\?"),
        ("[training]\nsteps = 'many'", "training.steps: input should be a valid integer"),
        ("[training]\nsteps = 0", "training.steps: .*greater than or equal to 1, got 0"),
        ("[training]\nsteps = true", "training.steps: .*valid integer"),
        ("[training]\nlearning_rate = nan", "learning_rate"),
        ("[training]\nlearning_rate = 'fast'", "learning_rate: .*valid number"),
        ("[loss]\nweights = 'big'", "loss.weights: .*'inverse'"),
        ("training = 5", "training: "),
        ("steps == 5", "not valid TOML"),
        ("[training]\nsteps = 1\nsteps = 2", "not valid TOML"),
    ],
)
def test_what_is_wrong_with_a_config_is_said_by_its_key(
    tmp_path: Path, text: str, why: str
) -> None:
    with pytest.raises(ConfigError, match=why):
        config(tmp_path, text)


@pytest.mark.parametrize(
    "setting", ["steps=5", "training.steps", "training=5", "=", "training.x=1"]
)
def test_a_setting_that_sets_nothing_is_refused(tmp_path: Path, setting: str) -> None:
    with pytest.raises(ConfigError):
        config(tmp_path, "# nothing", setting)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not valid TOML"):
        read_config(tmp_path / "config.toml")


def test_a_config_says_what_the_one_it_extends_does_not(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "base.toml").write_text(
        '[data]\ndataset = "mine"\nwindow = 256\n[training]\nsteps = 5\n'
    )
    (tmp_path / "middle.toml").write_text('extends = "base/base.toml"\n[data]\nbalanced = 0.1\n')
    found = config(tmp_path, 'extends = "middle.toml"\n[training]\nsteps = 7', "data.window=64")
    assert found.data.dataset == str(tmp_path / "base" / "mine")  # beside the file that names it
    assert (found.data.window, found.data.balanced, found.training.steps) == (64, 0.1, 7)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('extends = "config.toml"', "circular"),
        ('extends = "nowhere.toml"', "nowhere.toml: cannot be read"),
        ("extends = 5", "extends: must name one file"),
        (
            "[data]\nbalanced = 0.7\nbackground = 0.4",
            "data: balanced, background and unlabelled are fractions",
        ),
        ("[augment]\nscale = [2.0, 1.0]", "augment.scale: give the smallest value first"),
        (
            "[card]\npixel_size_m = [0.8, 0.1]",
            "card.pixel_size_m: pixel sizes must be .* the smallest first",
        ),
        ("[training]\nprecision = 'half'", "training.precision: .*'bfloat16'"),
        ("[loss]\nfocall = 2.0", r"Did you mean 'focal'\?"),
    ],
)
def test_what_does_not_go_together_is_refused(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        config(tmp_path, text)


@pytest.mark.parametrize(("old", "new"), RENAMED_KEYS.items())
def test_a_renamed_key_is_refused_by_naming_the_new_one(tmp_path: Path, old: str, new: str) -> None:
    section, key = old.split(".")
    with pytest.raises(ConfigError, match=rf"config.toml: key '{old}' was renamed. Write '{new}'"):
        config(tmp_path, f"[{section}]\n{key} = 1")
    with pytest.raises(ConfigError, match=new):
        config(tmp_path, "# nothing", f"{old}=1")
