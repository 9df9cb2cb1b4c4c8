from itertools import combinations

import numpy as np
import pytest

from geoseg.legend import DOTA_V1, DOTA_V2, DOTA_V15, Legend, LegendClass

# Machado, Oliveira, Fernandes 2009, severity 1.0, on linear RGB
VISION = {
    "normal": np.eye(3),
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}  # fmt: skip
XYZ = [
    [0.4124564, 0.3575761, 0.1804375],
    [0.2126729, 0.7151522, 0.072175],
    [0.0193339, 0.119192, 0.9503041],
]


def lab(rgb: tuple[int, int, int], vision: str) -> np.ndarray:
    """CIELAB (D65) of a colour as somebody with that vision sees it."""
    s = np.array(rgb) / 255
    linear = np.where(s <= 0.04045, s / 12.92, ((s + 0.055) / 1.055) ** 2.4)
    xyz = np.array(XYZ) @ (VISION[vision] @ linear).clip(0, 1) / (0.95047, 1, 1.08883)
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("vision", VISION)
def test_any_two_colours_are_far_apart_whatever_the_reader_sees(vision: str) -> None:
    seen = {c.name: lab(DOTA_V2.rgb(c.id), vision) for c in DOTA_V2.objects}
    nearest = min(float(np.linalg.norm(seen[a] - seen[b])) for a, b in combinations(seen, 2))
    assert nearest > 20  # CIE76; 2.3 is just noticeable


def test_later_versions_of_dota_add_classes_and_keep_the_ids_and_colours_of_the_first() -> None:
    assert [len(legend) - 1 for legend in (DOTA_V1, DOTA_V15, DOTA_V2)] == [15, 16, 18]
    assert DOTA_V2.classes[:17] == DOTA_V15.classes
    assert DOTA_V15.classes[:16] == DOTA_V1.classes


def test_a_legend_survives_the_way_through_json() -> None:
    assert Legend.from_json(DOTA_V2.to_json()) == DOTA_V2


@pytest.mark.parametrize(
    ("written", "meant"), [("Plane", "plane"), ("small_vehicle", "small-vehicle")]
)
def test_an_unknown_class_is_refused_with_the_nearest_known_one(written: str, meant: str) -> None:
    with pytest.raises(ValueError, match=f"did you mean {meant!r}"):
        DOTA_V1.id_of(written)


@pytest.mark.parametrize(
    "classes",
    [
        [{"id": 1, "name": "a", "colour": "#000000"}],
        [{"id": 0, "name": "a", "colour": "#000000"}, {"id": 1, "name": "a", "colour": "#00ff00"}],
        [{"id": 0, "name": "a", "colour": "#000000"}, {"id": 1, "name": "b", "colour": "red"}],
        [{"id": 0, "name": "a"}, {"id": 1, "name": "b", "colour": "#00ff00"}],
    ],
)
def test_what_is_no_legend_is_refused(classes: list[dict[str, object]]) -> None:
    with pytest.raises(ValueError):
        Legend.from_json(classes)


def test_colours_are_three_bytes() -> None:
    legend = Legend((LegendClass(0, "background", "#000000"), LegendClass(1, "tree", "#0a80ff")))
    assert legend.rgb(1) == (10, 128, 255)
