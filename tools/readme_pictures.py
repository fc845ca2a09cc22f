"""Makes the pictures of README.md and docs/ again, into docs/pictures/.

    python tools/readme_pictures.py --run=runs/sample --histogram_run=runs/minute

README.md trains the first run on the drawn pictures, docs/using-a-network.md the second one on
photographs: its histogram shows none. tensorboard.png is a screenshot, which this does not make.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from absl import app, flags
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent

RUN = flags.DEFINE_string("run", None, "the run whose kernels, feature maps and prediction are "
                          "shown", required=True)
HISTOGRAM_RUN = flags.DEFINE_string("histogram_run", None, "the run whose predictions are shown "
                                    "[none: histogram.png stays as it is]")
OUTPUT = flags.DEFINE_string("output", str(ROOT / "docs" / "pictures"), "the folder to write to")

# A drawn cat that the first run validates on.
CAT = ROOT / "sample" / "cat.153.jpg"
# Of a long page the rows that are shown, in pixels from the top: the edge filters and a row of
# kernels; an example and a row of filters.
ROWS = {"kernels": [(125, 405), (455, 605)], "maps": [(0, 520)], "why": [(0, 440)]}


def show_rows(page: Image.Image, rows: list[tuple[int, int]]) -> Image.Image:
    """These rows of the page, one below the other."""
    rows = [(top, min(bottom, page.height)) for top, bottom in rows]
    shown = Image.new(page.mode, (page.width, sum(bottom - top for top, bottom in rows)))
    place = 0
    for top, bottom in rows:
        shown.paste(page.crop((0, top, page.width, bottom)), (0, place))
        place += bottom - top
    return shown


def run_script(folder: str, script: str, *arguments: str) -> None:
    done = subprocess.run([sys.executable, str(ROOT / script), *arguments], cwd=folder)
    if done.returncode:
        sys.exit(done.returncode)  # it has said why


def main(argv: list[str]) -> None:
    run, output = Path(RUN.value).resolve(), Path(OUTPUT.value)
    output.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        run_script(folder, "filters.py", f"--image={ROOT / 'kittens.jpg'}")
        run_script(folder, "filters.py", f"--image={CAT}", f"--run={run}")
        filtered = Path(folder) / "filtered"
        shutil.copy(filtered / "kittens-V-H-sheet.png", output)
        for kind, rows in ROWS.items():
            with Image.open(filtered / f"{CAT.stem}-{run.name}-{kind}.png") as page:
                show_rows(page, rows).save(output / f"{kind}.png")
    if HISTOGRAM_RUN.value is not None:
        histogram_run = Path(HISTOGRAM_RUN.value).resolve()
        run_script(str(ROOT), "metrics.py", f"--run={histogram_run}", "--pictures")
        shutil.copy(histogram_run / "histogram.png", output)


if __name__ == "__main__":
    app.run(main)
