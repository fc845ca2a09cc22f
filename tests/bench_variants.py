"""Variants for test_bench.py. Processes of their own import this file: it takes no TensorFlow."""

import itertools
import os
import signal
import sys
import time


def process_and_time():
    """Yields which process it is in, and when its round was."""
    while True:
        yield os.getpid(), time.time()


def eight_or_untuned_four(*_, tuned=True, **__):
    while True:
        yield 8 if tuned else 4


def killed():
    os.kill(os.getpid(), signal.SIGKILL)
    yield


def failing():
    raise ValueError("no such luck")
    yield


class TensorFlowReached(Exception):
    """Raised instead of importing it; holds whether tensorflow_setup is imported by then."""


class UpToTensorFlow:
    def find_spec(self, name, path=None, target=None):
        if name == "tensorflow":
            raise TensorFlowReached("support.tensorflow_setup" in sys.modules)


def settings_before_tensorflow(variant):
    """Yields whether the variant makes our settings before TensorFlow, which reads them once."""
    sys.meta_path.insert(0, UpToTensorFlow())
    try:
        next(variant())
    except TensorFlowReached as reached:
        yield from itertools.repeat(reached.args[0])
