"""Several devices or several machines train one network together, by tf.distribute.

Every worker runs train.py, on its shard of the images: worker i of n holds the images i, i + n,
i + 2 n … In each step every replica (a device) computes the gradients of its part of the batch
with a copy of the weights of its own; the gradients are summed over all replicas, so that all
copies make the same step. TensorFlow watches over the workers: when one dies, the next sum of the
others raises an error.

`SingleDevice` is what train.py talks to where one device trains alone: every method is the plain
thing itself. `Replicas` does the same for several.
"""

import contextlib
import hashlib
import json
import os
import re
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from support.cli import UserError
from support.tensorflow_setup import tf

STARTUP_TIMEOUT = 300  # seconds in which all workers must have been started


class SingleDevice:
    """One device that trains alone."""

    rank = 0             # which of the workers this process is
    world_size = 1       # how many workers there are
    count = 1            # how many replicas, in all workers together
    is_chief = True      # whether this worker prints and writes files

    def __init__(self, run: Path | None = None):
        self.run = run   # the folder of the run, as the chief named it

    @property
    def shard(self) -> slice:
        """Which of all images this worker holds."""
        return slice(self.rank, None, self.world_size)

    def local_rows(self, indices: np.ndarray) -> np.ndarray:
        """Of images with these indices those that this worker holds, as rows of its own arrays."""
        return indices

    def scope(self) -> contextlib.AbstractContextManager:
        """Variables made inside have a copy in every replica."""
        return contextlib.nullcontext()

    def run_step(self, step: Callable) -> Callable:
        """step(images, labels, learning_rate, seed), carried out by all replicas on their parts."""
        return step

    def all_reduce_mean(self, gradients: list, loss, count) -> tuple[list, object]:
        """Inside a step: the means over the whole batch, from those over this replica's part.

        count: how many images that part has.
        """
        return gradients, loss

    def all_gather(self, values: np.ndarray) -> np.ndarray:
        """A number for each image held here -> the numbers of all images, float32 (n,)."""
        return values

    def broadcast_variables(self, variables: Sequence[tf.Variable]) -> None:
        """Give every worker the values that the chief has."""

    def failed_workers(self, error: Exception) -> str | None:
        """The workers that died, if that is what the error is about, as a phrase."""
        return None


class Replicas(SingleDevice):
    """Several replicas, in this process or in several workers. strategy: what connects them."""

    def __init__(self, strategy: tf.distribute.Strategy, addresses: Sequence[str] = ("",),
                 rank: int = 0, run: Path | None = None):
        super().__init__(run)
        self.strategy, self.addresses = strategy, addresses
        self.rank, self.world_size = rank, len(addresses)
        self.count = strategy.num_replicas_in_sync
        self.replicas_here = self.count // self.world_size
        self.is_chief = rank == 0
        self.gather = tf.function(self._one_after_the_other, autograph=False,
                                  input_signature=[tf.TensorSpec([None], tf.float32)])
        self.scope = strategy.scope

    def local_rows(self, indices: np.ndarray) -> np.ndarray:
        own = indices[indices % self.world_size == self.rank]
        return own // self.world_size

    def run_step(self, step: Callable) -> Callable:
        def in_replica(images, labels, learning_rate, seed):
            number = tf.distribute.get_replica_context().replica_id_in_sync_group
            images, labels = shard_batch(images, labels, number % self.replicas_here,
                                         self.replicas_here)
            # No two replicas and no two steps have the same seed.
            own = seed[1] * self.count + tf.cast(number, tf.int64)
            return step(images, labels, learning_rate, tf.stack([seed[0], own]))

        def run(*arguments):
            losses = self.strategy.run(in_replica, arguments)
            return self.strategy.experimental_local_results(losses)[0]  # all are equal

        return run

    def all_reduce_mean(self, gradients: list, loss, count) -> tuple[list, object]:
        replica = tf.distribute.get_replica_context()
        count = tf.cast(count, tf.float32)
        weight = count / replica.all_reduce("SUM", count)
        # A replica without images has a loss of 0 / 0, which must not spread: hence "no nan".
        *gradients, loss = replica.all_reduce("SUM", [
            tf.math.multiply_no_nan(value, weight) for value in (*gradients, loss)])
        return gradients, loss

    def all_gather(self, values: np.ndarray) -> np.ndarray:
        if self.world_size == 1:  # this process has computed them all
            return values
        parts = np.asarray(self.gather(values))
        gathered = np.empty(len(parts), np.float32)
        start = 0
        for rank in range(self.world_size):
            shard = gathered[rank::self.world_size]
            shard[:] = parts[start:start + len(shard)]
            start += len(shard)
        return gathered

    def _one_after_the_other(self, values):
        """The values of all workers, one worker after the other."""
        def in_replica():
            replica = tf.distribute.get_replica_context()
            first = replica.replica_id_in_sync_group % self.replicas_here == 0
            own = values[:tf.where(first, tf.size(values), 0)]  # each value only once
            return replica.all_gather(own, axis=0)

        return self.strategy.experimental_local_results(self.strategy.run(in_replica))[0]

    def broadcast_variables(self, variables: Sequence[tf.Variable]) -> None:
        @tf.function(autograph=False)
        def broadcast():
            replica = tf.distribute.get_replica_context()
            for variable in variables:  # the chief's value plus nothing but zeros
                own = tf.where(replica.replica_id_in_sync_group == 0, variable,
                               tf.zeros_like(variable))
                tf.raw_ops.AssignVariableOp(resource=variable.handle,
                                            value=replica.all_reduce("SUM", own))

        if self.world_size > 1:
            self.strategy.run(broadcast)

    def failed_workers(self, error: Exception) -> str | None:
        if self.world_size == 1 or not isinstance(error, tf.errors.OpError):
            return None
        chiefs = len(json.loads(os.environ["TF_CONFIG"])["cluster"].get("chief", []))
        ranks = {int(task) + (job == "worker") * chiefs for job, task in
                 re.findall(r"/job:(chief|worker)/(?:replica:0/)?task:([0-9]+)", error.message)}
        if "CoordinationService" in error.message:  # the chief's
            ranks.add(0)
        ranks.discard(self.rank)
        return f"{_names(self.addresses, sorted(ranks))} died or lost touch" if ranks else None


def shard_batch(images, labels, number, count: int):
    """Part `number` of so many parts of a batch: every count-th image and label.

    A part that a small batch leaves without images gets a black one without a label: TensorFlow
    cannot convolve none.
    """
    images, labels = images[number::count], labels[number::count]
    missing = tf.maximum(0, 1 - tf.shape(images)[0])
    return tf.pad(images, [[0, missing], [0, 0], [0, 0], [0, 0]]), labels


# ---------------------------------------------------------------------------------------------
# Starting together
# ---------------------------------------------------------------------------------------------

@contextlib.contextmanager
def setup(strategy: str, run: Path | None, flags: dict[str, str],
          images: Sequence[tuple[Path, int]]) -> Iterator[SingleDevice]:
    """What computes, under the name that --strategy gives it.

    run: the folder of the run, from the chief; flags and images (paths and labels): what every
    worker must have been started with alike, though not in one place. Inside, only the chief
    prints. Raises UserError if workers cannot be reached or were started differently.
    """
    if strategy == "single":
        yield SingleDevice(run)
    elif strategy == "mirrored":
        yield Replicas(tf.distribute.MirroredStrategy(), run=run)
    else:
        addresses, rank = cluster()
        own = {name: value for name, value in flags.items()
               if name not in ("--data_dir", "--runs_dir", "--flagfile")}
        own["the cluster of TF_CONFIG"] = str(addresses)
        names = repr([(path.name, label) for path, label in images])
        own["the digest of the file names in --data_dir"] = hashlib.sha256(
            names.encode()).hexdigest()[:12]
        handshakes = rendezvous(addresses, rank, {"alike": own, "run": str(run)})
        for other in sorted(handshakes):
            theirs = handshakes[other]["alike"]
            for what in sorted(own.keys() | theirs.keys()):
                if own.get(what) != theirs.get(what):
                    raise UserError(
                        f"{what} is {own.get(what, 'not given')} here, for worker {rank}, and "
                        f"{theirs.get(what, 'not given')} for worker {other}: start all alike")
        multi_worker = tf.distribute.MultiWorkerMirroredStrategy()
        # TensorFlow has taken the signal for itself.
        signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGTERM))
        with contextlib.ExitStack() as stack:
            if rank:
                print(f"worker {rank} of {len(addresses)}: worker 0 prints and writes the run",
                      flush=True)
                devnull = stack.enter_context(open(os.devnull, "w", errors="replace"))
                stack.enter_context(contextlib.redirect_stdout(devnull))
            yield Replicas(multi_worker, addresses, rank, Path(handshakes[0]["run"]))


def world_size(strategy: str) -> int:
    """How many workers there are. Raises UserError for a TF_CONFIG that does not say it."""
    return len(cluster()[0]) if strategy == "multi_worker" else 1


def is_chief(strategy: str) -> bool:
    """Whether this process prints and writes files. Raises UserError as world_size does."""
    return strategy != "multi_worker" or cluster()[1] == 0


def cluster() -> tuple[list[str], int]:
    """HOST:PORT of every worker, the chief's first, and the rank of this one: from TF_CONFIG.

    Raises UserError for a TF_CONFIG that does not say it.
    """
    text = os.environ.get("TF_CONFIG", "")
    try:
        record = json.loads(text)
        workers = {(job, number): address for job in ("chief", "worker")
                   for number, address in enumerate(record["cluster"].get(job, []))}
        for address in workers.values():
            host, _, port = address.rpartition(":")
            if not (host and 0 < int(port) < 65536):
                raise ValueError(f"{address} is not HOST:PORT")
        task = record["task"]["type"], int(record["task"]["index"])
        if task not in workers:
            raise ValueError(f"its task, {task[0]} {task[1]}, is not in its cluster")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"TF_CONFIG={text!r} is not what --strategy=multi_worker needs ({error!r}): make it "
            'like {"cluster": {"worker": ["HOST:PORT", "HOST:PORT"]}, '
            '"task": {"type": "worker", "index": 0}}') from error
    return list(workers.values()), list(workers).index(task)


def rendezvous(addresses: Sequence[str], rank: int, handshake: dict) -> dict[int, dict]:
    """The handshakes of all workers, by rank, as soon as all are there; each calls the chief.

    TensorFlow waits for them as well, but for an hour, deaf to Ctrl-C, and without saying for
    whom. Raises UserError, which does, after STARTUP_TIMEOUT seconds.
    """
    until = time.monotonic() + STARTUP_TIMEOUT
    (host, _, port), own_port = addresses[0].rpartition(":"), addresses[rank].rpartition(":")[2]
    try:
        server = socket.create_server(("", int(own_port)))
    except OSError as error:
        raise UserError(f"TF_CONFIG gives port {own_port} to this worker, {rank}, which cannot "
                        f"have it: {os.strerror(error.errno)}") from error
    handshakes, callers = {}, {}
    with server, contextlib.ExitStack() as stack:
        if rank:
            server.close()  # it was only tried
            while not handshakes and time.monotonic() < until:
                with (contextlib.suppress(OSError, ValueError),
                      socket.create_connection((host, int(port)), 10) as chief):
                    chief.settimeout(STARTUP_TIMEOUT + 10)  # the chief may have begun later
                    chief.sendall(json.dumps([rank, handshake]).encode() + b"\n")
                    handshakes = dict(json.loads(chief.makefile().readline()))
                time.sleep(0.1)
        else:
            handshakes[0] = handshake
            server.settimeout(1)
            while len(handshakes) < len(addresses) and time.monotonic() < until:
                with contextlib.suppress(OSError, ValueError, TypeError):  # nobody yet; a stranger
                    caller = stack.enter_context(server.accept()[0])
                    caller.settimeout(1)
                    other, theirs = json.loads(caller.makefile().readline())
                    if other in range(1, len(addresses)):
                        handshakes[other], callers[other] = theirs, caller
            for caller in callers.values():  # also when some are missing: all can say who
                with contextlib.suppress(OSError):
                    caller.sendall(json.dumps(list(handshakes.items())).encode() + b"\n")
    missing = sorted(set(range(len(addresses))) - set(handshakes)) if handshakes else [0]
    if not missing:
        return handshakes
    raise UserError(f"{_names(addresses, missing)} cannot be reached from worker {rank}, "
                    f"{STARTUP_TIMEOUT} seconds long: see that all are started, and TF_CONFIG's "
                    "addresses")


def _names(addresses: Sequence[str], ranks: Sequence[int]) -> str:
    return " and ".join(f"worker {rank} ({addresses[rank]})" for rank in ranks)
