"""Makes the README's pictures of filters.py and metrics.py again, into pictures/.

    python tools/readme_pictures.py --run=runs/minute-glorot

The run is the one that the README's "filters.py" trains on the photographs. kittens.jpg is drawn,
so what the network answers to it may be shown; the sheet of mistakes shows photographs, and stays
in the run's folder.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from absl import app, flags
from PIL import Image

RUN = flags.DEFINE_string("run", None, "the folder of the run to look into", required=True)

ROOT = Path(__file__).resolve().parent.parent
PICTURES = ROOT / "pictures"
MAPS_HEIGHT = 653  # what the maps' sheet begins with: the example, and two rows of filters


def main(argv: list[str]) -> None:
    run = Path(RUN.value).resolve()
    image = f"--image={ROOT / 'kittens.jpg'}"
    with tempfile.TemporaryDirectory() as folder:
        for script, *arguments in (("filters.py", image), ("filters.py", image, f"--run={run}"),
                                   ("metrics.py", f"--run={run}", "--pictures")):
            done = subprocess.run([sys.executable, str(ROOT / script), *arguments], cwd=folder)
            if done.returncode:
                sys.exit(done.returncode)  # it has said why
        filtered = Path(folder) / "filtered"
        shutil.copy(filtered / "kittens-V-H-sheet.png", PICTURES)
        for kind in ("kernels", "why"):
            shutil.copy(filtered / f"kittens-{run.name}-{kind}.png", PICTURES / f"{kind}.png")
        with Image.open(filtered / f"kittens-{run.name}-maps.png") as page:
            page.crop((0, 0, page.width, MAPS_HEIGHT)).save(PICTURES / "maps.png")
        shutil.copy(run / "histogram.png", PICTURES)


if __name__ == "__main__":
    app.run(main)
