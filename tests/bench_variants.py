"""Variants for test_bench.py. Processes of their own import this file: it takes no TensorFlow."""

import os
import signal
import sys
import time


def process_and_time():
    """Which process it is in, and when its round was."""
    return os.getpid(), time.time()


def eight_or_untuned_four(*_, tuned=True, **__):
    return 8 if tuned else 4


def killed():
    os.kill(os.getpid(), signal.SIGKILL)


def failing():
    raise ValueError("no such luck")


class TensorFlowReached(Exception):
    """Raised instead of importing it; holds whether tensorflow_setup is imported by then."""


class UpToTensorFlow:
    def find_spec(self, name, path=None, target=None):
        if name == "tensorflow":
            raise TensorFlowReached("support.tensorflow_setup" in sys.modules)


def settings_before_tensorflow(variant):
    """Whether the variant makes our settings before TensorFlow, which reads them once."""
    sys.meta_path.insert(0, UpToTensorFlow())
    try:
        variant()
    except TensorFlowReached as reached:
        return reached.args[0]
