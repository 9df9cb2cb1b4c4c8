"""HTML report of an evaluation in a browser, offline."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from rasterio.io import MemoryFile

from geoseg.annotations.burn import Annotations
from geoseg.legend import IGNORE
from geoseg.raster.labels import LabelArray
from geoseg.report.evaluation import ReportContent, rank_scenes, write_report
from geoseg.report.scene_images import SceneImages, classify_errors, encode_images, read_images
from tests.browser import Pages
from tests.report.evaluations import LEGEND, counts, evaluation, legend_of, log
from tests.scenes import picture, write_scene

if TYPE_CHECKING:
    from playwright.sync_api import Page

EVIL = [
    "</script><script>document.title='taken'</script>",
    "<img src=x onerror=alert(1)>",
    "a&b\"'",
]


def random_images(seed: int, height: int = 90, width: int = 120) -> SceneImages:
    rng = np.random.default_rng(seed)
    truth = np.kron(rng.integers(0, 4, (height // 10, width // 10)), np.ones((10, 10)))
    labels = np.roll(truth, 4, axis=1).astype(np.uint8)
    image = np.moveaxis(picture(height, width, seed=seed), 0, -1)
    layers = {"outlines": truth.astype(np.uint8), "quads": np.roll(truth, 2, 0).astype(np.uint8)}
    return SceneImages(np.ascontiguousarray(image), labels, layers)


def scenes_of(one: dict[str, Any]) -> list[dict[str, Any]]:
    chosen = rank_scenes({name: (of["miou"], of["pixels"]) for name, of in one["by_scene"].items()})
    return [
        {
            "name": name,
            "rank": rank,
            "width": 1200,
            "height": 900,
            **encode_images(random_images(k), LEGEND),
        }
        for k, (name, rank) in enumerate(chosen.items())
    ]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Report with all parts."""
    outlines, quads = evaluation(), evaluation(truth="quads", seed=1)
    content = ReportContent(
        counts=counts(),
        scenes=scenes_of(outlines),
        rule="Ordered by score.",
        learning=log(),
        provenance=[("Model", [("sha256", "0" * 64), ("terms", "research only")])],
        card={"architecture": "unet"},
    )
    output = tmp_path_factory.mktemp("page") / "report.html"
    return write_report([outlines, quads], output, content)


def column(page: Page, table: str, number: int) -> list[float]:
    texts = page.locator(f"{table} tbody tr > :nth-child({number})").all_inner_texts()
    return [float(re.sub("[^0-9.]", "", text)) for text in texts]


def test_a_table_sorts_by_any_column_with_mouse_and_keyboard(whole: Path, open_page: Pages) -> None:
    page = open_page(whole)
    for number, name in enumerate(["IoU", "Precision", "Recall"], start=2):
        head = page.locator("#pixel-table thead th").nth(number - 1)
        head.locator("button").focus()
        page.keyboard.press("Enter")
        values = column(page, "#pixel-table", number)
        if head.get_attribute("aria-sort") == "ascending":  # it was selected before
            assert values == sorted(values)
            page.keyboard.press("Space")
            values = column(page, "#pixel-table", number)
        assert head.get_attribute("aria-sort") == "descending", name
        assert values == sorted(values, reverse=True)
        head.locator("button").click()
        assert head.get_attribute("aria-sort") == "ascending"
        assert column(page, "#pixel-table", number) == sorted(values)
    names = page.locator("#pixel-table tbody th")
    page.locator("#pixel-table thead button").first.click()
    assert names.all_inner_texts() == sorted(names.all_inner_texts())


def test_scores_are_those_of_the_evaluation_and_change_with_the_reference(
    whole: Path, open_page: Pages
) -> None:
    page = open_page(whole)
    one, other = evaluation(), evaluation(truth="quads", seed=1)
    first = page.locator("#headline .figure").first
    assert f"{100 * one['miou']:.1f}" in first.locator("b").inner_text()
    assert f"quads {100 * other['miou']:.1f}" in first.inner_text()
    page.get_by_role("radio", name="outlines").focus()
    page.keyboard.press("ArrowRight")
    assert page.get_by_role("radio", name="quads").is_checked()
    assert f"{100 * other['miou']:.1f}" in first.locator("b").inner_text()
    row = page.locator("#pixel-table tbody tr", has_text="harbor")
    assert f"{100 * other['classes']['harbor']['iou']:.1f}" in row.inner_text()
    assert "quads" in page.locator("#classes .lead").first.inner_text()
    assert page.locator(".card .layer.reference img").count() == 9


def test_objects_have_average_precision_kinds_of_error_and_numbers_per_scene(
    whole: Path, open_page: Pages
) -> None:
    page = open_page(whole)
    one, other = evaluation(), evaluation(truth="quads", seed=1)
    ship = one["classes"]["ship"]["objects"]
    row = page.locator("#precision-table tbody tr", has_text="ship").inner_text()
    assert all(
        f"{100 * score:.1f}" in row for score in (*ship["ap"].values(), *ship["panoptic"].values())
    )
    for side, rest in (("truth", "missed"), ("found", "invented")):
        kinds = ship["kinds"][side]
        line = page.locator(f"#kinds-{side} tbody tr", has_text="ship")
        assert line.locator(".kind").count() == sum(number > 0 for number in kinds.values())
        assert f"{100 * kinds[rest] / sum(kinds.values()):.1f}" in line.inner_text()
    scenes = [of["objects"].get("ship") for of in one["by_scene"].values()]
    marks = page.locator("#count-charts .chart", has_text="Ships").locator(".scene").count()
    assert marks == len({tuple(of.values()) for of in scenes if of and any(of.values())})
    assert page.locator("#precision-table th", has_text="Boxes").count() == 0
    page.get_by_role("radio", name="quads").check(force=True)
    row = page.locator("#precision-table tbody tr", has_text="ship").inner_text()
    assert f"{100 * other['classes']['ship']['objects']['box_ap50']:.1f}" in row


def test_every_cell_of_the_confusion_matrix_is_described(whole: Path, open_page: Pages) -> None:
    page = open_page(whole)
    matrix, detail = np.array(evaluation()["confusion"]), page.locator("#confusion .detail")
    cells = page.locator(".matrix td")
    assert cells.count() == matrix.size
    cells.nth(16 + 3).hover()
    assert f"plane, predicted as storage-tank: {matrix[1, 3]:,} pixels." in detail.inner_text()
    cells.first.focus()
    for key in ("ArrowDown", "ArrowRight", "ArrowDown"):
        page.keyboard.press(key)
    share = 100 * matrix[2, 1] / matrix[2].sum()
    assert f"predicted as plane: {matrix[2, 1]:,} pixels. {share:.2f}\u00a0%" in detail.inner_text()
    assert page.locator('.matrix td[tabindex="0"]').count() == 1  # one cell in the tab order
    page.locator("label", has_text="pixels").last.click()
    assert page.get_by_role("radio", name="pixels").is_checked()


def test_scenes_can_be_switched_zoomed_and_moved(whole: Path, open_page: Pages) -> None:
    page = open_page(whole)
    shown = page.locator(".card .layer.reference").first
    assert shown.evaluate("e => getComputedStyle(e).opacity") == "0"
    page.locator("#scene-layers label", has_text="Ground truth").click()
    assert float(shown.evaluate("e => getComputedStyle(e).opacity")) > 0.5
    places = page.locator(".card").first.locator(".layer img")
    boxes = [places.nth(k).bounding_box() for k in range(places.count())]
    assert len(boxes) == 4
    assert all(box == boxes[0] for box in boxes)  # on top of each other
    page.locator(".card .stage").first.focus()
    page.keyboard.press("Enter")
    stage = page.locator("dialog .stage")
    assert stage.evaluate("e => e === document.activeElement")
    page.keyboard.press("+")
    assert float(stage.get_attribute("data-zoom") or 0) == 1.5
    before = page.locator("dialog .sheet").evaluate("e => e.style.transform")
    page.keyboard.press("ArrowRight")
    assert page.locator("dialog .sheet").evaluate("e => e.style.transform") != before
    page.keyboard.press("0")
    stage.hover()
    page.mouse.wheel(0, -400)
    page.wait_for_function("+document.querySelector('dialog .stage').dataset.zoom > 2")
    page.get_by_role("button", name="Fit to window").click()
    assert float(stage.get_attribute("data-zoom") or 0) == 1
    page.locator("dialog label", has_text="Errors").click()
    assert page.locator("#scenes").get_attribute("data-layer") == "errors"
    page.get_by_role("button", name="Next scene").click()
    name = page.locator(".card figcaption b").nth(1).inner_text()
    assert page.locator("#viewer-title").inner_text() == name
    page.keyboard.press("Escape")
    assert not page.locator("dialog").is_visible()


def test_touch_pans_and_zooms_a_scene(whole: Path, open_page: Pages) -> None:
    page = open_page(whole, viewport={"width": 360, "height": 700}, has_touch=True, is_mobile=True)
    page.locator(".card .stage").first.tap()
    box = page.locator("dialog .stage").bounding_box()
    assert box
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    touch = page.context.new_cdp_session(page)

    def fingers(kind: str, *apart: float) -> None:
        points = [{"x": x + a, "y": y, "id": k} for k, a in enumerate(apart)]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    fingers("touchStart", -20, 20)
    for step in (30, 40, 60, 80):
        fingers("touchMove", -step, step)
    fingers("touchEnd")
    zoom = float(page.locator("dialog .stage").get_attribute("data-zoom") or 0)
    assert zoom == pytest.approx(4, rel=0.2)


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 360)])
def test_text_is_readable_and_nothing_is_wider_than_the_window(
    whole: Path, open_page: Pages, scheme: Any, width: int
) -> None:
    page = open_page(whole, viewport={"width": width, "height": 800}, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert not page.evaluate(CONTRASTS)


CONTRASTS = """() => {
  const canvas = Object.assign(document.createElement("canvas"), { width: 1, height: 1 });
  const paper = canvas.getContext("2d", { willReadFrequently: true });
  const rgb = (colours) => {
    paper.clearRect(0, 0, 1, 1);
    for (const colour of colours) { paper.fillStyle = colour; paper.fillRect(0, 0, 1, 1); }
    return [...paper.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const light = (c) => c.map((v) => v / 255)
    .map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, k) => sum + v * [0.2126, 0.7152, 0.0722][k], 0);
  const below = (e) => (e ? [...below(e.parentElement), getComputedStyle(e).backgroundColor] : []);
  const wrong = [];
  for (const e of document.querySelectorAll("body *")) {
    const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    const style = getComputedStyle(e);
    if (!own || !e.getClientRects().length || style.visibility === "hidden") continue;
    if (e.closest("button:disabled, .visually-hidden, script, style, noscript")) continue;
    const ground = below(e);
    const ink = e instanceof SVGElement ? style.fill : style.color;
    const [a, b] = [light(rgb([...ground, ink])), light(rgb(ground))].sort((p, q) => q - p);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) wrong.push(`${e.tagName}.${e.className} ${e.textContent.slice(0, 20)} ${ratio.toFixed(2)}`);
  }
  return wrong;
}"""


def test_nothing_moves_while_the_page_loads(whole: Path, open_page: Pages) -> None:
    page = open_page(whole)
    shift = """() => new Promise((done) => {
      let sum = 0;
      new PerformanceObserver((list) => list.getEntries().forEach((e) => (sum += e.value)))
        .observe({ type: "layout-shift", buffered: true });
      setTimeout(() => done(sum), 300);
    })"""
    assert page.evaluate(shift) == 0


def test_it_prints_on_pages_with_every_picture(whole: Path, open_page: Pages) -> None:
    page = open_page(whole, viewport={"width": 690, "height": 980})
    assert page.pdf(format="A4").count(b"/Type /Page\n") >= 3
    page.emulate_media(media="print")
    assert not page.locator("nav").is_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 700
    for kind in ("image", "reference", "labels", "errors"):
        assert page.locator(f".card .layer.{kind} img").first.is_visible()


def test_names_of_classes_and_scenes_are_never_markup(tmp_path: Path, open_page: Pages) -> None:
    legend = legend_of([*EVIL, "plain"])
    one = evaluation(legend=legend, scenes=4)
    one["model"] = one["dataset"] = EVIL[0]
    one["by_scene"] = {f"{EVIL[1]}{k}": of for k, of in enumerate(one["by_scene"].values())}
    facts = [(EVIL[1], [(EVIL[0], EVIL[0])])]
    output = tmp_path / "report.html"
    content = ReportContent(scenes=scenes_of(one), provenance=facts, rule=EVIL[1])
    write_report([one], output, content)
    page = open_page(output)
    assert EVIL[0] in page.title()
    assert page.locator("img[src=x]").count() == 0
    assert set(EVIL) <= set(page.locator("#pixel-table tbody th").all_inner_texts())


def test_parts_missing_from_an_evaluation_are_not_shown(tmp_path: Path, open_page: Pages) -> None:
    parts = ("model", "dataset", "split", "truth", "scenes", "legend", "miou", "confusion")
    whole_one = evaluation()
    old = {part: whole_one[part] for part in parts} | {"calibration": None, "threshold": None}
    old["classes"] = {
        name: {key: of[key] for key in ("iou", "precision", "recall", "pixels")}
        for name, of in whole_one["classes"].items()
    }
    old["by_scene"] = {name: of["miou"] for name, of in whole_one["by_scene"].items()}
    page = open_page(write_report([old], tmp_path / "report.html", ReportContent()))
    for part in (
        "objects",
        "precision",
        "kinds",
        "scene-counts",
        "threshold",
        "distribution",
        "scenes",
        "card",
    ):
        assert not page.locator(f"#{part}").is_visible()
    assert page.locator("#pixel-table tbody tr").count() == 16
    assert page.locator(".chart").count() == 1  # histogram of the scene scores


def test_many_classes_are_shown_as_the_largest_and_the_others(
    tmp_path: Path, open_page: Pages
) -> None:
    many = legend_of([f"class {k}" for k in range(15)])
    one = evaluation(legend=many)
    size = 254
    one["legend"] = [{"id": k, "name": f"class {k}", "colour": "#336699"} for k in range(size)]
    one["confusion"] = np.eye(size, dtype=int).tolist()
    page = open_page(write_report([one], tmp_path / "report.html", ReportContent()))
    assert page.locator(".matrix td").count() == 40 * 40
    assert "215 others" in page.locator(".matrix tbody th").last.inner_text()


@given(st.lists(st.none() | st.floats(0, 1), max_size=20))
def test_scenes_are_selected_once_and_in_order(of: list[float | None]) -> None:
    scores = {f"scene{k}": score for k, score in enumerate(of)}
    chosen = rank_scenes({name: (score, 100) for name, score in scores.items()})
    values = [scores[name] for name in chosen]
    assert None not in values
    assert values == sorted(values, reverse=True)  # type: ignore[type-var]
    known = [score for score in scores.values() if score is not None]
    assert len(chosen) >= min(len(known), 2)
    if known:
        assert values[0] == max(known)
    if len(known) > 1:
        assert values[-1] == min(known)
    if len(known) >= 9:
        assert list(chosen.values()) == ["best"] * 3 + ["median"] * 3 + ["worst"] * 3


def decoded(uri: str) -> NDArray[np.uint8]:
    data = base64.b64decode(uri.partition(",")[2])
    if uri.startswith("data:image/webp"):
        return np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR))
    with MemoryFile(data) as memory, memory.open() as png:
        assert png.colormap(1)[1][3] == 255
        assert png.colormap(1)[0][3] == 0
        return np.asarray(png.read(1))


def test_images_contain_labels_and_errors_pixel_for_pixel() -> None:
    looked = random_images(5)
    made = encode_images(looked, LEGEND)
    assert (decoded(made["labels"]) == looked.labels).all()
    assert (decoded(made["references"]["quads"]) == looked.references["quads"]).all()
    wrong = decoded(made["errors"]["outlines"])
    truth, labels = looked.references["outlines"], looked.labels
    objects = (truth > 0) | (labels > 0)
    assert ((wrong > 0) == objects).all()
    assert ((wrong == 1) == (objects & (truth == labels))).all()
    assert decoded(made["image"]).shape == looked.image.shape


def test_ignored_pixels_are_not_errors() -> None:
    truth = np.array([[0, 1, 2, IGNORE, 1]], np.uint8)
    labels = np.array([[2, 0, 1, 1, IGNORE]], np.uint8)
    assert classify_errors(truth, labels).tolist() == [[3, 2, 4, 0, 0]]


def test_images_that_exceed_the_limit_are_decimated() -> None:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (400, 300, 3), dtype=np.uint8)
    labels = rng.integers(0, 16, (400, 300), dtype=np.uint8)
    made = encode_images(SceneImages(noise, labels, {"quads": labels}), LEGEND, max_bytes=50_000)
    assert sum(len(str(part)) for part in made.values()) < 70_000
    assert made["rows"] < 400
    assert decoded(made["labels"]).shape == (made["rows"], made["columns"])


def test_images_of_a_large_scene_sample_the_central_pixels(tmp_path: Path) -> None:
    height, width = 2500, 1700
    scene = write_scene(tmp_path / "scene.tif", picture(height, width), tiled=True)
    labels = np.zeros((height, width), np.uint8)
    labels[600:1900, 300:1200] = 2
    labels[-100:] = IGNORE
    box = Annotations(
        np.array([shapely.box(300, 600, 1200, 2500)]), np.array([2], np.uint8), np.array([False])
    )
    looked = read_images(scene, LabelArray(labels), {"quads": box})
    rows, columns = looked.image.shape[:2]
    assert (rows, columns) == (1024, 696)
    at = np.ix_(
        ((np.arange(rows) + 0.5) * height / rows).astype(int),
        ((np.arange(columns) + 0.5) * width / columns).astype(int),
    )
    assert (looked.labels == labels[at]).all()
    seen = looked.references["quads"]
    assert (seen[looked.labels == 2] == 2).mean() > 0.995
    assert (seen[looked.labels == IGNORE] == IGNORE).all()
