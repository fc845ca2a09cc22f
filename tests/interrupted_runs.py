"""Runs of train.py for test_resume.py and test_workers.py, each in a process that may be killed."""

import functools
import itertools
import json
import os
import resource
import signal
import sys
import threading
import time
from pathlib import Path

import script_process
import train
from absl import app

from support import augmentation, checkpoints, cli
from support.tensorflow_setup import tf


def run(folder, arguments, prepare):
    """python train.py ARGUMENTS in `folder`, its output in the files stdout and stderr there."""
    os.chdir(folder)
    script_process.redirect_output(folder)
    tf.config.run_functions_eagerly(True)  # quicker than compiling what is to end soon
    prepare()
    app.run(train.main, ["train.py", *arguments], cli.flags_parser(""))


def as_it_is():
    pass


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def save_at_every_step():
    checkpoints.FIRST_SAVE = checkpoints.PAUSE = 0


def at_step(number, do):
    """Call `do` before the number-th step from now."""
    learning_rate, steps = train.learning_rate, itertools.count(1)

    def counted(*arguments):
        if next(steps) == number:
            do()
        return learning_rate(*arguments)

    train.learning_rate = counted


def die_at_step(number):
    save_at_every_step()
    at_step(number, die)


def ctrl_c_at_step(number):
    at_step(number, lambda: os.kill(os.getpid(), signal.SIGINT))


def die_at_change(number):
    """Before the number-th change from now of what is on the disk: a file, a folder or a name."""
    save_at_every_step()
    changes = iter(range(1, number))

    def watch(event, arguments):
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (
            os.O_WRONLY | os.O_RDWR)
        if writes or event in ("os.mkdir", "os.remove", "os.rename", "os.rmdir", "shutil.rmtree"):
            next(changes, None) or die()

    sys.addaudithook(watch)


def die_while_writing(number, seconds):
    """So many seconds after TensorFlow has begun with its number-th checkpoint from now."""
    save_at_every_step()
    write, writes = tf.train.Checkpoint.write, iter(range(1, number))

    def wait(temporary):
        while not temporary.exists():
            time.sleep(0.0001)
        time.sleep(seconds)
        die()

    def watched(checkpoint, prefix):
        if not next(writes, None):
            threading.Thread(target=wait, args=[Path(f"{prefix}_temp")], daemon=True).start()
        return write(checkpoint, prefix)

    tf.train.Checkpoint.write = watched


def slow_disk():
    """Once there is a file named slow, writing takes a minute."""
    write_checkpoint = checkpoints.write

    def write(*arguments):
        if Path("slow").exists():
            Path("writing").touch()
            time.sleep(60)
        write_checkpoint(*arguments)

    checkpoints.write = write


def small_files(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def nobody():
    """No more root, who may write everywhere."""
    if os.getuid() == 0:
        os.setuid(65534)


# ---------------------------------------------------------------------------------------------
# Several of them that train together, for test_workers.py
# ---------------------------------------------------------------------------------------------

def worker(addresses, number, then=as_it_is):
    """One of the workers at these addresses."""
    os.environ["TF_CONFIG"] = json.dumps({"cluster": {"worker": addresses},
                                          "task": {"type": "worker", "index": number}})
    compiled()
    then()


def compiled():
    """As train.py runs; every step's loss goes into the file losses."""
    tf.config.run_functions_eagerly(False)
    compile_steps = train.compile_steps

    def compile_and_note(*arguments):
        step, eval_step = compile_steps(*arguments)

        def noted(*batch):
            loss = step(*batch)
            with open("losses", "a") as file:
                print(float(loss), file=file)
            return loss

        return noted, eval_step

    train.compile_steps = compile_and_note


def alone_with_the_batches_of_two():
    compiled()
    batches = train.batches
    train.batches = lambda count, size, seed, epoch, workers: batches(count, size, seed, epoch, 2)


def two_devices():
    """The processor counts as two graphics cards.

    Pictures are not augmented, but the seed for it goes into the file seeds.
    """
    compiled()
    augmentation.augment = lambda images, seed, *_: (
        tf.print(seed, output_stream=f"file://{Path.cwd()}/seeds"), images)[1]
    cpu, = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    tf.distribute.MirroredStrategy = functools.partial(tf.distribute.MirroredStrategy,
                                                       ["CPU:0", "CPU:1"])
