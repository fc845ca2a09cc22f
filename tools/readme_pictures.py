"""Makes the README's pictures of filters.py and metrics.py again, into pictures/.

    python tools/readme_pictures.py --run=runs/minute-glorot

The run is the one that the README's "filters.py" trains on the photographs. kittens.jpg is drawn,
so the pages about it may be shown; the page of mistakes shows photographs, and stays in the run's
folder.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from absl import app, flags
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent

RUN = flags.DEFINE_string("run", None, "the folder of the run to show", required=True)
OUTPUT = flags.DEFINE_string("output", str(ROOT / "pictures"), "the folder to write to")

# The upper part of two long pages: two rows of kernels; an example and two rows of filters.
HEIGHTS = {"kernels": 753, "maps": 653}


def main(argv: list[str]) -> None:
    run, pictures = Path(RUN.value).resolve(), Path(OUTPUT.value)
    pictures.mkdir(exist_ok=True)
    image = f"--image={ROOT / 'kittens.jpg'}"
    with tempfile.TemporaryDirectory() as folder:
        for script, *arguments in (("filters.py", image), ("filters.py", image, f"--run={run}"),
                                   ("metrics.py", f"--run={run}", "--pictures")):
            done = subprocess.run([sys.executable, str(ROOT / script), *arguments], cwd=folder)
            if done.returncode:
                sys.exit(done.returncode)  # it has said why
        filtered = Path(folder) / "filtered"
        shutil.copy(filtered / "kittens-V-H-sheet.png", pictures)
        for kind in ("kernels", "maps", "why"):
            with Image.open(filtered / f"kittens-{run.name}-{kind}.png") as page:
                height = min(page.height, HEIGHTS.get(kind, page.height))
                page.crop((0, 0, page.width, height)).save(pictures / f"{kind}.png")
        shutil.copy(run / "histogram.png", pictures)


if __name__ == "__main__":
    app.run(main)
