"""Rendering of a scene: ground texture, shadows, camera blur and noise."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from geoseg.synthetic.shapes import SOLID, Colour, Element, Points, Texture, shade

Fixed = NDArray[np.int32]
"""(n, 2) fixed-point coordinates of OpenCV; the origin is the centre of the first pixel."""

SUBPIXEL = 4
"""Fractional bits of fixed-point coordinates."""

FAT = 0.65
"""Pixels by which antialiased polygons of OpenCV extend beyond their sides."""


@dataclass(frozen=True, slots=True)
class Sun:
    """Position of the sun."""

    azimuth: float
    """Direction towards the sun, radians in image axes (x right, y down)."""

    elevation: float
    """Radians above the horizon."""

    def shadow(self, height: float) -> Points:
        """Return the offset of the shadow of a point at `height`, in the same unit."""
        reach = height / np.tan(self.elevation)
        return np.array([-reach * np.cos(self.azimuth), -reach * np.sin(self.azimuth)])

    def brightness(self, slope: float) -> float:
        """Return the brightness of a surface that slopes towards `slope`, relative to a level one."""
        return 1.0 + 0.2 * float(np.cos(slope - self.azimuth))


@dataclass(frozen=True, slots=True)
class Facet:
    """Shape in pixels of the image."""

    inner: Fixed
    """Polygon to fill; smaller than the shape by what OpenCV adds."""

    shadow: Fixed | None
    """Convex hull of shape and shadow; None without a shadow."""

    colour: Colour
    opacity: float
    texture: Texture


def make_facets(elements: Sequence[Element], pixel_size: float, sun: Sun) -> Iterator[list[Facet]]:
    """Yield the facets of each element in pixels."""
    shapes = [shape for element in elements for shape in element.shapes]
    if not shapes:
        return
    counts = np.array([len(shape.corners) for shape in shapes])
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    poses = np.array([(t.x, t.y, t.heading) for t in elements for _ in t.shapes])
    corners = np.concatenate([shape.corners for shape in shapes])
    x, y, heading = np.repeat(poses, counts, axis=0).T
    c, s = np.cos(heading), np.sin(heading)
    placed = np.column_stack(
        [c * corners[:, 0] - s * corners[:, 1] + x, s * corners[:, 0] + c * corners[:, 1] + y]
    )
    placed /= pixel_size
    outer, inner = to_fixed_point(placed), to_fixed_point(shrink_polygons(placed, starts))
    ends = iter(zip(starts.tolist(), (starts + counts).tolist(), strict=True))
    for element in elements:
        made = []
        for shape in element.shapes:
            start, end = next(ends)
            colour, shadow = shape.colour, None
            if shape.slope is not None:
                colour = shade(colour, sun.brightness(shape.slope + element.heading))
            if shape.height > 0 and shape.opacity > SOLID:
                shadow = sweep_polygon(outer[start:end], sun.shadow(shape.height / pixel_size))
            made.append(Facet(inner[start:end], shadow, colour, shape.opacity, shape.texture))
        yield made


def to_fixed_point(pixels: Points) -> Fixed:
    """Convert pixel coordinates to fixed point."""
    return np.rint((pixels - 0.5) * (1 << SUBPIXEL)).astype(np.int32)


def sweep_polygon(polygon: Fixed, offset: Points) -> Fixed:
    """Return the convex hull of a polygon and its copy moved by `offset` pixels."""
    both = np.concatenate([polygon, polygon + np.rint(offset * (1 << SUBPIXEL)).astype(np.int32)])
    return np.asarray(cv2.convexHull(both), dtype=np.int32).reshape(-1, 2)


def shrink_polygons(corners: Points, starts: NDArray[np.int64]) -> Points:
    """Move all sides of polygons inwards by the `FAT` that OpenCV adds when it fills; thin polygons by less.

    Parameters
    ----------
    corners
        (n, 2) corners of all polygons in pixels.
    starts
        Index of the first corner of each polygon.
    """
    ends = np.append(starts[1:], len(corners)) - 1
    after, before = np.arange(1, len(corners) + 1), np.arange(-1, len(corners) - 1)
    after[ends], before[starts] = starts, ends
    edges = corners[after] - corners
    lengths = np.hypot(edges[:, 0], edges[:, 1]) + 1e-9
    cross = corners[:, 0] * corners[after, 1] - corners[:, 1] * corners[after, 0]
    area = np.add.reduceat(cross, starts) / 2
    width = 2 * np.abs(area) / np.add.reduceat(lengths, starts)
    counts = ends - starts + 1
    inwards = np.repeat(np.sign(area), counts)[:, None]
    normals = np.column_stack([-edges[:, 1], edges[:, 0]]) / lengths[:, None] * inwards
    miter = normals + normals[before]
    sharpness = np.maximum(1 + (normals * normals[before]).sum(axis=1), 0.4)
    inset = np.repeat(np.minimum(FAT, 0.4 * width), counts)
    inner: Points = corners + miter * (inset / sharpness)[:, None]
    return inner


Image = NDArray[np.uint8]

SHADE = 0.56
"""Darkening by a shadow, 0 to 1."""

# relative brightness noise per texture: fine (1 px), medium (6 px), coarse (60 px)
ROUGHNESS: dict[Texture, tuple[float, float, float]] = {
    Texture.PLAIN: (0.02, 0.02, 0.02),
    Texture.ASPHALT: (0.05, 0.04, 0.05),
    Texture.CONCRETE: (0.04, 0.05, 0.05),
    Texture.LAWN: (0.05, 0.04, 0.05),
    Texture.MEADOW: (0.08, 0.08, 0.13),
    Texture.SOIL: (0.05, 0.07, 0.10),
    Texture.WATER: (0.03, 0.05, 0.07),
}


def render(
    elements: Sequence[Element], size: int, *, pixel_size: float, sun: Sun, rng: np.random.Generator
) -> Image:
    """Render elements in metres from the top left corner as (size, size, 3) uint8 RGB."""
    base = np.full((size, size, 3), 110, np.uint8)
    texture = np.full((size, size), int(Texture.MEADOW), np.uint8)
    for on_ground in make_facets([t for t in elements if t.level == 0], pixel_size, sun):
        for facet in on_ground:
            fill_facet(base, facet)
            if facet.texture is not Texture.PLAIN:
                cv2.fillPoly(texture, [facet.inner], int(facet.texture), shift=SUBPIXEL)
    image = add_texture(base, texture, rng)
    raised = sorted((t for t in elements if t.level > 0), key=lambda t: t.level)
    for above in make_facets(raised, pixel_size, sun):
        cast_shadow(image, above)
        for facet in above:
            fill_facet(image, facet)
    return apply_camera(image, rng)


def fill_facet(image: Image, facet: Facet) -> None:
    """Draw a facet into the image."""
    if facet.opacity >= 1:
        cv2.fillPoly(image, [facet.inner], facet.colour, cv2.LINE_AA, SUBPIXEL)
        return
    window = find_window([facet.inner], image.shape[0], margin=2)
    if window is not None:
        part = image[window]
        over = part.copy()
        cv2.fillPoly(
            over, [shift_polygon(facet.inner, window)], facet.colour, cv2.LINE_AA, SUBPIXEL
        )
        part[:] = cv2.addWeighted(over, facet.opacity, part, 1 - facet.opacity, 0)


def cast_shadow(image: Image, above: Sequence[Facet]) -> None:
    """Darken the pixels in the shadow of an element."""
    shadows = [facet.shadow for facet in above if facet.shadow is not None]
    window = find_window(shadows, image.shape[0], margin=4)
    if window is None:
        return
    part = image[window]
    shade = np.zeros(part.shape[:2], np.uint8)
    for shadow in shadows:
        cv2.fillPoly(shade, [shift_polygon(shadow, window)], 255, cv2.LINE_AA, SUBPIXEL)
    soft = cv2.GaussianBlur(shade, (5, 5), 0).astype(np.float32) * (SHADE / 255)
    # shadows are lit by the blue sky
    part[:] = part * (1 - soft[..., None] * np.array([1.0, 0.96, 0.88], np.float32))


def find_window(polygons: Sequence[Fixed], size: int, *, margin: int) -> tuple[slice, slice] | None:
    """Return rows and columns around polygons, clipped to the image; None outside it."""
    if not polygons:
        return None
    points = np.concatenate(polygons) >> SUBPIXEL
    x0, y0 = np.maximum(points.min(axis=0) - margin, 0).tolist()
    x1, y1 = np.minimum(points.max(axis=0) + margin + 1, size).tolist()
    return None if x0 >= x1 or y0 >= y1 else (slice(y0, y1), slice(x0, x1))


def shift_polygon(polygon: Fixed, window: tuple[slice, slice]) -> Fixed:
    """Shift a polygon from image to window coordinates."""
    rows, columns = window
    return polygon - np.array([columns.start << SUBPIXEL, rows.start << SUBPIXEL], np.int32)


def add_texture(base: Image, texture: Image, rng: np.random.Generator) -> Image:
    """Add noise at three scales, with the amplitudes of the ground texture."""
    size = base.shape[0]
    amplitudes = np.array([ROUGHNESS[t] for t in Texture], np.float32)
    gain = np.ones((size, size), np.float32)
    medium = noise(rng, size, 6)
    coarse = noise(rng, size, 60) * 0.7 + noise(rng, size, 220) * 0.7
    for amplitude, field in zip(amplitudes.T, (noise(rng, size, 1), medium, coarse), strict=True):
        gain += cv2.LUT(texture, pad_table(amplitude)) * field
    red = 1 + cv2.LUT(texture, pad_table(amplitudes[:, 2])) * 0.2 * noise(rng, size, 90)
    image = base * gain[..., None]
    image[..., 0] *= red
    return np.asarray(cv2.convertScaleAbs(np.maximum(image, 0, out=image)), dtype=np.uint8)


def pad_table(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Pad values to the 256 entries of a lookup table of OpenCV."""
    return np.pad(values, (0, 256 - len(values)))


def noise(rng: np.random.Generator, size: int, scale: int) -> NDArray[np.float32]:
    """Create smooth noise of about unit variance and a correlation length of about `scale` pixels."""
    if scale == 1:
        return rng.standard_normal((size, size), dtype=np.float32)
    cells = -(-size // scale) + 3
    # interpolation reduces the standard deviation by a quarter
    field = rng.standard_normal((cells, cells), dtype=np.float32) * np.float32(1.3)
    blown_up = cv2.resize(field, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    return np.asarray(blown_up[scale : scale + size, scale : scale + size], dtype=np.float32)


def apply_camera(image: Image, rng: np.random.Generator) -> Image:
    """Simulate a camera: uneven light, lens blur, sensor noise, JPEG compression."""
    size = image.shape[0]
    light = 1 + 0.02 * noise(rng, size, 300) + 0.015 * noise(rng, size, 4)
    haze, contrast = rng.uniform(6, 16), rng.uniform(0.88, 1.0)
    tint = (rng.uniform(0.97, 1.03, 3) * contrast).astype(np.float32)
    exposed = cv2.GaussianBlur(image, (3, 3), 0.6).astype(np.float32)
    exposed *= light[..., None]
    exposed *= tint
    grain = rng.standard_normal((size, size, 3), dtype=np.float32)
    grain *= 2.2
    exposed += grain
    exposed += np.float32(haze)
    pixels = cv2.convertScaleAbs(np.maximum(exposed, 0, out=exposed))
    quality = [cv2.IMWRITE_JPEG_QUALITY, 88]
    _, file = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), quality)
    decoded = cv2.imdecode(file, cv2.IMREAD_COLOR)
    if decoded is None:
        raise RuntimeError("OpenCV could not read back the JPEG it wrote")
    return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), dtype=np.uint8)
