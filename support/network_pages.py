"""What models.py and explain.py show of a network.

The table of models.py: its layers and what they cost. Of explain.py: its kernels, its feature maps,
and why it predicts so, drawn from what explain.py has computed. An image is at the size of the
network's input, uint8 (height, width, 3); a photo is the same at full size.
"""

from typing import Any

import numpy as np
from PIL import Image, ImageDraw
from rich.table import Table

from support import drawing


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


def similarity_table(similarities: np.ndarray, similarities_before: np.ndarray, change: float,
                     names: list[str], edge_similarity: float) -> Table:
    """How many of a first layer's kernels are edge filters, after training and before it.

    similarities: of n kernels to the edge filters of these names, (n, 4), 0 to 1; a kernel counts
    as the most similar one, from edge_similarity on. change: the length of what training added to
    the kernels, as a share of their own.
    """
    table = Table(title="kernels of the first layer that are edge filters: "
                  f"{', '.join(names[:-1])} or {names[-1]} to {edge_similarity} or more",
                  title_justify="left")
    for column in ("network", "kernels", "edge filters", *names, "median similarity", "largest",
                   "change"):
        table.add_column(column, justify="left" if column == "network" else "right")
    for network, each, changed in (("trained", similarities, change),
                                   ("untrained", similarities_before, 0.0)):
        best = each.max(axis=1)  # (n,)
        counts = np.bincount(each.argmax(axis=1)[best >= edge_similarity], minlength=len(names))
        table.add_row(network, str(len(best)), str(counts.sum()), *map(str, counts),
                      f"{np.median(best):.2f}", f"{best.max():.2f}", f"{changed:.1%}")
    return table


def kernels_page(kernels: np.ndarray, order: np.ndarray, similarities: np.ndarray,
                 similarities_before: np.ndarray, edge_filters: dict[str, np.ndarray],
                 edge_similarity: float, image_count: int, run_name: str) -> Image.Image:
    """The first convolution's kernels, below those made by hand.

    kernels (size, size, 3, n); order: their indices, the strongest mean response over image_count
    images first; similarities, after training and before it: as for similarity_table;
    edge_filters: each (size, size).
    """
    def squares(kernel: np.ndarray, grey_limit: float, limit: float) -> Image.Image:
        grey = drawing.colourize(kernel.sum(axis=2), grey_limit)
        return drawing.side_by_side([drawing.enlarge(grey, (108, 108)),
                                     colour_squares(kernel, limit, 32)], gap=3)

    grey_limit, limit = (np.percentile(np.abs(weights), 99)
                         for weights in (kernels.sum(axis=2), kernels))
    before, edges = (np.sum(each.max(axis=1) >= edge_similarity)
                     for each in (similarities_before, similarities))
    learned = []
    for place, index in enumerate(order, start=1):
        nearest = list(edge_filters)[similarities[index].argmax()]
        learned.append((f"#{place}   {nearest} {similarities[index].max():.2f}",
                        squares(kernels[:, :, :, index], grey_limit, limit)))
    return drawing.stack([
        drawing.paragraph(f"The {len(order)} filters that {run_name} learned", 30),
        drawing.paragraph(
            "A filter slides over the picture; at every place it multiplies the pixels by its "
            "weights and adds up. The small squares are its weights for red, green and blue, the "
            "large one is their sum: its response to grey."),
        drawing.legend("the darker here, the stronger the response",
                       "the brighter here, the stronger the response"),
        drawing.paragraph("Made by hand: edge filters", 22),
        drawing.image_grid([(label, squares(np.dstack([kernel] * 3), 3, 1))
                            for label, kernel in edge_filters.items()], columns=8),
        drawing.paragraph("Learned, the strongest mean response first", 22),
        drawing.paragraph(
            f"(Mean over {image_count} pictures.) \"V 0.93\": on grey, V is the most similar edge "
            "filter, with a cosine of 0.93; 1.00 would be V, or V with its sides exchanged, 0.00 "
            f"nothing in common. From {edge_similarity} on it counts as an edge filter: {edges} of "
            f"{len(order)} do, {before} did before training."),
        drawing.image_grid(learned, columns=8)])


def maps_page(image: np.ndarray, kernels: np.ndarray,
              feature_maps: list[tuple[np.ndarray, np.ndarray]], orders: list[np.ndarray],
              pooled: bool, image_name: str, run_name: str) -> Image.Image:
    """What the kernels respond to the image, and what ReLU and pooling leave of it.

    kernels (size, size, 3, n), the first convolution's; feature_maps: for each convolution the
    responses and the activations, both (rows, columns, n); orders: for each the indices of its
    kernels, those to be shown first first. pooled: whether there is pooling after ReLU.
    """
    height, width, _ = image.shape
    limit = np.percentile(np.abs(kernels), 99)
    after = "after ReLU and pooling" if pooled else "after ReLU"

    def size(columns: int) -> tuple[int, int]:
        return columns, max(21, round(columns * height / width))

    def maps(pair: tuple[np.ndarray, np.ndarray], index: int, columns: int) -> list[Image.Image]:
        return [drawing.enlarge(drawing.colourize(each[:, :, index], limit=1), size(columns))
                for each in pair]

    pairs = []
    for responses, activations in feature_maps:
        strong = np.percentile(np.abs(responses), 95) or 1.0  # full colour, in the whole layer
        pairs.append((responses / strong, activations / strong))
    order = orders[0]
    example = Image.new("RGB", size(294), "white")
    squares = colour_squares(kernels[:, :, :, order[0]], limit, (example.height - 18) // 3)
    example.paste(squares, ((example.width - squares.width) // 2, 0))
    strips = [
        drawing.paragraph(f"Feature maps of {image_name} in {run_name}", 30),
        drawing.image_grid([
            (f"the picture, in {height} x {width} pixels",
             drawing.enlarge(Image.fromarray(image), size(294))), ("filter #1", example),
            *zip(("its response", after), maps(pairs[0], order[0], 294), strict=True)]),
        drawing.legend("the opposite of what a filter looks for", "what a filter looks for"),
        drawing.paragraph(f"Convolution 1: filter, response, and {after}", 22),
        drawing.image_grid([
            (f"#{place}", drawing.side_by_side(
                [colour_squares(kernels[:, :, :, index], limit, (size(129)[1] - 18) // 3),
                 *maps(pairs[0], index, 129)], gap=3))
            for place, index in enumerate(order, start=1)], columns=4)]
    for number, (pair, order) in enumerate(zip(pairs[1:], orders[1:], strict=True), start=2):
        shown = order[:12]
        strips += [
            drawing.paragraph(f"Convolution {number}, the {len(shown)} strongest of {len(order)} "
                              f"filters: response, and {after}", 22),
            drawing.image_grid([
                (f"#{place}", drawing.side_by_side(maps(pair, index, 145), gap=4))
                for place, index in enumerate(shown, start=1)], columns=4)]
    return drawing.stack(strips)


def why_page(photo: Image.Image, probability: float, strongest: tuple[int, int, float],
             square_size: int, occlusion_map: np.ndarray, saliency_map: np.ndarray,
             image_name: str, run_name: str,
             class_names: tuple[str, str]) -> Image.Image:
    """Which parts of the image carry the prediction: what covering them changes, and the gradient.

    probability: of the first of class_names. strongest: row, column and remaining probability of
    the grey square, square_size wide, that changes it most. Both maps (height, width).
    """
    height, width = occlusion_map.shape
    name, other = (drawing.shorten(drawing.printable(each), 150) for each in class_names)
    row, column, remaining = strongest
    photo = photo.resize((394, max(1, round(394 * height / width))), Image.Resampling.LANCZOS)
    covered, zoom = photo.copy(), photo.width / width
    ImageDraw.Draw(covered).rectangle(
        [zoom * column, zoom * row, zoom * (column + square_size), zoom * (row + square_size)],
        drawing.GREY, "white", width=3)
    limit = np.abs(occlusion_map).max()
    whites = saliency_map / (np.percentile(saliency_map, 99) or 1.0) * 255
    gradient = Image.fromarray(whites.clip(0, 255).astype(np.uint8)).convert("RGB")
    return drawing.stack([
        drawing.paragraph(f"{run_name} on {image_name}: probability of {name} {probability:.1%}",
                          30),
        drawing.image_grid([
            ("The place that matters most: covered with\n"
             f"grey, {probability:.1%} becomes {remaining:.1%}", covered),
            ("Cover every place in turn: orange is\n"
             f"evidence for {name}, blue for {other}",
             drawing.overlay_heatmap(photo, occlusion_map / (limit or 1.0))),
            ("Or change a pixel (the gradient): the\nbrighter here, the more it matters",
             drawing.enlarge(gradient, photo.size))]),
        drawing.legend(f"covered, {name} is {100 * limit:.1f} points likelier",
                       f"covered, {name} is {100 * limit:.1f} points less likely")])


def colour_squares(kernel: np.ndarray, limit: float, side: int) -> Image.Image:
    """A (size, size, 3) kernel's weights for red, green and blue, each over a bar of its colour."""
    squares = []
    for channel, colour in enumerate(("red", "green", "blue")):
        squares.append(Image.new("RGB", (side, side + 4), colour))
        weights = drawing.colourize(kernel[:, :, channel], limit)
        squares[-1].paste(drawing.enlarge(weights, (side, side)))
    return drawing.stack(squares, gap=3)
