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
    pass


class Imports(list):
    """The names of all modules in the order in which they begin to be imported, up to TensorFlow."""

    def find_spec(self, name, path=None, target=None):
        if name == "tensorflow":
            raise TensorFlowReached
        self.append(name)


def settings_before_tensorflow(side):
    """Whether a side imports models.py before TensorFlow, which reads its settings but once."""
    imports = Imports()
    sys.meta_path.insert(0, imports)
    try:
        next(side())
    except TensorFlowReached:
        yield "models" in imports
