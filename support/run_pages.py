"""The pages of report.py --pictures: learning curves, mistakes, a histogram of the predictions.

Drawn from what report.py has computed. Class 1 is the first of class_names, class 0 the second.
"""

import math
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageOps

from support import drawing, image_files, run_folder
from support.summary import CURVES, overfitting_text

# One for each run, then from the start. Source: Okabe and Ito, "Color Universal Design", 2008:
# whoever is colour-blind tells them apart, too.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")


def curves_page(histories: dict[str, list[dict]], article: dict[str, dict[str, float]]
                ) -> Image.Image:
    """CURVES of one or more runs over their epochs, the best epoch as a dot.

    histories: the lines of metrics.jsonl for each run's name; article: for the same names the
    article's figures for these, drawn as a dashed line.
    """
    panels = [(label, curves_panel(key, histories, article)) for key, label in CURVES.items()]
    names = Image.new("RGB", (drawing.WIDTH, 26 * len(histories) + 8), "white")
    sentences = []
    for row, (name, history) in enumerate(histories.items()):
        y = 26 * row + 14
        ImageDraw.Draw(names).line([4, y, 44, y], COLOURS[row % len(COLOURS)], 4)
        best = run_folder.best_epoch(history)
        drawing.write(names, 54, y, f"{drawing.shorten(name, 80)}, best epoch {best['epoch']:.0f} "
                      f"of {len(history)}", anchor="lm")
        if overfits := overfitting_text(history, best):
            sentences.append(f"{name}: {overfits[0].lower()}{overfits[1:]}")
    sentences.append("From left to right: epochs. The dot is the best one, by accuracy.")
    if any(article.values()):
        sentences[-1] += " Dashed: the article's figure, after training on 4096 photographs."
    return drawing.stack([drawing.paragraph("Epoch by epoch", 30), names,
                          drawing.image_grid(panels, columns=2),
                          *map(drawing.paragraph, sentences)])


def curves_panel(key: str, histories: dict[str, list[dict]],
                 article: dict[str, dict[str, float]]) -> Image.Image:
    """One of CURVES over the epochs; drawn at twice its size, so that lines become smooth."""
    width, height, left, right, top, bottom = 1192, 700, 120, 1160, 20, 630
    panel = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(panel)
    drawn = [value for name, history in histories.items()
             for value in (*(record[key] for record in history), article[name].get(key))
             if value is not None]
    if not drawn:  # the correlation of a network whose predictions are all equal
        drawing.write(panel, width // 2, height // 2, "undefined", 34, "mm")
        return panel
    low, high = min(drawn), max(drawn)
    margin = 0.05 * (high - low) or 0.05
    low, high = low - margin, high + margin
    last = max(2, *(len(history) for history in histories.values()))

    def place(epoch: int, value: float) -> tuple[float, float]:
        return (left + (right - left) * (epoch - 1) / (last - 1),
                bottom - (bottom - top) * (value - low) / (high - low))

    power = 10 ** math.floor(math.log10((high - low) / 4))
    step = power * next(times for times in (1, 2, 5, 10) if times * power >= (high - low) / 4)
    for number in range(math.ceil(low / step), math.floor(high / step) + 1):
        y = place(1, number * step)[1]
        draw.line([left, y, right, y], "lightgrey", 2)
        drawing.write(panel, left - 10, round(y), f"{number * step:.4g}", 30, "rm")
    for epoch in sorted({1, (last + 1) // 2, last}):
        drawing.write(panel, round(place(epoch, low)[0]), bottom + 12, str(epoch), 30, "ma")
    for row, (name, history) in enumerate(histories.items()):
        colour = COLOURS[row % len(COLOURS)]
        line = [place(record["epoch"], record[key]) for record in history
                if record[key] is not None]
        if line:
            draw.line(line, colour, 5, "curve")
        best = run_folder.best_epoch(history)
        if best[key] is not None:
            x, y = place(best["epoch"], best[key])
            draw.ellipse([x - 11, y - 11, x + 11, y + 11], colour)
        if key in article[name]:
            y = place(1, article[name][key])[1]
            for x in range(left, right, 40):
                draw.line([x, y, x + 20, y], colour, 4)
    return panel


def mistakes_page(files: list[Path], predictions: np.ndarray, labels: np.ndarray,
                  predicted: np.ndarray, wrong: np.ndarray, threshold: float, run_name: str,
                  class_names: tuple[str, str]) -> Image.Image:
    """The most confident mistakes and the most undecided predictions, twelve of each.

    predictions, the probabilities of class 1; labels, and those predicted at the threshold, 0 or
    1; all (n,). wrong: the indices of the mistakes, the most confident first.
    """
    undecided = np.argsort(np.abs(predictions - 0.5), kind="stable")  # the nearest to a half first
    strips = [drawing.paragraph(f"Where {run_name} goes wrong", 30)]
    for heading, chosen in (
            (f"Most confident, and wrong (of {len(wrong)} mistakes in {len(files)} validation "
             f"pictures; predicted {class_names[0]} above {threshold:.1f})", wrong),
            ("Most undecided", undecided)):
        panels = []
        for index in chosen[:12]:
            label, prediction = (class_names[0] if is_first else class_names[1]
                                 for is_first in (labels[index], predicted[index]))
            probability = predictions[index] if predicted[index] else 1 - predictions[index]
            caption = files[index].name, f"{label}, predicted {prediction} {probability:.1%}"
            panels.append(("\n".join(drawing.shorten(line, 31) for line in caption),
                           thumbnail(files[index])))
        strips.append(drawing.paragraph(drawing.printable(heading), 22))
        if panels:
            strips.append(drawing.image_grid(panels, columns=4))
    return drawing.stack(strips)


def thumbnail(file: Path) -> Image.Image:
    """294x220, grey where the image has another shape; one that is gone or broken says so."""
    try:
        return ImageOps.pad(image_files.read(file), (294, 220), color="lightgrey")
    except Exception:  # a broken file can make a decoder raise nearly anything
        grey = Image.new("RGB", (294, 220), "lightgrey")
        drawing.write(grey, 147, 110, "can't be read now", anchor="mm")
        return grey


def histogram_page(predictions: np.ndarray, labels: np.ndarray, predicted: np.ndarray,
                   threshold: float, summary: str, run_name: str,
                   class_names: tuple[str, str]) -> Image.Image:
    """How often each probability of class 1 is predicted: a histogram for either class.

    predictions, labels, predicted: as for mistakes_page. summary: a sentence on how good they are.
    (The notebook plots the same numbers as points, predictions against labels.)
    """
    counts = np.array([[
        np.histogram(predictions[(labels == label) & (predicted == shown)], 20, (0, 1))[0]
        for shown in (label, 1 - label)] for label in (1, 0)])  # (2, 2, 20): class, right or wrong
    class_names = [drawing.printable(name) for name in class_names]
    page = Image.new("RGB", (drawing.WIDTH, 750), "white")
    draw = ImageDraw.Draw(page)
    drawing.write(page, 4, 14, f"Predictions of {run_name}, by class", 30)
    drawing.write(page, 4, 60, f"Bars count pictures. Right of the line, at {threshold:.1f}, the "
                  f"prediction is {class_names[0]}. {summary}")
    highest = counts.sum(axis=1).max()
    line = 40 + round(1120 * threshold)
    for name, floor, colours, bars in (
            (class_names[0], 380, (drawing.ORANGE, drawing.PALE_ORANGE), counts[0]),
            (class_names[1], 680, (drawing.BLUE, drawing.PALE_BLUE), counts[1])):
        drawing.write(page, 4, floor - 268, f"Label {name}, {bars.sum()} pictures: "
                      f"{bars[0].sum()} right, {bars[1].sum()} wrong (pale)", 22)
        for number, parts in enumerate(bars.T):
            x, y = 40 + 56 * number, floor
            for count, colour in zip(parts, colours, strict=True):  # the wrong on the right ones
                top = y - round(200 * count / highest)
                if count:
                    draw.rectangle([x + 2, top, x + 53, y], colour)
                y = top
            drawing.write(page, x + 28, y - 4, str(parts.sum() or ""), 15, "mb")
        draw.line([40, floor, 1160, floor], "black", 2)
        draw.line([line, floor - 230, line, floor], "black", 2)
    for number in range(11):
        drawing.write(page, 40 + 112 * number, 690, f"{number / 10:.1f}", anchor="ma")
    drawing.write(page, 600, 718, f"probability of {class_names[0]}", anchor="ma")
    return page
