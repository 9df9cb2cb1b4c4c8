from pathlib import Path

import matplotlib.image as mpimg
import numpy as np
import pytest

from geoseg.cli import boundary, geoseg
from geoseg.dataset.folder import Dataset
from geoseg.errors import ConfigError, OutputError
from geoseg.training.config import TrainConfig, parse_config
from geoseg.training.sampler import Sampler
from geoseg.training.windows import open_split
from tests.calls import preview
from tests.synthetic_dataset import dataset


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return dataset(tmp_path_factory.mktemp("drawn"))


def config(drawn: Path) -> TrainConfig:
    data = {"dataset": str(drawn), "window": 64, "balanced": 1.0}
    return parse_config({"data": data, "augment": {"copy_paste": 1.0, "noise": 0.1}}, "test")


def test_a_preview_shows_the_windows_of_the_training_pixel_for_pixel(
    drawn: Path, tmp_path: Path
) -> None:
    sheet = preview(config(drawn), tmp_path / "sheet.png", windows=6)
    shown = (mpimg.imread(sheet)[..., :3] * 255).round().astype(np.uint8)
    settings = config(drawn)
    opened = Dataset.open(drawn)
    draw = Sampler(
        open_split(settings.data, opened, "train"),
        seed=0,
        data=settings.data,
        augment=settings.augment,
    )
    windows = np.lib.stride_tricks.sliding_window_view(shown, (20, 20, 3))[:, :, 0]
    for n in range(6):
        corner = draw(n).pixels[40:60, 4:24]  # below the number
        found = (windows[..., 0, 0, :] == corner[0, 0]).all(-1)
        assert any((windows[r, c] == corner).all() for r, c in np.argwhere(found))


def test_the_command_writes_where_it_was_told(
    drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, sheet = tmp_path / "config.toml", tmp_path / "sheet.png"
    file.write_text(f'[data]\ndataset = "{drawn.as_posix()}"\nwindow = 64\n')
    command = ["preview", str(file), "-o", str(sheet), "--windows", "3", "--progress", "none"]
    assert boundary.run(geoseg, [*command, "--set", "augment.copy_paste=1.0"]) == 0
    assert capsys.readouterr().out == f"{sheet}\n"
    assert boundary.run(geoseg, command) == 4  # exists


def test_what_cannot_be_drawn_is_refused(drawn: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"is written as \.png"):
        preview(config(drawn), tmp_path / "sheet.jpg")
    with pytest.raises(OutputError, match="folder does not exist"):
        preview(config(drawn), tmp_path / "nowhere" / "sheet.png")
