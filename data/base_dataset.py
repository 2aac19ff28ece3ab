"""What all datasets have in common: samples as dicts of tensors, drawn with a random generator of their own."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

Sample = dict[str, Tensor]
SampleKey = tuple[int, int]  # (index, seed): which sample, and the seed of its augmentation


class BaseDataset(Dataset):
    """A dataset whose randomness is an argument.

    ``dataset[index]`` is the plain sample. ``dataset[index, seed]`` is the augmented one, and the same key gives the
    same sample in any worker, in any order, in a resumed run: that is what makes a run repeatable.
    """

    def sample(self, index: int, rng: np.random.Generator | None) -> Sample:
        """The sample ``index``, augmented with ``rng``, or as it is when that is None."""
        raise NotImplementedError

    def files(self, index: int) -> list[Path]:
        """The files that the sample ``index`` is read from, for telling users which."""
        raise NotImplementedError

    def __getitem__(self, key: int | SampleKey) -> Sample:
        if isinstance(key, tuple):
            index, seed = key
            return self.sample(index, np.random.default_rng(seed))
        return self.sample(key, None)


def to_image_tensor(rgb: np.ndarray) -> Tensor:
    """float32 (H, W, 3) in [0, 1] -> (3, H, W) in [-1, 1], as networks see it."""
    return torch.from_numpy(np.ascontiguousarray(rgb.transpose(2, 0, 1))) * 2 - 1
