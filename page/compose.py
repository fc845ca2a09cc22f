"""The page of filters.py --page and explain.py --page: one HTML file, computed by the browser.

    compose.write_kernel_page(Path("kittens.jpg"), kernel, "same")
    compose.write("kittens-NAME", compose.page(image, "kittens.jpg", kernel, "same", network))

Its parts lie beside this file, as HTML, CSS and JavaScript to be read. They are put together here,
with the image, the kernels and the network. Nothing here needs TensorFlow.
"""

import base64
import hashlib
import io
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import PIL
from PIL import Image

from support import drawing, image_files, run_folder
from support.cli import UserError
from support.kernels import preset_kernels

PARTS = Path(__file__).parent
LONGEST_SIDE = 800      # pixels of the image shown; pictures.js has the same number
MAX_PNG_BYTES = 10**6   # of it: in base64 and with the parts of the page, less than 1.5 MB
MAX_WEIGHTS = 10**7     # of a network: 27 MB of base64
EXAMPLE_SIDE = 320      # pixels of a picture to click


def write_kernel_page(path: Path, kernel: np.ndarray, padding: str) -> Path:
    """Write the page of an image, without a network; returns the file.

    "I strongly recommend you play around on this website", says the article: this is such a page.
    kernel, (3, 3) or (5, 5), and padding: those to begin with. Raises UserError for a file that is
    no image, and for a kernel of another size.
    """
    if len(kernel) not in (3, 5):
        raise UserError(f"--kernel is {len(kernel)}x{len(kernel)}, and the page takes 3x3 and 5x5: "
                        "leave --page out, or use one of these sizes")
    return write(path.stem, page(image_files.read_checked(path), path.name, kernel, padding))


def page(image: Image.Image, name: str, kernel: np.ndarray, padding: str,
         network: dict[str, Any] | None = None) -> str:
    """The page of an RGB image and, if there is one, of a network that `describe` described.

    name: of the image's file. kernel, (3, 3) or (5, 5), and padding: those to begin with. The text
    is ASCII.
    """
    return put_together({
        "picture": {"name": name, "png": base64_of(fitting_png(image)), "full_size": image.size},
        "presets": {size: {name: weights.ravel().tolist()
                           for name, weights in preset_kernels(size).items()} for size in (3, 5)},
        "pillow": int(PIL.__version__.partition(".")[0]),  # they resize differently
        "settings": {"size": len(kernel), "kernel": kernel.ravel().tolist(), "padding": padding},
        "network": network})


def describe(network: Any, name: str, image: np.ndarray, probability: float, threshold: float,
             class_names: tuple[str, str], trained_on: int | None, test: dict[str, Any] | None,
             learning: dict[str, Any] | None, examples: list[dict[str, Any]]) -> dict[str, Any]:
    """A network for the page: its layers in their order, with kernels rounded to float16.

    Where these are too many for a page, the kernels are left out from the first fully connected
    layer on: the page shows the feature maps before it.

    network: a models.Network; name: of its run; image: the picture as its input, uint8 (height,
    width, 3); probability: of the first of class_names for it, which is predicted above the
    threshold. trained_on: the number of training images; test: the record of test.json, if there is
    one. learning: a first layer's kernels, (len(epochs), size, size, 3, n), after the epochs with
    these accuracies, for the page's slider; 0: before the first one. examples: of each a name, a
    label, a probability and a small JPEG. Raises UserError for a kernel that float16 cannot hold.
    """
    layers, left_out = [], network.weight_count > MAX_WEIGHTS
    for layer in network.layers:
        layers.append({"type": type(layer).__name__, "name": layer.name,
                       "shape": list(layer.output_shape), "weights": layer.weight_count})
        if left_out and len(layer.output_shape) == 1 and hasattr(layer, "kernel"):
            layers[-1]["left_out"] = True
            continue
        if hasattr(layer, "kernel"):
            layers[-1]["kernel"] = base64_of(rounded(layer.kernel.numpy(), name))
        layers[-1] |= {each: getattr(layer, each).numpy().tolist()
                       for each in ("bias", "mean", "std") if hasattr(layer, each)}
        layers[-1] |= {each: getattr(layer, each) for each in ("kernel_size", "stride", "relu")
                       if hasattr(layer, each)}
    return {"name": name, "classes": class_names, "threshold": threshold, "tta": network.tta,
            "input_size": network.input_size, "dtype": network.scale.dtype, "layers": layers,
            "input": base64_of(encoded(image, "PNG")), "probability": probability,
            "trained_on": trained_on, "test": test,
            "learning": learning and learning | {
                "kernels": base64_of(rounded(learning["kernels"], name))},
            "examples": [each | {"jpeg": base64_of(each["jpeg"])} for each in examples]}


def check_size(network: Any, name: str) -> None:
    """Raise UserError unless a page can hold the network, or at least what comes before its first
    fully connected layer.
    """
    before = sum(layer.weight_count for layer in network.layers if len(layer.output_shape) == 3)
    if network.weight_count > MAX_WEIGHTS and not 0 < before <= MAX_WEIGHTS:
        raise UserError(f"{name} has {network.weight_count:,} weights, and the page holds "
                        f"{MAX_WEIGHTS:,}: train a network with a smaller --input_size, or that of "
                        "recipes/ten-seconds.flags")


def small_jpeg(image: Image.Image) -> bytes:
    """At most EXAMPLE_SIDE pixels wide and high."""
    shown = image.copy()
    shown.thumbnail((EXAMPLE_SIDE, EXAMPLE_SIDE))
    return encoded(shown, "JPEG", quality=90)


def rounded(kernel: np.ndarray, name: str) -> bytes:
    """The kernel as little-endian float16. Raises UserError if it does not hold the numbers."""
    largest = np.abs(kernel).max()
    if not largest <= np.finfo(np.float16).max:
        raise UserError(f"{name} has a weight of {largest:g}, and the page holds weights up to "
                        "65504: train it with a smaller --lr")
    return kernel.astype("<f2").tobytes()


# ---------------------------------------------------------------------------------------------
# The image
# ---------------------------------------------------------------------------------------------

def fitting_png(image: Image.Image) -> bytes:
    """The image as PNG, scaled down if it would not fit into the page."""
    factor = min(1.0, LONGEST_SIDE / max(image.size))
    while True:  # always from the original: scaled twice, an image is blurred twice
        size = [max(1, round(factor * length)) for length in image.size]
        png = encoded(image.resize(size, Image.Resampling.BILINEAR), "PNG")
        if len(png) <= MAX_PNG_BYTES:
            return png
        factor *= 0.95 * math.sqrt(MAX_PNG_BYTES / len(png))


def encoded(image: Image.Image | np.ndarray, form: str, **options: int) -> bytes:
    """The image as a file without what else its own file said, such as a colour profile."""
    file = io.BytesIO()
    Image.fromarray(np.asarray(image)).save(file, form, **options)
    return file.getvalue()


def base64_of(contents: bytes) -> str:
    return base64.b64encode(contents).decode()


# ---------------------------------------------------------------------------------------------
# One file
# ---------------------------------------------------------------------------------------------

def put_together(data: dict[str, Any]) -> str:
    """page.html with its style sheet, its scripts and the data in it.

    The content security policy allows these by their hashes, and nothing from elsewhere. Names of
    files, runs and classes are in the data only, and the scripts show them as text.
    """
    html, hashes = (PARTS / "page.html").read_text(encoding="utf-8"), {"style": [], "script": []}

    def inline(line: str, tag: str, file: str, attributes: str = "") -> None:
        nonlocal html
        text = "\n" + (PARTS / file).read_text(encoding="utf-8")
        digest = base64_of(hashlib.sha256(text.encode()).digest())
        hashes[tag].append(f"'sha256-{digest}'")
        html = html.replace(line, f"<{tag}{attributes}>{text}</{tag}>")

    inline('<link rel="stylesheet" href="page.css">', "style", "page.css")
    for file in re.findall(r'<script src="(.*?)"></script>', html):
        inline(f'<script src="{file}"></script>', "script", file, f' data-file="{file}"')
    policy = (f"default-src 'none'; script-src {' '.join(hashes['script'])}; style-src "
              f"{' '.join(hashes['style'])}; img-src data: blob:; worker-src blob:; "
              "base-uri 'none'; form-action 'none'")
    # In a script element only "<" can end the element or begin a comment.
    text = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")
    html = html.replace('Security-Policy" content=""', f'Security-Policy" content="{policy}"')
    return html.replace('id="data"></script>', f'id="data">{text}</script>')


def write(name: str, html: str) -> Path:
    """Write a page to filtered/NAME.html, whole or not at all; returns the file."""
    drawing.OUTPUT.mkdir(exist_ok=True)
    file = drawing.OUTPUT / f"{name}.html"
    run_folder.write_text(file, html)
    return file
