"""From things in metres to pixels: ground texture, shadows, the camera's blur and noise."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from geoseg.demo.shapes import SOLID, Points, Shape, Texture, Thing

Image = NDArray[np.uint8]

SUBPIXEL = 4
"""Fractional bits of the coordinates that OpenCV rasterises."""

FAT = 0.65
"""Pixels by which OpenCV's antialiased polygons reach over their sides."""

SHADE = 0.56
"""How much darker the shadow is."""

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


@dataclass(frozen=True, slots=True)
class Sun:
    azimuth: float
    """Direction towards the sun, radians in image axes (x right, y down)."""

    elevation: float
    """Radians above the horizon."""

    def shadow(self, height: float) -> Points:
        """Offset in metres of the shadow of a point `height` metres up."""
        reach = height / np.tan(self.elevation)
        return np.array([-reach * np.cos(self.azimuth), -reach * np.sin(self.azimuth)])

    def lights(self, slope: float | None) -> float:
        return 1.0 if slope is None else 1.0 + 0.2 * float(np.cos(slope - self.azimuth))


def render(
    things: Sequence[Thing], size: int, *, pixel_size: float, sun: Sun, rng: np.random.Generator
) -> Image:
    """Draw things given in metres from the scene's top left corner → (size, size, 3) uint8 RGB."""
    base = np.full((size, size, 3), 110, np.uint8)
    texture = np.full((size, size), int(Texture.MEADOW), np.uint8)
    for thing in things:
        if thing.level == 0:
            for shape in thing.outside():
                corners = fill(base, shape, pixel_size, sun)
                if shape.texture is not Texture.PLAIN:
                    cv2.fillPoly(texture, [corners], int(shape.texture), shift=SUBPIXEL)
    image = roughened(base, texture, rng)
    for thing in sorted((t for t in things if t.level > 0), key=lambda t: t.level):
        raise_thing(image, thing, pixel_size, sun)
    return photographed(image, rng)


def raise_thing(image: Image, thing: Thing, pixel_size: float, sun: Sun) -> None:
    """Draw the shadow of a thing, then the thing."""
    shapes = thing.outside()
    cast_shadow(image, shapes, pixel_size, sun)
    for shape in shapes:
        fill(image, shape, pixel_size, sun)


def fill(image: Image, shape: Shape, pixel_size: float, sun: Sun) -> NDArray[np.int32]:
    """Draw a shape as the sun lights it; returns the corners that were filled."""
    corners = fixed_point(shrunk(shape.corners / pixel_size))
    gain = sun.lights(shape.slope)
    colour = tuple(min(channel * gain, 255.0) for channel in shape.colour)
    if shape.opacity >= 1:
        cv2.fillPoly(image, [corners], colour, cv2.LINE_AA, SUBPIXEL)
        return corners
    window = window_around([corners], image.shape[0], margin=2)
    if window is not None:
        part = image[window]
        over = part.copy()
        offset = (-window[1].start << SUBPIXEL, -window[0].start << SUBPIXEL)
        cv2.fillPoly(over, [corners + offset], colour, cv2.LINE_AA, SUBPIXEL)
        part[:] = cv2.addWeighted(over, shape.opacity, part, 1 - shape.opacity, 0)
    return corners


def cast_shadow(image: Image, shapes: Iterable[Shape], pixel_size: float, sun: Sun) -> None:
    """Darken where a shape's outline, swept away from the sun by its height, falls."""
    hulls = []
    for shape in shapes:
        if shape.height > 0 and shape.opacity > SOLID:
            swept = np.vstack([shape.corners, shape.corners + sun.shadow(shape.height)])
            hull = cv2.convexHull(fixed_point(swept / pixel_size))
            hulls.append(np.asarray(hull, dtype=np.int32))
    window = window_around(hulls, image.shape[0], margin=4)
    if window is None:
        return
    part = image[window]
    shade = np.zeros(part.shape[:2], np.uint8)
    offset = (-window[1].start << SUBPIXEL, -window[0].start << SUBPIXEL)
    for hull in hulls:
        cv2.fillPoly(shade, [hull + offset], 255, cv2.LINE_AA, SUBPIXEL)
    soft = cv2.GaussianBlur(shade, (5, 5), 0).astype(np.float32) * (SHADE / 255)
    # the sky still lights a shadow, and the sky is blue
    part[:] = part * (1 - soft[..., None] * np.array([1.0, 0.96, 0.88], np.float32))


def window_around(
    polygons: Sequence[NDArray[np.int32]], size: int, *, margin: int
) -> tuple[slice, slice] | None:
    """Rows and columns around the polygons inside the image, or None outside it."""
    if not polygons:
        return None
    points = np.concatenate([polygon.reshape(-1, 2) for polygon in polygons]) >> SUBPIXEL
    x0, y0 = np.maximum(points.min(axis=0) - margin, 0).tolist()
    x1, y1 = np.minimum(points.max(axis=0) + margin + 1, size).tolist()
    return None if x0 >= x1 or y0 >= y1 else (slice(y0, y1), slice(x0, x1))


def fixed_point(pixels: Points) -> NDArray[np.int32]:
    """Pixels → OpenCV's fixed-point coordinates, which count from the first pixel's centre."""
    return np.rint((pixels - 0.5) * (1 << SUBPIXEL)).astype(np.int32)


def shrunk(polygon: Points) -> Points:
    """Every side moved inwards by the FAT that OpenCV adds when it fills; thin ones by less."""
    following = np.roll(polygon, -1, axis=0)
    edges = following - polygon
    lengths = np.hypot(edges[:, 0], edges[:, 1]) + 1e-9
    area = (polygon[:, 0] * following[:, 1] - polygon[:, 1] * following[:, 0]).sum() / 2
    width = 2 * abs(area) / lengths.sum()
    normals = np.column_stack([-edges[:, 1], edges[:, 0]]) / lengths[:, None] * np.sign(area)
    before = np.roll(normals, 1, axis=0)
    sharpness = np.maximum(1 + (normals * before).sum(axis=1), 0.4)
    inner: Points = polygon + (normals + before) * (min(FAT, 0.4 * width) / sharpness)[:, None]
    return inner


def roughened(base: Image, texture: Image, rng: np.random.Generator) -> Image:
    """Mottle the ground with noise at three scales, as strong as its texture says."""
    size = base.shape[0]
    amplitudes = np.array([ROUGHNESS[t] for t in Texture], np.float32)
    gain = np.ones((size, size), np.float32)
    medium = noise(rng, size, 6)
    coarse = noise(rng, size, 60) * 0.7 + noise(rng, size, 220) * 0.7
    for amplitude, field in zip(amplitudes.T, (noise(rng, size, 1), medium, coarse), strict=True):
        gain += cv2.LUT(texture, padded_table(amplitude)) * field
    red = 1 + cv2.LUT(texture, padded_table(amplitudes[:, 2])) * 0.2 * noise(rng, size, 90)
    image = base * gain[..., None]
    image[..., 0] *= red
    return np.asarray(cv2.convertScaleAbs(np.maximum(image, 0, out=image)), dtype=np.uint8)


def padded_table(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """A 256-entry lookup table, as OpenCV wants it."""
    return np.pad(values, (0, 256 - len(values)))


def noise(rng: np.random.Generator, size: int, scale: int) -> NDArray[np.float32]:
    """Smooth noise of about unit variance; blotches are about `scale` pixels."""
    if scale == 1:
        return rng.standard_normal((size, size), dtype=np.float32)
    cells = -(-size // scale) + 3
    # interpolation takes a quarter of the deviation away
    field = rng.standard_normal((cells, cells), dtype=np.float32) * np.float32(1.3)
    blown_up = cv2.resize(field, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    return np.asarray(blown_up[scale : scale + size, scale : scale + size], dtype=np.float32)


def photographed(image: Image, rng: np.random.Generator) -> Image:
    """The camera: uneven light, a soft lens, sensor noise, JPEG."""
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
