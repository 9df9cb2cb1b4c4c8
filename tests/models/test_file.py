import dataclasses
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from geoseg.errors import ConfigError, ModelError, OutputError
from geoseg.legend import Legend
from geoseg.models.model_file import (
    ModelCard,
    check_card_file,
    load_model,
    read_card,
    save_model,
    write_card,
)
from geoseg.models.unet import UNet
from geoseg.raster.bands import BandStatistics

CARD = ModelCard(
    architecture="unet",
    parameters={"width": 4, "depth": 2},
    legend=Legend.of({"tree": "#00ff00"}),
    bands=3,
    dtype="uint8",
    mean=(90.0, 95.5, 80.0),
    std=(40.0, 41.0, 42.0),
    stride=4,
    margin=24,
    pixel_size_m=(0.1, 0.5),
    training={"data": "drawn", "steps": 3},
    scores={"val": {"miou": 0.5}},
)


def saved(path: Path, *, half: bool = True) -> tuple[Path, UNet]:
    network = UNet(3, 2, width=4, depth=2).eval()
    return save_model(path, network.state_dict(), CARD, half=half), network


@pytest.mark.parametrize("half", [True, False])
def test_another_card_leaves_the_weights_as_they_are(tmp_path: Path, half: bool) -> None:
    path, _ = saved(tmp_path / "m.safetensors", half=half)
    model = load_model(path)
    with safe_open(path, framework="pt") as file:
        before = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    card = write_card(model, lambda card: dataclasses.replace(card, margin=28))
    assert card == dataclasses.replace(CARD, margin=28) == read_card(path)
    with safe_open(path, framework="pt") as file:
        after = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    assert before.keys() == after.keys()
    for name, tensor in before.items():
        assert tensor.dtype == after[name].dtype
        assert torch.equal(tensor, after[name])
    saved_anew = {name: tensor + 1 for name, tensor in model.network.state_dict().items()}
    save_model(path, saved_anew, CARD, overwrite=True)
    with pytest.raises(ModelError, match="replaced by another model"):
        write_card(model, lambda card: card)
    assert read_card(path) == CARD


def test_a_card_that_could_not_be_written_later_is_refused_now(tmp_path: Path) -> None:
    for model in (None, tmp_path / "m.onnx"):
        with pytest.raises(ConfigError, match="with -m"):
            check_card_file(model)
    with pytest.raises(OutputError, match="folder does not exist"):
        check_card_file(tmp_path / "nowhere" / "m.safetensors")
    check_card_file(saved(tmp_path / "m.safetensors")[0])


def test_a_model_comes_back_with_its_card_and_its_logits(tmp_path: Path) -> None:
    path, network = saved(tmp_path / "m.safetensors", half=False)
    model = load_model(path)
    assert model.card == CARD == read_card(path)
    image = torch.rand(1, 3, 8, 8)
    assert torch.equal(model.network(image), network(image))
    assert not model.network.training


def test_half_precision_takes_half_the_room_and_changes_little(tmp_path: Path) -> None:
    full, network = saved(tmp_path / "full.safetensors", half=False)
    half = save_model(tmp_path / "half.safetensors", network.state_dict(), CARD)
    image = torch.rand(1, 3, 8, 8)
    assert torch.allclose(load_model(half).network(image), network(image), atol=1e-2)
    assert half.stat().st_size < 0.7 * full.stat().st_size


def test_an_existing_model_is_not_replaced_unasked(tmp_path: Path) -> None:
    path, network = saved(tmp_path / "m.safetensors")
    before = path.read_bytes()
    with pytest.raises(OutputError, match="--overwrite"):
        save_model(path, network.state_dict(), CARD)
    assert path.read_bytes() == before


def rewritten(
    path: Path, change: Callable[[dict[str, torch.Tensor], dict[str, str]], None]
) -> Path:
    with safe_open(path, framework="pt") as file:
        header = dict(file.metadata())
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    change(tensors, header)
    save_file(tensors, path, metadata=header)
    return path


def _flip(tensors: dict[str, torch.Tensor], _header: dict[str, str]) -> None:
    tensors["head.weight"] += 1


def _no_card(_tensors: dict[str, torch.Tensor], header: dict[str, str]) -> None:
    del header["geoseg"]


def _other_format(_tensors: dict[str, torch.Tensor], header: dict[str, str]) -> None:
    header["geoseg"] = json.dumps({**json.loads(header["geoseg"]), "format": "geoseg model 99"})


def _text_for_bands(_tensors: dict[str, torch.Tensor], header: dict[str, str]) -> None:
    header["geoseg"] = json.dumps({**json.loads(header["geoseg"]), "bands": "many"})


def _no_json(_tensors: dict[str, torch.Tensor], header: dict[str, str]) -> None:
    header["geoseg"] = "{"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (_flip, "weights differ from their checksum"),
        (_no_card, "no geoseg model card"),
        (_other_format, "this version reads"),
        (_text_for_bands, "invalid model card"),
        (_no_json, "invalid model card"),
    ],
)
def test_a_file_that_was_tampered_with_is_refused(
    tmp_path: Path,
    change: Callable[[dict[str, torch.Tensor], dict[str, str]], None],
    why: str,
) -> None:
    path = rewritten(saved(tmp_path / "m.safetensors")[0], change)
    with pytest.raises(ModelError, match=why):
        load_model(path)


def test_weights_that_do_not_fit_the_card_are_named(tmp_path: Path) -> None:
    weights = UNet(3, 2, width=4, depth=2).state_dict()
    path = save_model(
        tmp_path / "m.safetensors",
        weights,
        dataclasses.replace(CARD, parameters={"width": 8, "depth": 2}),
    )
    with pytest.raises(ModelError, match="weights do not fit its architecture, first decoder"):
        load_model(path)


def test_weights_that_are_not_finite_are_not_saved(tmp_path: Path) -> None:
    weights = UNet(3, 2, width=4, depth=2).state_dict()
    weights["head.bias"][0] = torch.nan
    with pytest.raises(ValueError, match=r"head\.bias is not finite"):
        save_model(tmp_path / "m.safetensors", weights, CARD)
    assert not list(tmp_path.iterdir())


class Payload:
    """What a malicious pickle would do."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return Path.mkdir, (self.canary,)


@pytest.mark.parametrize("kind", ["pickle", "zip", "torch", "html", "truncated", "text"])
def test_a_foreign_file_is_refused_and_never_run(tmp_path: Path, kind: str) -> None:
    canary, path = tmp_path / "canary", tmp_path / "m.safetensors"
    if kind == "pickle":
        path.write_bytes(pickle.dumps(Payload(canary)))
    elif kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", pickle.dumps(Payload(canary)))
    elif kind == "torch":
        torch.save({"state_dict": Payload(canary)}, path)
    elif kind == "truncated":
        whole = saved(path)[0].read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
    else:
        path.write_text("<html>not found</html>" if kind == "html" else "hello")
    with pytest.raises(ModelError, match=r"damaged, or not a \.safetensors"):
        load_model(path)
    assert not canary.exists()


def test_names_and_statistics_of_bands_are_kept_and_an_old_card_of_colours_has_names(
    tmp_path: Path,
) -> None:
    names = ("red", "", "nir")
    statistics = tuple(BandStatistics(0.5, 1.0, k + 2.0, 90.0, 30.25, 12.0) for k in range(3))
    card = dataclasses.replace(CARD, band_names=names, statistics=statistics)
    path = save_model(tmp_path / "m.safetensors", UNet(3, 2, width=4, depth=2).state_dict(), card)
    assert read_card(path) == card
    old = CARD.to_json()
    del old["band_names"], old["statistics"]
    assert ModelCard.from_json(old).band_names == ("red", "green", "blue")
    assert ModelCard.from_json(old).statistics == ()
    assert ModelCard.from_json({**old, "dtype": "uint16"}).band_names == ("", "", "")
    for wrong in ({"band_names": ["red"]}, {"statistics": [statistics[0].to_json()]}):
        with pytest.raises(ValueError, match="one entry per band"):
            ModelCard.from_json({**old, **wrong})
