"""Makes pretrained/ from a run: settings, history, first kernels, weights of the best epoch.

    python train.py --flagfile=recipes/hour.flags --data_dir=PHOTOS --train_size=16500 \\
        --valid_size=1000 --test_size=2500 --name=hour
    python tools/pretrained.py --run=runs/hour

The kernels are rounded to the nearest float16, as the page in the browser holds them, so that it
computes the same. What names this computer or its files is left out.
"""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
from absl import app, flags, logging

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
import models  # noqa: E402  when its folder is on the path
from support import checkpoints, cli, run_folder  # noqa: E402
from support.cli import UserError  # noqa: E402
from support.tensorflow_setup import tf  # noqa: E402

RUN = flags.DEFINE(cli.PATH, "run", None, "the folder of the run", required=True)
OUTPUT = flags.DEFINE(cli.PATH, "output", str(run_folder.PRETRAINED), "the folder to write")


def pack(run_dir: Path, output: Path) -> None:
    """Write `output`, the folder of a run that can be used but not resumed.

    Raises UserError for a folder that is not a whole run's, or where there is one already.
    """
    if output.exists():
        raise UserError(f"--output={output} exists: remove it first, or name another folder")
    network, best = models.load(run_dir), run_folder.read_best(run_dir)
    record = run_folder.read_config(run_dir)
    for kernel in network.kernels:
        kernel.assign(kernel.numpy().astype(np.float16))
    output.mkdir(parents=True)
    checkpoints.write(tf.train.Checkpoint(network=network), checkpoints.best_folder(output, best))
    record.pop("command", None)
    record["config"] |= {"data_dir": "PHOTOS", "start_from": None}
    run_folder.write_text(output / "config.json", json.dumps(record, indent=2) + "\n")
    for name in ("metrics.jsonl", "test.json", "first_kernels.npy"):
        if (run_dir / name).exists():
            shutil.copy(run_dir / name, output)


@cli.script()
def main(argv: list[str]) -> None:
    logging.set_verbosity(logging.WARNING)  # TensorFlow reports how long it wrote
    pack(Path(RUN.value), Path(OUTPUT.value))


if __name__ == "__main__":
    app.run(main, flags_parser=cli.flags_parser(__doc__))
