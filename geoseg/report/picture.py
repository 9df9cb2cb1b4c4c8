"""Picture of a scene with its polygons, and a legend panel with polygon counts and a scale bar."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from io import BytesIO
from itertools import pairwise
from math import floor, log10
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyogrio
import shapely
from affine import Affine
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from pyogrio.errors import DataLayerError, DataSourceError

from geoseg.errors import ConfigError, SceneError
from geoseg.files import check_output, input_file, replacing
from geoseg.legend import Legend
from geoseg.report.quicklook import Quicklook, read_quicklook

WIDTH = 340
"""Width of the panel in pixels at scale 1, where its text is 15 pixels high."""

_MARGIN, _LINE = 24, 30
_INK, _GREY = "#1c1c1c", "#6b6b6b"


def draw_panel(
    title: str,
    counts: Mapping[int, int],
    legend: Legend,
    *,
    height: int,
    scale: float = 1.0,
    pixel_size_m: float | None = None,
) -> NDArray[np.uint8]:
    """Draw the legend of a picture.

    Parameters
    ----------
    title
        Title, shortened to 36 characters.
    counts
        Class ID to number of polygons. The most frequent classes come first; those that do not fit are summed.
    legend
        Names and colours of the classes.
    height
        Height of the panel in pixels.
    scale
        Enlargement of text and spacing.
    pixel_size_m
        Size of a pixel of the picture in metres, for the scale bar; None: no scale bar.

    Returns
    -------
    (height, WIDTH * scale, 3) array of uint8
    """
    panel = _Panel(height=round(height / scale), scale=scale)
    title = _short(title, 36)
    panel.text(_MARGIN, 34, title, size=min(17, 450 / len(title)), weight="bold")
    total, kinds = sum(counts.values()), sum(1 for n in counts.values() if n)
    summary = f"{_plural(total, 'polygon')} in {_plural(kinds, 'class', 'classes')}"
    panel.text(_MARGIN, 60, summary if total else "no polygons", colour=_GREY)
    ranked = sorted((item for item in counts.items() if item[1]), key=lambda item: -item[1])
    room = max(1, (panel.height - 100 - (70 if pixel_size_m else 20)) // _LINE)
    shown = ranked if len(ranked) <= room else ranked[: room - 1]
    for number, (class_id, count) in enumerate(shown):
        y = 100 + _LINE * number
        panel.swatch(_MARGIN, y, legend[class_id].colour)
        panel.text(_MARGIN + 34, y, _short(legend[class_id].name, 22))
        panel.text(WIDTH - _MARGIN, y, f"{count:,}", align="right")
    if rest := ranked[len(shown) :]:
        y = 100 + _LINE * len(shown)
        panel.text(
            _MARGIN + 34, y, f"{_plural(len(rest), 'more class', 'more classes')}", colour=_GREY
        )
        panel.text(WIDTH - _MARGIN, y, f"{sum(n for _, n in rest):,}", align="right", colour=_GREY)
    if pixel_size_m and panel.height >= 200:
        panel.scale_bar(_MARGIN, panel.height - 30, pixel_size_m * scale)
    return panel.pixels()


class _Panel:
    """Blank panel; coordinates are pixels from the upper left corner, multiplied by `scale`."""

    def __init__(self, *, height: int, scale: float) -> None:
        self.height = height
        self._shape = round(WIDTH * scale), round(height * scale)
        self._dpi = 72 * scale  # a point is a pixel of the panel
        inches = [(length + 0.5) / self._dpi for length in self._shape]  # Figure rounds down
        self._figure = Figure(figsize=(inches[0], inches[1]), dpi=self._dpi, facecolor="white")
        self._axes = self._figure.add_axes((0, 0, 1, 1))
        self._axes.set(xlim=(0, WIDTH), ylim=(height, 0))
        self._axes.axis("off")

    def text(
        self,
        x: float,
        y: float,
        text: str,
        *,
        size: float = 14,
        colour: str = _INK,
        align: str = "left",
        weight: str = "normal",
    ) -> None:
        self._axes.text(
            x,
            y,
            text,
            fontsize=size,
            color=colour,
            ha=align,
            va="center_baseline",
            fontweight=weight,
            parse_math=False,
        )

    def swatch(self, x: float, y: float, colour: str) -> None:
        box = Rectangle((x, y - 9), 20, 16, facecolor=colour, edgecolor="#303030", linewidth=1)
        self._axes.add_patch(box)

    def scale_bar(self, x: float, y: float, metres_per_pixel: float) -> None:
        metres = round_length(200 * metres_per_pixel)
        length = metres / metres_per_pixel
        self._axes.plot([x, x, x + length, x + length], [y - 6, y, y, y - 6], color=_INK, lw=1.6)
        label = f"{metres / 1000:g} km" if metres >= 1000 else f"{metres:g} m"
        self.text(x + length + 10, y - 1, label, colour=_GREY)

    def pixels(self) -> NDArray[np.uint8]:
        raw = BytesIO()
        with warnings.catch_warnings():
            warnings.filterwarnings(
                "ignore", "Glyph"
            )  # class names may use letters that the font lacks
            self._figure.savefig(raw, format="rgba", dpi=self._dpi)
        width, height = self._shape
        return np.frombuffer(raw.getvalue(), np.uint8).reshape(height, width, 4)[..., :3]


def round_length(longest: float) -> float:
    """Return the largest of 1, 2, 5, 10, 20, 50 … (and their tenths) that is at most `longest`."""
    power = 10.0 ** floor(log10(longest))
    return max(step * power for step in (0.5, 1, 2, 5) if step * power <= longest)


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def _plural(number: int, one: str, many: str | None = None) -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"


_SUBPIXEL = 4  # fractional bits of OpenCV's fixed-point coordinates
_FAR = 2**20  # coordinates are clipped to this many pixels around the picture
_INVISIBLE = 0.25  # outlines are simplified by this many pixels of the picture
_TINY = 4  # objects below this many squared line widths are drawn as dots
_BATCH = 20_000
_FILL, _HALO = 0.22, 0.65  # opacities
_DARK = 50  # colours below this luma get a light halo


def draw_picture(
    scene: Path,
    polygons: Path,
    output: Path,
    legend: Legend,
    *,
    layer: str = "segments",
    size: int = 1600,
    overwrite: bool = False,
) -> Path:
    """Draw the polygons of a GeoPackage over their scene, with a legend, as PNG.

    Memory does not grow with the scene or the number of polygons.

    Parameters
    ----------
    scene
        Raster in the CRS of the polygons.
    polygons
        GeoPackage that geoseg wrote.
    output
        PNG file.
    legend
        Classes of the polygons.
    layer
        Layer with a column ``class_id``.
    size
        Longer side of the picture in pixels, without the legend; at most four times that of the scene.
    overwrite
        Replace an existing file.

    Raises
    ------
    SceneError
        If the scene cannot be read, or if the layer has no polygons of geoseg.
    OutputError
        If `output` exists or cannot be written.
    ConfigError
        If `output` is not a ``.png``.
    """
    check_picture(output, overwrite=overwrite)
    drawing = Drawing(read_quicklook(scene, size=size), legend, title=scene.name)
    for class_ids, geometry in _read_polygons(polygons, layer, legend, drawing.quicklook):
        drawing.add(class_ids, geometry)
    return drawing.save(output, overwrite=overwrite)


def check_picture(output: Path, *, overwrite: bool = False) -> None:
    """Raise ConfigError or OutputError if the picture could not be written."""
    if output.suffix.lower() != ".png":
        raise ConfigError(
            f"{output}: pictures are written as PNG. Use a file name that ends in .png"
        )
    check_output(output, overwrite=overwrite)


class Drawing:
    """Picture of a scene to which polygons are added in batches."""

    def __init__(self, quicklook: Quicklook, legend: Legend, *, title: str) -> None:
        self.quicklook = quicklook
        self._legend = legend
        self._title = title
        self._counts: Counter[int] = Counter()
        height, width = quicklook.picture.shape[:2]
        self._scale = max(height, width) / 1600
        self._outlines = Outlines(width, height, thickness=max(2, round(2 * self._scale)))

    def add(self, class_ids: NDArray[np.uint8], geometry: NDArray[np.object_]) -> None:
        """Draw (n,) polygons in map coordinates, and count them by class."""
        if not len(geometry):
            return
        placed = _transform_polygons(geometry, self.quicklook.to_picture)
        self._counts.update(class_ids.tolist())
        order = np.argsort(-shapely.area(placed), kind="stable")  # small polygons on top
        colours = [self._legend.rgb(i) for i in class_ids[order].tolist()]
        self._outlines.add(placed[order], colours)

    def save(self, output: Path, *, overwrite: bool = False) -> Path:
        """Write the picture and its legend as PNG."""
        picture = self._outlines.blend(self.quicklook.picture)
        scale = self._scale
        panel = draw_panel(
            self._title,
            self._counts,
            self._legend,
            height=max(len(picture), round(_panel_height(len(self._counts)) * scale)),
            scale=scale,
            pixel_size_m=self.quicklook.pixel_size_m,
        )
        _write_png(_join_horizontally(picture, panel), output, overwrite=overwrite)
        return output


class Outlines:
    """Outlines of polygons in layers of their own, so that no halo covers the line of another polygon."""

    def __init__(self, width: int, height: int, *, thickness: int) -> None:
        self._thickness = thickness
        self._colour, self._contrast = np.zeros((2, height, width, 3), np.uint8)
        self._line, self._halo, self._fill = np.zeros((3, height, width), np.uint8)

    def add(self, geometry: NDArray[np.object_], colours: list[tuple[int, int, int]]) -> None:
        """Draw polygons in pixels of the picture, each in its colour and over earlier ones."""
        broad, opaque = self._thickness + 2, (255,)
        outlines = list(_fixed_point_rings(geometry))
        sizes = shapely.area(geometry)
        tiny = int(np.count_nonzero(sizes < _TINY * self._thickness**2))
        if tiny:  # outlines would cover them: draw dots
            large = np.flatnonzero(sizes >= _TINY * self._thickness**2)
            self._draw_dots(outlines, colours, sizes)
            outlines = [outlines[k] for k in large]
            colours = [colours[k] for k in large]
        every = [ring for rings in outlines for ring in rings]
        dark = [
            r for rings, rgb in zip(outlines, colours, strict=True) if _is_dark(rgb) for r in rings
        ]
        _draw_lines(self._halo, every, opaque, broad)
        _draw_lines(self._line, every, opaque, self._thickness)
        # colour areas are wider than the antialiased lines that they colour
        _draw_lines(self._contrast, dark, (255, 255, 255), broad + 2, soft=False)
        for rings, rgb in zip(outlines, colours, strict=True):
            cv2.fillPoly(self._fill, rings, opaque, cv2.LINE_8, _SUBPIXEL)
            cv2.fillPoly(self._colour, rings, rgb, cv2.LINE_8, _SUBPIXEL)
            _draw_lines(self._colour, rings, rgb, broad, soft=False)

    def _draw_dots(
        self,
        outlines: list[list[NDArray[np.int32]]],
        colours: list[tuple[int, int, int]],
        sizes: NDArray[np.float64],
    ) -> None:
        for k in np.flatnonzero(sizes < _TINY * self._thickness**2):
            cv2.fillPoly(self._line, outlines[k], (255,), cv2.LINE_8, _SUBPIXEL)
            cv2.fillPoly(self._colour, outlines[k], colours[k], cv2.LINE_8, _SUBPIXEL)

    def blend(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Blend fill, halo and line over the picture, in this order."""
        filled = _blend(picture, self._colour, self._fill, _FILL)
        haloed = _blend(filled, self._contrast, self._halo, _HALO)
        return _blend(haloed, self._colour, self._line, 1.0)


def _is_dark(rgb: tuple[int, int, int]) -> bool:
    """True for colours that need a light halo instead of a dark one."""
    red, green, blue = rgb
    return 0.299 * red + 0.587 * green + 0.114 * blue < _DARK


def _draw_lines(
    target: NDArray[np.uint8],
    rings: list[NDArray[np.int32]],
    colour: tuple[int, ...],
    thickness: int,
    *,
    soft: bool = True,
) -> None:
    style = cv2.LINE_AA if soft else cv2.LINE_8
    cv2.polylines(target, rings, True, colour, thickness, style, _SUBPIXEL)


def _fixed_point_rings(geometry: NDArray[np.object_]) -> Iterator[list[NDArray[np.int32]]]:
    """Yield the rings of every polygon in OpenCV's fixed-point coordinates, without invisible detail.

    Integers of these coordinates are pixel centres.
    """
    _, xy, (rings, polygons) = shapely.to_ragged_array(shapely.simplify(geometry, _INVISIBLE))
    fixed = ((np.clip(xy, -_FAR, _FAR) - 0.5) * 2**_SUBPIXEL).round().astype(np.int32)
    for first, last in pairwise(polygons):
        yield [fixed[start:end] for start, end in pairwise(rings[first : last + 1])]


def _read_polygons(
    path: Path, layer: str, legend: Legend, quicklook: Quicklook
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.object_]]]:
    """Yield batches of the polygons inside the scene: (n,) class IDs and (n,) shapely polygons."""
    input_file(path)
    try:
        with pyogrio.open_arrow(
            path,
            layer=layer,
            columns=["class_id"],
            bbox=quicklook.bounds,
            batch_size=_BATCH,
            use_pyarrow=True,
        ) as (meta, batches):
            name = meta["geometry_name"] or "wkb_geometry"
            for batch in batches:
                class_ids = batch["class_id"].to_numpy(zero_copy_only=False)
                _check_classes(class_ids, legend, path)
                geometry = shapely.from_wkb(batch[name].to_numpy(zero_copy_only=False))
                parts, owner = shapely.get_parts(geometry, return_index=True)
                if len(parts):
                    yield class_ids[owner].astype(np.uint8), parts
    except (DataSourceError, DataLayerError, KeyError) as error:
        raise SceneError(
            f"{path}: no polygons of geoseg in a layer {layer!r}. "
            "Use a GeoPackage that geoseg wrote"
        ) from error


def _check_classes(class_ids: NDArray[Any], legend: Legend, path: Path) -> None:
    if len(class_ids) and not 1 <= class_ids.min() <= class_ids.max() < len(legend):
        raise SceneError(
            f"{path}: class IDs {class_ids.min()} to {class_ids.max()}, but the legend has "
            f"1 to {len(legend) - 1}. Use the legend that the polygons were written with"
        )


def _transform_polygons(geometry: NDArray[np.object_], transform: Affine) -> NDArray[np.object_]:
    a, b, c, d, e, f = transform[:6]

    def map_to_picture(xy: NDArray[np.float64]) -> NDArray[np.float64]:
        x, y = xy.T
        return np.stack([a * x + b * y + c, d * x + e * y + f], axis=1)

    mapped: NDArray[np.object_] = shapely.transform(geometry, map_to_picture)
    return mapped


def _blend(
    below: NDArray[np.uint8], above: NDArray[np.uint8], cover: NDArray[np.uint8], opacity: float
) -> NDArray[np.uint8]:
    """Blend `above` over `below`; where `cover` (h, w) is 255, it is opaque by `opacity`."""
    alpha = (cover.astype(np.float32) * np.float32(opacity / 255))[..., None]
    return np.asarray((below * (1 - alpha) + above * alpha).round(), np.uint8)


def _panel_height(classes: int) -> int:
    return 200 + 30 * max(classes, 1)


def _join_horizontally(picture: NDArray[np.uint8], panel: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Place the panel to the right of the picture; fill with white."""
    height = max(len(picture), len(panel))
    joined = np.full((height, picture.shape[1] + panel.shape[1], 3), 255, np.uint8)
    joined[: len(picture), : picture.shape[1]] = picture
    joined[: len(panel), picture.shape[1] :] = panel
    return joined


def _write_png(picture: NDArray[np.uint8], output: Path, *, overwrite: bool) -> None:
    ok, data = cv2.imencode(".png", picture[..., ::-1])
    if not ok:
        raise RuntimeError(f"OpenCV could not encode {picture.shape} as PNG")
    with replacing(output, overwrite=overwrite) as scratch:
        scratch.write_bytes(data.tobytes())
