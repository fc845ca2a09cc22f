"""Runs of train.py for test_resume.py and test_workers.py, each in a process that may be killed."""

import functools
import itertools
import json
import os
import shutil
import signal
import sys
import threading
import time
from pathlib import Path

from absl import app

import script_process
import train
from support import augmentation, checkpoints, cli, distribution, runs
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
    runs.FIRST_SAVE = runs.PAUSE = 0


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


def before_every_change(do):
    """Call `do` before every change from now of what is on the disk: a file, a folder or a name."""
    def watch(event, arguments):
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (
            os.O_WRONLY | os.O_RDWR)
        if writes or event in ("os.mkdir", "os.remove", "os.rename", "os.rmdir", "shutil.rmtree"):
            do()

    sys.addaudithook(watch)


def die_at_change(number):
    save_at_every_step()
    changes = iter(range(1, number))
    before_every_change(lambda: next(changes, None) or die())


def copy_at_every_change(copies):
    """Copy runs/ to copies/0000, 0001 …: what a process leaves that is killed at that moment."""
    save_at_every_step()
    numbers, copying = itertools.count(), []

    def copy():
        if not copying and Path("runs").exists():  # the copying changes the disk as well
            copying.append(True)
            shutil.copytree("runs", copies / f"{next(numbers):04}")
            copying.clear()

    before_every_change(copy)


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
    save_at_every_step()
    write_checkpoint = checkpoints.write

    def write(*arguments):
        if Path("slow").exists():
            Path("writing").touch()
            time.sleep(60)
        write_checkpoint(*arguments)

    checkpoints.write = write


def small_files(size):
    import resource
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


def two_devices():
    """The processor counts as two graphics cards.

    Pictures are not augmented, but the seed for it goes into the file seeds.
    """
    compiled()
    augmentation.augment = lambda images, seed, *_: (
        tf.print(seed, output_stream=f"file://{Path.cwd()}/seeds"), images)[1]
    two_processors()


def two_processors():
    cpu, = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    tf.distribute.MirroredStrategy = functools.partial(tf.distribute.MirroredStrategy,
                                                       ["CPU:0", "CPU:1"])


def parts_of_batches(folder, sizes):
    """Print each batch's loss, the mean of its labels; its parts go into the file parts."""
    script_process.redirect_output(folder)
    two_processors()

    def step(images, labels, learning_rate, seed):
        tf.print(labels, images[:, 0, 0, 0], output_stream=f"file://{folder}/parts", summarize=-1)
        return tf.reduce_mean(labels)

    with tf.distribute.MirroredStrategy().scope():
        on_all = tf.function(distribution.on_all_devices(step), autograph=False)
        for size in sizes:
            labels = tf.range(size, dtype=tf.float32)
            images = tf.cast(10 * labels[:, None, None, None] * tf.ones((2, 2, 3)), tf.uint8)
            print(float(on_all(images, labels, 0.1, tf.constant([0, 0], tf.int64))))
    sys.stdout.flush()
