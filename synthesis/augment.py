"""Augmentations: degradations of paper and photographs, as functions of an image and the corners of its boxes.

Each takes an RGB image (uint8 [h, w, 3]), points (float [n, 2], pixels x, y) and a numpy generator, and returns a new image and
new points, moved with the paper. They are applied in the order of ORDER: paper, then light, then camera.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Points = NDArray[np.float64]
Degradation = Callable[[Image, Points, np.random.Generator], tuple[Image, Points]]


def _clouds(shape: tuple[int, ...], rng: np.random.Generator, cells: int) -> NDArray[np.float32]:
    """Return smooth noise in 0…1 with `cells` cells along the short side."""
    height, width = shape[:2]
    unit = min(height, width) / cells
    grid = rng.random((max(2, round(height / unit)), max(2, round(width / unit)))).astype(np.float32)
    return np.asarray(np.clip(cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC), 0, 1), np.float32)


def _pixels(values: NDArray[Any]) -> Image:
    return np.asarray(np.clip(values, 0, 255), np.uint8)


def _lit(image: Image, light: NDArray[Any]) -> Image:
    return _pixels(image * light[..., None])


def thermal_fade(image: Image, points: Points, rng: np.random.Generator) -> tuple[Image, Points]:
    """Fade thermal print unevenly, with thin streaks of a worn print head."""
    paper = np.percentile(image[::4, ::4].reshape(-1, 3), 95, axis=0).astype(np.float32)
    kept = rng.uniform(0.18, 0.35) + 0.35 * _clouds(image.shape, rng, 3)
    for x in rng.integers(0, image.shape[1], rng.integers(0, 5)):
        kept[:, x : x + 2] *= 0.4
    faded = paper - (paper - image) * kept[..., None]
    return _pixels(faded), points


def fold(image: Image, points: Points, rng: np.random.Generator) -> tuple[Image, Points]:
    """Add one to three creases: a dark line with a light edge, and shading on one side."""
    height, width = image.shape[:2]
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    light = np.ones((height, width), np.float32)
    for _ in range(rng.integers(1, 4)):
        across = rng.random() < 0.7
        distance = (
            (y - height * rng.uniform(0.15, 0.85) + x * rng.uniform(-0.06, 0.06))
            if across
            else (x - width * rng.uniform(0.2, 0.8) + y * rng.uniform(-0.04, 0.04))
        )
        reach = width * rng.uniform(0.08, 0.25)
        light -= rng.uniform(0.12, 0.3) * np.exp(-np.abs(distance) / reach) * (distance > 0)
        light -= rng.uniform(0.2, 0.45) * np.exp(-((distance / 1.6) ** 2))
        light += rng.uniform(0.05, 0.15) * np.exp(-(((distance + 5) / 3) ** 2))
    return _lit(image, np.clip(light, 0.35, 1.15)), points


def curl(image: Image, points: Points, rng: np.random.Generator) -> tuple[Image, Points]:
    """Curl the paper: lines bend like a wave with a bright and a dark side."""
    height, width = image.shape[:2]
    deep, waves, phase = width * rng.uniform(0.006, 0.02), rng.uniform(0.5, 1.3), rng.uniform(0, 2 * np.pi)
    turn = 2 * np.pi * waves / width
    bend = (deep * np.sin(turn * np.arange(width) + phase)).astype(np.float32)
    pad = int(np.ceil(deep)) + 1
    padded = cv2.copyMakeBorder(image, pad, pad, 0, 0, cv2.BORDER_REPLICATE)
    y, x = np.mgrid[0 : height + 2 * pad, 0:width].astype(np.float32)
    bent = cv2.remap(padded, x, y - bend, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    light = 1 - 0.12 * np.cos(turn * x + phase)
    moved = points.copy()
    moved[:, 1] += pad + deep * np.sin(turn * points[:, 0] + phase)
    return _lit(bent.astype(np.uint8), light / light.max()), moved


def _table(shape: tuple[int, int], rng: np.random.Generator) -> Image:
    """Return the image of a table top or cloth."""
    base = rng.choice(
        [[120, 84, 52], [70, 72, 78], [160, 140, 115], [40, 42, 48], [95, 110, 100], [185, 185, 180], [60, 80, 120]]
    ).astype(np.float32)
    grain = (
        cv2.resize(rng.random((shape[0] // 2 + 1, max(2, shape[1] // 60)), dtype=np.float32), (shape[1], shape[0]))
        if rng.random() < 0.5
        else _clouds(shape, rng, 30)
    )
    light = 0.75 + 0.25 * _clouds(shape, rng, 2) + 0.18 * (grain - 0.5)
    return _pixels(base * light[..., None])


def _laid(
    image: Image, points: Points, matrix: NDArray[np.float64], size: tuple[int, int], rng: np.random.Generator
) -> tuple[Image, Points]:
    """Map the sheet by a homography onto a table of `size` (width, height), with a soft shadow at its edge."""
    width, height = size
    sheet = cv2.warpPerspective(image, matrix, size, flags=cv2.INTER_LINEAR)
    alpha = (
        cv2.warpPerspective(np.full(image.shape[:2], 255, np.uint8), matrix, size, flags=cv2.INTER_LINEAR).astype(np.float32)
        / 255
    )
    shade = cv2.GaussianBlur(np.roll(alpha, (6, 5), (0, 1)), (0, 0), 7)
    table = _lit(_table((height, width), rng), 1 - 0.5 * shade).astype(np.float32)
    out = table * (1 - alpha[..., None]) + sheet * alpha[..., None]
    moved = cv2.perspectiveTransform(points[None], matrix)[0] if len(points) else points
    return _pixels(out), moved


def _onto_table(
    image: Image, points: Points, corners: NDArray[np.float64], rng: np.random.Generator, margin: float
) -> tuple[Image, Points]:
    """Map the sheet's corners to `corners`, with a `margin` of table (share of the sheet's width)."""
    height, width = image.shape[:2]
    edge = width * margin
    corners = corners - corners.min(axis=0) + edge * rng.uniform(0.6, 1.0, 2)
    size = tuple(int(v) for v in np.ceil(corners.max(axis=0) + edge * rng.uniform(0.6, 1.0)))
    matrix = cv2.getPerspectiveTransform(_corners(width, height).astype(np.float32), corners.astype(np.float32))
    return _laid(image, points, matrix, (size[0], size[1]), rng)


def _corners(width: float, height: float) -> NDArray[np.float64]:
    return np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float64)


def background(image: Image, points: Points, rng: np.random.Generator) -> tuple[Image, Points]:
    """Place the sheet on a table without rotation."""
    return _onto_table(image, points, _corners(image.shape[1], image.shape[0]), rng, rng.uniform(0.06, 0.25))


def rotation(image: Image, points: Points, rng: np.random.Generator) -> tuple[Image, Points]:
    """Place the sheet on a table, rotated by up to 7°."""
    angle = np.radians(rng.uniform(1.5, 7.0)) * rng.choice([-1, 1])
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return _onto_table(image, points, _corners(image.shape[1], image.shape[0]) @ turn.T, rng, rng.uniform(0.02, 0.1))


def perspective(image: Image, points: Points, rng: np.random.Generator) -> tuple[Image, Points]:
    """Apply perspective: every corner moves by up to 13 % of the width."""
    height, width = image.shape[:2]
    return _onto_table(
        image, points, _corners(width, height) + rng.uniform(-0.13, 0.13, (4, 2)) * width, rng, rng.uniform(0.02, 0.1)
    )


def crumple(image: Image, points: Points, rng: np.random.Generator) -> tuple[Image, Points]:
    """Crumple the paper: flat facets between creases, each with its own shading."""
    height, width = image.shape[0] // 2 + 1, image.shape[1] // 2 + 1
    seeds = np.ones((height, width), np.uint8)
    count = int(rng.integers(10, 40))
    seeds[rng.integers(0, height, count), rng.integers(0, width, count)] = 0
    _, facet = cv2.distanceTransformWithLabels(seeds, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) / min(height, width)
    tilt = rng.uniform(-0.45, 0.45, (3, facet.max() + 1)).astype(np.float32)
    light = 0.93 + 0.25 * tilt[0][facet] + tilt[1][facet] * np.sin(4 * x) * 0.3 + tilt[2][facet] * np.cos(4 * y) * 0.3
    light = cv2.resize(cv2.GaussianBlur(light, (0, 0), 1.2), image.shape[1::-1])
    return _lit(image, np.clip(light, 0.5, 1.12)), points


def shadow(image: Image, points: Points, rng: np.random.Generator) -> tuple[Image, Points]:
    """Add the shadow of a hand or phone with a soft edge."""
    height, width = image.shape[:2]
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    angle, away = rng.uniform(0, 2 * np.pi), rng.uniform(-0.2, 0.2) * width
    side = (x - width / 2) * np.cos(angle) + (y - height / 2) * np.sin(angle) + away
    light = 1 - rng.uniform(0.3, 0.55) / (1 + np.exp(-side / (width * rng.uniform(0.01, 0.08))))
    return _lit(image, light.astype(np.float32)), points


def glare(image: Image, points: Points, rng: np.random.Generator) -> tuple[Image, Points]:
    """Add the reflection of a lamp: a bright spot that lightens the print without hiding it."""
    height, width = image.shape[:2]
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    out = image.astype(np.float32)
    for _ in range(rng.integers(1, 3)):
        cx, cy = width * rng.uniform(0.15, 0.85), height * rng.uniform(0.1, 0.9)
        wide, tall = width * rng.uniform(0.1, 0.3), width * rng.uniform(0.1, 0.45)
        spot = np.exp(-(((x - cx) / wide) ** 2) - ((y - cy) / tall) ** 2) * rng.uniform(0.55, 0.88)
        out += (255 - out) * spot[..., None]
    return _pixels(out), points


def low_light(image: Image, points: Points, rng: np.random.Generator) -> tuple[Image, Points]:
    """Apply dim, coloured light and sensor noise."""
    colour = np.array([1.0, rng.uniform(0.86, 1.0), rng.uniform(0.68, 0.95)], np.float32)[:: rng.choice([-1, 1])]
    light = rng.uniform(0.25, 0.5) * (0.7 + 0.3 * _clouds(image.shape, rng, 2))
    dim = image * light[..., None] * colour
    noise = rng.standard_normal(image.shape, dtype=np.float32) * rng.uniform(3, 9)
    return _pixels(dim + noise), points


def defocus(image: Image, points: Points, rng: np.random.Generator) -> tuple[Image, Points]:
    """Apply slight defocus."""
    return cv2.GaussianBlur(image, (0, 0), rng.uniform(0.05, 0.1) * _letter(points, image)).astype(np.uint8), points


def motion_blur(image: Image, points: Points, rng: np.random.Generator) -> tuple[Image, Points]:
    """Apply motion blur."""
    length = max(3, round(rng.uniform(0.16, 0.34) * _letter(points, image)))
    kernel = np.zeros((2 * length + 1, 2 * length + 1), np.float32)
    angle = rng.uniform(0, np.pi)
    dx, dy = np.cos(angle) * length / 2, np.sin(angle) * length / 2
    cv2.line(kernel, (round(length - dx), round(length - dy)), (round(length + dx), round(length + dy)), 1, 1, cv2.LINE_AA)
    return cv2.filter2D(image, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REPLICATE).astype(np.uint8), points


def distance_blur(image: Image, points: Points, rng: np.random.Generator) -> tuple[Image, Points]:
    """Reduce the resolution to lines of 10 to 14 pixels, as photographed from a distance."""
    scale = min(0.85, rng.uniform(10, 14) / _letter(points, image))
    return np.asarray(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8), points * scale


def jpeg(image: Image, points: Points, rng: np.random.Generator) -> tuple[Image, Points]:
    """Apply the strong JPEG compression of messengers."""
    _, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(14, 40))])
    return np.ascontiguousarray(np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)[..., ::-1]), points


def _letter(points: Points, image: Image) -> float:
    """Return the median line height in pixels, from boxes of four points: blur is proportional, so that text stays readable."""
    if len(points) < 4:
        return max(8.0, float(image.shape[1]) / 30)
    quads = points.reshape(-1, 4, 2)
    return float(np.median(np.linalg.norm(quads[:, 3] - quads[:, 0], axis=1)))


ORDER: dict[str, Degradation] = {
    "thermal_fade": thermal_fade,
    "fold": fold,
    "crumple": crumple,
    "curl": curl,
    "background": background,
    "rotation": rotation,
    "perspective": perspective,
    "shadow": shadow,
    "glare": glare,
    "low_light": low_light,
    "defocus": defocus,
    "motion": motion_blur,
    "far": distance_blur,
    "jpeg": jpeg,
}
# combinations that would be unreadable, or in which one hides the other
ALTERNATIVES = (
    {"background", "rotation", "perspective"},
    {"defocus", "motion", "far"},
    {"low_light", "thermal_fade"},
    {"low_light", "motion"},
    {"low_light", "defocus"},
    {"low_light", "shadow"},
    {"fold", "crumple"},
    {"far", "jpeg"},
)


def choose(rng: np.random.Generator) -> tuple[str, ...]:
    """Apply up to three degradations, in order; those of ALTERNATIVES are not combined."""
    count = int(rng.choice(4, p=[0.15, 0.3, 0.33, 0.22]))
    chosen: list[str] = []
    for name in rng.permutation(list(ORDER)):
        clash = any(name in group and group & set(chosen) for group in ALTERNATIVES)
        if len(chosen) < count and not clash:
            chosen.append(str(name))
    return tuple(name for name in ORDER if name in chosen)
