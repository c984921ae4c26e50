"""Weights that PyTorch has written."""

from pathlib import Path

import numpy as np
import torch


def read(path: Path | str) -> dict[str, np.ndarray]:
    """The arrays of a state by name, and no code."""
    state = torch.load(path, map_location="cpu", weights_only=True)
    return {name: value.numpy() for name, value in state.items()}
