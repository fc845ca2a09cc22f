"""TensorFlow with the settings of this project, imported without its start-up messages.

    from support.tensorflow_setup import tf

Every script takes `tf` from here: TensorFlow reads its settings once, when it is imported.
"""

import os
import tempfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # no log on the screen
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # its default on some processors only
# Keep freed memory for the next step, instead of returning it to the system and asking again.
os.environ.setdefault("TF_CPU_ALLOCATOR_USE_BFC", "1")

# No setting hides the first few lines: while TensorFlow is imported, stderr goes into a file, which
# is shown if the import fails.
_stderr = os.dup(2)
with tempfile.TemporaryFile() as _messages:
    os.dup2(_messages.fileno(), 2)
    try:
        import tensorflow as tf  # noqa: F401  for those who import it from here
    except Exception:
        _messages.seek(0)
        os.write(_stderr, _messages.read())
        raise
    finally:
        os.dup2(_stderr, 2)
        os.close(_stderr)
