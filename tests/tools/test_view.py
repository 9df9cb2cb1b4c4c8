"""HTML map: content, controls, size limit, and safety of file contents."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import geopandas as gpd
import numpy as np
import pytest
import shapely
from affine import Affine
from click.testing import CliRunner

from geoseg.cli import geoseg
from geoseg.errors import ConfigError, OutputError
from tests.browser import Pages
from tests.calls import view
from tests.scenes import write_scene

if TYPE_CHECKING:
    from playwright.sync_api import Page

EVIL = "</script><img src=x onerror=\"document.title='taken'\">"
TURNED = Affine.translation(500_000, 5_400_000) @ Affine.rotation(-20) @ Affine.scale(0.5, -0.5)
SQUARES = [(100, 100, 60), (200, 100, 40), (110, 110, 10), (300, 250, 30), (30, 250, 2)]
"""Left, top and side of squares in pixels of a scene of 400 x 300; the third lies on the first."""
CLASSES = ["plane", "ship", EVIL, "ship", "plane"]
CONFIDENCE = [0.9, 0.8, 0.4, 0.3, None]

Map = Callable[..., "Page"]


def write_squares(path: Path, transform: Affine, crs: Any = 32633) -> Path:
    squares = [shapely.box(x, y, x + side, y + side) for x, y, side in SQUARES]
    a, b, c, d, e, f = transform[:6]
    placed = shapely.transform(
        np.array(squares), lambda xy: xy @ np.array([[a, d], [b, e]]) + (c, f)
    )
    columns = {"class": CLASSES, "confidence": CONFIDENCE, "note": [EVIL, None, "n", "o", "p"]}
    table = gpd.GeoDataFrame(columns, geometry=placed, crs=32633)
    table.to_crs(crs).to_file(path)
    return path


def write_squares_scene(path: Path, transform: Affine) -> Path:
    """Grey, with the squares in white, nodata along its left edge."""
    pixels = np.full((3, 300, 400), 90, np.uint8)
    for x, y, side in SQUARES:
        pixels[:, y : y + side, x : x + side] = 240
    pixels[:, :, :20] = 0
    return write_scene(path, pixels, crs="EPSG:32633", transform=transform, nodata=0)


@pytest.fixture(scope="module")
def html(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("view")
    scene = write_squares_scene(folder / "scene.tif", TURNED)
    return view(write_squares(folder / "a.gpkg", TURNED), folder / "map.html", scene=scene)


def settle(page: Page) -> None:
    """Wait until everything is drawn."""
    page.evaluate(
        "() => new Promise(done => {"
        " const look = () => map.busy ? requestAnimationFrame(look) : done(); look(); })"
    )


def on_screen(page: Page, column: float, row: float) -> tuple[float, float]:
    """Where a pixel of the scene is on the screen."""
    x, y = page.evaluate(
        "([column, row]) => {"
        " const [a, b, c, d, e, f] = map.picturePlace;"
        " const [u, v] = [a * column + c * row + e, b * column + d * row + f];"
        " const box = map.canvas.getBoundingClientRect();"
        " const [left, top] = map.place(0, 0);"
        " return [box.left + (u - left) * map.view.scale, box.top + (v - top) * map.view.scale]; }",
        [column, row],
    )
    return x, y


def click_on(page: Page, square: int, *, touch: bool = False) -> None:
    x, y, side = SQUARES[square]
    place = on_screen(page, x + side * 0.8, y + side * 0.8)
    if touch:
        page.touchscreen.tap(*place)
    else:
        page.mouse.click(*place)
    settle(page)


def details(page: Page) -> str:
    return page.inner_text("#details")


def shown(page: Page) -> str:
    return page.inner_text("#shown")


@pytest.fixture
def opened(html: Path, open_page: Pages) -> Map:
    def open_map(**context: Any) -> Page:
        page = open_page(html, **context)
        settle(page)
        return page

    return open_map


def test_the_legend_counts_polygons_and_hides_classes(opened: Map) -> None:
    page = opened()
    assert page.inner_text("#summary").startswith("5 polygons in 3 classes")
    names = page.locator("#classes .name").all_inner_texts()
    assert sorted(names) == sorted(["ship", "plane", EVIL])
    assert page.title() == "scene"
    assert page.locator("img").count() == 0
    page.get_by_role("checkbox", name="plane").uncheck()
    assert shown(page) == "3 of 5 polygons shown."
    page.get_by_role("button", name="Show only plane").click()
    assert shown(page) == "2 of 5 polygons shown."
    page.get_by_role("button", name="Show only plane").click()
    assert shown(page) == "All 5 polygons shown."
    page.get_by_role("button", name="None").click()
    assert shown(page) == "0 of 5 polygons shown."


def test_a_click_shows_the_attributes_of_the_topmost_polygon(opened: Map) -> None:
    page = opened()
    click_on(page, 0)
    assert "plane" in details(page)
    assert re.search(r"Confidence\s+0.900", details(page))
    # 30 x 30 m of UTM at its central meridian, whose scale is 0.9996
    assert re.search(r"Area\s+901 m²", details(page))
    assert re.search(r"Perimeter\s+120 m", details(page))
    assert EVIL in details(page)
    click_on(page, 2)
    assert page.inner_text("#details h2").strip() == EVIL
    page.get_by_role("checkbox", name=EVIL).uncheck()
    assert page.locator("#details").is_hidden()
    click_on(page, 2)
    assert page.inner_text("#details h2").strip() == "plane"
    page.mouse.click(*on_screen(page, 380, 20))
    assert page.locator("#details").is_hidden()


def test_pixels_of_scene_and_polygons_agree(opened: Map) -> None:
    """Where the scene is white there is a polygon, and the other way round; also when it is turned."""
    page = opened()
    wrong = page.evaluate("""() => {
      const canvas = map.canvas, context = canvas.getContext("2d");
      map.visible.fill(0); map.draw();
      return new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => {
        const { data, width, height } = context.getImageData(0, 0, canvas.width, canvas.height);
        map.visible.fill(1);
        let wrong = 0, white = 0;
        for (let y = 2; y < height; y += 3) for (let x = 2; x < width; x += 3) {
          const at = 4 * (y * width + x), lit = data[at] > 200 && data[at + 3] > 200;
          white += lit;
          wrong += lit !== polygons.at(...map.place(x + .5, y + .5), 0, map.visible) >= 0;
        }
        done(white < 1000 ? 1 : wrong / white);
      })));
    }""")
    assert wrong < 0.05


def test_the_confidence_filter_hides_lower_and_unknown_confidences(opened: Map) -> None:
    page = opened()
    page.get_by_role("slider", name="Minimum confidence").fill("0.4")
    assert shown(page) == "3 of 5 polygons shown."
    assert page.inner_text("#confidence-value") == "0.40"
    assert page.inner_text("#classes tr:has-text('ship') .count") == "1 of 2"
    page.get_by_role("slider").press("Home")
    assert shown(page) == "All 5 polygons shown."


def test_classes_are_counted_in_view(opened: Map) -> None:
    page = opened()

    def counts() -> list[str]:
        settle(page)
        rows = [page.locator(f"#classes tr:has-text('{name}')") for name in ("plane", "ship")]
        return [row.locator(".count").inner_text() for row in rows]

    page.get_by_role("checkbox", name="Count only what is in view").check()
    assert counts() == ["2", "2"]
    click_on(page, 3)
    page.keyboard.press("z")  # zoom to the ship at the lower right
    assert counts() == ["0 of 2", "1 of 2"]
    assert shown(page) == "All 5 polygons shown."
    page.get_by_role("button", name="Fit to window").click()
    assert counts() == ["2", "2"]
    page.keyboard.press("z")
    page.get_by_role("checkbox", name="Count only what is in view").uncheck()
    assert counts() == ["2", "2"]


def test_objects_have_a_number_and_the_size_of_their_box(tmp_path: Path, open_page: Pages) -> None:
    columns = {"class": ["ship"], "id": [7], "box_length_m": [31.26], "box_width_m": [8.0]}
    table = gpd.GeoDataFrame(
        {**columns, "box_angle": [45.0]}, geometry=[shapely.box(0, 0, 30, 9)], crs=32633
    )
    table.to_file(tmp_path / "objects.gpkg")
    page = open_page(view(tmp_path / "objects.gpkg", tmp_path / "map.html"))
    settle(page)
    assert page.inner_text("#summary").startswith("1 polygon in 1 class")
    page.focus("#map")
    page.keyboard.press("n")
    for words in (
        r"Object\s+7",
        r"Length\s+31.3 m",
        r"Width\s+8(.0)? m",
        r"Angle from north\s+45°",
    ):
        assert re.search(words, details(page)), details(page)


def test_all_controls_work_by_keyboard(opened: Map) -> None:
    page = opened()
    page.focus("#map")
    before = page.evaluate("({ ...map.view })")
    for key in ("ArrowRight", "ArrowDown", "+"):
        page.keyboard.press(key)
    after = page.evaluate("({ ...map.view })")
    assert after["x"] > before["x"]
    assert after["y"] > before["y"]
    assert after["scale"] == pytest.approx(1.5 * before["scale"])
    page.keyboard.press("0")
    assert page.evaluate("({ ...map.view })") == before
    page.keyboard.press("n")
    assert "1 of 5" in details(page)
    page.keyboard.press("n")
    page.keyboard.press("n")
    page.keyboard.press("p")
    assert "2 of 5" in details(page)
    page.select_option("select", "lowest confidence first")
    assert "3 of 5" in details(page)
    page.keyboard.press("Escape")
    page.focus("#map")
    page.keyboard.press("n")
    page.keyboard.press("z")
    page.keyboard.press("Escape")
    assert page.locator("#details").is_hidden()
    page.keyboard.press("0")
    page.keyboard.press("Enter")  # no polygon at the centre of the scene
    assert page.locator("#details").is_hidden()


def test_wheel_drag_and_buttons_move_the_map_around_what_is_under_the_pointer(opened: Map) -> None:
    page = opened()
    x, y = on_screen(page, 320, 265)
    page.mouse.move(x, y)
    page.mouse.wheel(0, -400)
    settle(page)
    assert on_screen(page, 320, 265) == pytest.approx((x, y), abs=1)
    page.mouse.down()
    page.mouse.move(x - 50, y - 20, steps=4)
    page.mouse.up()
    settle(page)
    assert on_screen(page, 320, 265) == pytest.approx((x - 50, y - 20), abs=1)
    assert page.locator("#details").is_hidden()  # dragging does not select
    scale = page.evaluate("map.view.scale")
    page.get_by_role("button", name="Zoom out").click()
    assert page.evaluate("map.view.scale") == pytest.approx(scale / 1.5)


def test_coordinates_under_the_pointer_are_those_of_the_scene_and_of_the_earth(
    opened: Map,
) -> None:
    import pyproj

    page = opened()
    page.mouse.move(*on_screen(page, 150, 200))
    own, world = page.inner_text("#place").split("\n")
    x, y = TURNED @ (150, 200)
    assert [float(n) for n in own.split(", ")] == pytest.approx([x, y], abs=0.5)
    lon, lat = pyproj.Transformer.from_crs(32633, 4326, always_xy=True).transform(x, y)
    found = [float(n) for n in re.findall(r"[\d.]+", world)]
    assert found == pytest.approx([lat, lon], abs=1e-5)
    assert world.endswith("° E")


def test_the_scale_bar_has_its_stated_length(opened: Map) -> None:
    page = opened()
    long, unit = page.inner_text("#scale").split()
    metres = page.evaluate(
        "document.getElementById('scale').clientWidth * page.data.ground.metres / map.view.scale"
    )
    assert unit == "m"
    # metres on the ground: UTM's are 0.9996 of those on its meridian
    assert metres == pytest.approx(float(long), rel=0.03)


def test_a_phone_has_a_map_a_drawer_and_a_card(opened: Map) -> None:
    page = opened(viewport={"width": 360, "height": 640}, has_touch=True, is_mobile=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert not page.get_by_role("checkbox", name="plane").is_visible()
    page.get_by_role("button", name="Classes").tap()
    page.get_by_role("checkbox", name="plane").tap()
    assert shown(page) == "3 of 5 polygons shown."
    page.get_by_role("checkbox", name="plane").tap()
    page.get_by_role("button", name="Classes").tap()
    page.evaluate("Promise.allSettled(document.getAnimations().map(a => a.finished))")
    click_on(page, 0, touch=True)
    assert page.inner_text("#details h2").strip() == "plane"
    card = page.locator("#details").bounding_box()
    assert card is not None
    assert card["x"] >= 0
    assert card["x"] + card["width"] <= 360
    assert on_screen(page, 130, 130)[1] < card["y"]  # the card does not cover the selected polygon


def test_a_print_has_the_map_and_the_legend_but_no_controls(opened: Map) -> None:
    page = opened()
    page.emulate_media(media="print")
    assert page.locator("#classes").is_visible()
    assert page.locator("#map").is_visible()
    assert page.locator("button:visible, input:visible").count() == 0
    page.emulate_media(media="screen")
    assert page.pdf().startswith(b"%PDF")


def test_polygons_in_another_crs_are_transformed_to_that_of_the_scene_with_a_note(
    tmp_path: Path, open_page: Pages
) -> None:
    scene = write_squares_scene(tmp_path / "scene.tif", TURNED)
    polygons = write_squares(tmp_path / "a.gpkg", TURNED, crs=3857)
    page = open_page(view(polygons, tmp_path / "map.html", scene=scene))
    settle(page)
    assert "were transformed from WGS 84 / Pseudo-Mercator (EPSG:3857)" in page.inner_text("#notes")
    click_on(page, 1)
    assert page.inner_text("#details h2").strip() == "ship"
    assert re.search(r"Area\s+400 m²", details(page))


def test_geographic_coordinates_are_drawn_undistorted(tmp_path: Path, open_page: Pages) -> None:
    polygons = write_squares(tmp_path / "a.geojson", TURNED, crs=4326)
    page = open_page(view(polygons, tmp_path / "map.html"))
    frame = page.evaluate("page.data.ground")
    assert frame["stepX"] / frame["stepY"] == pytest.approx(1 / np.cos(np.radians(48.75)), rel=1e-3)
    assert "E" in page.inner_text("#place")


def test_a_page_that_would_be_too_large_is_simplified_with_a_note(
    tmp_path: Path, open_page: Pages
) -> None:
    rng = np.random.default_rng(0)
    angle = np.linspace(0, 2 * np.pi, 2000, endpoint=False)
    ring = 5 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    blobs = [shapely.Polygon(ring + rng.random(2) * 1000) for _ in range(300)]
    path = tmp_path / "a.gpkg"
    gpd.GeoDataFrame(geometry=blobs, crs=32633).to_file(path)
    large = view(path, tmp_path / "large.html")
    small = view(path, tmp_path / "small.html", max_mb=0.5)
    assert small.stat().st_size <= 500_000 < large.stat().st_size
    assert "Outlines are simplified" not in large.read_text("utf-8")
    page = open_page(small)
    assert "Outlines are simplified" in page.inner_text("#notes")
    assert "300 polygons" in page.inner_text("#summary")
    with pytest.raises(ConfigError, match="--max-mb"):
        view(path, tmp_path / "tiny.html", max_mb=0.15)
    assert not (tmp_path / "tiny.html").exists()


def test_the_command_writes_a_map_and_prints_its_path(tmp_path: Path) -> None:
    polygons = write_squares(tmp_path / "a.gpkg", TURNED)
    arguments = ["view", str(polygons), "-o", str(tmp_path / "map.html")]
    done = CliRunner().invoke(geoseg, arguments)
    assert done.exit_code == 0, done.output
    assert done.stdout.strip() == str(tmp_path / "map.html")


@pytest.mark.parametrize(
    ("output", "error"), [("map.png", ConfigError), ("there.html", OutputError)]
)
def test_an_invalid_output_is_refused_before_reading(
    tmp_path: Path, output: str, error: type[Exception]
) -> None:
    (tmp_path / "there.html").write_text("mine")
    with pytest.raises(error):
        view(tmp_path / "missing.gpkg", tmp_path / output)
