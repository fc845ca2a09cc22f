"""Draws the pictures the repository ships with, so that a fresh clone has something to train on.

    python tools/draw_sample.py                                    # sample/ and kittens.jpg
    python tools/draw_sample.py --output=DIR --count=20 --seed=1   # 20 of each, other ones, there

`sample/` holds cats and dogs under Kaggle's names (cat.0.jpg, dog.0.jpg ...). Pose, place, size,
colours, light and background come from the same distributions for both; only the animal tells
them apart: its ears, eyes, nose, muzzle, whiskers, tongue and tail, the markings and texture of
its fur. `kittens.jpg` is the litter the article's edge filters are shown on. A picture depends on
nothing but the random seed, its class and its number. Files of these names are overwritten. It
prints

    DIR/sample: 500 pictures, ... bytes
    DIR/kittens.jpg: ... bytes
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from absl import app, flags
from PIL import Image, ImageDraw, ImageFilter

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
from support import cli  # noqa: E402
from support.cli import UserError  # noqa: E402

OUTPUT = flags.DEFINE(cli.PATH, "output", str(ROOT), "folder that gets sample/ and kittens.jpg")
SEED = flags.DEFINE_integer("seed", 0, "random seed of every picture", lower_bound=0)
COUNT = flags.DEFINE_integer("count", 250, "pictures of each class in sample/", lower_bound=1)

SAMPLE_SIZE = (160, 120)  # width, height: the 4:3 of the networks' input, with room to scale down
KITTENS_SIZE = (800, 533)
SUPERSAMPLING = 3  # everything is drawn so many times larger, then scaled down: smooth edges

# A texture: a colour for every pixel, from its x and y (h, w) to (h, w, 3).
Texture = Callable[[np.ndarray, np.ndarray], np.ndarray]

# --------------------------------------------------------------------------------------------------
# Geometry: outlines are arrays of points (n, 2), x to the right and y down
# --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Frame:
    """Where an animal's own units (1 is half the width of its head) lie in the picture."""

    x: float  # of the origin, in pixels
    y: float
    size: float  # of one unit, in pixels
    angle: float = 0.0  # radians
    flip: int = 1  # -1 faces left

    def pixels(self, points) -> np.ndarray:
        x, y = (np.asarray(points, float) * (self.size * self.flip, self.size)).T
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        return np.stack([self.x + cos * x - sin * y, self.y + sin * x + cos * y], axis=1)

    def units(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The inverse of `pixels`."""
        x, y = (x - self.x) / self.size, (y - self.y) / self.size
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        return (cos * x + sin * y) * self.flip, cos * y - sin * x


def smooth(points, closed: bool = True, steps: int = 8) -> np.ndarray:
    """A Catmull-Rom curve through the points, `steps` points from one to the next."""
    p = np.asarray(points, float)
    p = np.concatenate([p[-1:], p, p[:2]] if closed else [p[:1], p, p[-1:]])
    a, b, c, d = (p[i : len(p) - 3 + i, None] for i in range(4))  # (segments, 1, 2)
    t = np.linspace(0, 1, steps, endpoint=False)[None, :, None]
    cubic = 2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)
    curve = (b + 0.5 * t * (c - a + t * cubic)).reshape(-1, 2)
    return curve if closed else np.concatenate([curve, p[-1:]])


def symmetric(half) -> np.ndarray:
    """A smooth outline from its right half, listed from top to bottom."""
    return smooth(list(half) + [(-x, y) for x, y in reversed(half) if x])


def ellipse(x: float, y: float, rx: float, ry: float, angle: float = 0.0) -> np.ndarray:
    t = np.linspace(0, 2 * np.pi, 28, endpoint=False)
    return Frame(x, y, 1, angle).pixels(np.stack([rx * np.cos(t), ry * np.sin(t)], axis=1))


def rectangle(x: float, y: float, wide: float, high: float) -> np.ndarray:
    return np.array([(x, y), (x + wide, y), (x + wide, y + high), (x, y + high)], float)


def tube(spine, widths) -> np.ndarray:
    """A limb or a tail: the outline around a curve through `spine`, with a round end."""
    curve = smooth(spine, closed=False)
    along = np.gradient(curve, axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True) + 1e-9
    across = along[:, ::-1] * (-1, 1)
    radius = np.interp(np.linspace(0, 1, len(curve)), np.linspace(0, 1, len(widths)), widths) / 2
    a = np.linspace(-np.pi / 2, np.pi / 2, 9)[1:-1, None]
    cap = curve[-1] + radius[-1] * (np.cos(a) * along[-1] + np.sin(a) * across[-1])
    side = across * radius[:, None]
    return np.concatenate([curve - side, cap, (curve + side)[::-1]])


# --------------------------------------------------------------------------------------------------
# Canvas: outlines filled and rounded by light, lines, shadows, fur
# --------------------------------------------------------------------------------------------------


class Canvas:
    """A picture drawn in its own pixels but kept larger; `light` points towards the lamp."""

    def __init__(self, size: tuple[int, int], rng: np.random.Generator, light: float):
        self.size = size
        self.image = Image.new("RGB", (size[0] * SUPERSAMPLING, size[1] * SUPERSAMPLING))
        self.draw = ImageDraw.Draw(self.image)
        self.rng = rng
        self.light = (np.cos(light), -np.sin(light))

    def shape(self, outline, colour, depth: float = 0.0, relief: float = 0.32):
        """Fills an outline with a colour or a Texture, rounded like a cushion over `depth` pixels.

        Returns what `fur` needs: the mask (h, w) and its corner; None if nothing was in sight.
        """
        outline = np.asarray(outline) * SUPERSAMPLING
        low = np.maximum(np.floor(outline.min(0)).astype(int), 0)
        high = np.minimum(np.ceil(outline.max(0)).astype(int) + 1, self.image.size)
        w, h = (high - low).tolist()
        if w < 2 or h < 2:
            return None
        mask = Image.new("L", (w, h))
        ImageDraw.Draw(mask).polygon((outline - low).ravel().tolist(), fill=255)
        if callable(colour):
            y, x = np.mgrid[low[1] : high[1], low[0] : high[0]].astype(np.float32) / SUPERSAMPLING
            colour = colour(x, y)
        pixels = np.broadcast_to(np.asarray(colour, np.float32), (h, w, 3))
        if depth:
            pixels = pixels * self.rounding(mask, depth * SUPERSAMPLING, relief)[..., None]
        filling = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
        self.image.paste(filling, tuple(low.tolist()), mask)
        return np.asarray(mask), low

    def rounding(self, mask: Image.Image, depth: float, relief: float) -> np.ndarray:
        """How bright each pixel is: the slope of the blurred mask stands in for the surface."""
        small = (max(mask.width // 4, 2), max(mask.height // 4, 2))  # smooth: a quarter will do
        framed = Image.new("L", (small[0] + 8, small[1] + 8))
        framed.paste(mask.resize(small, Image.Resampling.BOX), (4, 4))
        blurred = framed.filter(ImageFilter.GaussianBlur(depth / 4))
        height = np.asarray(blurred, np.float32)[4:-4, 4:-4] / 255
        dy, dx = np.gradient(height)
        lit = -(dx * self.light[0] + dy * self.light[1]) * depth * 0.63
        shade = 1 + relief * lit - 0.7 * relief * (1 - height)
        large = Image.fromarray(shade.astype(np.float32))
        return np.asarray(large.resize(mask.size, Image.Resampling.BILINEAR))

    def line(self, points, colour, width: float) -> None:
        points = (np.asarray(points) * SUPERSAMPLING).ravel().tolist()
        width = max(1, round(width * SUPERSAMPLING))
        self.draw.line(points, fill=tuple(int(c) for c in colour), width=width, joint="curve")

    def soft(self, outline, colour, blur: float, strength: float) -> None:
        """A blurred patch: shadows, glows, leaves out of focus."""
        outline, blur = np.asarray(outline) * SUPERSAMPLING, blur * SUPERSAMPLING
        low = np.floor(outline.min(0) - 2 * blur).astype(int)
        w, h = (np.ceil(outline.max(0) + 2 * blur).astype(int) - low).tolist()
        mask = Image.new("L", (max(w // 4, 1), max(h // 4, 1)))
        quarter = ((outline - low) / 4).ravel().tolist()
        ImageDraw.Draw(mask).polygon(quarter, fill=int(255 * strength))
        mask = mask.filter(ImageFilter.GaussianBlur(blur / 4))
        mask = mask.resize((w, h), Image.Resampling.BILINEAR)
        self.image.paste(tuple(int(c) for c in colour), tuple(low.tolist()), mask)

    def fur(self, where, flow, centre, length: float, fan: float, density=1.6, jitter=0.13) -> None:
        """Hairs all over a filled shape: along `flow`, or by `fan` (0..1) away from `centre`."""
        if where is None:
            return
        (mask, corner), rng, length = where, self.rng, length * SUPERSAMPLING
        tries = int(density * mask.size / (length * max(length / 5, 1)))
        y, x = rng.integers(mask.shape[0], size=tries), rng.integers(mask.shape[1], size=tries)
        inside = mask[y, x] > 0
        start = np.stack([x, y], axis=1)[inside] + corner  # (hairs, 2)
        out = start - np.asarray(centre) * SUPERSAMPLING
        out = out / (np.linalg.norm(out, axis=1, keepdims=True) + 1e-6)
        way = np.asarray(flow) * (1 - fan) + out * fan + rng.normal(0, 0.22, out.shape)
        end = start + way * length * rng.uniform(0.6, 1.4, (len(start), 1))
        colour = np.asarray(self.image)[start[:, 1], start[:, 0]].astype(float)
        colour = colour * rng.normal(1, jitter, (len(start), 1))
        colour = (colour + rng.normal(0, 60 * jitter, (len(start), 1))).clip(0, 255).astype(int)
        width = max(1, round(length / 9))
        for a, b, tone in zip(start.tolist(), end.tolist(), colour.tolist(),
                                  strict=True):
            self.draw.line((*a, *b), fill=tuple(tone), width=width)

    def defocus(self, blur: float) -> None:
        """Throws what is drawn so far out of focus: what comes next stands out against it."""
        self.image.paste(self.image.filter(ImageFilter.GaussianBlur(blur * SUPERSAMPLING)))

    def finished(self) -> Image.Image:
        return self.image.resize(self.size, Image.Resampling.LANCZOS)


# --------------------------------------------------------------------------------------------------
# Coats
# --------------------------------------------------------------------------------------------------

BLACK, CHARCOAL, GREY, SILVER = (44, 41, 43), (66, 66, 72), (128, 131, 138), (186, 188, 192)
WHITE, CREAM, SAND, GINGER = (240, 236, 229), (230, 206, 168), (196, 158, 110), (222, 145, 70)
RUST, BROWN, UMBER, TAUPE = (160, 84, 36), (132, 90, 58), (74, 49, 34), (110, 98, 90)
COATS = (  # ground and markings: pairs a cat and a dog can both wear
    (WHITE, BLACK), (WHITE, GREY), (WHITE, GINGER), (WHITE, BROWN), (GREY, CHARCOAL),
    (SILVER, CHARCOAL), (GREY, BLACK), (GINGER, RUST), (GINGER, CREAM), (CREAM, RUST),
    (CREAM, BROWN), (SAND, UMBER), (BROWN, UMBER), (BROWN, BLACK), (TAUPE, BLACK),
    (BLACK, TAUPE), (BLACK, RUST), (CHARCOAL, SILVER),
)
PATTERNS = {  # how often a cat or a dog wears which
    "cat": {"tabby": 0.84, "patches": 0.08, "plain": 0.08},
    "dog": {"spots": 0.3, "patches": 0.4, "plain": 0.3},
}


@dataclass(frozen=True)
class Coat:
    pattern: str  # plain, tabby, spots or patches
    ground: np.ndarray
    markings: np.ndarray
    pale: np.ndarray  # muzzle, chest and paws
    waves: np.ndarray  # (5, 3): their sum is the noise that makes markings irregular

    def noise(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return sum(np.sin(a * x + b * y + c) for a, b, c in self.waves) / np.sqrt(2.5)

    def colours(self, x: np.ndarray, y: np.ndarray, part: str) -> np.ndarray:
        """Colours (h, w, 3) at points in head units; `part` is head, body or limb."""
        noise = self.noise(x, y)
        if self.pattern == "tabby" and part == "head":  # rays on brow and cheeks
            rays = np.cos(19 * np.arctan2(x, 0.15 - y) + 0.5 * noise) - 0.1
            marked = rays * (np.hypot(x, y - 0.15) > 0.55 + 0.1 * noise)
        elif self.pattern == "tabby" and part == "body":  # bands from back to belly
            marked = np.sin(12.5 * x + 1.5 * np.sin(1.3 * y) + 0.7 * noise) - 0.05
        elif self.pattern == "tabby":  # rings
            marked = np.sin(13 * y + 0.5 * noise) - 0.1
        elif self.pattern == "spots":
            wobble = 0.8 * self.noise(y, x)
            marked = np.sin(5.2 * x + 0.8 * noise) * np.sin(5.2 * y + wobble) - 0.25
        else:
            marked = noise - 0.15 if self.pattern == "patches" else np.full_like(x, -1)
        amount = (0.5 + 4 * marked).clip(0, 1)[..., None] * 0.95
        uneven = 1 + 0.05 * self.noise(2 * x, 2 * y)[..., None]  # fur is never of one tone
        return (self.ground + (self.markings - self.ground) * amount) * uneven


def random_coat(rng: np.random.Generator, pattern: str, pair=None) -> Coat:
    pair = COATS[rng.integers(len(COATS))] if pair is None else pair
    tint = rng.normal(0, 9, (2, 1)) + rng.normal(0, 2, (2, 3))  # lighter or darker, hardly coloured
    ground, markings = np.array(pair) + tint
    own, bright = ground * 0.8 + 50, np.array(WHITE if rng.random() < 0.5 else CREAM, float)
    pale = bright if rng.random() < 0.55 else own
    way, pace = rng.uniform(0, 2 * np.pi, 5), rng.uniform(1.0, 2.6, 5)
    phase = rng.uniform(0, 2 * np.pi, 5)
    waves = np.stack([pace * np.cos(way), pace * np.sin(way), phase], axis=1)
    return Coat(pattern, ground, markings, pale, waves)


# --------------------------------------------------------------------------------------------------
# Animals: heads, tails, limbs
# --------------------------------------------------------------------------------------------------

EYES = {
    "cat": ((140, 170, 84), (204, 158, 64), (120, 165, 200), (104, 160, 112)),
    "dog": ((96, 58, 30), (130, 84, 40), (204, 158, 64), (120, 165, 200)),
}
DOG_EARS = {  # the right one
    "hanging": [(0.42, -0.86), (0.82, -0.86), (1.22, -0.3), (1.3, 0.35), (1.08, 0.62), (0.84, 0.3),
                (0.74, -0.3)],
    "long": [(0.45, -0.8), (0.85, -0.74), (1.22, -0.1), (1.36, 0.75), (1.16, 1.18), (0.84, 0.85),
             (0.74, 0.0)],
    "folded": [(0.3, -0.8), (0.55, -1.12), (0.9, -1.1), (1.32, -0.62), (1.3, -0.3), (0.95, -0.5),
               (0.74, -0.4)],
    "upright": [(0.3, -0.7), (0.42, -1.2), (0.72, -1.55), (0.92, -1.2), (0.96, -0.6), (0.8, -0.2)],
}
COLLARS = ((190, 40, 40), (40, 80, 170), (40, 130, 80), (230, 180, 40), (120, 60, 140))
PINK, INK, SHADOW = np.array((232, 150, 150)), np.array((30, 24, 26)), (20, 15, 12)
SHINE = (255, 255, 255)


@dataclass(frozen=True)
class Animal:
    kind: str  # cat or dog
    coat: Coat
    eyes: tuple[int, int, int]
    ears: str = "pointed"  # or a key of DOG_EARS
    tongue: bool = False
    collar: tuple[int, int, int] | None = None
    hair: float = 0.13  # length of a hair, in head units
    contrast: float = 0.13  # between one hair and the next
    young: bool = False  # a kitten: rounder eyes, wider pupils, finer whiskers


def random_animal(rng: np.random.Generator, kind: str) -> Animal:
    patterns = PATTERNS[kind]
    return Animal(
        kind,
        random_coat(rng, str(rng.choice(list(patterns), p=list(patterns.values())))),
        EYES[kind][rng.integers(len(EYES[kind]))],
        "pointed" if kind == "cat" else str(rng.choice(list(DOG_EARS), p=[0.45, 0.25, 0.22, 0.08])),
        tongue=kind == "dog" and rng.random() < 0.65,
        collar=COLLARS[rng.integers(len(COLLARS))] if rng.random() < 0.35 else None,
        hair=rng.uniform(0.1, 0.17),
        contrast=0.18 if kind == "cat" else 0.06)


class Brush:
    """Draws parts of one animal onto a canvas, all measures in head units."""

    def __init__(self, canvas: Canvas, frame: Frame, animal: Animal):
        self.canvas, self.frame, self.animal = canvas, frame, animal

    def fill(self, outline, colour, depth: float = 0.0, relief: float = 0.32) -> None:
        self.canvas.shape(self.frame.pixels(outline), colour, depth * self.frame.size, relief)

    def line(self, points, colour, width: float) -> None:
        curve = smooth(points, closed=False)
        self.canvas.line(self.frame.pixels(curve), colour, width * self.frame.size)

    def shadow(self, outline, blur: float, strength: float = 0.4, colour=SHADOW) -> None:
        size = self.frame.size
        self.canvas.soft(self.frame.pixels(outline), colour, blur * size, strength)

    def furry(self, outline, part: str, depth: float, flow, centre, fan: float, tone: float = 1.0,
              hair: float = 1.0) -> None:
        """A part in the animal's coat: its hairs lie along `flow`, or fan out from `centre`."""
        size, animal = self.frame.size, self.animal

        def texture(x: np.ndarray, y: np.ndarray) -> np.ndarray:
            return animal.coat.colours(*self.frame.units(x, y), part) * tone

        where = self.canvas.shape(self.frame.pixels(outline), texture, depth * size)
        origin, ahead, centre = self.frame.pixels([(0, 0), flow, centre])
        length = animal.hair * hair * size
        self.canvas.fur(where, (ahead - origin) / size, centre, length, fan, 1.6, animal.contrast)

    def pale(self, outline, depth: float = 0.15) -> None:
        """A part in the coat's pale colour."""
        pixels, size = self.frame.pixels(outline), self.frame.size
        where = self.canvas.shape(pixels, self.animal.coat.pale, depth * size, 0.2)
        length = self.animal.hair * size * 0.7
        self.canvas.fur(where, (0, 0), pixels.mean(0), length, 1.0, jitter=0.07)


def draw_cat_eye(brush: Brush, x: float, y: float, side: int, squeeze: float) -> None:
    """An almond with a slit; a kitten's is rounder and its pupil wide."""
    young = brush.animal.young
    wide, high, slant, slit = (0.28, 0.29, 0.12, 0.155) if young else (0.26, 0.22, 0.28, 0.07)
    almond = smooth([(-side * wide, high * slant), (0, -high), (side * wide, -high * slant),
                     (0, high * 0.92)]) * (squeeze, 1)
    brush.fill(almond * 1.16 + (x, y), INK)
    brush.fill(almond + (x, y), brush.animal.eyes, 0.12, 0.5)
    brush.fill(ellipse(x, y - 0.01, slit * squeeze, high * 0.82), (12, 12, 14))
    brush.fill(ellipse(x - 0.08 * squeeze, y - 0.09, 0.065, 0.065), SHINE)
    brush.fill(ellipse(x + 0.08 * squeeze, y + 0.1, 0.028, 0.028), SHINE)


def draw_dog_eye(brush: Brush, x: float, y: float, squeeze: float) -> None:
    for radius, colour in ((0.185, INK), (0.148, brush.animal.eyes), (0.1, (14, 10, 10))):
        brush.fill(ellipse(x, y, radius * squeeze, radius), colour)
    brush.fill(ellipse(x - 0.05 * squeeze, y - 0.06, 0.045, 0.045), SHINE)


def draw_cat_ears(brush: Brush, turn: float) -> None:
    right = np.array([(0.95, -0.2), (1.04, -0.6), (1.02, -1.05), (0.9, -1.46), (0.85, -1.47),
                      (0.5, -1.18), (0.16, -0.72), (0.4, -0.3)])
    for side in (-1, 1):
        lean = side * (1 - 0.18 * max(0, side * turn))  # the one turned away looks narrower
        ear = right * (lean, 1) - (0.1 * turn, 0)
        brush.furry(ear, "head", 0.2, (side * 0.2, -0.5), (0, 0), 0.1, hair=0.6)
        pivot = np.array((0.63 * lean, -0.63))
        brush.fill((ear[:7] - pivot) * 0.66 + pivot, PINK * 0.92, 0.12)
        for i in range(7):  # tufts
            root = np.array((lean * (0.36 + 0.07 * i) - 0.1 * turn, -0.62))
            tip = root + (side * (0.02 + 0.03 * i), -0.3 + 0.02 * i)
            brush.line([root, tip], brush.animal.coat.pale * 0.97, 0.022)


def draw_dog_ears(brush: Brush, turn: float) -> None:
    for side in (-1, 1):
        narrow = 1 - 0.15 * max(0, side * turn)
        ear = smooth(DOG_EARS[brush.animal.ears]) * (side * narrow, 1) - (0.12 * turn, 0)
        brush.shadow(ear + (-0.04 * side, 0.06), 0.08, 0.45)
        brush.furry(ear, "body", 0.2, (side * 0.2, 1), (side * 0.6, -0.9), 0.2, 0.8)
        if brush.animal.ears == "upright":
            pivot = np.array((side * 0.65, -0.71))
            brush.fill((ear - pivot) * 0.6 + pivot, PINK * 0.7, 0.1)


def draw_cat_face(brush: Brush, turn: float) -> None:
    coat, young, rng = brush.animal.coat, brush.animal.young, brush.canvas.rng
    eyes, m = 0.16 * turn, 0.3 * turn  # the middle of the eyes and of the mouth
    if coat.pattern != "tabby" or coat.pale[0] > 225:  # a blaze
        brush.pale(symmetric([(0, 0), (0.3, 0.28), (0.42, 0.6), (0, 0.8)]) + (m, 0))
    for side in (-1, 1):
        squeeze = 1 - 0.22 * max(0, side * turn)
        draw_cat_eye(brush, eyes + side * 0.46, 0.0 if young else -0.06, side, squeeze)
        brush.pale(ellipse(m + side * 0.17, 0.46, 0.23, 0.18))
    brush.fill(ellipse(m, 0.63, 0.13, 0.1), coat.pale * 0.9)
    nose = symmetric([(0, 0.23), (0.13, 0.25), (0.06, 0.34), (0, 0.38)]) + (m, 0)
    brush.fill(nose, PINK * (0.9 if coat.ground.mean() > 90 else 0.55), 0.05, 0.3)
    ink, thick = coat.pale * 0.32, 0.018 if young else 0.03
    for side in (-1, 1):
        mouth = [(m, 0.37), (m, 0.47), (m + side * 0.13, 0.57), (m + side * 0.28, 0.48)]
        brush.line(mouth, ink, 0.035)
        for i in range(4):  # whiskers, each with a dark edge to show on white
            root = np.array((m + side * 0.22, 0.4 + 0.045 * i))
            reach = side * rng.uniform(0.95, 1.25)
            tip = root + (reach, -0.22 + 0.17 * i + rng.normal(0, 0.03))
            whisker = np.array([root, (root + tip) / 2 - (0, 0.07), tip])
            brush.line(whisker + (0, 0.02), INK + 20, 0.6 * thick)
            brush.line(whisker, (252, 250, 246), thick)
            brush.fill(ellipse(*(root + (side * 0.02, 0.02)), 0.018, 0.018), ink)


def draw_dog_face(brush: Brush, turn: float) -> None:
    eyes, m = 0.2 * turn, 0.46 * turn  # a long muzzle swings out further than a cat's
    for side in (-1, 1):
        draw_dog_eye(brush, eyes + side * 0.38, -0.2, 1 - 0.25 * max(0, side * turn))
    if brush.animal.tongue:
        tongue = smooth([(-0.2, 0.8), (0.2, 0.8), (0.22, 1.2), (0.04, 1.42), (-0.17, 1.22)])
        brush.fill(tongue + (m, 0), PINK * 0.92, 0.1)  # the pink of a cat's ears
        brush.line([(m + 0.01, 0.85), (m + 0.03, 1.22)], PINK * 0.7, 0.035)
    half = [(0, -0.12), (0.3, 0.1), (0.5, 0.5), (0.38, 0.9), (0, 0.82)]
    muzzle = symmetric(half) + (m, 0)
    brush.shadow(muzzle + (0, 0.05), 0.1)
    brush.pale(muzzle, 0.3)
    nose = symmetric([(0, 0.06), (0.25, 0.14), (0.22, 0.32), (0, 0.44)]) + (m, 0)
    brush.fill(nose, (38, 32, 34), 0.1, 0.5)
    brush.shadow(ellipse(m - 0.05, 0.15, 0.12, 0.045), 0.03, 0.7, (235, 235, 240))  # wet
    for side in (-1, 1):
        mouth = [(m, 0.42), (m, 0.66), (m + side * 0.2, 0.82), (m + side * 0.46, 0.68)]
        brush.line(mouth, brush.animal.coat.pale * 0.25, 0.05)


def draw_head(brush: Brush, turn: float) -> None:
    """A head looking at us, or aside by `turn` in -1..1: the face slides over the skull."""
    cat, ears = brush.animal.kind == "cat", brush.animal.ears
    if cat:
        draw_cat_ears(brush, turn)
        half = [(0, -0.84), (0.45, -0.77), (0.84, -0.42), (1, 0.1), (0.88, 0.5), (0.5, 0.78)]
    else:
        if ears == "upright":  # behind the skull; the others hang before it
            draw_dog_ears(brush, turn)
        half = [(0, -0.95), (0.48, -0.9), (0.84, -0.5), (0.9, 0), (0.74, 0.45), (0.45, 0.78)]
    skull = symmetric([*half, (0, 0.86)])
    brush.shadow(skull + (0, 0.16), 0.16, 0.5)
    brush.furry(skull, "head", 0.4, (0, 0.3), (0.3 * turn, 0.1), 0.85)
    if cat:
        draw_cat_face(brush, turn)
    else:
        if ears != "upright":
            draw_dog_ears(brush, turn)
        draw_dog_face(brush, turn)


def draw_tail(brush: Brush, x: float, y: float, rise: float) -> None:
    """From (x, y) back and up: a cat's long, slender and winding, a dog's short and feathered."""
    if brush.animal.kind == "cat":
        spine = [(0.3, 0), (-0.5, -0.1), (-0.95, -0.7), (-0.8, -1.4), (-1.15, -1.9)]
        widths = (0.36, 0.34, 0.32, 0.28, 0.22)
    else:
        spine, widths = [(0.3, 0), (-0.3, -0.5), (-0.45, -1.1), (-0.1, -1.6)], (0.4, 0.55, 0.6, 0.3)
    outline = tube(np.array(spine) * (1, rise) + (x, y), widths)
    brush.furry(outline, "limb", 0.15, (-0.1, -0.7), (x, y), 0.2)


def draw_leg(brush: Brush, spine, width: float, tone: float = 1.0) -> None:
    outline = tube(spine, (width * 1.25, width, width * 0.9))
    brush.furry(outline, "limb", 0.2, (0, 1), spine[0], 0.2, tone)
    x, y = spine[-1]
    paw = ellipse(x + 0.06, y, width * 0.68, width * 0.46)
    brush.shadow(paw, 0.05, 0.35)
    brush.pale(paw)
    for toe in (-0.2, 0.2):
        at = x + 0.06 + toe * width
        brush.line([(at, y), (at, y + width * 0.4)], brush.animal.coat.pale * 0.5, 0.03)


def draw_haunch(brush: Brush, x: float, y: float) -> None:
    brush.shadow(ellipse(x + 0.05, y, 0.84, 0.68), 0.12, 0.35)
    brush.furry(ellipse(x, y, 0.78, 0.63), "body", 0.3, (0, 1), (x, y - 0.3), 0.5)


def draw_collar(brush: Brush) -> None:
    if brush.animal.collar:
        brush.line([(-0.62, 0.72), (0, 1.0), (0.62, 0.72)], brush.animal.collar, 0.17)
        brush.fill(ellipse(0, 1.14, 0.12, 0.13), (225, 190, 80), 0.06)  # a bell


# --------------------------------------------------------------------------------------------------
# Poses: each draws what is below and behind the head, facing right where it faces aside
# --------------------------------------------------------------------------------------------------


def portrait(brush: Brush) -> None:
    chest = symmetric([(0.5, 0.3), (0.9, 1.0), (1.4, 1.9), (1.6, 3.6), (0, 3.8)])
    brush.furry(chest, "body", 0.5, (0, 1), (0, 0.5), 0.4)
    brush.pale(symmetric([(0, 0.7), (0.45, 1.1), (0.5, 1.9), (0, 2.7)]), 0.3)


def sit_front(brush: Brush) -> None:
    draw_tail(brush, -0.9, 2.6, 0.75)
    half = [(0.55, 0.4), (0.85, 1.2), (1.2, 2.1), (1.22, 2.75), (0.8, 3.02), (0, 3.0)]
    brush.furry(symmetric(half), "body", 0.5, (0, 1), (0, 0.8), 0.35)
    brush.pale(symmetric([(0, 0.7), (0.4, 1.0), (0.3, 1.5), (0, 1.8)]), 0.25)
    for side in (-1, 1):
        draw_leg(brush, [(side * 0.95, 2.6), (side * 1.0, 2.8), (side * 0.95, 2.98)], 0.5)
        draw_leg(brush, [(side * 0.42, 1.75), (side * 0.38, 2.3), (side * 0.34, 2.95)], 0.44)


def sit_side(brush: Brush) -> None:
    draw_tail(brush, -1.75, 2.7, 0.55)
    draw_leg(brush, [(0.2, 1.5), (0.35, 2.2), (0.42, 2.86)], 0.42, 0.8)
    body = [(0.45, 0.5), (0.5, 1.3), (0.3, 2.0), (0.0, 2.9), (-1.0, 3.02), (-1.85, 2.95),
            (-2.1, 2.3), (-1.6, 1.3), (-0.8, 0.4)]
    brush.furry(smooth(body), "body", 0.5, (-0.4, 1), (-0.5, 1.0), 0.3)
    draw_haunch(brush, -1.15, 2.35)
    draw_leg(brush, [(-0.9, 2.9), (-0.6, 2.93), (-0.35, 2.96)], 0.4)
    draw_leg(brush, [(0.1, 1.6), (0.08, 2.3), (0.08, 2.96)], 0.44)


def walk(brush: Brush) -> None:
    stride = brush.canvas.rng.uniform(-0.35, 0.35)
    draw_tail(brush, -3.4, 0.75, 0.9)
    for x, way in ((-0.75, -stride), (-3.0, stride)):  # the far legs
        draw_leg(brush, [(x, 1.3), (x + way * 0.6, 2.0), (x + way, 2.6)], 0.44, 0.75)
    body = [(0.4, 0.4), (0.4, 1.1), (-0.3, 1.75), (-1.8, 1.6), (-2.9, 1.6), (-3.6, 1.4),
            (-3.75, 0.8), (-3.2, 0.3), (-2.0, 0.32), (-1.1, 0.1), (-0.7, -0.2)]
    brush.furry(smooth(body), "body", 0.5, (-1, 0.4), (-1.0, 0.4), 0.3)
    for x, way in ((-0.25, stride), (-3.25, -stride)):
        draw_leg(brush, [(x, 1.3), (x + way * 0.6, 2.0), (x + way, 2.7)], 0.48)


def lie(brush: Brush) -> None:
    draw_tail(brush, -3.4, 1.5, 0.5)
    draw_leg(brush, [(-0.4, 1.5), (0.4, 1.62), (1.05, 1.68)], 0.42, 0.8)
    body = [(0.5, 0.4), (0.6, 1.1), (0.35, 1.75), (-1.5, 1.9), (-3.2, 1.9), (-3.75, 1.5),
            (-3.5, 0.8), (-2.5, 0.4), (-1.3, 0.35), (-0.7, 0.0)]
    brush.furry(smooth(body), "body", 0.5, (-1, 0.5), (-1.0, 0.6), 0.3)
    draw_haunch(brush, -2.9, 1.3)
    draw_leg(brush, [(-3.0, 1.75), (-2.5, 1.8), (-2.2, 1.82)], 0.4)
    draw_leg(brush, [(-0.5, 1.65), (0.2, 1.78), (0.75, 1.82)], 0.46)


def draw_animal(canvas: Canvas, body: Frame, head: Frame, animal: Animal, pose, turn) -> None:
    pose(Brush(canvas, body, animal))
    draw_collar(Brush(canvas, body, animal))
    draw_head(Brush(canvas, head, animal), turn)


# --------------------------------------------------------------------------------------------------
# The sample: backgrounds are drawn before the class is looked at
# --------------------------------------------------------------------------------------------------

# Pose, how often, where it reaches (left, top, right, bottom of the head's middle, in head units),
# and the least and most a head unit measures, in heights of the picture.
POSES = (
    (portrait, 0.32, (-1.3, -1.4, 1.3, 1.7), (0.27, 0.38)),
    (sit_front, 0.18, (-1.6, -1.4, 1.4, 3.1), (0.21, 0.27)),
    (sit_side, 0.2, (-2.5, -1.4, 1.1, 3.1), (0.21, 0.27)),
    (walk, 0.16, (-4.0, -1.4, 1.1, 2.8), (0.21, 0.27)),
    (lie, 0.14, (-4.0, -1.4, 1.3, 2.0), (0.21, 0.27)),
)
SHARES = [share for _, share, _, _ in POSES]


def any_colour(rng: np.random.Generator) -> np.ndarray:
    """A muted colour of any hue, dark to pale."""
    hue, value, vivid = rng.uniform(0, 2 * np.pi), rng.uniform(60, 225), rng.uniform(0, 0.25)
    return value * (1 + vivid * np.cos(hue - np.array([0, 2.1, 4.2])))


def draw_sky(canvas: Canvas, horizon: float) -> None:
    rng, (w, h) = canvas.rng, canvas.size
    top, low = np.array([(120, 170, 225), (205, 222, 235)]) * rng.uniform(0.55, 1.05)

    def sky(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return top + (low - top) * (y / horizon).clip(0, 1)[..., None]

    canvas.shape(rectangle(0, 0, w, h), sky)
    leaf = np.array((70, 120, 50)) * rng.uniform(0.5, 1.3) + rng.normal(0, 15, 3)
    for _ in range(rng.integers(60)):
        size, height = rng.uniform(0.04, 0.14) * h, rng.exponential(0.15) * h
        bush = ellipse(rng.uniform(0, w), horizon - height, size * 1.3, size)
        canvas.soft(bush, leaf * rng.uniform(0.6, 1.5), size * 0.3, 0.8)


def draw_wall(canvas: Canvas, horizon: float) -> None:
    rng, (w, h) = canvas.rng, canvas.size
    paint, style = any_colour(rng), rng.choice(["wallpaper", "window", "furniture"])
    pitch, slant = rng.uniform(5, 17), rng.choice([0, 1, -1])

    def striped(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        stripe = np.sin((x + slant * y) * 2 * np.pi / pitch) > 0.2
        return paint * (1 + 0.12 * stripe)[..., None]

    canvas.shape(rectangle(0, 0, w, h), striped if style == "wallpaper" else paint)
    if style == "window":
        x, y = rng.uniform(-0.1, 0.7) * w, rng.uniform(-0.2, 0.2) * h
        wide, high = rng.uniform(0.25, 0.45) * w, rng.uniform(0.3, 0.6) * h
        wood, glass = any_colour(rng), any_colour(rng) * 0.6 + 90
        canvas.shape(rectangle(x - 5, y - 5, wide + 10, high + 10), wood)
        canvas.shape(rectangle(x, y, wide, high), glass)
        canvas.line([(x + wide / 2, y), (x + wide / 2, y + high)], wood, 3)
        canvas.line([(x, y + high / 2), (x + wide, y + high / 2)], wood, 3)
    elif style == "furniture":
        for _ in range(rng.integers(1, 4)):
            wide, high = rng.uniform(0.12, 0.4) * w, rng.uniform(0.15, 0.6) * h
            box = rectangle(rng.uniform(-0.1, 0.9) * w, horizon - high, wide, high + 2)
            canvas.shape(box, any_colour(rng), 0.05 * h)


def draw_floor(canvas: Canvas, horizon: float, outdoors: bool) -> None:
    rng, (w, h) = canvas.rng, canvas.size
    if horizon >= h - 1:
        return
    ground, style = any_colour(rng), rng.choice(["planks", "tiles", "dots", "carpet"])
    if outdoors:
        ground = np.array((96, 140, 60) if rng.random() < 0.75 else (190, 165, 125))
        ground = ground * rng.uniform(0.5, 1.2) + rng.normal(0, 12, 3)
    middle, across, deep = rng.uniform(0.2, 0.8) * w, rng.uniform(3, 7), rng.uniform(5, 10)
    contrast = rng.uniform(-0.35, 0.35) * (not outdoors and style != "carpet")

    def texture(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        far = 1.2 * h / (y - horizon + 0.35 * h)  # perspective: grows towards the horizon
        u, v = (x - middle) / h * far * across, far * deep
        if style == "planks":
            pattern = np.sin(2 * u) > 0.97
        elif style == "tiles":
            pattern = np.sin(u) * np.sin(v) > 0
        else:
            pattern = np.sin(2 * u) * np.sin(2 * v) > 0.5
        nearer = 0.85 + 0.25 * (y - horizon) / (h - horizon)
        return ground * ((1 + contrast * pattern) * nearer)[..., None]

    where = canvas.shape(rectangle(0, horizon, w, h - horizon), texture)
    if outdoors or style == "carpet":  # grass, or the carpet's pile
        length, density = rng.uniform(3, 7), rng.uniform(0.2, 0.7)
        canvas.fur(where, (0, -1), (w / 2, 2 * h), length, 0.3, density, 0.16)


def developed(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Contrast, exposure, tint, uneven light and grain, as if each came from another camera."""
    pixels = np.asarray(image, np.float32)
    pixels = (pixels - 128) * rng.uniform(0.85, 1.1) + 128 + rng.normal(0, 15)
    y, x = np.mgrid[-1 : 1 : image.height * 1j, -1 : 1 : image.width * 1j]
    way = rng.uniform(0, 2 * np.pi)
    light = 1 + rng.uniform(0, 0.25) * (x * np.cos(way) + y * np.sin(way))
    light -= rng.uniform(0, 0.15) * (x**2 + y**2)
    grain = rng.normal(0, rng.uniform(0, 2), pixels.shape)
    pixels = pixels * light[..., None] * rng.normal(1, 0.05, 3) + grain
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def draw_image(seed: int, kind: str, number: int) -> Image.Image:
    """Picture `number` of the class `kind`, cat or dog."""
    rng = np.random.default_rng([seed, ("dog", "cat").index(kind), number])
    canvas = Canvas(SAMPLE_SIZE, rng, light=rng.uniform(0, np.pi))
    w, h = canvas.size
    pose, _, (left, top, right, bottom), sizes = POSES[rng.choice(len(POSES), p=SHARES)]
    size, flip = rng.uniform(*sizes) * h, int(rng.choice([-1, 1]))
    # The head is in the picture as a whole; the picture's edge may cut rump and feet.
    x = rng.uniform(*sorted((-0.7 * left * size, w - right * size)))
    x = x if flip == 1 else w - x
    y = rng.uniform(*sorted((-top * size, h - 0.7 * bottom * size)))
    feet = h * rng.uniform(0.5, 1.3) if pose is portrait else min(y + bottom * size, h)
    horizon, outdoors = feet - rng.uniform(0.08, 0.4) * h, bool(rng.random() < 0.45)
    if outdoors:
        draw_sky(canvas, horizon)
    else:
        draw_wall(canvas, horizon)
    draw_floor(canvas, horizon, outdoors)
    canvas.defocus(rng.uniform(1, 4))
    body = Frame(x, y, size, rng.normal(0, 0.05), flip)
    head = Frame(x, y, size, body.angle + rng.normal(0, 0.16), flip)
    if pose is not portrait:
        ground = ellipse((left + right) / 2, bottom - 0.12, (right - left) * 0.46, 0.3)
        canvas.soft(body.pixels(ground), SHADOW, 0.2 * size, 0.5)
    turn = rng.uniform(-0.3, 1)
    draw_animal(canvas, body, head, random_animal(rng, kind), pose, turn)
    return developed(canvas.finished(), rng)


# --------------------------------------------------------------------------------------------------
# The litter: a basket of kittens by a window
# --------------------------------------------------------------------------------------------------

RIM_X, RIM_Y = 432, 322  # the middle of the basket's rim
RIM, BOTTOM, TALL = (226, 46), (186, 40), 140  # half axes of rim and bottom; the height
CHERRY, PINE = np.array((178, 52, 48)), np.array((52, 92, 72))
IVORY, HONEY = np.array((246, 232, 204)), np.array((206, 152, 92))
WALNUT, DUSK = np.array((84, 50, 28)), (50, 28, 16)


def wallpaper(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    stripes = np.where((x % 34 < 17)[..., None], (240, 216, 176), (233, 204, 160))
    return stripes * (1.02 - 0.2 * x / KITTENS_SIZE[0])[..., None]  # darker away from the window


def gingham(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Checks on cloth gathered in upright folds."""
    threads = (x % 22 < 11).astype(int) + (y % 22 < 11)
    cloth = np.array([IVORY, (226, 142, 120), (204, 92, 80)])[threads]
    return cloth * (0.88 + 0.16 * np.sin(x / 5.5))[..., None]


def plaid(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    cloth = np.broadcast_to(CHERRY.astype(float), (*x.shape, 3)).copy()
    for along in (x / 46 % 1, y / 46 % 1):
        cloth[along < 0.36] = (cloth[along < 0.36] + PINE) / 2
        cloth[(along > 0.62) & (along < 0.68)] = IVORY
        cloth[(along > 0.15) & (along < 0.19)] = (226, 178, 70)
    return cloth


def blanket(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    folds = 0.92 + 0.13 * np.sin(x / 9 + y / 60)
    return plaid(x + 0.2 * y, y - 0.1 * x) * folds[..., None]


def planks(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    across = (x - 400) / (y - 200) * 9  # the boards run towards a point behind the wall
    grain = 0.04 * np.sin(20 * across + 3 * np.sin(y / 14))
    board = 0.9 + 0.1 * np.sin(2.4 * np.floor(across))  # each of another tone
    gap = np.where(across % 1 < 0.05, 0.6, 1)
    return np.array((178, 118, 70)) * ((board + grain) * gap)[..., None]


def rug(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    radius = np.hypot((x - 410) / 385, (y - 468) / 92)[..., None]
    checks = (np.sin((x + y * 3) / 13) * np.sin((x - y * 3) / 13) > 0)[..., None]
    middle = np.where(checks, (214, 150, 104), (226, 170, 122))
    rings = [radius > edge for edge in (0.93, 0.86, 0.72, 0.67)]
    return np.select(rings, [PINE * 1.2, IVORY, CHERRY, IVORY], middle)


def morning_sky(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (176, 214, 236) + (y / 240)[..., None] * (60, 30, -20)


def draw_window(canvas: Canvas) -> None:
    rng = canvas.rng
    canvas.shape(rectangle(70, 18, 250, 222), morning_sky)
    for _ in range(70):  # the garden, out of focus
        x, y, size = rng.uniform(90, 300), 230 - rng.exponential(26), rng.uniform(9, 22)
        leaf = np.array((112, 158, 74)) * rng.uniform(0.7, 1.3)
        canvas.soft(ellipse(x, max(y, 140), size, size), leaf, 4, 0.8)
    canvas.shape(rectangle(0, 0, 62, 250), wallpaper)
    for wood in ((58, 6, 274, 16), (58, 6, 16, 240), (316, 6, 16, 240), (187, 10, 12, 230),
                 (70, 112, 250, 10), (46, 238, 298, 18)):
        canvas.shape(rectangle(*wood), (252, 244, 228), 4, 0.25)
    for x, way in ((20, 1), (372, -1)):
        edge = [(0, -20), (86, -20), (74, 90), (34, 176), (44, 282), (-24, 282), (-14, 140)]
        curtain = smooth(edge) * (way, 1) + (x, 0)
        canvas.soft(curtain + 6, (90, 60, 40), 5, 0.35)
        canvas.shape(curtain, gingham, 10)


def draw_fish_picture(canvas: Canvas) -> None:
    canvas.soft(rectangle(598, 40, 128, 100), (80, 50, 30), 6, 0.5)
    canvas.shape(rectangle(590, 30, 132, 104), WALNUT * 1.3, 4, 0.5)
    canvas.shape(rectangle(601, 41, 110, 82), (226, 232, 214))
    fish = [(625, 82), (648, 64), (675, 76), (692, 64), (692, 100), (675, 88), (648, 100)]
    canvas.shape(smooth(fish), (224, 128, 64), 6, 0.4)
    for x in (650, 657, 664):
        canvas.line(smooth([(x, 72), (x + 4, 82), (x, 92)], False), (170, 80, 40), 1.2)
    canvas.shape(ellipse(638, 78, 2.6, 2.6), INK)


def draw_room(canvas: Canvas) -> None:
    canvas.shape(rectangle(0, 0, 800, 380), wallpaper)
    draw_window(canvas)
    draw_fish_picture(canvas)
    canvas.shape(rectangle(0, 342, 800, 191), planks)
    canvas.shape(rectangle(0, 322, 800, 20), (250, 240, 222), 5, 0.3)  # skirting board
    for a in np.linspace(0, 2 * np.pi, 260):
        root = np.array((410 + 383 * np.cos(a), 468 + 90 * np.sin(a)))
        tip = root + (12 * np.cos(a), 8 * np.sin(a) + canvas.rng.normal(0, 1.5))
        canvas.line([root, tip], IVORY * canvas.rng.uniform(0.8, 1), 1.3)  # the rug's fringe
    canvas.shape(ellipse(410, 468, 385, 92), rug, 5, 0.2)
    canvas.soft([(240, 360), (420, 360), (640, 533), (330, 533)], (255, 226, 160), 20, 0.22)  # sun


def on_basket(u: float, v: float) -> np.ndarray:
    """On the basket's front: u from -1 (left) to 1 (right), v from 0 (rim) to 1 (bottom)."""
    half = RIM[0] + (BOTTOM[0] - RIM[0]) * v**1.5
    bulge = (RIM[1] * (1 - v) + BOTTOM[1] * v) * np.cos(u * np.pi / 2)
    return np.array((RIM_X + half * np.sin(u * np.pi / 2), RIM_Y + TALL * v + bulge))


def draw_braid(canvas: Canvas, first: float, last: float) -> None:
    """The plaited rim, between two angles."""
    for i, a in enumerate(np.linspace(first, last, 46)):
        x, y = RIM_X + RIM[0] * np.cos(a), RIM_Y + RIM[1] * np.sin(a)
        angle = np.arctan2(RIM[1] * np.cos(a), -RIM[0] * np.sin(a)) + (0.55 if i % 2 else -0.55)
        rod = ellipse(x, y, 15, 6.5, angle)
        canvas.shape(rod, HONEY * canvas.rng.uniform(0.82, 1.08), 4, 0.55)


def draw_basket_back(canvas: Canvas) -> None:
    canvas.soft(ellipse(RIM_X + 10, 488, 230, 36), DUSK, 12, 0.65)
    canvas.shape(ellipse(RIM_X, RIM_Y, *RIM), WALNUT * 0.7)
    draw_braid(canvas, np.pi, 2 * np.pi)
    canvas.shape(ellipse(RIM_X, RIM_Y + 10, RIM[0] - 16, RIM[1] - 6), plaid, 14)


def draw_basket_front(canvas: Canvas) -> None:
    """Wicker, rod by rod: every other row is shifted by half a rod."""
    rim = [on_basket(u, 0) for u in np.linspace(-1, 1, 60)]
    canvas.shape(rim + [on_basket(u, 1) for u in np.linspace(1, -1, 60)], WALNUT * 0.8)
    rows, columns = 10, 26
    for row in range(rows):
        for column in range(columns + 1):
            u, v = (2 * column + row % 2) / columns - 1, (row + 0.5) / rows
            u = min(max(u, -0.985), 0.985)
            left = on_basket(max(u - 1.15 / columns, -1), v)
            right = on_basket(min(u + 1.15 / columns, 1), v)
            (x, y), (dx, dy) = (left + right) / 2, right - left
            rod = ellipse(x, y, np.hypot(dx, dy) / 2 + 1.5, TALL / rows * 0.56, np.arctan2(dy, dx))
            light = canvas.rng.uniform(0.8, 1.1) * (0.72 + 0.33 * np.cos((u + 0.25) * 1.4))
            canvas.shape(rod, HONEY * light, 4, 0.5)
    draw_braid(canvas, 0, np.pi)


def draw_blanket(canvas: Canvas) -> None:
    """Its corner, hanging over the rim."""
    across = np.linspace(0, 1, 30)
    top = [on_basket(0.06 + 0.56 * a, 0) - (0, 9) for a in across]
    hem = [on_basket(0.06 + 0.56 * a, 0.5 + 0.3 * np.sin(a * np.pi)) for a in across[::-1]]
    canvas.soft(np.array(top + hem) + (3, 7), DUSK, 5, 0.5)
    for x, y in hem:
        canvas.line([(x, y - 2), (x + canvas.rng.normal(0, 1), y + 9)], IVORY, 1.4)
    canvas.shape(top + hem, blanket, 8)


def draw_yarn(canvas: Canvas, x: float, y: float, size: float) -> None:
    canvas.soft(ellipse(x + 4, y + size * 0.85, size, size * 0.3), DUSK, 5, 0.6)
    floor = y + size
    end = [(x, floor - 2), (x + 50, floor + 3), (x + 90, floor - 6), (x + 140, floor + 4)]
    canvas.line(smooth(end, False), (66, 112, 158), 2.4)
    canvas.shape(ellipse(x, y, size, size), (76, 124, 172), size * 0.5, 0.5)
    for angle in np.linspace(0, np.pi, 6, endpoint=False):
        for bow in np.linspace(-0.8, 0.8, 6):
            reach = 0.94 * np.sqrt(1 - bow**2)
            thread = smooth([(-reach, bow * 0.88), (0, bow * 1.13), (reach, bow * 0.88)], False)
            colour = np.array((90, 142, 190)) * canvas.rng.uniform(0.7, 1.3)
            canvas.line(Frame(x, y, size, angle).pixels(thread), colour, 1.3)


def peek(brush: Brush) -> None:
    """The pose of a kitten in the basket: what shows above the rim."""
    chest = symmetric([(0.5, 0.3), (0.86, 1.0), (1.15, 1.8), (0, 2.2)])
    brush.furry(chest, "body", 0.5, (0, 1), (0, 0.5), 0.4)
    brush.pale(symmetric([(0, 0.7), (0.45, 1.1), (0.45, 1.7), (0, 2.1)]), 0.3)


def draw_kitten(canvas: Canvas, pose, head: Frame, turn: float, pattern: str, pair, eyes,
                collar=None) -> Animal:
    coat = replace(random_coat(canvas.rng, pattern, pair), pale=np.array(WHITE, float))
    kitten = Animal("cat", coat, eyes, collar=collar, young=True)
    body = Frame(head.x, head.y + 4, head.size * 0.88, 0, head.flip)  # the young are all head
    draw_animal(canvas, body, head, kitten, pose, turn)
    return kitten


def draw_kittens(seed: int) -> Image.Image:
    canvas = Canvas(KITTENS_SIZE, np.random.default_rng([seed, 2, 2]), light=2.2)
    green, amber, blue = (148, 186, 84), (226, 170, 60), (110, 168, 208)
    draw_room(canvas)
    draw_basket_back(canvas)
    draw_kitten(canvas, portrait, Frame(432, 212, 58, 0.05), 0, "plain", (CHARCOAL, BLACK), amber)
    ginger, silver = Frame(312, 254, 62, -0.16, -1), Frame(552, 256, 62, 0.14)
    left = draw_kitten(canvas, peek, ginger, 0.25, "tabby", (GINGER, RUST), green)
    right = draw_kitten(canvas, peek, silver, 0.2, "tabby", (SILVER, CHARCOAL), blue)
    draw_basket_front(canvas)
    draw_blanket(canvas)
    for kitten, u in ((left, -0.62), (left, -0.32), (right, 0.34), (right, 0.62)):
        paw = Brush(canvas, Frame(*on_basket(u, 0), 62), kitten)
        draw_leg(paw, [(-0.06, -0.16), (-0.06, 0.0), (-0.06, 0.1)], 0.42)
    canvas.soft(ellipse(716, 462, 90, 16), DUSK, 6, 0.6)
    patched = Frame(716, 312, 55, 0.1, -1)
    draw_kitten(canvas, sit_front, patched, 0.5, "patches", (WHITE, GINGER), blue, COLLARS[1])
    canvas.soft(ellipse(190, 510, 150, 14), DUSK, 6, 0.6)
    cream = Frame(140, 408, 56, -0.12, -1)
    draw_kitten(canvas, lie, cream, 0.4, "tabby", (CREAM, BROWN), green)
    draw_yarn(canvas, 42, 486, 30)
    return canvas.finished()


# --------------------------------------------------------------------------------------------------
# Writing
# --------------------------------------------------------------------------------------------------


def write_sample(folder: Path, seed: int, count: int) -> int:
    """Draws `count` cats and as many dogs into the folder; returns their size in bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    size = 0
    for kind in ("cat", "dog"):
        for number in range(count):
            path = folder / f"{kind}.{number}.jpg"
            draw_image(seed, kind, number).save(path, quality=85, optimize=True)
            size += path.stat().st_size
    return size


@cli.script()
def main(argv: list[str]) -> None:
    sample, litter = Path(OUTPUT.value, "sample"), Path(OUTPUT.value, "kittens.jpg")
    for path in (sample, litter):
        if path.exists() and Path(OUTPUT.value).resolve() != ROOT:
            raise UserError(f"{path} exists: remove it first, or name another --output")
    size = write_sample(sample, SEED.value, COUNT.value)
    print(f"{sample}: {2 * COUNT.value} pictures, {size:,} bytes")
    draw_kittens(SEED.value).save(litter, quality=85, optimize=True)
    print(f"{litter}: {litter.stat().st_size:,} bytes")


if __name__ == "__main__":
    app.run(main, flags_parser=cli.flags_parser(__doc__))
