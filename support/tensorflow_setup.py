"""TensorFlow with the settings of this project, imported without its start-up messages.

    from support.tensorflow_setup import tf

Every script takes `tf` from here: TensorFlow reads its settings once, when it is imported.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # no log on the screen
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # its default on some processors only
# Keep freed memory for the next step, instead of returning it to the system and asking again.
os.environ.setdefault("TF_CPU_ALLOCATOR_USE_BFC", "1")

# No setting hides the first few lines: while TensorFlow is imported, stderr goes to os.devnull.
_stderr = os.dup(2)
with open(os.devnull, "w") as _devnull:
    os.dup2(_devnull.fileno(), 2)
try:
    import tensorflow as tf  # noqa: F401  for those who import it from here
finally:
    os.dup2(_stderr, 2)
    os.close(_stderr)
