"""Makes the pictures of README.md and docs/ again, into docs/pictures/.

    python tools/readme_pictures.py --curves_run=runs/conv2_fc512-1 --histogram_run=runs/NAME

They show the network in pretrained/, but for the curves, which are those of README.md's first
command, and the histogram, which is that of a run on photographs: docs/using-a-network.md says of
which. page.png and page-network.png are screenshots, which this does not make.
"""

import shutil
import sys
import tempfile
from pathlib import Path

from absl import app, flags

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
import explain  # noqa: E402  when its folder is on the path
import filters  # noqa: E402
import report  # noqa: E402
from support import cli, drawing, run_folder  # noqa: E402

RUN = flags.DEFINE(cli.PATH, "run", str(run_folder.PRETRAINED), "the run whose prediction, "
                   "feature maps and kernels are shown")
HISTOGRAM_RUN = flags.DEFINE(cli.PATH, "histogram_run", None, "the run whose predictions are shown "
                             "[none: histogram.png stays as it is]")
CURVES_RUN = flags.DEFINE(cli.PATH, "curves_run", None, "the run whose learning curves are shown "
                          "[none: curves.png stays as it is]")
OUTPUT = flags.DEFINE(cli.PATH, "output", str(ROOT / "docs" / "pictures"), "the folder to write to")

# A drawn cat that the network, which knows photographs, predicts as one.
CAT = ROOT / "sample" / "cat.83.jpg"


@cli.script()
def main(argv: list[str]) -> None:
    output = Path(OUTPUT.value)
    output.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        drawing.OUTPUT = Path(folder)
        filters.filter_image(ROOT / "kittens.jpg", {"V": filters.V, "H": filters.H}, "same")
        shutil.copy(drawing.OUTPUT / "kittens-V-H-sheet.png", output)
        shutil.copy(explain.look_into(CAT, Path(RUN.value)), output / "explain.png")
    if CURVES_RUN.value is not None:
        report.write_curves([Path(CURVES_RUN.value)], output / "curves.png")
    if HISTOGRAM_RUN.value is not None:
        report.write_pages(Path(HISTOGRAM_RUN.value))
        shutil.copy(Path(HISTOGRAM_RUN.value) / "histogram.png", output)


if __name__ == "__main__":
    app.run(main, flags_parser=cli.flags_parser(__doc__))
