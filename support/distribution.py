"""Several devices or several machines train one network together, by tf.distribute.

Every replica (a device) has a copy of the weights. In each step it computes the gradients of its
part of the batch; the optimizer takes their mean over all replicas, so that all copies make the
same step. Every worker (a process, on a machine of its own) runs train.py and holds all images;
worker 0, the chief, is the only one that prints and writes the run. TensorFlow watches over the
workers: when one dies, the next mean of the others raises an error.
"""

import contextlib
import json
import os
import re
import signal
from collections.abc import Callable, Iterator

from support.cli import UserError
from support.tensorflow_setup import tf


@contextlib.contextmanager
def setup(name: str) -> Iterator[tf.distribute.Strategy]:
    """The strategy of the flag --strategy: single, mirrored or multi_worker.

    Several workers wait here until all are started. Inside, only the chief prints.
    """
    if name == "single":
        yield tf.distribute.get_strategy()  # TensorFlow's own for one device
    elif name == "mirrored":
        yield tf.distribute.MirroredStrategy()
    else:
        workers, own = cluster()
        others = " and ".join(f"{name} ({workers[name]})" for name in workers if name != own)
        print(f"{own} of {len(workers)} waits for {others or 'no other'}", flush=True)
        # While TensorFlow waits, Python hears no Ctrl-C: the system's own handling ends it at once.
        interrupt = signal.signal(signal.SIGINT, signal.SIG_DFL)
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
        signal.signal(signal.SIGINT, interrupt)
        signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGTERM))  # TensorFlow has taken it
        if is_chief(name):
            yield strategy
            return
        print(f"{next(iter(workers))} prints and writes the run", flush=True)
        with (open(os.devnull, "w", encoding="utf-8", errors="replace") as nothing,
              contextlib.redirect_stdout(nothing)):
            yield strategy


def is_chief(name: str) -> bool:
    """Whether this process prints and writes files. Raises UserError as `cluster` does."""
    if name != "multi_worker":
        return True
    workers, own = cluster()
    return own == next(iter(workers))


def cluster() -> tuple[dict[str, str], str]:
    """{"worker 0": "HOST:PORT"} of all workers, the chief first, and which is this: from TF_CONFIG.

    Raises UserError for a TF_CONFIG that does not say it.
    """
    text = os.environ.get("TF_CONFIG", "")
    try:
        record = json.loads(text)
        workers = {f"{job} {number}": address for job in ("chief", "worker")
                   for number, address in enumerate(record["cluster"].get(job, []))}
        for address in workers.values():
            host, _, port = address.rpartition(":")
            if not (host and 0 < int(port) < 65536):
                raise ValueError(f"{address} is not HOST:PORT")
        own = f"{record['task']['type']} {int(record['task']['index'])}"
        if own not in workers:
            raise ValueError(f"its task, {own}, is not in its cluster")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"TF_CONFIG={text!r} is not what --strategy=multi_worker needs ({error!r}): make it "
            'like {"cluster": {"worker": ["HOST:PORT", "HOST:PORT"]}, '
            '"task": {"type": "worker", "index": 0}}') from error
    return workers, own


# ---------------------------------------------------------------------------------------------
# Training together
# ---------------------------------------------------------------------------------------------

def on_all_devices(train_step: Callable) -> Callable:
    """train_step(images, labels, lr, seed), carried out by every replica on its part.

    Without a strategy that is train_step itself. Of n replicas, number i gets the images i, i + n,
    i + 2 n … of the batch. The mean of the parts' means is that of the batch only if all parts are
    of one size: a batch that n does not divide is computed whole by every replica. Returns the mean
    of their losses.
    """
    if not tf.distribute.has_strategy():
        return train_step
    strategy = tf.distribute.get_strategy()
    count = strategy.num_replicas_in_sync

    def in_replica(images, labels, lr, seed):
        number = tf.distribute.get_replica_context().replica_id_in_sync_group
        images, labels = tf.cond(tf.size(labels) % count == 0,
                                 lambda: (images[number::count], labels[number::count]),
                                 lambda: (images, labels))
        # No two replicas and no two steps augment and drop alike.
        own_seed = tf.stack([seed[0], seed[1] * count + tf.cast(number, tf.int64)])
        return train_step(images, labels, lr, own_seed)

    def on_all(*arguments):
        return strategy.reduce("MEAN", strategy.run(in_replica, arguments), axis=None)

    return on_all


def broadcast(state: tf.train.Checkpoint) -> None:
    """Give every worker the chief's weights, moments, epoch and step."""
    strategy, progress = tf.distribute.get_strategy(), state.progress
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return
    place = tf.Variable([progress.epoch, progress.step], dtype=tf.int64)

    @tf.function(autograph=False)
    def take_the_chiefs():
        replica = tf.distribute.get_replica_context()
        for variable in (*state.network.variables, *state.optimizer.variables, place):
            # The chief's value plus nothing but zeros.
            own = tf.where(replica.replica_id_in_sync_group == 0, variable,
                           tf.zeros_like(variable))
            tf.raw_ops.AssignVariableOp(resource=variable.handle,
                                        value=replica.all_reduce("SUM", own))

    strategy.run(take_the_chiefs)
    progress.epoch, progress.step = place.numpy().tolist()


def failed_workers(error: Exception) -> str | None:
    """The workers that died, if that is what TensorFlow's error is about, as a phrase."""
    workers, own = cluster()
    message = getattr(error, "message", "")  # of TensorFlow's errors
    failed = {f"{job} {task}" for job, task in re.findall(
        r"/job:(chief|worker)/(?:replica:0/)?task:([0-9]+)", message)}
    if "CoordinationService" in message:
        failed.add(next(iter(workers)))  # the chief
    names = " and ".join(f"{name} ({workers[name]})" for name in workers if name in failed - {own})
    return f"{names} died or lost touch" if names else None
