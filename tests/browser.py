"""Chromium without a window, for the tests of pages: driven by its own DevTools protocol.

    with browser.started(folder) as page:
        page.open(folder / "kittens.html")
        page.evaluate("2 + 2")                   # 4
        page.press("ArrowRight")

Of all clients the lightest: websocket-client carries the messages, the protocol is Chromium's own
(https://chromedevtools.github.io/devtools-protocol). So no driver has to fit the browser's version.
"""

import base64
import contextlib
import functools
import importlib.util
import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# The first is the same without a window: it starts sooner and does with less.
EXECUTABLE = next(filter(None, map(shutil.which, (
    "chromium-headless-shell", "chromium", "google-chrome"))), None)
KEYS = {"ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40, "Tab": 9, " ": 32,
        "Enter": 13, "Escape": 27, "Home": 36, "End": 35}
SHIFT = 8  # of the protocol's modifiers
OPTIONS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--in-process-gpu", "--disable-quic",
           "--no-first-run", "--disable-background-networking", "--disable-component-update",
           "--disable-sync", "--disable-extensions", "--disable-ipc-flooding-protection",
           "--hide-scrollbars", "--remote-debugging-port=0")


def why_not() -> str | None:
    """Why no browser can be started here; None if one can."""
    if EXECUTABLE is None:
        return "there is no chromium: apt-get install chromium-headless-shell"
    for package, what in (("websocket", "client for it"), ("axe_playwright_python", "axe-core")):
        if importlib.util.find_spec(package) is None:
            return f"there is no {what}: pip install -r requirements-dev.txt"
    return None


@functools.cache
def axe_core() -> str:
    """The text of axe-core (https://github.com/dequelabs/axe-core), which checks accessibility.

    Only this file of the package is used: its Python needs a browser of its own.
    """
    folder, = importlib.util.find_spec("axe_playwright_python").submodule_search_locations
    return (Path(folder) / "axe.min.js").read_text(encoding="utf-8")


class Page:
    """A tab of the browser. Coordinates are those of its window, in CSS pixels."""

    def __init__(self, connection):
        self.connection, self.number, self.events = connection, 0, []
        self.opened, self.resettable = 0, None  # how many pages; the one that `show` opened
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters) -> dict:
        """Send a command and return its result; events that come before it are kept."""
        self.number += 1
        self.connection.send(json.dumps(
            {"id": self.number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self.connection.recv())
            if message.get("id") == self.number:
                assert "error" not in message, (method, message["error"])
                return message["result"]
            self.events.append(message)

    def open(self, file: Path, fragment: str = "") -> None:
        """Open a page of the disk, and wait until it is ready."""
        self.opened, self.resettable = self.opened + 1, None
        query = f"?{self.opened}"  # or only the fragment would change, and nothing be loaded
        self.call("Page.navigate", url=file.resolve().as_uri() + query + fragment)
        self.wait_for(f"location.search === '{query}' && document.readyState === 'complete' && "
                      "window.page !== undefined")
        self.evaluate("page.ready")

    def show(self, file: Path) -> None:
        """A page as `open` leaves it, but quicker: by its own reset if `show` has opened it.

        For tests that leave nothing behind that a reset does not take away.
        """
        if self.resettable != file:
            self.open(file)
            self.resettable = file
        else:
            self.evaluate("""page.reset().then(() => { document.activeElement.blur();
                scrollTo(0, 0); history.replaceState(null, "", location.pathname); })""")

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression, of a promise what it resolves to."""
        result = self.call("Runtime.evaluate", expression=expression, awaitPromise=True,
                           returnByValue=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def wait_for(self, condition: str, seconds: float = 20) -> None:
        """Wait until a JavaScript expression is true."""
        end = time.monotonic() + seconds
        while not self.evaluate(condition):
            assert time.monotonic() < end, f"{condition} has not become true"
            time.sleep(0.02)

    def messages(self) -> list[dict]:
        """What is in the console, and what failed or was blocked, since the last call."""
        self.evaluate("0")  # what has happened by now has arrived
        told = [event for event in self.events if event["method"] in (
            "Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")]
        self.events = [event for event in self.events if event not in told]
        return told

    def requests(self) -> list[str]:
        """The addresses of all that was asked for since the start."""
        return [event["params"]["request"]["url"] for event in self.events
                if event["method"] == "Network.requestWillBeSent"]

    # What a person does.

    def point(self, selector: str, across: float = 0.5, down: float = 0.5) -> tuple[float, float]:
        """Where the element is, at these shares of its width and height, scrolled into view."""
        return self.evaluate(
            f"""(() => {{ const each = document.querySelector({json.dumps(selector)});
            each.scrollIntoView({{block: "center"}}); const box = each.getBoundingClientRect();
            return [box.x + {across} * box.width, box.y + {down} * box.height]; }})()""")

    def mouse(self, kind: str, place: tuple[float, float], pressed: bool = False) -> None:
        self.call("Input.dispatchMouseEvent", type=kind, x=place[0], y=place[1],
                  button="none" if kind == "mouseMoved" and not pressed else "left",
                  buttons=int(pressed), clickCount=1)

    def move_to(self, selector: str, across: float = 0.5, down: float = 0.5) -> None:
        self.mouse("mouseMoved", self.point(selector, across, down))

    def click(self, selector: str, across: float = 0.5, down: float = 0.5) -> None:
        place = self.point(selector, across, down)
        self.mouse("mousePressed", place, pressed=True)
        self.mouse("mouseReleased", place)

    def drag(self, selector: str, *places: tuple[float, float]) -> None:
        """Press the mouse at the first place, move it over the others, release it at the last."""
        self.mouse("mousePressed", self.point(selector, *places[0]), pressed=True)
        for place in places[1:]:
            self.mouse("mouseMoved", self.point(selector, *place), pressed=True)
        self.mouse("mouseReleased", self.point(selector, *places[-1]))

    def tap(self, selector: str, across: float = 0.5, down: float = 0.5) -> None:
        x, y = self.point(selector, across, down)
        self.call("Input.dispatchTouchEvent", type="touchStart", touchPoints=[{"x": x, "y": y}])
        self.call("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])

    def press(self, key: str, shift: bool = False) -> None:
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key,
                      modifiers=SHIFT * shift, windowsVirtualKeyCode=KEYS.get(key, 0),
                      **({"text": {"Enter": "\r"}.get(key, key)}
                         if key in (" ", "Enter") and kind == "keyDown" else {}))

    def type(self, selector: str, text: str) -> None:
        """Replace the text of an input, and leave it."""
        self.evaluate(f"document.querySelector({json.dumps(selector)}).select()")
        self.evaluate(f"document.querySelector({json.dumps(selector)}).focus()")
        self.call("Input.insertText", text=text)

    def choose(self, selector: str, option: str) -> None:
        """Choose an option of a select element by its value."""
        self.evaluate(f"""(() => {{ const each = document.querySelector({json.dumps(selector)});
            each.value = {json.dumps(option)};
            each.dispatchEvent(new Event("change", {{bubbles: true}})); }})()""")

    def drop(self, file: Path) -> None:
        """Drag a file from the desktop onto the page."""
        for kind in ("dragEnter", "dragOver", "drop"):
            self.call("Input.dispatchDragEvent", type=kind, x=100, y=100,
                      data={"items": [], "files": [str(file)], "dragOperationsMask": 1})

    def choose_file(self, selector: str, file: Path) -> None:
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(file)])
        self.call("DOM.disable")  # or every change of the document would be an event from here on

    # What a person may not be able to do.

    def barriers(self, *but: str) -> list[dict]:
        """The violations of WCAG 2.2, levels A and AA, that axe-core finds in what is shown.

        but: selectors of what is left out. The two dashed lines over the kernel part are taken away
        for it: they cover most of it, and of text below another element axe does not decide whether
        it has contrast.
        """
        if not self.evaluate("'axe' in window"):
            self.evaluate(axe_core() + "; 0")
        return self.evaluate("""(async (but) => {
            const lines = document.querySelector(".joins");
            lines.style.display = "none";
            const {violations} = await axe.run({exclude: but}, {
              runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"],
              resultTypes: ["violations"], preload: false,
              checks: {"color-contrast": {options: {ignoreLength: true}}}});
            lines.style.display = "";
            return violations.map(({id, help, nodes}) => ({id, help, nodes: nodes.map(
              ({target, failureSummary}) => [target.join(" "), failureSummary])}));
            })""" + f"({json.dumps([[each] for each in but])})")

    # What a screen is like.

    def screen(self, width: int, height: int = 900, dark: bool = False, calm: bool = False) -> None:
        """A window of this size, whose user prefers a dark page, or little motion."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height,
                  deviceScaleFactor=1, mobile=False)
        self.call("Emulation.setEmulatedMedia", features=[
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
            {"name": "prefers-reduced-motion", "value": "reduce" if calm else "no-preference"}])

    def screenshot(self, file: Path, whole: bool = False) -> None:
        """Write what is to be seen, or the whole page, as PNG."""
        result = self.call("Page.captureScreenshot", captureBeyondViewport=whole)
        file.write_bytes(base64.b64decode(result["data"]))


@contextlib.contextmanager
def started(folder: Path) -> Iterator[Page]:
    """A browser whose profile is in this empty folder, and a tab of it."""
    import websocket  # only where there is a browser to drive

    process = subprocess.Popen([EXECUTABLE, *OPTIONS, f"--user-data-dir={folder}", "about:blank"],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        port_file, end = folder / "DevToolsActivePort", time.monotonic() + 60
        while not (port_file.exists() and port_file.read_text().count("\n")):
            assert process.poll() is None and time.monotonic() < end, "the browser has not started"
            time.sleep(0.05)
        port = port_file.read_text().split()[0]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list") as tabs:
            address = next(tab["webSocketDebuggerUrl"] for tab in json.load(tabs)
                           if tab["type"] == "page")
        connection = websocket.create_connection(  # which would check every byte in Python
            address, timeout=60, suppress_origin=True, skip_utf8_validation=True)
        with contextlib.closing(connection):
            page = Page(connection)
            try:
                yield page
            finally:
                page.call("Browser.close")  # `process` may be a script that has started it
    finally:
        process.terminate()
        process.wait(30)
