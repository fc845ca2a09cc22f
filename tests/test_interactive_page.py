"""The page of filters.py and of explain.py, in a browser: against TensorFlow, NumPy and Pillow.

Where there is no browser these tests are skipped; with BROWSER_TESTS=required they fail instead.
What they compare comes from window.page, which page/page.js describes.
"""

import base64
import functools
import hashlib
import html.parser
import io
import itertools
import json
import os
import re

import numpy as np
import pytest
from PIL import Image, ImageOps, PngImagePlugin

import browser
import data
import explain
import filters
import models
from conftest import ROOT, epoch_record, make_network
from page import compose
from support import image_files, run_folder
from support.cli import UserError
from support.kernels import parse_kernel, preset_kernels
from test_explain import GlobalAveragePool, make_run

GENERATOR = np.random.default_rng(5)
ARTICLE = ("http://www.datastuff.tech/machine-learning/"
           "convolutional-neural-networks-an-introduction-tensorflow-eager/")
NOISE = GENERATOR.integers(0, 256, (29, 38, 3), dtype=np.uint8)
PHOTO = GENERATOR.integers(0, 256, (70, 90, 3), dtype=np.uint8)
PRESETS = {size: preset_kernels(size) for size in (3, 5)}
SETTINGS = [dict(padding=padding, stride=stride, relu=relu, pooling=pooling)
            for padding, stride, relu, pooling in itertools.product(
                ("same", "valid"), (1, 2), (False, True), (False, True))]


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    reason = browser.why_not()
    if reason is not None:
        if os.environ.get("BROWSER_TESTS") == "required":
            pytest.fail(reason)
        pytest.skip(reason)
    with browser.started(tmp_path_factory.mktemp("profile")) as tab:
        yield tab


@pytest.fixture
def page(tab):
    """The browser's tab; a test fails on any message in its console, and on any request."""
    tab.screen(1200)
    yield tab
    assert tab.messages() == []
    assert {url.partition(":")[0] for url in tab.requests()} <= {"file", "data", "about", "blob"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the pages are written."""
    return tmp_path_factory.mktemp("pages")


def save_picture(file, pixels=NOISE, **options):
    Image.fromarray(pixels).save(file, **options)
    return file


@pytest.fixture(scope="module")
def kernel_page(folder):
    """A page without a network, of noise."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(folder)
        picture = save_picture(folder / "noise.png")
        return folder / compose.write_kernel_page(picture, filters.V, "same")


def network_page(folder, name, picture, arch, size, threshold=0.5, dtype="float32",
                 class_names=("cat", "dog"), **options):
    """The page of an untrained network, the network, and the same with rounded kernels.

    Its biases are not zero, and its scaling is that of some pictures.
    """
    def make():
        network = make_network(arch, size, seed=3, init="he", dtype="float32", **options)
        if network.scale.scaling == "standard":
            network.scale.fit([120, 110, 100], [60, 50, 40])
        draws = np.random.default_rng(1)
        for layer in network.layers:
            if hasattr(layer, "bias"):
                layer.bias.assign(draws.normal(0, 0.1, layer.bias.shape))
        return network

    network, rounded = make(), make()
    run = folder / "runs" / name
    if not run.exists():
        make_run(run, network, class_names=class_names, threshold=threshold, dtype=dtype,
                 init="he", **options)
        if name != "tta":  # one page with pictures to click is enough
            (run / "predictions.jsonl").touch()
    for kernel in rounded.kernels:
        kernel.assign(kernel.numpy().astype(np.float16))
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(folder)
        file = explain.write_page(picture, run)
    return folder / file, network, rounded


def matrix(numbers):
    """{rows, columns, values} as float32 (rows, columns)."""
    return np.float32(numbers["values"]).reshape(numbers["rows"], numbers["columns"])


def pooled(maps, combine=np.max):
    """2x2 blocks of (rows, columns, …), without an odd last row or column."""
    rows, columns = maps.shape[0] // 2, maps.shape[1] // 2
    blocks = maps[:2 * rows, :2 * columns].reshape(rows, 2, columns, 2, *maps.shape[2:])
    return combine(blocks, axis=(1, 3))


# ---------------------------------------------------------------------------------------------
# The file
# ---------------------------------------------------------------------------------------------

class Tags(html.parser.HTMLParser):
    """The tags of a page, and the text of its scripts and style sheets."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.texts = [], {"script": [], "style": []}
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, text):
        if self.cdata_elem is not None:  # within a script or a style sheet
            self.texts[self.cdata_elem].append(text)


def data_of(file):
    page = Tags(file.read_text())
    return json.loads(page.texts["script"][0])


def test_the_page_to_try_is_small_and_what_explain_writes(folder, monkeypatch):
    """docs/try.html: cd to the repository, and

    python explain.py --image sample/cat.83.jpg --page && cp filtered/cat.83-*.html docs/try.html
    """
    committed = ROOT / "docs/try.html"
    assert committed.stat().st_size < 6_000_000
    monkeypatch.chdir(folder)
    written = folder / explain.write_page(ROOT / "sample/cat.83.jpg", run_folder.PRETRAINED)
    assert Tags(committed.read_text()).texts["script"][1:] == Tags(
        written.read_text()).texts["script"][1:]
    networks = [data_of(file)["network"] for file in (committed, written)]
    for part in ("layers", "learning", "input", "threshold", "classes"):
        assert networks[0][part] == networks[1][part], part
    assert len(networks[0]["examples"]) == 6
    assert {each["name"] for each in networks[0]["examples"]} <= {
        file.name for file in (ROOT / "sample").iterdir()}  # no photograph is in it


def test_the_page_of_the_kittens_is_one_file_of_less_than_1_5_mb(folder, monkeypatch):
    monkeypatch.chdir(folder)
    file = compose.write_kernel_page(ROOT / "kittens.jpg", filters.V, "same")
    assert file.stat().st_size < 1_500_000
    page = Tags(file.read_text())
    assert not [attributes for _, attributes in page.tags if "src" in attributes]
    links = {attributes["href"] for _, attributes in page.tags if "href" in attributes}
    away = {link for link in links if not link.startswith("#")}  # the others lead to its parts
    assert away - {"data:,"} == {ARTICLE}  # which is opened by a click only
    embedded = base64.b64decode(data_of(file)["picture"]["png"])
    np.testing.assert_array_equal(Image.open(io.BytesIO(embedded)),
                                  Image.open(ROOT / "kittens.jpg"))


def test_the_parts_can_be_put_together_as_they_are():
    parts = {file.name: file.read_text() for file in compose.PARTS.iterdir()
             if file.suffix in (".html", ".css", ".js")}
    assert len(parts) == 13
    for name, text in parts.items():
        assert text.isascii() and (name == "page.html" or "</" not in text), name
        assert name == "page.html" or parts["page.html"].count(f'"{name}"') == 1


def test_before_it_is_ready_a_page_shows_only_that_it_is_opened(page, kernel_page):
    visible = """["main", "header > .row", "#working"].map(
        (each) => getComputedStyle(document.querySelector(each)).visibility)"""
    page.show(kernel_page)
    assert page.evaluate(visible) == ["visible"] * 3
    assert page.evaluate("document.querySelector('#working').textContent") == ""
    opening = Tags(kernel_page.read_text())
    assert ("body", {"class": "starting"}) in opening.tags
    page.evaluate("document.body.classList.add('starting')")
    hidden = page.evaluate(visible)
    page.evaluate("document.body.classList.remove('starting')")
    assert hidden == ["hidden", "hidden", "visible"]


def test_the_policy_allows_the_pages_own_scripts_and_nothing_else(kernel_page):
    page = Tags(kernel_page.read_text())
    policy = next(attributes["content"] for _, attributes in page.tags
                  if attributes.get("http-equiv") == "Content-Security-Policy")
    directives = dict(part.split(" ", 1) for part in policy.split("; "))
    assert directives["default-src"] == "'none'"
    for kind, texts in (("script", page.texts["script"][1:]), ("style", page.texts["style"])):
        hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
                  for text in texts]
        assert directives[f"{kind}-src"] == " ".join(f"'sha256-{each}'" for each in hashes)


def test_a_large_picture_is_scaled_down_until_the_page_is_small(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pixels = GENERATOR.integers(0, 256, (900, 1100, 3), dtype=np.uint8)
    large = save_picture(tmp_path / "large.png", pixels)
    file = compose.write_kernel_page(large, filters.V, "same")
    assert file.stat().st_size < 1_500_000
    picture = data_of(file)["picture"]
    embedded = Image.open(io.BytesIO(base64.b64decode(picture["png"])))
    assert picture["full_size"] == [1100, 900] and embedded.width > 500
    np.testing.assert_array_equal(embedded, Image.fromarray(pixels).resize(
        embedded.size, Image.Resampling.BILINEAR))


def test_a_network_takes_less_than_three_bytes_a_weight(folder):
    file, network, _ = network_page(folder, "wide", save_picture(folder / "x.png"), "conv1",
                                    (24, 32))
    alone = len(compose.page(Image.fromarray(NOISE), "x.png", filters.V, "same"))
    assert file.stat().st_size - alone < 2.7 * network.weight_count + 20_000


def test_what_a_page_cannot_hold_is_refused(folder, tmp_path, monkeypatch):
    picture = save_picture(folder / "x.png")
    with pytest.raises(UserError, match="--kernel is 7x7, and the page takes 3x3 and 5x5"):
        compose.write_kernel_page(picture, np.ones((7, 7), np.float32), "same")
    monkeypatch.setattr(compose, "MAX_WEIGHTS", 1000)
    with pytest.raises(UserError, match=r"has 2,\d+ weights, and the page holds 1,000: .*smaller "
                                        "--input_size, or that of recipes/ten-seconds.flags"):
        network_page(folder, "large", picture, "mlp", (4, 5), hidden=(32, 16))
    with pytest.raises(UserError, match="mine has a weight of 100000, and the page"):
        compose.rounded(np.float32([1, 1e5]), "mine")


def test_a_run_without_a_finished_epoch_gets_no_page(folder, tmp_path):
    run = make_run(tmp_path / "new", make_network("mlp", (4, 5), hidden=(4,)), hidden=(4,))
    (run / "metrics.jsonl").write_text("")
    with pytest.raises(UserError, match="has no finished epoch yet"):
        explain.write_page(save_picture(folder / "x.png"), run)


# ---------------------------------------------------------------------------------------------
# The first part: a kernel
# ---------------------------------------------------------------------------------------------

@pytest.mark.parametrize("size", [3, 5])
def test_every_preset_equals_filters_convolve(page, kernel_page, size):
    page.show(kernel_page)
    grey = filters.brightness(Image.fromarray(NOISE))
    np.testing.assert_array_equal(matrix(page.evaluate("page.picture()")), grey)
    assert len(PRESETS[size]) == 9
    for name, kernel in PRESETS[size].items():
        shown = page.evaluate(f"""(() => {{  // hidden: to lay the page out each time takes longer
            document.body.hidden = true;
            page.update({json.dumps({'kernel': kernel.ravel().tolist()})});
            const shown = {json.dumps(SETTINGS)}.map(
                (settings) => {{ page.update(settings); return page.filtered(); }});
            document.body.hidden = false;
            return shown; }})()""")
        assert page.evaluate("document.querySelector('#preset').value") == name
        for settings, numbers in zip(SETTINGS, shown, strict=True):
            expected = filters.convolve(grey, kernel, settings["padding"])
            expected = expected[::settings["stride"], ::settings["stride"]]
            if settings["relu"]:
                expected = np.maximum(expected, 0)
            if settings["pooling"]:
                expected = pooled(expected)
            np.testing.assert_array_equal(matrix(numbers), expected, str((name, settings)))


@pytest.mark.parametrize("size", [3, 5])
def test_a_kernel_of_any_numbers_equals_filters_convolve(page, kernel_page, size):
    page.show(kernel_page)
    kernel = GENERATOR.normal(size=(size, size)).astype(np.float32) / size
    page.evaluate(f"page.update({json.dumps({'kernel': kernel.ravel().tolist()})})")
    for index, channel in enumerate(("red", "green", "blue")):
        page.choose("#channel", channel)
        np.testing.assert_allclose(
            matrix(page.evaluate("page.filtered()")),
            filters.convolve(NOISE[:, :, index].astype(np.float32), kernel, "same"), atol=1e-4)
    assert page.evaluate("document.querySelector('#preset').value") == "your own"


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("stride", [1, 2])
def test_the_window_shows_the_products_and_their_sum(page, kernel_page, padding, stride):
    page.show(kernel_page)
    page.evaluate(f"page.update({{padding: '{padding}', stride: {stride}, relu: true}})")
    grey = filters.brightness(Image.fromarray(NOISE))
    surrounded = np.pad(grey, 1) if padding == "same" else grey
    around = np.pad(NOISE, ((8, 8), (8, 8), (0, 0)))
    for row, column in ((0, 0), (3, 7), (12, 9)):
        page.evaluate(f"page.moveTo({row}, {column})")
        told = page.evaluate("page.place()")
        window = surrounded[stride * row:stride * row + 3, stride * column:stride * column + 3]
        assert told["submatrix"] == window.ravel().tolist()
        assert told["products"] == (window * filters.V).ravel().tolist()
        assert told["sum"] == (window * filters.V).sum()
        assert told["result"] == max(0, told["sum"])
        top, left = [stride * each + (1 if padding == "same" else 2) for each in (row, column)]
        enlarged = page.evaluate("""(() => {
            const copy = new OffscreenCanvas(15, 15).getContext("2d");
            copy.drawImage(document.querySelector("#loupe canvas"), 0, 0);
            return [...copy.getImageData(0, 0, 15, 15).data]; })()""")
        np.testing.assert_array_equal(np.reshape(enlarged, (15, 15, 4))[:, :, :3],
                                      around[top:top + 15, left:left + 15])
        shown = page.evaluate(
            "[...document.querySelectorAll('#products td')].map((cell) => cell.textContent)")
        assert [int(text.replace("\u2212", "-")) for text in shown] == told["products"]
        assert page.evaluate("document.querySelector('#sum b').textContent") == (
            f"{told['sum']:g}".replace("-", "\u2212"))


def test_the_window_shows_what_pooling_takes(page, kernel_page):
    page.show(kernel_page)
    page.evaluate("page.update({pooling: true}); page.moveTo(5, 8)")
    response = filters.convolve(filters.brightness(Image.fromarray(NOISE)), filters.V, "same")
    assert page.evaluate("page.place()")["result"] == response[4:6, 8:10].max()
    page.evaluate("page.moveTo(28, 8)")  # the last of 29 rows
    assert page.evaluate("page.place()")["result"] is None
    assert "is in no block" in page.evaluate("document.querySelector('#after').textContent")


def test_arrow_keys_pointer_touch_and_buttons_move_the_window(page, kernel_page):
    def place():
        told = page.evaluate("page.place()")
        return told["row"], told["column"]

    page.show(kernel_page)
    for stage in ("#picture", "#filtered"):
        page.evaluate(f"page.moveTo(10, 20); document.querySelector('{stage}').focus()")
        for key in ("ArrowRight", "ArrowRight", "ArrowDown", "ArrowLeft", "ArrowUp", "ArrowUp"):
            page.press(key)
        assert place() == (9, 21)
        page.press("ArrowDown", shift=True)
        assert place() == (19, 21)
        page.press("ArrowDown", shift=True)  # no further than the edge
        assert place() == (28, 21)

        page.move_to(stage, 10.5 / 38, 4.5 / 29)
        assert place() == (4, 10)
        page.click(stage, 11.5 / 38, 6.5 / 29)  # holds it there
        page.move_to(stage, 0.9, 0.9)
        assert place() == (6, 11)
        page.click(stage, 0.9, 0.9)
        page.tap(stage, 30.5 / 38, 2.5 / 29)
        assert place() == (2, 30)
    for name, expected in (("right", (2, 31)), ("down", (3, 31)), ("left", (3, 30)),
                           ("up", (2, 30))):
        page.click(f"[data-move={name}]")
        assert place() == expected


def test_every_control_is_reached_by_the_tabulator_key(page, kernel_page):
    page.open(kernel_page)
    page.evaluate("document.activeElement.blur()")
    reached = []
    for _ in range(40):
        page.press("Tab")
        reached.append(page.evaluate("""document.activeElement.id ||
            document.activeElement.dataset.move || document.activeElement.ariaLabel"""))
        width = page.evaluate("""parseFloat(getComputedStyle(
            document.activeElement.closest(".button") ?? document.activeElement).outlineWidth)""")
        assert reached[-1] is None or width >= 2, reached[-1]  # the focus is seen
    assert {"file", "picture", "filtered", "preset", "size", "row 3, column 3", "channel",
            "padding", "stride", "relu", "pooling", "left", "down", "play", "speed"} <= set(reached)


def test_a_kernel_is_typed(page, kernel_page):
    page.show(kernel_page)
    grey = filters.brightness(Image.fromarray(NOISE))
    for index, number in enumerate((1, "-2.5", 0, 0, "\u22124", 0, 0, 0, "0,5")):
        page.type(f"#kernel input:nth-child({index + 1})", str(number))
    kernel = np.float32([[1, -2.5, 0], [0, -4, 0], [0, 0, 0.5]])
    np.testing.assert_array_equal(matrix(page.evaluate("page.filtered()")),
                                  filters.convolve(grey, kernel, "same"))
    page.type("#kernel input:nth-child(5)", "-")  # half typed: the last kernel stays
    assert page.evaluate("page.settings().kernel") == kernel.ravel().tolist()
    assert page.evaluate("document.querySelectorAll('#kernel [aria-invalid=true]').length") == 1


@pytest.mark.parametrize("typed, number", [("1,5", 1.5), ("-.25", -0.25), ("2.50", 2.5)])
def test_a_weight_is_typed_character_by_character(page, kernel_page, typed, number):
    page.show(kernel_page)
    page.type("#kernel input", "")
    for character in typed:
        page.call("Input.insertText", text=character)
    assert page.evaluate("page.settings().kernel[0]") == number


@pytest.mark.parametrize("typed", ["", "one", "1e39", "<b>"])
def test_what_is_no_number_is_named_when_its_field_is_left(page, kernel_page, typed):
    page.show(kernel_page)
    message = "document.querySelector('#kernel-message').textContent"
    page.type("#kernel input:nth-child(5)", typed)
    assert page.evaluate(message) == ""
    page.press("Tab")
    assert page.evaluate(message) == (
        f"{typed or 'Nothing'} in row 2, column 2 is not a number: the last kernel stays.")
    page.type("#kernel input:nth-child(5)", "2")
    assert page.evaluate(message) == ""
    assert page.evaluate("page.settings().kernel[4]") == 2


def test_a_weight_keeps_more_digits_than_its_field_shows(page, kernel_page):
    page.show(kernel_page)
    kernel = [0.123456789, -1 / 256, 9.87654e-6, 0, 0, 0, 0, 0, 0]
    page.evaluate(f"page.update({{kernel: {kernel}}})")
    assert page.evaluate("[...document.querySelectorAll('#kernel input')].map((each) => each.value)"
                         )[:4] == ["0.1235", "-0.00391", "9.88e-6", "0"]
    page.type("#kernel input:nth-child(9)", "1")
    assert page.evaluate("page.settings().kernel") == [*kernel[:8], 1]


def test_a_preset_a_size_and_the_switches_are_chosen(page, kernel_page):
    page.show(kernel_page)
    page.choose("#preset", "outline")
    page.choose("#size", "5")
    page.choose("#padding", "valid")
    page.choose("#stride", "2")
    page.click("#relu")
    page.click("#pooling")
    grey = filters.brightness(Image.fromarray(NOISE))
    expected = filters.convolve(grey, PRESETS[5]["outline"], "valid")[::2, ::2]
    np.testing.assert_array_equal(matrix(page.evaluate("page.filtered()")),
                                  pooled(np.maximum(expected, 0)))


def test_the_address_holds_the_kernel_and_the_switches(page, kernel_page):
    page.show(kernel_page)
    page.evaluate("""page.update({kernel: [1, 2, 3, 4, 5, 6, 7, -8, 0.5], channel: "blue",
                                  padding: "valid", stride: 2, relu: true, pooling: true})""")
    settings, fragment = page.evaluate("[page.settings(), location.hash]")
    page.show(kernel_page)
    assert page.evaluate("page.settings()") != settings
    page.open(kernel_page, fragment)
    assert page.evaluate("page.settings()") == settings
    page.evaluate("location.hash = '#kernel=0,0,0,0,1,0,0,0,0&padding=same'")
    page.wait_for("page.settings().padding === 'same'")
    assert page.evaluate("page.settings().kernel") == [0, 0, 0, 0, 1, 0, 0, 0, 0]


@pytest.mark.parametrize("fragment", [
    "#kernel=1,2&stride=7", "#kernel=a,b,c,d,e,f,g,h,i", "#kernel=1,,1,1,1,1,1,1,1", "#%E0%A4%A",
    "#kernel=Infinity,0,0,0,0,0,0,0,0", "#kernel=1e39,0,0,0,0,0,0,0,0",
    "#<img src=x onerror=alert(1)>", "#padding=none", "#bias=one"])
def test_an_address_that_holds_no_kernel_changes_nothing_and_is_named(page, kernel_page, fragment):
    page.show(kernel_page)
    page.evaluate(f"location.hash = {json.dumps(fragment)}")
    page.wait_for("page.message().includes('address of this page is damaged')")
    settings = page.evaluate("page.settings()")
    assert settings["kernel"] == filters.V.ravel().tolist()
    assert (settings["padding"], settings["stride"]) == ("same", 1)


def test_play_slides_the_window_row_by_row_until_it_is_paused(page, kernel_page):
    page.show(kernel_page)
    page.evaluate("page.moveTo(3, 36)")
    page.click("#play")
    page.wait_for("page.place().row === 0 && page.place().column > 0")  # from the first place
    page.evaluate("page.moveTo(3, 36)")
    page.wait_for("page.place().row === 4 && page.place().column > 0")
    page.click("#play")
    told = page.evaluate("page.place()")
    assert page.evaluate("document.querySelector('#play').textContent") == "Play"
    assert page.evaluate("page.place()") == told
    page.click("#play")  # from where it was paused
    page.wait_for(f"page.place().column > {told['column']}")
    assert page.evaluate("page.place().row") == 4
    page.click("#play")
    page.choose("#speed", "row")
    page.evaluate("page.moveTo(20, 9)")
    page.click("#play")
    page.wait_for("page.place().row === 1")
    page.evaluate("page.moveTo(20, 9)")
    page.wait_for("page.place().row > 21")
    assert page.evaluate("""[...document.querySelectorAll(".veil")].map(
        (each) => getComputedStyle(each).display)""") == ["block", "none"]  # whole rows are seen
    page.wait_for("page.place().row === 28")
    assert page.evaluate("page.place().column") == 9  # where it was, not at the last one
    page.wait_for("document.querySelector('#play').textContent === 'Play'")


def test_with_reduced_motion_nothing_fades_and_play_takes_a_second_a_step(page, kernel_page):
    page.screen(1200, calm=True)
    page.show(kernel_page)
    assert page.evaluate("getComputedStyle(document.querySelector('#play')).transitionDuration"
                         ) == "0s"
    page.evaluate("page.moveTo(0, 0)")
    page.click("#play")
    page.wait_for("page.place().column === 1")
    page.evaluate("new Promise((resolve) => setTimeout(resolve, 500))")
    assert page.evaluate("page.place().column") == 1
    page.click("#play")


def text(page, selector):
    return page.evaluate(f"document.querySelector({json.dumps(selector)}).textContent")


def test_a_click_holds_both_pictures_and_is_seen_until_escape(page, kernel_page):
    def place():
        told = page.evaluate("page.place()")
        return told["row"], told["column"]

    page.show(kernel_page)
    assert page.evaluate("document.querySelector('#kernel-held').hidden")
    page.click("#picture", 11.5 / 38, 6.5 / 29)
    assert not page.evaluate("document.querySelector('#kernel-held').hidden")
    visibility = "getComputedStyle(document.querySelector('.lead')).visibility"
    assert page.evaluate(visibility) == "hidden"  # the sentence takes its place
    for stage in ("#picture", "#filtered"):
        assert page.evaluate(f"document.querySelector('{stage}').matches('.held')")
        page.move_to(stage, 0.8, 0.8)
        assert place() == (6, 11)
    page.press("Escape")
    assert page.evaluate("document.querySelector('#kernel-held').hidden")
    assert page.evaluate(visibility) == "visible"
    page.move_to("#filtered", 20.5 / 38, 3.5 / 29)
    assert place() == (3, 20)
    page.evaluate("page.moveTo(0, 0)")
    page.click("#play")
    page.wait_for("page.place().column > 0")
    page.click("#picture", 11.5 / 38, 6.5 / 29)  # ends the play, and holds
    assert text(page, "#play") == "Play" and place() == (6, 11)
    assert not page.evaluate("document.querySelector('#kernel-held').hidden")


def test_the_colour_bar_names_the_numbers(page, kernel_page):
    page.show(kernel_page)
    grey = filters.brightness(Image.fromarray(NOISE))
    for factor in (1, 10, 0.01):
        page.evaluate(f"page.update({{kernel: {(factor * filters.V).ravel().tolist()}}})")
        full = float(re.search(r"([\d.]+) and more", text(page, "#colour-bar"))[1])
        sizes = np.abs(filters.convolve(grey, np.float32(factor * filters.V), "same"))
        assert np.percentile(sizes, 97) * 0.99 < full < np.percentile(sizes, 99) * 1.01
    blur = PRESETS[3]["blur"].copy()
    for middle, bias in ((0.25, 0), (0.26, 0), (0.51, 0), (0.25, 1), (0.25, -60)):
        blur[1, 1] = middle  # still a picture of grey values
        page.evaluate(f"page.update({{kernel: {blur.ravel().tolist()}, bias: {bias}}})")
        assert "255 white" in text(page, "#colour-bar")
    page.evaluate("page.update({bias: 200})")
    assert "and more" in text(page, "#colour-bar")


def test_terms_that_are_rounded_are_not_said_to_add_up(page, kernel_page):
    page.show(kernel_page)
    page.evaluate("page.moveTo(9, 9)")
    assert " = " in text(page, "#sum") and "rounded" not in text(page, "#sum")
    page.evaluate("page.update({kernel: Array(9).fill(0.123456)})")
    assert " \u2248 " in text(page, "#sum") and "rounded" in text(page, "#sum")


def test_a_bias_is_added(page, kernel_page):
    page.show(kernel_page)
    page.type("#bias", "-70.5")
    grey = filters.brightness(Image.fromarray(NOISE))
    np.testing.assert_array_equal(matrix(page.evaluate("page.filtered()")),
                                  filters.convolve(grey, filters.V, "same") - np.float32(70.5))
    page.type("#bias", "x")
    page.press("Tab")
    assert text(page, "#kernel-message") == "x in the bias is not a number: the last one stays."


def paste(page, pasted):
    page.evaluate(f"""(() => {{ const data = new DataTransfer();
        data.setData("text", {json.dumps(pasted)});
        document.body.dispatchEvent(new ClipboardEvent("paste",
            {{clipboardData: data, bubbles: true, cancelable: true}})); }})()""")


def test_a_kernel_is_pasted_as_filters_py_takes_it(page, kernel_page):
    page.show(kernel_page)
    for pasted in ("-1 0 1; -2 0 2; -1 0 1", "-1,0,1;-2,0,2;-1,0,1;"):
        page.evaluate("page.update({kernel: Array(9).fill(1)})")
        paste(page, pasted)
        assert page.evaluate("page.settings().kernel") == parse_kernel(pasted).ravel().tolist()
    paste(page, "1 2; 3 4")
    assert text(page, "#kernel-message").startswith('"1 2; 3 4" is no kernel of 3x3 or 5x5')
    assert page.evaluate("page.settings().kernel[3]") == -2


def test_every_preset_has_a_sentence(page, kernel_page):
    page.show(kernel_page)
    assert set(page.evaluate("Object.keys(WORDS)")) == {*PRESETS[3], "your own"}
    page.choose("#preset", "V")
    assert "lines that run from left to right" in text(page, "#preset-words")
    assert page.evaluate("document.querySelector('#tasks li').checkVisibility()")


def test_play_passes_over_a_large_picture_in_a_minute(page, kernel_page):
    page.show(kernel_page)
    steps = page.evaluate("""(() => { let place = 0, steps = 0;
        while (place < 800 * 600) { place += placesOfStep(steps++, false); } return steps; })()""")
    assert steps * 0.09 < 60
    assert page.evaluate("placesOfStep(0, false)") == page.evaluate("placesOfStep(3, true)") == 1


def test_what_is_not_reached_does_not_look_like_0(page, kernel_page):
    page.show(kernel_page)
    page.evaluate("page.moveTo(0, 0)")
    page.click("#play")
    assert "gradient" in page.evaluate(
        "getComputedStyle(document.querySelector('.veil')).backgroundImage")
    page.click("#play")


def test_captions_of_any_length_leave_both_pictures_side_by_side(page, kernel_page, tmp_path):
    page.screen(375, 812)
    page.show(kernel_page)
    drop(page, save_picture(tmp_path / f"{'a long name ' * 6}.png"))
    tops = page.evaluate("""["#picture", "#filtered"].map(
        (each) => document.querySelector(each).getBoundingClientRect().top)""")
    assert tops[0] == tops[1]
    ends = page.evaluate("""["#colour-bar", "#colour-bar > span:last-child"].map(
        (each) => document.querySelector(each).getBoundingClientRect().right)""")
    rows = page.evaluate("""new Set([...document.querySelectorAll("header > .row > *")].filter(
        (each) => each.offsetHeight > 9).map((each) => each.offsetTop)).size""")
    assert rows == 1  # of buttons
    assert ends[0] == ends[1]  # the largest number stands below the right end of the bar


@pytest.mark.parametrize("width, height", [(1280, 720), (375, 812)])
def test_pictures_and_arithmetic_are_on_one_screen(page, tmp_path, monkeypatch, width, height):
    monkeypatch.chdir(tmp_path)
    page.screen(width, height)
    page.open(tmp_path / compose.write_kernel_page(ROOT / "kittens.jpg", filters.V, "same"))
    for kernel in (filters.V, PRESETS[3]["blur"], PRESETS[5]["blur"], filters.V / -2345):
        page.evaluate(f"page.update({{kernel: {kernel.ravel().tolist()}}})")
        for part in ("#picture", "#filtered", "#submatrix", "#kernel", "#products", "#cell",
                     "#sum"):
            box = page.evaluate(
                f"document.querySelector('{part}').getBoundingClientRect().toJSON()")
            assert box["left"] >= 0 and box["right"] <= width and 0 < box["bottom"] <= height, part
            assert box["height"] <= 0.45 * height
        middles = page.evaluate("""["#submatrix", "#kernel", "#products", "#cell"].map((each) => {
            const {top, bottom} = document.querySelector(each).getBoundingClientRect();
            return (top + bottom) / 2; })""")
        for line in [middles] if width > 900 else [middles[:2], middles[2:]]:
            assert max(line) - min(line) < 30
        assert page.evaluate("""[...document.querySelectorAll(
            "#kernel input, #submatrix td, #products td, #cell")].filter(
            (each) => each.scrollWidth > each.offsetWidth).length""") == 0  # no number is cut off
    inside, starts, joined = page.evaluate("""[
        document.querySelector("#filtered .window").clientWidth,
        document.querySelector(".joins path").getBoundingClientRect().top -
            document.querySelector("#picture").getBoundingClientRect().bottom,
        document.querySelector(".joins path:last-child").checkVisibility()]""")
    assert inside >= 9  # the frame does not hide the pixel
    assert abs(starts) < 1  # the line does not cross the picture, and none crosses the numbers:
    assert joined == (width > 900)


def test_headings_are_read_without_punctuation_of_the_style_sheet():
    assert "counter(" not in (ROOT / "page/page.css").read_text()


def test_a_printed_page_is_light_and_its_numbers_keep_their_colours(page, kernel_page):
    page.screen(1200, dark=True)
    page.show(kernel_page)
    style = """(() => { const {color, printColorAdjust} = getComputedStyle(
        document.querySelector("#submatrix td")), body = getComputedStyle(document.body);
        return [printColorAdjust, body.color, body.backgroundColor]; })()"""
    dark = page.evaluate(style)
    page.call("Emulation.setEmulatedMedia", media="print", features=[
        {"name": "prefers-color-scheme", "value": "dark"}])
    printed = page.evaluate(style)
    shown = page.evaluate("""["#preset-words", "#preset", "#padding", "#bias", "#relu", ".lead",
        "#play", "#file", ".joins"].filter((each) => document.querySelector(each).checkVisibility())
        """)
    page.call("Emulation.setEmulatedMedia", media="")
    assert shown == ["#preset-words", "#preset", "#padding", "#bias", "#relu"]  # what was set
    assert dark[1:] == ["rgb(236, 238, 242)", "rgb(20, 22, 26)"]
    assert printed == ["exact", "rgb(22, 24, 29)", "rgb(255, 255, 255)"]


def test_the_bar_is_seen_in_forced_colours(shared_tta_page):
    page, *_ = shared_tta_page
    page.call("Emulation.setEmulatedMedia", features=[{"name": "forced-colors", "value": "active"}])
    fill, bar = page.evaluate("""["#bar div", "#bar"].map(
        (each) => getComputedStyle(document.querySelector(each)).backgroundColor)""")
    page.call("Emulation.setEmulatedMedia", features=[])
    assert fill not in (bar, "rgba(0, 0, 0, 0)")


def test_the_picture_that_is_saved_holds_the_prediction_and_the_heat_map(shared_tta_page):
    page, *_ = shared_tta_page
    heat_map(page)
    page.click("#as-input")  # another canvas, shown at the same ratio
    page.evaluate("""HTMLAnchorElement.prototype.click = function () {
        fetchSaved = createImageBitmap(savedBlob).then((image) => {
            window.saved = [this.download, image.width, image.height]; }); };
        window.fetchSaved = null; const make = URL.createObjectURL;
        URL.createObjectURL = (blob) => { window.savedBlob = blob; return make(blob); }""")
    page.click("#save-picture")
    page.wait_for("window.saved")
    name, width, height = page.evaluate("saved")
    widths = [480 * PHOTO.shape[1] / PHOTO.shape[0]] * 2
    assert page.evaluate("page.network.sentences().length") == 3  # below the prediction
    assert (name, height) == ("photo-page.png", 540 + 32 * 3)
    assert width == pytest.approx(sum(widths) + 36, abs=2)


def test_touch_users_read_no_word_of_keys_and_clicks(page, kernel_page):
    def lead():
        return page.evaluate("""[...document.querySelectorAll(".lead")].filter(
            (each) => each.offsetHeight).map((each) => each.textContent).join("")""")

    page.show(kernel_page)
    assert "Shift" in lead()
    page.call("Emulation.setTouchEmulationEnabled", enabled=True)
    page.call("Emulation.setDeviceMetricsOverride", width=375, height=812, deviceScaleFactor=1,
              mobile=True)
    told = lead()
    page.call("Emulation.setTouchEmulationEnabled", enabled=False)
    assert told.startswith("Tap a pixel") and "Shift" not in told and "click" not in told


def test_a_link_holds_the_window_and_reset_brings_all_back(page, kernel_page, tmp_path):
    page.open(kernel_page)
    before = page.evaluate("[page.settings(), page.filtered()]")
    page.evaluate("""Object.defineProperty(navigator, "clipboard", {value: {
        writeText: (text) => { window.copied = text; return Promise.resolve(); }}})""")
    page.evaluate("page.update({kernel: [0, 0, 0, 0, 2, 0, 0, 0, 0], bias: 3}), page.moveTo(4, 7)")
    page.click("#copy-link")
    page.wait_for("window.copied")
    link = page.evaluate("copied")
    assert "copied" in text(page, "#working")
    drop(page, save_picture(tmp_path / "other.png", NOISE[::-1]))
    assert page.evaluate("document.title") == "What a convolution does to other.png"
    page.click("#reset")
    page.wait_for("document.title === 'What a convolution does to noise.png'")
    page.wait_for("page.settings().bias === 0")
    assert page.evaluate("[page.settings(), page.filtered()]") == before
    page.open(kernel_page, "#" + link.partition("#")[2])
    told = page.evaluate("[page.place().row, page.place().column, page.settings().bias]")
    assert told == [4, 7, 3] and page.evaluate("page.message()") == ""


def test_a_large_picture_is_said_to_be_opening(page, kernel_page, tmp_path):
    page.open(kernel_page)
    page.evaluate("""window.heard = [], new MutationObserver(() => heard.push(
        document.querySelector("#working").textContent)).observe(
        document.querySelector("#working"), {childList: true, subtree: true})""")
    drop(page, save_picture(tmp_path / "a.png"))
    page.wait_for("heard.length > 1")
    assert page.evaluate("heard") == ["Opening a.png \u2026", ""]


# ---------------------------------------------------------------------------------------------
# Other pictures
# ---------------------------------------------------------------------------------------------

def drop(page, file):
    """Drop a picture onto the page, and wait until it is shown."""
    page.evaluate("document.querySelector('#picture-name').textContent = ''")
    page.drop(file)
    page.wait_for(f"document.querySelector('#picture-name').textContent === "
                  f"{json.dumps(file.name)} || page.message()")
    assert page.evaluate("page.message()") == ""


def opened(page, file):
    """The numbers of a picture that is dropped onto the page."""
    drop(page, file)
    return matrix(page.evaluate("page.picture()"))


def test_a_picture_is_dropped_or_chosen(page, kernel_page, tmp_path):
    page.show(kernel_page)
    pixels = GENERATOR.integers(0, 256, (17, 23, 3), dtype=np.uint8)
    expected = filters.brightness(Image.fromarray(pixels))
    np.testing.assert_array_equal(opened(page, save_picture(tmp_path / "a.png", pixels)), expected)
    save_picture(tmp_path / "b.bmp", pixels[:9])
    page.choose_file("#file", tmp_path / "b.bmp")
    page.wait_for("document.querySelector('#picture-name').textContent === 'b.bmp'")
    np.testing.assert_array_equal(matrix(page.evaluate("page.picture()")), expected[:9])


def test_of_two_pictures_the_one_that_was_dropped_last_is_shown(page, kernel_page, tmp_path):
    page.show(kernel_page)
    png = base64.b64encode(save_picture(tmp_path / "a.png").read_bytes()).decode()
    page.evaluate(f"""(() => {{ const file = (name, milliseconds) => {{
          const bytes = fromBase64("{png}"), each = new File([bytes], name);
          each.arrayBuffer = () => new Promise(
            (resolve) => setTimeout(() => resolve(bytes.buffer), milliseconds));
          return each; }};
        return Promise.all([page.open(file("slow.png", 200)), page.open(file("last.png", 0))]);
        }})()""")
    assert page.evaluate("document.querySelector('#picture-name').textContent") == "last.png"


def test_a_high_picture_fits_on_the_screen(page, kernel_page, tmp_path):
    page.show(kernel_page)
    drop(page, save_picture(tmp_path / "a.png", np.zeros((700, 40, 3), np.uint8)))
    for stage in ("#picture", "#filtered"):
        box = page.evaluate(f"document.querySelector('{stage}').getBoundingClientRect().toJSON()")
        assert box["height"] < 900 and box["height"] / box["width"] == pytest.approx(17.5, rel=0.02)


def test_the_page_begins_with_the_kernel_that_it_is_given(page, folder, monkeypatch):
    monkeypatch.chdir(folder)
    kernel = np.arange(1, 10, dtype=np.float32).reshape(3, 3)
    page.open(compose.write_kernel_page(save_picture(folder / "begins.png"), kernel, "valid"))
    assert page.evaluate("page.settings().kernel") == [1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert page.evaluate("page.settings().padding") == "valid"


@pytest.mark.parametrize("shape", [(1, 1), (2, 40), (3, 3)])
def test_of_a_picture_that_is_too_small_nothing_is_left(page, kernel_page, tmp_path, shape):
    page.show(kernel_page)
    pixels = GENERATOR.integers(0, 256, (*shape, 3), dtype=np.uint8)
    grey = filters.brightness(Image.fromarray(pixels))
    np.testing.assert_array_equal(opened(page, save_picture(tmp_path / "a.png", pixels)), grey)
    same = filters.convolve(grey, filters.V, "same")
    np.testing.assert_array_equal(matrix(page.evaluate("page.filtered()")), same)
    page.evaluate("page.update({padding: 'valid', pooling: true, relu: true})")
    assert page.evaluate("page.filtered()")["values"] == []
    assert "too small" in page.evaluate("document.querySelector('#colours').textContent")
    page.press("ArrowRight")
    page.click("#play")  # there is nothing to play
    assert page.evaluate("document.querySelector('#play').textContent") == "Play"


def test_a_large_picture_is_scaled_down_as_pillow_does_it(page, kernel_page, tmp_path):
    page.show(kernel_page)
    pixels = GENERATOR.integers(0, 256, (901, 1203, 3), dtype=np.uint8)
    numbers = opened(page, save_picture(tmp_path / "large.png", pixels))
    expected = Image.fromarray(pixels).resize((800, 599), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(numbers, filters.brightness(expected))
    assert "scaled down from 1203 x 901" in page.evaluate(
        "document.querySelector('#picture-size').textContent")
    Image.fromarray(pixels).save(tmp_path / "large.jpg")  # decoded at a half of its size
    expected = image_files.read(tmp_path / "large.jpg", at_least=(601, 450))
    assert expected.size == (602, 451)
    np.testing.assert_array_equal(opened(page, tmp_path / "large.jpg"),
                                  filters.brightness(expected))


GAMMA = PngImagePlugin.PngInfo()  # which Pillow does not apply
GAMMA.add(b"gAMA", (100_000).to_bytes(4, "big"))


@pytest.mark.parametrize("name, options", [
    ("a.png", {}), ("a.bmp", {}), ("a.webp", {"lossless": True}), ("a.gif", {}),
    ("gamma.png", {"pnginfo": GAMMA})])
def test_formats_without_loss_give_pillows_numbers(page, kernel_page, tmp_path, name, options):
    page.show(kernel_page)
    file = save_picture(tmp_path / name, **options)
    np.testing.assert_array_equal(opened(page, file),
                                  filters.brightness(image_files.read_checked(file)))


def test_transparency_is_shown_on_white(page, kernel_page, tmp_path):
    page.show(kernel_page)
    pixels = np.dstack([NOISE, GENERATOR.integers(0, 256, (29, 38), dtype=np.uint8)])
    pixels[:5, :, 3], pixels[5:10, :, 3] = 0, 255
    numbers = opened(page, save_picture(tmp_path / "a.png", pixels))
    expected = filters.brightness(image_files.read_checked(tmp_path / "a.png"))
    np.testing.assert_array_equal(numbers[:10], expected[:10])
    np.testing.assert_allclose(numbers, expected, atol=1.5)  # browsers round what is in between


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photograph_is_turned_upright(page, kernel_page, tmp_path, orientation):
    page.show(kernel_page)
    smooth = Image.fromarray(NOISE).resize((64, 48), Image.Resampling.BICUBIC)
    exif = Image.Exif()
    exif[0x0112] = orientation
    smooth.save(tmp_path / "a.jpg", quality=95, subsampling=0, exif=exif)
    expected = filters.brightness(ImageOps.exif_transpose(Image.open(tmp_path / "a.jpg")))
    np.testing.assert_allclose(opened(page, tmp_path / "a.jpg"), expected, atol=3)


@pytest.mark.parametrize("name, contents, sentence", [
    ("text.jpg", b"not a picture", "no picture that this browser can read, or it is damaged"),
    ("drawing.svg", b"<?xml version='1.0'?>\n<svg xmlns='x'/>", "is a drawing (SVG), which has no"),
    ("nothing.png", b"", "no picture that this browser can read, or it is damaged"),
    ("cut.png", None, "is damaged: its end is missing"),
    ("cut.jpg", None, "is damaged: its end is missing"),
    ("huge.png", None, "is 40000 x 40000: more than 50 million pixels"),
    ("<img src=x onerror=alert(1)>.png", b"no", "<img src=x onerror=alert(1)>.png is no picture")])
def test_a_damaged_or_huge_picture_gets_one_sentence(page, kernel_page, tmp_path, name, contents,
                                                     sentence):
    from test_bad_input import png_of_one_colour
    file = tmp_path / name
    if contents is not None:
        file.write_bytes(contents)
    elif name == "huge.png":
        file.write_bytes(png_of_one_colour(40_000, 40_000))
    else:
        save_picture(file)
        file.write_bytes(file.read_bytes()[:-40])
    page.show(kernel_page)
    before = page.evaluate("page.filtered()")
    page.drop(file)
    page.wait_for("page.message()")
    told = page.evaluate("page.message()")
    assert sentence in told and told.count(". ") == 1  # what is wrong, and the remedy
    assert page.evaluate("page.filtered()") == before


def test_names_are_shown_as_text(page, folder):
    name = "<img src=x onerror=alert(1)><!--<script>"
    file, *_ = network_page(folder, name, save_picture(folder / f"{name}.png"), "mlp", (4, 5),
                            hidden=(4,), class_names=("</b><i>katze", "<script>alert(2)"))
    page.open(file)
    assert page.evaluate("document.querySelectorAll('img, i, main script').length") == 0
    assert name in page.evaluate("document.title")
    assert name in page.evaluate("document.querySelector('#network-heading').textContent")
    assert page.evaluate("page.network.label()") in ("</b><i>katze", "<script>alert(2)")


# ---------------------------------------------------------------------------------------------
# The second part: a network
# ---------------------------------------------------------------------------------------------

NETWORKS = {
    "max": ("conv2_48", (32, 43), dict(scaling="standard")),
    "tta": ("conv2_48", (23, 30), dict(scaling="standard", tta=True, dropout=0.5,
                                       filters=(6, 10), hidden=(20, 8))),
    "average": ("conv1", (25, 31), dict(scaling="unit", pooling="average", kernel_size=5,
                                        stride=2, hidden=(16,))),
    "none": ("conv2_fc512", (13, 16), dict(scaling="standard", pooling="none", kernel_size=2,
                                           filters=(5, 4), hidden=())),
    "raw": ("conv1", (20, 20), dict(filters=(3, 3, 3), kernel_size=1, hidden=(9,))),
    "stride": ("conv2_128", (40, 31), dict(scaling="unit", filters=(7, 9), stride=3, kernel_size=4,
                                           pooling="none", hidden=(5,))),
    "mlp": ("mlp", (11, 14), dict(scaling="standard", hidden=(30, 70))),
    "bfloat16": ("conv1", (16, 20), dict(scaling="standard", filters=(4,), hidden=(6,),
                                         dtype="bfloat16")),
}


@pytest.fixture(scope="module")
def made(folder):
    """made("max"): what network_page returns for this one of NETWORKS and PHOTO; written once."""
    picture = save_picture(folder / "photo.png", PHOTO)

    @functools.cache
    def make(name):
        arch, size, options = NETWORKS[name]
        return network_page(folder, name, picture, arch, size, **options)

    return make


def tensors(network, image, count=None):
    """The output of every layer, or of the first ones, for one image: without the batch."""
    x, outputs = image[None], []
    for layer in network.layers[:count]:
        x = x if isinstance(layer, models.Dropout) else layer(x)
        outputs.append(x.numpy()[0])
    return outputs


@pytest.mark.parametrize("name", NETWORKS)
def test_every_layer_equals_tensorflows(page, made, folder, name):
    file, network, rounded = made(name)
    assert file.name == f"photo-{name}.html"
    page.show(file)
    image = data.load_image(folder / "photo.png", network.input_size)
    told = page.evaluate("page.network.input()")
    np.testing.assert_array_equal(np.reshape(told["pixels"], image.shape), image)

    layers = page.evaluate("page.network.layers()")
    expected = tensors(rounded, image)
    assert [layer["name"] for layer in layers] == [layer.name for layer in rounded.layers]
    for layer, output in zip(layers, expected, strict=True):
        assert layer["shape"] == list(output.shape)
        np.testing.assert_allclose(np.reshape(layer["values"], output.shape), output, rtol=1e-4,
                                   atol=1e-4 * max(1, np.abs(output).max()))
    probability = page.evaluate("page.network.probability()")
    assert abs(probability - rounded.probability(image[None]).numpy()[0]) < 1e-4
    exact = network.probability(image[None]).numpy()[0]
    assert 0.02 < exact < 0.98 or name == "raw"
    assert abs(probability - exact) < 0.01  # what rounding to float16 changes


def test_the_network_of_the_repository_predicts_as_predict_does(page):
    """Of docs/try.html's own picture, and of others that are dropped onto it."""
    page.open(ROOT / "docs/try.html")
    network = models.load(run_folder.PRETRAINED)
    image = data.load_image(ROOT / "sample/cat.83.jpg", network.input_size)[None]
    assert abs(page.evaluate("page.network.probability()") -
               network.probability(image).numpy()[0]) < 1e-4
    told = page.evaluate("page.network.decision()")
    for logit, each in zip(told["logits"], (image, image[:, :, ::-1]), strict=True):
        assert logit == pytest.approx(network(each).numpy()[0], abs=2e-3)
    for name in ("kittens.jpg", "sample/dog.0.jpg"):
        shown, expected = classify(page, network, ROOT / name)
        assert abs(shown - expected) < 1e-4


def test_the_label_is_that_of_the_runs_threshold(page, folder):
    picture = save_picture(folder / "small.png")
    for threshold, label in ((0.0, "katze"), (0.9, "hund")):
        file, network, _ = network_page(folder, f"at{threshold}", picture, "mlp", (11, 14),
                                        threshold, class_names=("katze", "hund"),
                                        scaling="standard", hidden=(30,))
        page.open(file)
        probability = network.probability(data.load_image(picture, (11, 14))[None]).numpy()[0]
        assert 0.02 < probability < 0.9
        assert page.evaluate("page.network.label()") == label
        of_label = probability if label == "katze" else 1 - probability
        assert page.evaluate("document.querySelector('#label').textContent") == (
            f"{label} ({of_label:.1%})")


@pytest.fixture
def tta_page(page, made, folder):
    """A small network's page, opened; the network with rounded kernels, and its input."""
    file, _, rounded = made("tta")
    page.open(file)
    return page, rounded, data.load_image(folder / "photo.png", rounded.input_size)


@pytest.fixture
def shared_tta_page(page, made, folder):
    """The same, perhaps opened by another test, and reset."""
    file, _, rounded = made("tta")
    page.show(file)
    return page, rounded, data.load_image(folder / "photo.png", rounded.input_size)


def test_a_feature_map_shows_the_sum_of_its_window(shared_tta_page):
    page, network, image = shared_tta_page
    outputs = tensors(network, image)
    for number, index in ((0, 1), (1, 4)):  # the layers: scale, conv2d, max_pool, bias_relu, …
        convolution, bias = network.layers[index], network.layers[index + 2].bias.numpy()
        kernel, given = convolution.kernel.numpy(), outputs[index - 1]
        for filter_index, row, column in ((0, 0, 0), (5, 3, 5)):
            page.click(f"#strip button:nth-child({number + 2})")
            page.click(f".block:not([hidden]) .gallery [data-map='{filter_index}']")
            page.evaluate(f"page.network.moveWindow({row}, {column})")
            told = page.evaluate("page.network.place()")
            window = given[row:row + 3, column:column + 3]
            products = window * kernel[:, :, :, filter_index]
            np.testing.assert_allclose(told["sums"], products.sum(axis=(0, 1)), atol=1e-5)
            np.testing.assert_allclose(told["windows"][2]["products"], products[:, :, 2].ravel(),
                                       atol=1e-5)
            assert told["sum"] == pytest.approx(outputs[index][row, column, filter_index], abs=1e-4)
            assert text(page, "#map-cell") == text(page, "#channels [aria-pressed=true] b")
            assert told["bias"] == pytest.approx(bias[filter_index], abs=1e-6)
            assert told["activation"] == pytest.approx(
                max(0, products.sum() + bias[filter_index]), abs=1e-4)
    assert page.evaluate("[...document.querySelectorAll('#strip button')].map((each) => "
                         "each.innerText.split('\\n').slice(0, 2))")[1:] == [
        ["Convolution 1", "6 maps: 21 x 28"], ["Convolution 2", "10 maps: 8 x 12"],
        ["Hidden layer 1", "20 units"], ["Hidden layer 2", "8 units"], ["Prediction", "left: cat"]]
    page.evaluate("page.network.moveWindow(2, 2); document.querySelector('#map').focus()")
    page.press("ArrowRight")
    page.press("ArrowDown")
    told = page.evaluate("page.network.place()")
    assert (told["row"], told["column"]) == (3, 3)


def test_a_first_kernel_is_sent_to_the_kernel_part(shared_tta_page):
    page, network, image = shared_tta_page
    page.evaluate("page.network.choose(0, 3)")
    page.click("#send button:nth-of-type(2)")
    settings = page.evaluate("page.settings()")
    scale, weights = network.layers[0], network.kernels[0].numpy()[:, :, 1, 3]
    np.testing.assert_allclose(settings["kernel"], (weights / scale.std.numpy()[1]).ravel(),
                               atol=1e-7)
    assert (settings["channel"], settings["padding"], settings["stride"]) == ("green", "valid", 1)
    # B is what green contributes to the map: the scaling of the pixels is part of it.
    scaled = scale(image[None]).numpy()[0, :, :, 1]
    np.testing.assert_allclose(matrix(page.evaluate("page.filtered()")),
                               filters.convolve(scaled, weights, "valid"), atol=1e-4)
    page.evaluate("page.network.choose(1, 0)")
    assert page.evaluate("document.querySelectorAll('#send button').length") == 0


def test_the_cover_is_dragged_and_the_probability_follows(shared_tta_page):
    page, network, image = shared_tta_page
    before = page.evaluate("page.network.probability()")
    page.click("#cover")
    assert page.evaluate("""getComputedStyle(document.querySelector("#input .window"))
        .backgroundColor""") == "rgb(128, 128, 128)"  # as grey as what it covers
    seen = {before}
    for row, column in ((2, 3), (11, 19)):
        page.drag("#input", (0.5, 0.5), (0.4, 0.4), ((column + 2.5) / 30, (row + 2.5) / 23))
        assert page.evaluate("page.network.cover()") == {"row": row, "column": column,
                                                         "size": 23 // 5}
        covered = image.copy()
        covered[row:row + 4, column:column + 4] = 128
        seen.add(page.evaluate("page.network.probability()"))
        assert page.evaluate("page.network.probability()") == pytest.approx(
            network.probability(covered[None]).numpy()[0], abs=1e-4)
    page.evaluate("document.querySelector('#input').focus()")
    page.press("ArrowUp")
    assert page.evaluate("page.network.cover()")["row"] == row - 1
    seen.add(page.evaluate("page.network.probability()"))
    assert len(seen) == 4
    page.click("#cover")
    assert page.evaluate("page.network.probability()") == before
    assert page.evaluate("[percent(0.99982), percent(1), percent(1e-7, 3), decimals(2e-7)]") == [
        ">99.9%", "100.0%", "<0.001%", "<0.0001"]  # what is not certain is not said to be


def test_the_cover_stays_on_another_picture(shared_tta_page, tmp_path):
    page, network, image = shared_tta_page
    page.click("#cover")
    drop(page, save_picture(tmp_path / "a.png", image[::-1]))
    uncovered = network.probability(image[None, ::-1]).numpy()[0]
    told = page.evaluate("document.querySelector('#probability').textContent")
    assert float(told.split("Uncovered: ")[1][:-1]) == pytest.approx(uncovered, abs=2e-4)


def classify(page, network, file):
    """The probability on the page and predict.py's, of a file that is dropped onto it."""
    drop(page, file)
    image = data.load_image(file, network.input_size)
    return page.evaluate("page.network.probability()"), network.probability(image[None]).numpy()[0]


@pytest.mark.parametrize("shape", [(23, 30), (50, 40), (300, 500), (10, 12), (700, 31)])
def test_a_dropped_png_gets_the_probability_of_predict(shared_tta_page, tmp_path, shape):
    page, network, _ = shared_tta_page
    pixels = GENERATOR.integers(0, 256, (*shape, 3), dtype=np.uint8)
    file = save_picture(tmp_path / "a.png", pixels)
    shown, expected = classify(page, network, file)
    told = page.evaluate("page.network.input()")["pixels"]
    np.testing.assert_array_equal(np.reshape(told, (23, 30, 3)), data.load_image(file, (23, 30)))
    assert abs(shown - expected) < 1e-3


def test_a_damaged_file_dropped_right_after_a_picture_leaves_that_picture_whole(shared_tta_page):
    page, *_ = shared_tta_page
    file = save_picture(io.BytesIO(), PHOTO[::-1], format="PNG")
    png = base64.b64encode(file.getvalue()).decode()
    page.evaluate(f"""(async () => {{
        const first = page.open(new File([fromBase64("{png}")], "good.png"));
        while (document.querySelector("#comparison").textContent) {{
          await new Promise((resolve) => setTimeout(resolve)); }}
        await Promise.all([first, page.open(new File(["no picture"], "text.jpg"))]); }})()""")
    assert "text.jpg is no picture" in page.evaluate("page.message()")
    assert text(page, "#picture-name") == text(page, "#input-caption") == "good.png"
    probability = page.evaluate("page.network.probability()")
    logits = page.evaluate("page.network.decision().logits")
    assert np.mean(1 / (1 + np.exp(-np.array(logits)))) == pytest.approx(probability, abs=1e-6)
    heat_map(page)  # is computed


@pytest.mark.parametrize("decoder", ["ImageDecoder", "none"])  # which not every browser has
def test_a_dropped_jpeg_gets_the_probability_of_predict(shared_tta_page, tmp_path, decoder):
    page, network, _ = shared_tta_page
    files = [ROOT / "kittens.jpg", ROOT / "sample/cat.0.jpg"]
    turned = Image.Exif()
    turned[0x0112] = 6  # high as it is stored, and wide as it is shown
    with Image.open(ROOT / "kittens.jpg") as kittens:
        for size, options in (((99, 75), {}), ((193, 147), {}), ((428, 327), {"subsampling": 0}),
                              ((170, 460), {"exif": turned})):
            files.append(tmp_path / f"{size}.jpg")
            kittens.resize(size).save(files[-1], **options)
    if decoder == "none":
        page.evaluate("window.kept = ImageDecoder, delete window.ImageDecoder")
    for file in files:
        shown, expected = classify(page, network, file)
        told = page.evaluate("page.network.input()")["pixels"]
        difference = np.subtract(np.reshape(told, (23, 30, 3)), data.load_image(file, (23, 30)),
                                 dtype=float)
        if decoder == "ImageDecoder":
            assert not difference.any(), file
            assert abs(shown - expected) < 1e-3, file
        else:
            assert np.abs(difference).mean() < 1, file
            assert abs(shown - expected) < 0.02, file
    if decoder == "none":
        page.evaluate("window.ImageDecoder = kept")


def test_a_layer_that_the_page_does_not_know_is_named(page, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(models, "Flatten", GlobalAveragePool)
    picture = save_picture(folder / "small.png")
    file, network, rounded = network_page(folder, "unknown", picture, "conv2_48", (23, 30),
                                          scaling="standard", filters=(6, 10), hidden=(20, 8))
    image = data.load_image(picture, (23, 30))
    page.open(file)
    assert page.evaluate("page.message()") == ""
    assert "cannot compute the layer global_average_pool (GlobalAveragePool)" in page.evaluate(
        "document.querySelector('#network-facts').textContent")
    layers = page.evaluate("page.network.layers()")
    for layer, output in zip(layers, tensors(rounded, image, 7), strict=True):
        np.testing.assert_allclose(np.reshape(layer["values"], output.shape), output, rtol=1e-4,
                                   atol=1e-4 * max(1, np.abs(output).max()))
    page.evaluate("page.network.choose(1, 2)")
    probability = network.probability(image[None]).numpy()[0]
    assert page.evaluate("page.network.probability()") == pytest.approx(probability, abs=1e-6)
    assert page.evaluate("page.network.label()") == ("cat" if probability > 0.5 else "dog")
    assert page.evaluate("document.querySelector('#cover').disabled")
    drop(page, save_picture(tmp_path / "other.png", NOISE[::-1]))
    assert page.evaluate("[page.network.probability(), page.network.label()]") == [None, None]
    assert "predict.py" in page.evaluate("document.querySelector('#probability').textContent")


def test_the_page_says_how_to_get_a_network_and_what_it_cannot_show(page, kernel_page, made):
    page.show(kernel_page)
    assert page.evaluate("page.network") is None
    told = page.evaluate("document.querySelector('#no-network').innerText")
    assert "python train.py" in told and "--page" in told
    page.show(made("mlp")[0])
    assert page.evaluate("document.querySelector('#no-network').hidden")
    assert "has no convolution" in page.evaluate("document.querySelector('#steps').textContent")
    recipes = re.findall(r"recipes/[\w-]+\.flags", told)
    assert recipes and all((ROOT / recipe).exists() for recipe in recipes)


def heat_map(page):
    page.wait_for("page.network.heat()")
    return page.evaluate("page.network.heat().values")


@pytest.mark.parametrize("name", ["tta", "average", "none", "stride", "mlp"])
def test_decision_heat_map_and_switched_off_maps_equal_tensorflows(page, made, folder, name):
    file, _, network = made(name)
    size, options = NETWORKS[name][1:]
    page.open(file)
    image = data.load_image(folder / "photo.png", size)
    before = network.probability(image[None]).numpy()[0]

    told = page.evaluate("page.network.decision()")
    logit = network(image[None]).numpy()[0]
    last, unit_values = network.layers[-1], tensors(network, image)[-2]
    np.testing.assert_allclose(told["contributions"], unit_values * last.kernel.numpy()[:, 0],
                               atol=1e-4)
    assert sum(told["contributions"]) + told["bias"] == pytest.approx(logit, abs=1e-4)
    assert told["logits"][0] == pytest.approx(logit, abs=1e-4)
    terms = re.search(r"\n= (.+?) \(.+?\n\u2212 (.+?) \(.+?\n(.) (.+?) \(bias\) (.) (.+?)\n",
                      text(page, "#logit")).groups()
    up, down, bias, shown = (float(terms[place].replace("\u2212", "-")) for place in (0, 1, 3, 5))
    bias = bias if terms[2] == "+" else -bias
    assert shown == pytest.approx(logit, abs=6e-4)
    assert terms[4] == ("=" if abs(up - down + bias - shown) < 1e-6 else "\u2248")
    if options.get("tta"):
        assert told["logits"][1] == pytest.approx(
            network(image[None, :, ::-1]).numpy()[0], abs=1e-4)

    side = max(1, min(size) // 5)
    expected = explain.occlusion_map(size, side, before, explain.occlude(network, image, side))
    np.testing.assert_allclose(np.reshape(heat_map(page), size), expected, atol=1e-4)

    convolutions = [index for index, layer in enumerate(network.layers)
                    if isinstance(layer, models.Conv2D)]
    for block, index in enumerate(convolutions):
        page.click(f"#strip button:nth-child({block + 2})")
        page.wait_for(f"page.network.effects({block})")
        effects = page.evaluate(f"page.network.effects({block})")
        kernel = network.layers[index].kernel
        bias = next(layer.bias for layer in network.layers[index:]
                    if isinstance(layer, models.BiasRelu))
        whole = kernel.numpy(), bias.numpy()
        for switched in range(0, kernel.shape[-1], 2):
            off = np.arange(kernel.shape[-1]) == switched
            kernel.assign(np.where(off, 0, whole[0]))
            bias.assign(np.where(off, 0, whole[1]))
            without = network.probability(image[None]).numpy()[0]
            assert effects[switched] == pytest.approx(without, abs=1e-4)
        page.evaluate(f"page.network.switchOff({block}, {switched})")
        assert page.evaluate("page.network.probability()") == pytest.approx(without, abs=1e-4)
        if block == 0:
            expected = explain.occlusion_map(size, side, without,
                                             explain.occlude(network, image, side))
            np.testing.assert_allclose(np.reshape(heat_map(page), size), expected, atol=1e-4)
        page.evaluate(f"page.network.switchOff({block}, {switched}, false)")
        kernel.assign(whole[0])
        bias.assign(whole[1])
    assert page.evaluate("page.network.probability()") == pytest.approx(before, abs=1e-4)


def test_maps_are_sorted_by_what_switching_them_off_changes(shared_tta_page):
    page, *_ = shared_tta_page
    page.wait_for("page.network.effects(0)")
    effects = np.array(page.evaluate("page.network.effects(0)"))
    changes = np.abs(effects - page.evaluate("page.network.probability()"))
    shown = page.evaluate("""[...document.querySelectorAll(".block:not([hidden]) [data-map]")].map(
        (each) => Number(each.dataset.map))""")
    np.testing.assert_allclose(changes[shown], np.sort(changes)[::-1])
    told = page.evaluate("""(page.network.switchOff(0, 3), [...document.querySelectorAll(
        ".block:not([hidden]) [data-map] span, #heat-bar span")].map(
        (each) => each.textContent))""")
    assert set(told) == {"off", "\u2026", "for dog", "0", "for cat"}  # what was true before is gone


def test_a_map_is_switched_off_and_on_again_by_keys_and_the_link_knows(tta_page, folder):
    page, *_ = tta_page
    before = page.evaluate("page.network.probability()")
    page.evaluate("document.querySelector('#strip button').focus()")
    page.press("ArrowRight")
    page.press("ArrowRight")
    page.press("Enter")  # the second convolution
    page.press("Tab")
    page.press("Tab")
    page.press("Tab")  # over two choices to its maps: one of them takes the tabulator key
    assert page.evaluate("document.activeElement.dataset.map") is not None
    page.press("ArrowRight")
    chosen = page.evaluate("document.activeElement.dataset.map")
    page.press("Enter")
    assert page.evaluate("document.activeElement.id") == "chosen-heading"  # the focus moves there
    page.press("Tab")
    assert page.evaluate("document.activeElement.id") == "switch-off"
    page.press("Enter")
    off = page.evaluate("page.network.off()")
    assert [each["map"] for each in off] == [int(chosen)]
    changed = page.evaluate("page.network.probability()")
    assert changed != before
    assert "not the network's own" in text(page, "#switched-off")
    assert text(page, "#effect") == (f"The probability of cat is now {changed:.3%}, with all maps "
                                     f"switched on {before:.3%}.")
    fragment = page.evaluate("location.hash")
    page.evaluate("page.network.switchOff(0, 2)")
    page.evaluate("document.querySelector('#switched-off button').focus()")
    page.press("Enter")
    assert page.evaluate("document.activeElement.closest('#switched-off') !== null")  # the next
    page.click("#switched-off button")
    assert page.evaluate("page.network.probability()") == before
    page.open(folder / "filtered/photo-tta.html", fragment)
    assert page.evaluate("page.network.probability()") == changed
    page.click("#reset")
    page.wait_for("page.network.off().length === 0")
    page.open(folder / "filtered/photo-tta.html", "#layer=7&map=1&off=1.99")
    assert page.evaluate("page.message()").startswith(
        "The address of this page is damaged (layer and map, off)")


def test_the_chosen_map_follows_what_is_shown(shared_tta_page):
    page, *_ = shared_tta_page
    page.evaluate("page.network.choose(0, 2)")
    for stage, name in (("response", "response"), ("relu", "ReLU"), ("last", "pooling")):
        page.choose(".block:not([hidden]) select", stage)
        page.evaluate("page.network.moveWindow(1, 1)")
        caption = text(page, "#map-stages .as-above figcaption")
        assert caption.startswith("As above: ") and name in caption


def test_reset_brings_the_network_part_back(shared_tta_page):
    page, *_ = shared_tta_page
    state = """[...document.querySelectorAll("#network-part :is(select, input)")].map(
        (each) => [each.value, each.checked]).concat([page.network.off(), page.place().row,
        document.querySelector("#chosen").hidden, document.querySelector("[data-map]").ariaPressed,
        document.querySelector("#strip [aria-pressed=true]").textContent])"""
    before = page.evaluate(state)
    page.evaluate("""page.network.choose(0, 2); page.network.choose(1, 3);
        page.network.switchOff(1, 3); page.update({stride: 2, pooling: true})""")
    page.choose(".block:not([hidden]) label:nth-child(1) select", "response")
    page.choose(".block:not([hidden]) label:nth-child(2) select", "number")
    page.choose("#epoch", "0")
    page.click("#as-input")
    page.evaluate("page.reset()")
    assert page.evaluate(state) == before


def test_links_lead_to_the_parts_of_the_page(shared_tta_page):
    page, *_ = shared_tta_page
    page.evaluate("page.update({bias: 3})")
    for part in ("decision", "layers", "learning", "kernel"):
        page.click(f"#parts [href='#{part}-heading']")
        page.wait_for("location.hash.includes('bias=3')")  # it is what the page shows again
        top = page.evaluate(f"""document.querySelector("#{part}-heading")
            .getBoundingClientRect().top""")
        assert -5 < top < 450  # it is to be seen, at the top unless the page ends
    assert page.evaluate("page.settings().bias") == 3 and page.evaluate("page.message()") == ""


def test_the_picture_takes_the_keys_only_while_it_is_covered(shared_tta_page):
    page, *_ = shared_tta_page
    for covered in (False, True, False):
        assert (page.evaluate("document.querySelector('#input').tabIndex") == 0) == covered
        assert (page.evaluate("document.querySelector('#input').role") == "application") == covered
        page.click("#cover")


def test_the_slider_ends_with_the_kernels_of_the_network(page, folder):
    arch, size, options = NETWORKS["tta"]
    picture = save_picture(folder / "small.png", NOISE)
    run, kernels = folder / "runs/kept", []
    network = make_network(arch, size, seed=3, init="he", **options)
    make_run(run, network, init="he", seed=3, **options)
    run_folder.write_history(run, epoch_record(epoch=2, best_accuracy=0.75, threshold=0.4,
                                               pictures=16500))
    run_folder.write_records(run / "test.json", [{"pictures": 2500, "accuracy": 0.9544}])
    trained = network.kernels[0].numpy()
    for epoch, factor in enumerate((0.25, 0.5, 1, 2)):  # the second epoch is the best one
        run_folder.write_first_kernels(run, epoch, factor * trained)
        kernels.append((factor * trained).astype(np.float16))
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(folder)
        file = folder / explain.write_page(picture, run)
    page.open(file)
    assert page.evaluate("page.network.learning.epochs") == [0, 1, 2]
    for index in range(3):
        np.testing.assert_array_equal(page.evaluate(f"page.network.learning.kernels({index})"),
                                      kernels[index].ravel())
    page.evaluate("document.querySelector('#epoch').focus()")
    assert text(page, "#epoch-words") == "after epoch 2, the network of this page: accuracy 75.0%"
    page.press("ArrowLeft")
    assert text(page, "#epoch-words") == "after epoch 1: accuracy 50.0%"
    page.press("ArrowLeft")
    assert text(page, "#epoch-words") == "before the first epoch"
    assert text(page, "#network-origin") == (
        "It was trained on 16,500 pictures and is right about 95.4% of 2,500 others.")
    page.click("#learning-kernels button")
    number = text(page, "#learning-kernels button").removeprefix("kernel ")
    assert text(page, "#chosen-heading") == f"Feature map {number} of convolution 1"


def test_six_pictures_are_there_to_click_the_worst_mistakes_first(page, folder, photos):
    arch, size, options = NETWORKS["mlp"]
    files = sorted(photos.glob("*.png"))
    labels = np.array([file.name.startswith("cat") for file in files])
    run = make_run(folder / "runs/clicked", make_network(arch, size, **options), **options)
    predictions = np.where(labels, 0.9, 0.1)
    predictions[[3, 20]] = 0.2, 0.99  # a cat taken for a dog, and the other way round
    run_folder.write_predictions(run, files, labels, predictions)
    files[0].unlink()
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(folder)
        page.open(folder / explain.write_page(files[3], run))
    captions = page.evaluate(
        "[...document.querySelectorAll('.examples button')].map((each) => each.textContent)")
    assert captions[:2] == ["dog, taken for cat", "cat, taken for dog"]
    assert sorted(captions[2:]) == ["cat", "cat", "dog", "dog"]
    page.click(".examples button")
    page.wait_for("document.querySelector('.examples button').ariaPressed === 'true'")
    assert text(page, "#input-caption") == f"{files[20].name} (dog, taken for cat)"
    assert text(page, "#picture-name") == files[20].name


def test_of_a_network_too_large_the_feature_maps_are_shown(page, made, folder, monkeypatch):
    arch, size, options = NETWORKS["average"]
    picture = save_picture(folder / "small.png")
    made("average")  # its run
    monkeypatch.setattr(compose, "MAX_WEIGHTS", 2000)
    file, network, rounded = network_page(folder, "average", picture, arch, size, **options)
    page.open(file)
    image = data.load_image(picture, size)
    layers = page.evaluate("page.network.layers()")
    assert [layer["name"] for layer in layers][-1] == "flatten"
    for layer, output in zip(layers, tensors(rounded, image, len(layers)), strict=True):
        np.testing.assert_allclose(np.reshape(layer["values"], output.shape), output, rtol=1e-4,
                                   atol=1e-3)
    assert "are too many for a page" in text(page, "#not-whole")
    assert page.evaluate("page.network.probability()") == pytest.approx(
        network.probability(image[None]).numpy()[0], abs=1e-6)  # TensorFlow's
    assert '"left_out":true' in file.read_text()


# ---------------------------------------------------------------------------------------------
# Screens, colours, times
# ---------------------------------------------------------------------------------------------

@pytest.mark.parametrize("width", [320, 375, 1200, 1600])
def test_the_page_is_never_wider_than_its_window(shared_tta_page, width):
    page, *_ = shared_tta_page
    page.screen(width)
    page.evaluate("page.update({kernel: Array(25).fill(-0.0123)}); page.network.choose(1, 2)")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("""[...document.querySelectorAll("#kernel input")].filter(
        (each) => each.scrollWidth > each.clientWidth + 1).length""") == 0  # nothing is cut off
    assert page.evaluate("""[...document.querySelectorAll("#submatrix small")].filter((each) =>
        each.getBoundingClientRect().width > each.parentElement.offsetWidth + 2).length""") == 0
    small = page.evaluate("""[...document.querySelectorAll("button, select, input")].map(
        (each) => [each.id || each.textContent, each.getBoundingClientRect()]).filter(
        ([name, box]) => box.width && name !== "file" && Math.min(box.width, box.height) < 24)""")
    assert small == []  # WCAG 2.2, target size


def open_all(page, file, width, height, dark):
    """A page on such a screen with all that can be opened, a held window, and messages."""
    page.screen(width, height, dark)
    page.open(file)
    page.evaluate("""document.querySelectorAll("details").forEach(
        (each) => { each.open = true; });
        page.update({kernel: Array(25).fill(-0.0123), relu: true, pooling: true, bias: 3});
        page.open(new File(["no picture"], "text.jpg"))""")
    page.click("#picture")  # holds the window
    page.type("#kernel input", "one")


SCREENS = [(1280, 720, False), (375, 812, True)]


@pytest.mark.parametrize("screen", SCREENS)
def test_axe_finds_no_violation_of_wcag_2_2_aa(page, kernel_page, screen):
    open_all(page, kernel_page, *screen)
    assert page.barriers() == []


@pytest.mark.parametrize("screen", SCREENS)
def test_axe_finds_no_violation_in_the_network_part(page, made, screen):
    open_all(page, made("tta")[0], *screen)
    page.evaluate("page.network.choose(1, 2); page.network.switchOff(0, 3)")
    page.click("#cover")
    page.wait_for("page.network.effects(1)")
    assert page.barriers("#kernel-part") == []  # which is the same on both pages


@pytest.mark.parametrize("chosen", [".gallery button", "#channels button"])
def test_the_focus_is_seen_on_what_is_chosen(shared_tta_page, chosen):
    page, *_ = shared_tta_page
    page.evaluate("page.network.choose(0, 0)")
    outline = f"""getComputedStyle(document.querySelector('{chosen}[aria-pressed=true]')).outline"""
    page.press("Tab")  # from here on the focus is that of the keyboard
    page.evaluate("document.activeElement.blur()")
    blurred = page.evaluate(outline)
    page.evaluate(f"document.querySelector('{chosen}[aria-pressed=true]').focus()")
    assert page.evaluate(outline) != blurred


def test_screen_readers_are_told_of_the_last_of_many_moves_only(tta_page, tmp_path):
    page, *_ = tta_page
    page.evaluate("""window.heard = [], document.querySelectorAll("[role=status], [aria-live]")
        .forEach((each) => new MutationObserver(() => each.textContent &&
            heard.push(each.textContent)).observe(each, {childList: true, subtree: true}))""")
    press = """(stage) => { for (let time = 0; time < 5; time++) {
        document.querySelector(stage).dispatchEvent(
            new KeyboardEvent("keydown", {key: "ArrowRight"})); } }"""
    page.evaluate(f"page.moveTo(3, 4); ({press})('#picture')")
    page.wait_for("heard.length")
    page.click("#play")
    page.wait_for("page.place().column > 14")
    page.click("#play")
    page.evaluate(f"document.querySelector('#cover').click(); ({press})('#input')")
    page.wait_for("heard.length > 1")
    moved, covered = page.evaluate("heard")
    assert moved.startswith("Row 4, column 10 of the convolution: the sum is ")
    assert covered == page.evaluate("document.querySelector('#probability').textContent")


def luminance(colour):
    """Relative luminance of "#rrggbb". Source: WCAG 2.2, definitions."""
    levels = np.array([int(colour[place:place + 2], 16) for place in (1, 3, 5)]) / 255
    linear = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722]


def test_colours_keep_the_contrast_of_wcag_aa_in_light_and_dark():
    text = (ROOT / "page/page.css").read_text()
    schemes = [dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", block))
               for block in re.findall(r":root \{(.*?)\}", text, re.DOTALL)]
    assert len(schemes) == 2
    for scheme in schemes:
        for ink, paper, least in (
                ("ink", "paper", 4.5), ("ink", "panel", 4.5), ("faint", "paper", 4.5),
                ("faint", "panel", 4.5), ("alarm", "paper", 4.5), ("on-accent", "accent", 4.5),
                ("line", "paper", 3), ("line", "panel", 3), ("focus", "paper", 3),
                ("accent", "panel", 3), ("join", "paper", 3)):
            dark, light = sorted((luminance(scheme[ink]), luminance(scheme[paper])))
            assert (light + 0.05) / (dark + 0.05) >= least, (ink, paper, scheme)


def test_numbers_are_readable_on_every_grey(page, kernel_page):
    page.show(kernel_page)
    for level, ink in enumerate(page.evaluate(
            "Array.from({length: 256}, (_, level) => inkOn([level, level, level]))")):
        dark, light = sorted((luminance(ink), luminance(f"#{level:02x}{level:02x}{level:02x}")))
        assert (light + 0.05) / (dark + 0.05) >= 4.5, level


def test_milliseconds_are_printed(page, folder, tmp_path, request):
    """pytest -s -k milliseconds: of an edit on the kittens, and of photographs dropped.

    Without -s nobody reads them: it is done once, and without the largest photograph.
    """
    picture, (arch, size, options) = ROOT / "kittens.jpg", NETWORKS["max"]
    page.open(network_page(folder, "max", picture, arch, size, **options)[0])
    rounds = 5 if request.config.option.capture == "no" else 1
    times = {"edit, 3x3": [], "edit, 5x5": []}
    for number in range(rounds):
        for size in (3, 5):
            kernel = json.dumps([number, *[-1] * (size * size - 1)])
            times[f"edit, {size}x{size}"].append(page.evaluate(
                f"page.update({{kernel: {kernel}}}).then(() => page.timings().edit)"))
    photographs = [("photograph of 800 x 533", picture, rounds)]
    if rounds > 1:
        photographs.append(("photograph of 4000 x 3000", tmp_path / "large.jpg", 2))
        with Image.open(picture) as kittens:
            kittens.resize((4000, 3000), Image.Resampling.NEAREST).save(tmp_path / "large.jpg")
    for name, photo, count in photographs:
        times[name] = []
        for _ in range(count):
            drop(page, photo)
            times[name].append(page.evaluate("page.timings().opened"))
    times["the network alone"] = [page.evaluate(
        "page.network.moveCover(0, 0), page.timings().computed") for _ in range(rounds)]
    for name, milliseconds in times.items():
        print(f"{name}: {np.median(milliseconds):.0f} ms, at most {max(milliseconds):.0f} ms")
        assert min(milliseconds) < 1000, name  # on any machine
