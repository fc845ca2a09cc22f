"""Interleaved rounds: variants of one piece of work take turns, each in a process of its own.

    figures = rounds.interleave({"ours": ours, "theirs": theirs}, 5)    # {"ours": [5 figures], …}

A round runs every variant once: A B C, A B C, … What else this machine does in the meantime then
slows all of them alike. The processes keep one variant's settings and memory from the others.
"""

import contextlib
import multiprocessing
import os
from collections.abc import Callable, Iterator

# A generator function: each `next` does the work of a round and yields its figure, or a dictionary
# of several. Its process imports it by name: it is a function of a module, or a partial of one.
Variant = Callable[[], Iterator]


class VariantError(Exception):
    """A variant could not do its work; the reason is one sentence."""


def interleave(variants: dict[str, Variant], count: int) -> dict[str, list]:
    """The figures of `count` rounds, after one more that only warms up.

    A variant's figures are listed under its name, or, if it yields dictionaries, under their keys.
    Raises VariantError, which names the variant.
    """
    figures: dict[str, list] = {}
    with contextlib.ExitStack() as stack:
        running_variants = {name: stack.enter_context(running(variant))
                            for name, variant in variants.items()}
        for number in range(count + 1):
            for name, run_round in running_variants.items():
                try:
                    result = run_round()
                except VariantError as error:
                    raise VariantError(f"{name}: {error}") from None
                for key, figure in (result if isinstance(result, dict) else {name: result}).items():
                    if number > 0:
                        figures.setdefault(key, []).append(figure)
    return figures


def run_once(variant: Variant):
    """The figure of a single round, without one to warm up. Raises VariantError."""
    with running(variant) as run_round:
        return run_round()


@contextlib.contextmanager
def running(variant: Variant) -> Iterator[Callable[[], object]]:
    """A variant in a fresh process; yields the function that runs a round and returns its figure.

    That function raises VariantError.
    """
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=serve, args=(variant, there), daemon=True)
    process.start()
    there.close()  # the process has its own: when it ends, so does the pipe

    def run_round():
        try:
            here.send(True)
            figure = here.recv()
        except (EOFError, BrokenPipeError, ConnectionResetError):
            process.join()
            raise VariantError(f"it ended with exit code {process.exitcode}"
                               + (": out of memory?" if process.exitcode == -9 else "")) from None
        if isinstance(figure, VariantError):
            raise figure
        return figure

    try:
        yield run_round
    finally:
        here.close()
        process.join(20)
        process.kill()


def serve(variant: Variant, pipe) -> None:
    """In a variant's process: run a round, silently, for every message until there are no more."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, 1)
    os.dup2(devnull, 2)
    figures = variant()
    try:
        while pipe.recv():
            pipe.send(next(figures))
    except (EOFError, KeyboardInterrupt):
        pass
    except Exception as error:
        pipe.send(VariantError(f"{type(error).__name__}: {error}"))
    figures.close()  # so that it removes its temporary files
