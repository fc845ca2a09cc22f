"""Everything that a person or a broken disk can hand to a script, and the sentence it gets.

Each row: a script, what follows it on the command line, and a part of its one sentence. The exit
code is 1, there is no traceback, and no file is made, changed or lost.
"""

import json
import multiprocessing
import os
import re
import shutil
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import script_process
from conftest import ROOT, draw_photos

TINY = ("--arch=mlp", "--hidden=4", "--input_size=12x16", "--epochs=1", "--dtype=float32")

FLAGS = [  # out of range, of the wrong type, contradicting one another
    ("train.py stray", "train.py takes flags only, not 'stray'"),
    ("train.py --no_such_flag", "Unknown command line flag 'no_such_flag'"),
    ("train.py --arch=resnet", "should be one of <mlp|conv1|"),
    ("train.py --lr=-1", "flag --lr=-1.0: must be a number above 0"),
    ("train.py --lr=0", "flag --lr=0.0: must be a number above 0"),
    ("train.py --lr=nan", "flag --lr=nan: must be a number above 0"),
    ("train.py --lr=inf", "flag --lr=inf: must be a number above 0"),
    ("train.py --lr=fast", "flag --lr=fast"),
    ("train.py --lr=1e-50", "flag --lr=1e-50: must be a number above 0"),  # 0 in float32
    ("train.py --weight_decay=1e39", "flag --weight_decay=1e+39: must be a number"),
    ("train.py --start_from=", "flag --start_from=: an empty name: name a file or folder"),
    ("predict.py --evaluate=", "flag --evaluate=: an empty name"),
    ("train.py --name=b\udcff", "or is not in UTF-8; use another name"),
    *((f"{script}.py --flagfile=tiny.png", "--flagfile is not a file of flags")
      for script in ("train", "predict", "explain", "report", "tools/bench", "tools/claims",
                     "tools/draw_sample", "tools/pretrained", "tools/readme_pictures")),
    *((f"filters.py --image=tiny.png --kernel={number}", "is not an odd square of numbers, below")
      for number in ("1e39", "-1e39", "1e38", "nan")),
    ("train.py --epochs=0", "flag --epochs=0"),
    ("train.py --epochs=1.5", "flag --epochs=1.5"),
    ("train.py --batch_size=-3", "flag --batch_size=-3"),
    ("train.py --seed=-1", "flag --seed=-1"),
    ("train.py --seed=99999999999", "flag --seed=99999999999"),
    ("train.py --loss=mae", "should be one of <mse|bce>"),
    ("train.py --train_size=7", "--train_size=7 must be an even number of at least 2"),
    ("train.py --train_size=1000", "12 of each class can be used"),
    ("train.py --valid_size=0", "--valid_size=0 must be an even number of at least 2"),
    ("train.py --test_size=3", "--test_size=3 must be an even number of at least 0"),
    ("train.py --test_size=-2", "--test_size=-2 must be an even number of at least 0"),
    ("train.py --input_size=100", "flag --input_size=100: not HEIGHTxWIDTH"),
    ("train.py --input_size=0x9", "flag --input_size=0x9: not HEIGHTxWIDTH"),
    ("train.py --input_size=9x1000000", "not HEIGHTxWIDTH, below a million each"),
    ("train.py --input_size=1x1 --arch=conv1", "--input_size=1x1 is too small for conv1"),
    ("train.py --input_size=9000x9000", "use a smaller --input_size"),
    ("train.py --input_size=99999x99999", "use a smaller --input_size"),
    ("train.py --batch_size=999999999 --train_size=2 --input_size=9000x9000",
     "use a smaller --input_size"),
    ("train.py --kernel_size=0", "flag --kernel_size=0"),
    ("train.py --kernel_size=200", "its conv2d leaves nothing of the 94x125 before it"),
    ("train.py --stride=0", "flag --stride=0"),
    ("train.py --pooling=min", "should be one of <max|average|none>"),
    ("train.py --filters=a,b", "flag --filters=a,b: not a list of numbers above 0"),
    ("train.py --filters=9,9999999999", "not a list of numbers above 0, below a million"),
    ("train.py --arch=conv1 --stride=9999999999", "flag --stride=9999999999"),
    ("train.py --hidden=0", "flag --hidden=0: not a list of numbers above 0"),
    ("train.py --hidden=999999", "use a smaller --input_size"),
    ("train.py --arch=mlp --stride=2", "--arch=mlp has no convolution"),
    ("train.py --arch=conv1 --filters= --pooling=none", "--arch=conv1 has no convolution"),
    ("train.py --dropout=1", "flag --dropout=1.0: must be at least 0 and below 1"),
    ("train.py --dropout=nan", "flag --dropout=nan: must be at least 0"),
    ("train.py --label_smoothing=0.1", "Unknown command line flag 'label_smoothing'"),
    ("train.py --weight_decay=-1", "flag --weight_decay=-1.0: must be a number, at least 0"),
    ("train.py --weight_decay=inf", "flag --weight_decay=inf: must be a number, at least 0"),
    ("train.py --zoom=-0.1", "flag --zoom=-0.1: must be a number, at least 0"),
    ("train.py --shift=94", "flags shift=94, input_size=(94, 125): --shift moves images of this"),
    ("train.py --shift=-1", "flag --shift=-1"),
    ("train.py --flip=perhaps", "flag --flip=perhaps"),
    ("train.py --schedule=step", "should be one of <constant|onecycle>"),
    ("train.py --dtype=auto", "should be one of <float32|bfloat16>"),
    ("train.py --strategy=many", "should be one of <single|mirrored|multi_worker>"),
    ("train.py --strategy=multi_worker", "TF_CONFIG='' is not what --strategy=multi_worker needs"),
    ("train.py --name=a/b", "must be the name of one folder"),
    ("train.py --name=..", "must be the name of one folder"),
    ("train.py --name=", "must be the name of one folder"),
    ("train.py --name=" + 300 * "a", "File name too long"),
    ("train.py --name=try[1]", "runs/try[1]: TensorFlow reads no files where the path has [, ] or"),
    ("train.py --runs_dir=a\\b", "TensorFlow reads no files where the path has [, ] or"),
    ("train.py --runs_dir=text.jpg", "text.jpg"),
    ("train.py --runs_dir=gs://b/r", "gs://b/r is a URL: name a file or folder on this computer"),
    ("predict.py --run=runs/good tiny.png http://b/r.jpg", "http://b/r.jpg is a URL: name a file"),
    ("report.py s3://b/r", "s3://b/r is a URL: name a file or folder on this computer"),
    ("train.py --runs_dir=runs --name=good", "a run is never overwritten"),
    ("train.py --flagfile=nowhere", "nowhere"),
    ("train.py --flagfile=tiny.png", "--flagfile is not a file of flags: "),
    ("train.py --resume=runs/good --lr=1", "--lr cannot be given with --resume"),
    ("train.py --resume=runs/good --evaluate=runs/good",
     "Unknown command line flag 'evaluate': use python predict.py --run=runs/NAME --evaluate="),
    ("train.py --evaluate=runs/good --data_dir=photos --epochs=2",
     "Unknown command line flag 'evaluate': use python predict.py --run=runs/NAME --evaluate="),
    ("train.py --start_from=runs/good", "--start_from=runs/good has no convolution to begin with"),
    ("train.py --start_from=nowhere", "nowhere is not the folder of a run"),
    ("predict.py", "name pictures or folders: python predict.py photo.jpg holiday/"),
    ("predict.py --run=nowhere", "name pictures or folders: python predict.py photo.jpg holiday/"),
    *((f"predict.py --run={given}", "Unknown command line flag 'data_dir'") for given in (
        "runs/good --data_dir=photos a.jpg", "nowhere --data_dir=photos a.jpg",
        "runs/good --evaluate=photos --data_dir=photos")),
    ("predict.py --run=nowhere a.jpg",
     "nowhere is not the folder of a run: nowhere/config.json: No such file"),
    ("predict.py --run=nowhere --evaluate=photos", "nowhere is not the folder of a run"),
    ("predict.py --run=runs/good --evaluate=photos --lr=1e-5", "Unknown command line flag 'lr'"),
    ("predict.py --run=runs/good --evaluate=photos --noflip", "Unknown command line flag 'noflip'"),
    ("predict.py --run=runs/good --evaluate=photos --epochs=2",
     "Unknown command line flag 'epochs'"),
    ("predict.py --run=runs/good --evaluate=photos --classes=dog,cat",
     "Unknown command line flag 'classes'"),
    ("predict.py --run=runs/good --evaluate=photos tiny.png whole.jpg",
     "--evaluate=photos measures the pictures of that folder: leave tiny.png whole.jpg out"),
    ("filters.py", "--image"),
    ("filters.py --image=tiny.png text.jpg", "takes flags only, not 'text.jpg'"),
    ("filters.py --image=tiny.png --kernel=1,2", "is not an odd square of numbers"),
    ("filters.py --image=tiny.png --kernel=nan", "is not an odd square of numbers"),
    ("filters.py --image=tiny.png --kernel_size=5", "Unknown command line flag 'kernel_size'"),
    ("filters.py --image=tiny.png --data_dir=5", "Unknown command line flag 'data_dir'"),
    ("filters.py --image=tiny.png --padding=valid", "is 1x1 (height x width), smaller than"),
    ("filters.py --image=tiny.png --padding=none", "should be one of <same|valid>"),
    ("filters.py --image=tiny.png --run=runs/good --kernel=1",
     "Unknown command line flag 'run': use python explain.py --image=PICTURE --run=runs/NAME"),
    ("filters.py --image=tiny.png --page --run=runs/good --padding=same",
     "Unknown command line flag 'run': use python explain.py --image=PICTURE --run=runs/NAME"),
    ("explain.py", "--image"),
    ("explain.py --run=runs/good", "--image"),
    ("explain.py --image=tiny.png --run=runs/good stray", "takes flags only, not 'stray'"),
    ("explain.py --image=tiny.png --run=runs/good --kernel=1",
     "Unknown command line flag 'kernel'"),
    ("explain.py --image=tiny.png --run=runs/good --padding=1",
     "Unknown command line flag 'padding'"),
    ("explain.py --image=tiny.png --page --run=runs/good --padding=same",
     "Unknown command line flag 'padding'"),
    ("filters.py --image=tiny.png --page --kernel=1",
     "--kernel is 1x1, and the page takes 3x3 and 5x5"),
    ("report.py", "name the folders of runs"),
    ("models.py conv1", "takes flags only, not 'conv1'"),
    ("models.py --pooling=min", "should be one of <max|average|none>"),
    ("models.py --kernel_size=90", "its conv2d leaves nothing of the 2x18 before it"),
    ("models.py --input_size=100",
     "flag --input_size=100: not HEIGHTxWIDTH, below a million each: write it like 94x125"),
    ("models.py --filters=a,b",
     "flag --filters=a,b: not a list of numbers above 0, below a million: write it like 64,128"),
    ("models.py --hidden=8,",
     "flag --hidden=8,: not a list of numbers above 0, below a million: write it like 64,128"),
    ("models.py --input_size=3x3", "--input_size=3x3 is too small for conv1: "),
    ("data.py photos", "data.py takes flags only, not 'photos'"),
    ("data.py --sample=0", "--sample=0"),
    ("tools/bench.py fast", "takes flags only, not 'fast'"),
    ("tools/bench.py --networks=vgg", "flag --networks=vgg: value should be one of <mlp|conv1|"),
    ("tools/bench.py --rounds=0", "flag --rounds=0"),
    ("tools/bench.py --batch_size=-1", "flag --batch_size=-1"),
    ("tools/claims.py --claims=12", "--claims=12 is none of the claims: they are 1 to 11"),
    ("tools/claims.py --data_dir=photos --claims=11", "--claims=11 needs a --test_dir"),
    ("tools/claims.py --data_dir=photos --test_dir=no", "--test_dir=no is not a folder: give that"),
    ("tools/claims.py stray", "claims.py takes flags only, not 'stray'"),
    ("tools/draw_sample.py --output=text.jpg", "text.jpg/sample: Not a directory"),
    ("tools/draw_sample.py --output=drawn --count=1", "drawn/kittens.jpg exists: remove it first"),
    ("tools/pretrained.py stray --run=runs/good", "pretrained.py takes flags only, not 'stray'"),
    ("tools/readme_pictures.py stray", "readme_pictures.py takes flags only, not 'stray'"),
    ("tools/draw_sample.py stray", "draw_sample.py takes flags only, not 'stray'"),
]

FOLDERS = [  # of pictures
    *((f"{script} {flag}={folder}", f"{flag}={folder} {sentence}")
      for script, flag in (("train.py", "--data_dir"), ("data.py", "--data_dir"),
                           ("predict.py --run=runs/good", "--evaluate"))
      for folder, sentence in (("nowhere", "is not a folder"), ("text.jpg", "is not a folder"),
                               ("empty", "holds no pictures of cat and dog"))),
    *((f"{script} --data_dir=only_cats", "=only_cats holds no pictures of dog beside")
      for script in ("train.py", "data.py")),
    ("predict.py --run=runs/good --evaluate=only_cats",  # one class may be measured
     "none of the 1 pictures of only_cats is left to measure, with 1 from the training and 0"),
    ("data.py --data_dir=data", "--data_dir=data is not a folder"),  # typed: not the sample
    *((f"{script} --data_dir=three", "=three holds no pictures of cat and dog; there are")
      for script in ("train.py", "data.py")),
    ("train.py --classes=ants,bees", "--data_dir=photos holds no pictures of ants and bees"),
    ("train.py --data_dir=three --classes=ants,owls", "--data_dir=three holds no pictures of owls"),
    ("train.py --classes=ants", "--classes=ants must name two classes"),
    ("train.py --data_dir=three --classes=ants,bees", "1 of each class can be used"),
    ("predict.py --run=runs/good --evaluate=three", "=three holds no pictures of cat and dog"),
    ("train.py --data_dir=broken", "0 of each class can be used"),
    ("train.py --data_dir=broken", "cannot be read ("),
    ("predict.py --run=runs/good --evaluate=broken", "none of the 8 pictures of broken is left"),
    ("train.py --resume=runs/good --data_dir=nowhere", "runs/good cannot be resumed: "),
    ("train.py --resume=runs/good --data_dir=others",
     "the pictures in others are not those it was started with"),
    ("tools/claims.py --data_dir=nowhere", "is not a folder: give that of the photographs"),
]

PICTURES = [
    ("nowhere.jpg", "no such file"),
    ("empty", "is a directory"),
    ("nothing.jpg", "empty file"),
    ("text.jpg", "not an image"),
    ("cut.jpg", "Truncated File Read"),
    ("wide.tif", "32 bits a pixel: save it with 8 or 16"),
    ("below.tif", "32 bits a pixel: save it with 8 or 16"),
    ("float.tif", "32 bits a pixel: save it with 8 or 16"),
    ("cut.png", "image file is truncated"),
    ("loop.jpg", "too many levels of symbolic links"),
    ("huge.png",  # 40,000 x 40,000
     "Image size (1600000000 pixels) exceeds limit of 178956970 pixels"),
]

PREDICT = ("predict.py tiny.png --run", "predict.py --evaluate=photos --run")
EXPLAIN = "explain.py --image=photos/cat.0.png --run"
EXPLAIN_PAGE = "explain.py --image=photos/cat.0.png --page --run"

RUNS = [  # a run's folder with parts missing or broken
    *((f"{command}=runs/{run}", sentence)
      for command in ("train.py --resume", *PREDICT, EXPLAIN, EXPLAIN_PAGE)
      for run, sentence in (
          ("nowhere", "runs/nowhere"), ("../text.jpg", "text.jpg"), ("../empty", "empty"))),
    *((f"{command}=runs/{run}", "is damaged: its config.json is not what train.py writes")
      for command in ("train.py --resume", *PREDICT, EXPLAIN)
      for run in ("config_empty", "config_list", "config_without", "config_binary", "arch_other",
                  "classes_without")),
    *((f"{command}=runs/best_{state}", "is damaged: its weights are missing or not of this mlp")
      for command in (*PREDICT, EXPLAIN)
      for state in ("missing", "empty", "broken", "unindexed", "unweighted")),
    *((f"{EXPLAIN_PAGE}=runs/{run}", sentence)
      for run, sentence in (
          ("large", "runs/large has 11,560,001 weights, and the page holds 10,000,000: train"),
          ("config_list", "is damaged: its config.json is not what train.py writes"),
          ("best_broken", "is damaged: its weights are missing or not of this mlp"))),
    *((f"{command}=runs/{run}", sentence)
      for command in (*PREDICT, EXPLAIN_PAGE)
      for run, sentence in (
          ("metrics_missing", "runs/metrics_missing has no finished epoch yet"),
          ("metrics_empty", "runs/metrics_empty has no finished epoch yet"),
          ("metrics_broken", "is damaged: its metrics.jsonl is not what train.py writes"),
          ("threshold_without", "is damaged: its metrics.jsonl is not what train.py writes"))),
    *((f"{command}=runs/{run}",
       f"runs/{run} was written by another version of train.py, which this one cannot read: train "
       "it again, or use the version that wrote it")
      for command in ("train.py --resume", *PREDICT, EXPLAIN)
      for run in ("format_1", "format_2")),
    *((f"{command}=runs/number_{number}", "is damaged: its metrics.jsonl is not what train.py")
      for command in ("train.py --resume", *PREDICT, EXPLAIN_PAGE)
      for number in range(8)),
    *((f"{command}=runs/digest_list", "is damaged: its pictures.jsonl is not what train.py writes")
      for command in ("train.py --resume", PREDICT[1])),
    *((f"train.py --resume=runs/machine_{kind}", "is damaged: its config.json is not what train.py")
      for kind in ("none", "without")),
    ("train.py --resume=runs/begins", "--start_from=runs/good has no convolution to begin with"),
    ("train.py --resume=runs/checkpoints_broken --epochs=9", "none of its checkpoints can be read"),
    ("train.py --resume=runs/metrics_missing", "epochs are missing in its metrics.jsonl; put it"),
    ("train.py --resume=runs/metrics_empty", "epochs are missing in its metrics.jsonl; put it"),
    ("train.py --resume=runs/versions_without", "is damaged: its config.json is not what"),
    ("train.py --resume=runs/metrics_long --epochs=1", "runs/metrics_long has trained 2 already"),
    *((f"{command}=runs/good[2]", "runs/good[2]: TensorFlow reads no files where")
      for command in (*PREDICT, EXPLAIN)),
    ("report.py runs/nowhere", "runs/nowhere is not the folder of a run"),
    ("report.py empty", "empty is not the folder of a run"),
    ("report.py runs/metrics_missing", "runs/metrics_missing has no finished epoch yet"),
    ("report.py runs/metrics_empty", "runs/metrics_empty has no finished epoch yet"),
    *((f"report.py runs/{run}", f"runs/{run} is damaged")
      for run in ("metrics_broken", "config_empty", "config_list", "config_without",
                  "config_binary", "classes_without")),
    ("report.py --pictures runs/predictions_missing", "is not the folder of a run"),
    ("report.py --pictures runs/predictions_broken", "is damaged: its predictions.jsonl is not"),
]

TABLE = [(row, sentence) for rows in (FLAGS, FOLDERS, RUNS) for row, sentence in rows] + [
    (f"{script} --image={picture}{page}", f"--image={picture}: {reason}")
    for script in ("filters.py", "explain.py --run=runs/good")
    for picture, reason in PICTURES for page in ("", " --page")]


def png_of_one_colour(width: int, height: int) -> bytes:
    """A whole black PNG of any size, by hand: Pillow would need its pixels in memory."""
    packer, rows = zlib.compressobj(1), bytes(1 + (width + 7) // 8)
    data = b"".join(packer.compress(rows) for _ in range(height)) + packer.flush()
    chunks = ((b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)), (b"IDAT", data),
              (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks)


@pytest.fixture(scope="module")
def world(run_in, tmp_path_factory) -> Path:
    """A folder with all that the rows name."""
    folder = tmp_path_factory.mktemp("world")
    draw_photos(folder / "photos")
    draw_photos(folder / "others", 3)
    for name in ("empty", "only_cats", "broken"):
        (folder / name).mkdir()
    shutil.copy(folder / "photos/cat.0.png", folder / "only_cats")
    for name in ("ants", "bees", "wasps"):
        (folder / "three" / name).mkdir(parents=True)
        shutil.copy(folder / "photos/cat.0.png", folder / "three" / name)
    for number in range(4):
        for animal in ("cat", "dog"):
            (folder / f"broken/{animal}.{number}.jpg").write_text("not a picture")
    Image.new("RGB", (1, 1), "red").save(folder / "tiny.png")
    for name, pixels in (("wide", np.int32([[0, 65536]])), ("below", np.int32([[-1, 255]])),
                         ("float", np.float32([[0, 1]]))):
        Image.fromarray(pixels).save(folder / f"{name}.tif")
    (folder / "drawn").mkdir()
    (folder / "drawn/kittens.jpg").write_text("mine")
    (folder / "nothing.jpg").touch()
    (folder / "text.jpg").write_text("not a picture")
    (folder / "loop.jpg").symlink_to("loop.jpg")
    (folder / "huge.png").write_bytes(png_of_one_colour(40_000, 40_000))
    Image.open(folder / "photos/cat.0.png").save(folder / "whole.jpg")
    for name, whole in (("cut.jpg", "whole.jpg"), ("cut.png", "photos/cat.0.png")):
        contents = (folder / whole).read_bytes()
        (folder / name).write_bytes(contents[:len(contents) * 2 // 3])

    trained = run_in(folder, "train.py", *TINY, "--data_dir=photos", "--name=good")
    assert trained.returncode == 0, trained.stderr
    good = folder / "runs/good"
    record = json.loads((good / "config.json").read_text())

    def but(name: str, file: str, contents: bytes | str | None) -> None:
        """The good run but for one of its files: it has these contents, or it is not there."""
        run = shutil.copytree(good, good.parent / name)
        for path in run.glob(file):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
            if contents is not None:
                path.write_bytes(contents if isinstance(contents, bytes) else contents.encode())

    def without(part: str, key: str) -> str:
        return json.dumps(record | {part: {name: value for name, value in record[part].items()
                                           if name != key}})

    for name, contents in (("empty", ""), ("list", "[1]"), ("without", without("config", "arch")),
                           ("binary", b"\xff\xfe\x00")):
        but(f"config_{name}", "config.json", contents)
    but("classes_without", "config.json", without("config", "classes"))
    but("format_1", "config.json", json.dumps(
        {part: value for part, value in record.items() if part != "format"}))
    but("format_2", "config.json", json.dumps(record | {"format": 2}))
    but("arch_other", "config.json", json.dumps(
        record | {"config": record["config"] | {"arch": "vgg16"}}))
    but("large", "config.json", json.dumps(
        record | {"config": record["config"] | {"hidden": [20_000]}}))
    but("versions_without", "config.json", without("versions", "pillow"))
    for name, file, contents in (("missing", "best", None), ("empty", "best/*", None),
                                 ("broken", "best/*/checkpoint.data*", b"torn"),
                                 ("unindexed", "best/*/checkpoint.index", b"torn"),
                                 ("unweighted", "best/*/checkpoint.data*", None)):
        but(f"best_{name}", file, contents)
    but("checkpoints_broken", "checkpoints/*/checkpoint*", b"torn")
    for name, contents in (("missing", None), ("empty", ""), ("broken", '{"mse'),
                           ("long", 2 * (good / "metrics.jsonl").read_text())):
        but(f"metrics_{name}", "metrics.jsonl", contents)
    history = json.loads((good / "metrics.jsonl").read_text())  # of one epoch
    but("threshold_without", "metrics.jsonl", json.dumps(
        {name: value for name, value in history.items() if name != "threshold"}))
    for number, change in enumerate((
            {"accuracies": None}, {"accuracies": 9 * [0.5]}, {"accuracy_interval": [0.5]},
            {"mse": float("nan")}, {"train_loss": float("inf")}, {"best_accuracy": "high"},
            {"epoch": 1.5}, {"threshold": 0.55})):
        but(f"number_{number}", "metrics.jsonl", json.dumps(history | change))
    but("digest_list", "pictures.jsonl", (good / "pictures.jsonl").read_text().replace(
        '"digest": "', '"digest": ["', 1).replace('"}', '"]}', 1))
    but("machine_none", "config.json", json.dumps(record | {"machine": None}))
    but("machine_without", "config.json", without("machine", "replicas"))
    but("begins", "config.json", json.dumps(
        record | {"config": record["config"] | {"start_from": "runs/good"}}))
    for made in ("checkpoints", "model"):  # as if it had been killed before its first checkpoint
        shutil.rmtree(good.parent / "begins" / made)
    shutil.copytree(good, good.parent / "good[2]")
    but("predictions_missing", "predictions.jsonl", None)
    but("predictions_broken", "predictions.jsonl", '{"file": 3}')
    return folder


def snapshot(folder: Path) -> dict[Path, tuple]:
    """Every file and every folder below: its kind, size, time and inode."""
    stats = {path: path.lstat() for path in folder.rglob("*") if path.name != ".lock"}
    return {path: (stat.st_mode, stat.st_ino) if path.is_dir() else
            (stat.st_mode, stat.st_ino, stat.st_size, stat.st_mtime_ns)
            for path, stat in stats.items()}


@pytest.fixture(scope="module")
def untouched(world) -> dict[Path, tuple]:
    return snapshot(world)


@pytest.fixture(scope="module")
def run_there(start, world, tmp_path_factory):
    """run_there(script, *arguments): the exit code, stdout and stderr, in the world's folder.

    All commands of a script go to one process, which runs its main for each of them.
    """
    environment = {name: value for name, value in os.environ.items() if name != "TF_CONFIG"}
    servers = {}

    def run(script: str, *arguments: str) -> tuple[int, str, str]:
        if script not in servers:
            here, there = multiprocessing.Pipe()
            output = tmp_path_factory.mktemp("output")
            start(script_process.serve_commands, ROOT / script, world,
                  {**environment, "COLUMNS": "100"}, output, there)
            there.close()
            servers[script] = here, output
        connection, output = servers[script]
        connection.send(arguments)
        assert connection.poll(240), f"{script} has not ended"
        code = connection.recv()
        return code, (output / "stdout").read_text(), (output / "stderr").read_text()

    return run


@pytest.mark.parametrize("row, sentence", TABLE)
def test_bad_input_is_refused_in_one_sentence(row, sentence, run_there, world, untouched):
    script, *arguments = row.split()
    if script == "train.py" and not any(flag in row for flag in ("--data_dir", "--resume")):
        arguments = ["--data_dir=photos", *arguments]
    code, _, stderr = run_there(script, *arguments)
    assert sentence in stderr
    assert code == 1 and "Traceback" not in stderr
    # absl adds a second line, with where to find help, to what it refuses itself.
    # predict.py --evaluate names the pictures that it skipped, and then says its sentence.
    lines = [line for line in stderr.splitlines() if not line.startswith("skipped broken/")]
    assert len(lines) == (2 if "Flags parsing error" in stderr else 1)
    assert snapshot(world) == untouched


@pytest.mark.parametrize("row, sentence", {
    row.split()[0]: (row, sentence) for row, sentence in FLAGS}.values())
def test_a_process_of_its_own_refuses_alike(row, sentence, refuses):
    """A script that is started as a user starts it, for one row of each: exit code and stderr."""
    script, *arguments = row.split()
    assert sentence in refuses(script, *arguments)


def test_predict_names_every_bad_picture_and_predicts_the_others(run_there):
    names = [name for name, _ in PICTURES if name != "empty"]
    code, stdout, stderr = run_there("predict.py", "--run=runs/good", "tiny.png", *names,
                                     "whole.jpg")
    assert code == 1
    assert [line.split(":")[0] for line in stdout.splitlines()] == ["tiny.png", "whole.jpg"]
    told = dict(line.split(": ", 1) for line in stderr.splitlines())
    assert told.keys() == set(names)
    for name, reason in PICTURES:
        assert name == "empty" or reason in told[name]


def test_no_script_unpickles_or_evaluates_what_it_reads():
    scripts = [*ROOT.glob("*.py"), *ROOT.glob("tools/*.py")]
    assert len(scripts) > 8
    for script in scripts:
        assert not re.search(r"pickle|marshal|shelve|np\.load\b|\beval\(|\bexec\(",
                             script.read_text()), script


def test_any_name_will_do(run_there, world):
    """Of a folder of pictures, of a picture and of a run: one with everything odd in it."""
    name = "--lr=3 with space, Köln and 猫, 'single' \"double\"\nnew line $(touch x)"

    draw_photos(world / name, 3)
    (world / name / "cat.0.png").rename(world / name / f"cat.{name}.png")
    try:
        code, stdout, stderr = run_there("train.py", *TINY, f"--data_dir={name}", f"--name={name}")
        assert (code, stderr) == (0, "")
        run = f"--run=runs/{name}"
        code, stdout, stderr = run_there("predict.py", run, f"./{name}/cat.{name}.png")
        assert (code, stderr) == (0, "")
        assert stdout.startswith(f"{name}/cat.{name}.png: ".replace("\n", "\\n"))
        assert len(stdout.splitlines()) == 1
        code, stdout, stderr = run_there("report.py", f"runs/{name}", "--pictures")
        assert (code, stderr) == (0, "")
        for page in ((), ("--page",)):
            for script in (["filters.py"], ["explain.py", run]):
                code, stdout, stderr = run_there(*script, f"--image={name}/cat.{name}.png", *page)
                assert (code, stderr) == (0, "")
        code, stdout, stderr = run_there("train.py", f"--resume=runs/{name}", "--epochs=2")
        assert (code, stderr) == (0, "")
        assert not (world / "x").exists()
    finally:
        shutil.rmtree(world / name)
        shutil.rmtree(world / "runs" / name, ignore_errors=True)
        shutil.rmtree(world / "filtered", ignore_errors=True)
