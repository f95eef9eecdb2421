"""A small data set of images, and the chip that tests of convolutions share, since it takes long to build."""

from __future__ import annotations

from pathlib import Path

import numpy as np

LAYERS = "6x5x2,c3k3p2,3"
SAMPLES = 64
ARRAY = {"rows": 2, "synapses": 8, "learn_rows": 1, "store_samples": SAMPLES}
"""As :func:`cycle_model.compare` takes it."""
FLAGS = ("--rows", "2", "--synapses", "8", "--learn-rows", "1", "--store", str(SAMPLES))
"""The same, as flags of the command line."""


def write_images(folder: Path) -> Path:
    """A file of 64 images of 6 × 5 pixels in 3 classes, which brighten one of their rows."""
    rng = np.random.default_rng(4)
    y = np.arange(SAMPLES) % 3
    x = rng.integers(0, 90, (SAMPLES, 6, 5))
    x[np.arange(SAMPLES), 2 * y] += 90
    file = folder / "images.npz"
    np.savez(file, x=x.astype(np.uint8), y=y)
    return file
