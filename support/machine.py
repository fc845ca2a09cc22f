"""Whether a training fits into this machine's memory."""

import math
import os

from support.cli import UserError


def check(network, batch_size: int, count: int) -> None:
    """Refuse a training that this machine cannot hold, before it starts. Raises UserError.

    Training keeps a byte per colour of each of `count` images; four numbers per weight (the
    weight, its gradient, Adam's two moments); and, for each image of a batch, every layer's
    output and its gradient.
    """
    outputs = (min(batch_size, count)
               * sum(math.prod(layer.output_shape) for layer in network.layers))
    needed = (count * math.prod(network.layers[0].output_shape)
              + 4 * (4 * network.weight_count + 2 * outputs))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > memory:
        raise UserError(
            f"training this {network.name} takes about {needed / 1e9:.0f} GB and the machine has "
            f"{memory / 1e9:.0f} GB: use a smaller --input_size, --batch_size or --train_size, "
            "a larger --stride, or pooling")
