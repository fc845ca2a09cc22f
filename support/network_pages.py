"""What models.py and explain.py show of a network.

The table of models.py: its layers and what they cost. The parts of explain.py's picture, drawn from
what it has computed: why the network predicts so, its feature maps, its kernels.
"""

from typing import Any

import numpy as np
from PIL import Image
from rich.table import Table

from support import drawing
from support.kernels import edge_filters


def layer_table(network: Any) -> Table:
    """A network's layers, their weights and what one image costs. network: a models.Network."""
    table = Table(title=network.name, title_justify="left")
    for column in ("layer", "output shape", "weights", "MB", "multiply-adds"):
        table.add_column(column, justify="left" if column == "layer" else "right")
    for layer in network.layers:
        table.add_row(layer.name, " x ".join(map(str, layer.output_shape)),
                      f"{layer.weight_count:,}", f"{layer.weight_count * 4 / 1e6:.1f}",
                      f"{layer.multiply_adds:,}")
    table.add_section()
    table.add_row("forward", "", f"{network.weight_count:,}",
                  f"{network.weight_count * 4 / 1e6:.1f}", f"{network.multiply_adds:,}")
    table.add_row("training", "", "", "", f"{network.training_multiply_adds:,}")
    return table


COLUMNS = 10  # of thumbnails: as many feature maps of each convolution are shown


def evidence_strip(image: np.ndarray, probability: float,
                   occlusions: list[tuple[int, int, float]], side: int, occlusion_map: np.ndarray,
                   saliency_map: np.ndarray, class_names: tuple[str, str]) -> Image.Image:
    """What the prediction depends on: what covering parts of the image changes, and the gradient.

    image: uint8 (height, width, 3), and both maps (height, width). probability: of the first of
    class_names; occlusions: row, column and remaining probability of each grey square, `side` wide.
    """
    name, other = map(drawing.printable, class_names)
    row, column, remaining = max(occlusions, key=lambda each: abs(each[2] - probability))
    covered = image.copy()
    covered[row:row + side, column:column + side] = drawing.GREY
    limit = np.abs(occlusion_map).max()
    whites = 255 * saliency_map / (np.percentile(saliency_map, 99) or 1.0)
    return drawing.stack([
        drawing.paragraph("What the prediction depends on", 22),
        drawing.paragraph(
            f"Orange is evidence for {name}: covered with grey, it makes {name} less likely. Blue "
            f"is evidence for {other}. Full colour: by {100 * limit:.1f} points."),
        drawing.image_grid([
            ("The picture as the network sees\n"
             f"it, in {image.shape[0]} x {image.shape[1]} pixels", Image.fromarray(image)),
            ("The place that matters most:\n"
             f"covered, {probability:.1%} becomes {remaining:.1%}", Image.fromarray(covered)),
            ("Every place covered in turn:\nthe occlusion map",
             drawing.overlay_heatmap(image, occlusion_map / (limit or 1.0))),
            ("The gradient, pixel by pixel: the\nsaliency map; white matters most",
             Image.fromarray(whites.clip(0, 255).astype(np.uint8)))])])


def maps_strip(feature_maps: list[np.ndarray]) -> Image.Image:
    """The strongest feature maps of each convolution, which has float32 (rows, columns, n)."""
    strips = [drawing.paragraph("Feature maps", 22), drawing.paragraph(
        "A kernel slides over what it gets; at every place it multiplies by its weights and adds "
        "up. Orange: it finds there what it looks for. Blue: the opposite. Then a bias is added, "
        "and ReLU keeps what is above 0.")]
    for number, responses in enumerate(feature_maps, start=1):
        strongest = responses.clip(0).mean(axis=(0, 1)).argsort()[::-1][:COLUMNS]
        limit = np.percentile(np.abs(responses), 95) or 1.0  # full colour, in the whole layer
        strips += [
            drawing.paragraph(f"Convolution {number}: the {len(strongest)} strongest of "
                              f"{responses.shape[2]} maps, {responses.shape[0]} x "
                              f"{responses.shape[1]}"),
            drawing.image_grid([
                (f"{index + 1}", drawing.colourize(responses[:, :, index], limit))
                for index in strongest], COLUMNS)]
    return drawing.stack(strips)


def kernels_strip(kernels: np.ndarray, similarities: np.ndarray) -> Image.Image:
    """The first convolution's kernels, (size, size, 3, n), those most like edge filters first.

    similarities: of each to each of edge_filters, (n, 4), 0 to 1.
    """
    edges = edge_filters(len(kernels))
    nearest, best = similarities.argmax(axis=1), similarities.max(axis=1)
    limit = np.percentile(np.abs(kernels), 99) or 1.0
    return drawing.stack([
        drawing.paragraph(f"The {len(best)} kernels of convolution 1", 22),
        drawing.paragraph(
            "A pixel shows the weights for red, green and blue: grey is 0, brighter is above, "
            "darker is below. First four edge filters made by hand, then what was learned. "
            "\"3: V 0.93\" is kernel 3: of the four V is the most similar, and the cosine of the "
            "two, on grey, is 0.93; 1 would be V, or V with its sides exchanged."),
        drawing.image_grid([
            *((name, kernel_image(np.dstack([edge] * 3), 1)) for name, edge in edges.items()),
            *((f"{index + 1}: {[*edges][nearest[index]]} {best[index]:.2f}",
               kernel_image(kernels[:, :, :, index], limit))
              for index in best.argsort()[::-1])], COLUMNS)])


def kernel_image(kernel: np.ndarray, limit: float) -> Image.Image:
    """A (size, size, 3) kernel as an image: grey is 0, nearly white `limit` or more."""
    return Image.fromarray((128 + 100 * (kernel / limit).clip(-1, 1)).astype(np.uint8))
