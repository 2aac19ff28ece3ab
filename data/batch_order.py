"""Which samples make a batch, and how each is augmented: pass after pass, without end.

The order of a pass depends on the seed and the number of the pass only, and a sample's augmentation on those and its
index. So a position is two numbers, and a resumed run sees what the undisturbed one would have seen.
"""

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler

from data.base_dataset import SampleKey


class EndlessBatches(Sampler):
    """Keys (index, seed) of one batch after the other, from ``start`` batches into the stream on, for ever.

    Every pass is a new permutation; what is left over at its end, less than a batch, waits for another pass. Of each
    batch, process ``rank`` of ``world`` gets its share: together they have what a single one would have.
    """

    def __init__(
        self, size: int, batch_size: int, seed: int, shuffle: bool, start: int = 0, *, rank: int = 0, world: int = 1
    ) -> None:
        self.size, self.batch_size, self.seed, self.shuffle, self.start = size, batch_size, seed, shuffle, start
        share = batch_size // world
        self.share = slice(rank * share, (rank + 1) * share)

    @property
    def batches_per_pass(self) -> int:
        return self.size // self.batch_size

    def __iter__(self) -> Iterator[list[SampleKey]]:
        number = self.start
        while True:
            pass_number, position = divmod(number, self.batches_per_pass)
            order = np.arange(self.size)
            if self.shuffle:
                order = np.random.default_rng([self.seed, pass_number]).permutation(self.size)
            for batch in range(position, self.batches_per_pass):
                picked = order[batch * self.batch_size : (batch + 1) * self.batch_size][self.share]
                yield [(int(index), self._sample_seed(pass_number, int(index))) for index in picked]
            number = (pass_number + 1) * self.batches_per_pass

    def _sample_seed(self, pass_number: int, index: int) -> int:
        return int(np.random.SeedSequence([self.seed, pass_number, index]).generate_state(1)[0])
