"""The pages of a run: its mistakes, what it is undecided on, and the histogram of predictions."""

import numpy as np
import pytest
from PIL import Image

import metrics
from support import run_pages

PREDICTIONS, LABELS = np.array([0.9, 0.97, 0.05, 0.35, 0.52, 0.1]), np.array([1, 0, 1, 0, 1, 0])


def plain_image(path, colour, size=(20, 15)):
    Image.new("RGB", size, colour).save(path)
    return path


def colour_at(page, x, y):
    return tuple(np.asarray(page)[y, x])


def mistakes_page(files, predictions, labels, class_names=("cat", "dog")):
    _, threshold = metrics.best_accuracy(predictions, labels)
    return run_pages.mistakes_page(
        files, predictions, labels, metrics.predicted_labels(predictions, threshold),
        metrics.mistakes(predictions, labels, threshold), threshold, "mine", class_names)


def histogram_page(predictions, labels, class_names=("cat", "dog")):
    _, threshold = metrics.best_accuracy(predictions, labels)
    return run_pages.histogram_page(
        predictions, labels, metrics.predicted_labels(predictions, threshold), threshold,
        "Accuracy 80%.", "mine", class_names)


def test_mistakes_and_undecided_images_stand_in_order_on_the_page(tmp_path):
    colours = ["red", "green", "blue", "yellow", "magenta", "cyan"]
    files = [plain_image(tmp_path / f"{colour}.png", colour) for colour in colours]
    page = mistakes_page(files, PREDICTIONS, LABELS)
    # Of the ten thresholds 0.4 and 0.5 have the best accuracy: 1 and 2 are wrong.
    places = [(x + 147, y + 110) for y in (157, 476, 756) for x in range(0, 1200, 302)]
    assert [colour_at(page, *place) for place in places] == [
        Image.new("RGB", (1, 1), colour).getpixel((0, 0)) for colour in
        ["green", "blue", "white", "white", "magenta", "yellow", "red", "cyan", "blue", "green",
         "white", "white"]]


def test_each_image_is_captioned_with_its_label_and_its_prediction(tmp_path, monkeypatch):
    texts, write = [], run_pages.drawing.write
    monkeypatch.setattr(run_pages.drawing, "write", lambda page, x, y, text, *style, **options: (
        texts.append(text), write(page, x, y, text, *style, **options)))
    files = [plain_image(tmp_path / f"{number}.png", "red") for number in range(6)]
    mistakes_page(files, PREDICTIONS, LABELS)
    assert texts[1] == ("Most confident, and wrong (of 2 mistakes in 6 validation pictures; "
                        "predicted cat above 0.4)")
    assert texts[2:4] == ["1.png\ndog, predicted cat 97.0%", "2.png\ncat, predicted dog 95.0%"]
    texts.clear()
    mistakes_page(files, PREDICTIONS, LABELS, class_names=("owl", "eagle"))
    histogram_page(PREDICTIONS, LABELS, class_names=("owl", "eagle"))
    assert "2.png\nowl, predicted eagle 95.0%" in texts
    assert not any("cat" in text or "dog" in text for text in texts)


def test_an_image_that_is_gone_or_broken_costs_the_page_nothing(tmp_path):
    (tmp_path / "broken.jpg").write_text("no image")
    wide = plain_image(tmp_path / "wide.png", "red", size=(400, 2))
    page = mistakes_page([tmp_path / "gone.jpg", tmp_path / "broken.jpg", wide],
                         np.array([0.4, 0.6, 0.55]), np.array([1, 0, 1]))
    grey = Image.new("RGB", (1, 1), "lightgrey").getpixel((0, 0))
    assert colour_at(page, 5, 162) == grey                                       # broken: a mistake
    assert any(colour_at(page, 147, y) == (255, 0, 0) for y in range(476, 696))  # wide: undecided
    assert colour_at(page, 5 + 302, 480) == colour_at(page, 5 + 604, 480) == grey


def test_an_image_stored_rotated_is_shown_upright(tmp_path):
    image = Image.new("RGB", (40, 20), "red")
    image.paste("blue", (0, 0, 20, 20))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise: what is left comes on top
    image.save(tmp_path / "rotated.png", exif=exif)
    thumbnail = run_pages.thumbnail(tmp_path / "rotated.png")
    assert colour_at(thumbnail, 147, 60) == (0, 0, 255)
    assert colour_at(thumbnail, 147, 160) == (255, 0, 0)


def test_the_histogram_counts_right_and_wrong_predictions_of_each_class():
    predictions = np.array([0.97] * 4 + [0.12] * 2 + [0.17] * 3 + [0.62])
    labels = np.array([1] * 6 + [0] * 4)
    # Cats above 0.1: six of ten are right; above 0.2 to 0.6 seven; above 0.7 and more eight.
    page = histogram_page(predictions, labels)
    cat, dog, pale_cat, pale_dog = ((255, 176, 64), (80, 160, 255), (255, 227, 189),
                                    (197, 224, 255))
    assert metrics.best_accuracy(predictions, labels) == (0.8, pytest.approx(0.7))
    heights = {}
    for floor, colours in ((380, (cat, pale_cat)), (680, (dog, pale_dog))):
        for colour in colours:
            here = (np.asarray(page)[floor - 230:floor] == colour).all(axis=2)  # (230, 1200)
            for bar in range(20):
                if height := here[:, 40 + 56 * bar + 10].sum():
                    heights[floor, colour, bar] = height
    # Four images are the highest bar, 200 pixels; the others stand in proportion.
    assert heights == {(380, cat, 19): pytest.approx(200, abs=2),
                       (380, pale_cat, 2): pytest.approx(100, abs=2),
                       (680, dog, 3): pytest.approx(150, abs=2),
                       (680, dog, 12): pytest.approx(50, abs=2)}
    line = np.asarray(page)[600, :, 0] == 0
    assert abs(np.flatnonzero(line).mean() - (40 + 1120 * 0.7)) < 2


def test_constant_predictions_have_a_histogram_too():
    page = histogram_page(np.zeros(4), np.array([1, 0, 1, 0]))
    assert colour_at(page, 60, 300) == (255, 227, 189)  # every cat is wrong
    assert colour_at(page, 60, 600) == (80, 160, 255)   # and every dog right


def test_curves_stand_at_their_epochs_and_the_articles_figure_is_dashed():
    history = [{"epoch": epoch, "train_loss": loss, "mse": loss, "best_accuracy": 1 - loss,
                "pearson": None} for epoch, loss in ((1, 1.0), (2, 0.0), (3, 0.5))]
    blue = (0, 114, 178)  # #0072B2
    panel = run_pages.curves_panel("mse", {"a": history}, {"a": {"mse": 0.25}})
    # 5% of the range are left free, below and above: 0 to 1 on 610 - 2 x 27.7 pixels, from 602.3.
    assert colour_at(panel, 640, 602) == blue                      # epoch 2, the best: the dot
    assert colour_at(panel, 640, 612) == blue                      # whose radius is 11 pixels
    assert colour_at(panel, 640, 616) == (255, 255, 255)
    assert colour_at(panel, 120, 49) == blue and colour_at(panel, 1159, 326) == blue
    assert colour_at(panel, 130, 464) == blue                      # 0.25, a dash of 20 pixels
    assert colour_at(panel, 150, 464) == (255, 255, 255)           # and a gap
    empty = np.asarray(run_pages.curves_panel("pearson", {"a": history}, {"a": {}}))
    assert not (empty == blue).all(axis=2).any()                   # "undefined", in black
    dashed = np.asarray(run_pages.curves_panel("pearson", {"a": history}, {"a": {"pearson": 0.5}}))
    assert (dashed == blue).all(axis=2).any()                      # the article's figure is there


def test_the_curves_of_two_runs_share_a_page_and_the_sentences_stand_below(monkeypatch):
    texts, write = [], run_pages.drawing.write
    monkeypatch.setattr(run_pages.drawing, "write", lambda page, x, y, text, *style, **options: (
        texts.append(text), write(page, x, y, text, *style, **options)))
    history = [{"epoch": 1, "train_loss": 0.5, "mse": 0.2, "best_accuracy": 0.7, "pearson": 0.3}]
    overfitted = [history[0] | {"epoch": epoch, "train_loss": 1 / epoch} for epoch in range(1, 7)]
    page = run_pages.curves_page({"a": history, "b": overfitted}, {"a": {"mse": 0.3}, "b": {}})
    assert page.width == 1200
    assert {"a, best epoch 1 of 1", "b, best epoch 1 of 6", "validation MSE",
            "b: the network overfits after epoch 1: the training loss still falls (1.000 to "
            "0.167), validation does not improve.",
            "From left to right: epochs. The dot is the best one, by accuracy. "
            "Dashed: the article's figure, after training on 4096 photographs."} <= {*texts}
