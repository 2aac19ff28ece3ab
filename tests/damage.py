"""Damage to files, and files that mean harm."""

import os
from pathlib import Path

import torch


def flip_weight(path: Path) -> None:
    """Change one byte of the generator's weights in a checkpoint, which PyTorch itself does not notice."""
    weights = next(iter(torch.load(path, weights_only=True)["networks"]["net_G"].values()))
    content = bytearray(path.read_bytes())
    content[content.index(weights.numpy().tobytes()) + 2] ^= 0x10
    path.write_bytes(content)


class Hostile:
    """Runs a shell command when it is unpickled the ordinary way."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple:
        return os.system, (self.command,)
