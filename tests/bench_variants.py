"""Sides for test_bench.py. Processes of their own import this file: it takes no TensorFlow."""

import itertools
import os
import signal
import sys
import time
from pathlib import Path

import bench
import numpy as np


def process_and_time():
    """A side that tells which process it is in, and when its turn was."""
    while True:
        yield os.getpid(), time.time()


def two_figures():
    for turn in itertools.count(1):
        yield {"one": turn, "ten": 10 * turn}


def half_a_gigabyte():
    before = bench.memory()
    block = np.ones(500_000_000, np.uint8)
    during = bench.memory()
    del block
    yield before, during, bench.memory()


def killed():
    os.kill(os.getpid(), signal.SIGKILL)
    yield


def tidy(file):
    try:
        while True:
            yield 1
    finally:
        Path(file).write_text("gone")


def failing():
    raise ValueError("no such luck")
    yield


class TensorFlowReached(Exception):
    """Instead of importing it; with whether models.py is being imported, or has been."""


class UpToTensorFlow:
    def find_spec(self, name, path=None, target=None):
        if name == "tensorflow":
            raise TensorFlowReached("models" in sys.modules)


def settings_before_tensorflow(side):
    """Whether a side imports models.py before TensorFlow, which reads its settings but once."""
    sys.meta_path.insert(0, UpToTensorFlow())
    try:
        next(side())
    except TensorFlowReached as reached:
        yield reached.args[0]
