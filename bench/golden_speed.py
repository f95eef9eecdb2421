"""Speed of the golden model on one core: training samples per second in each epoch of an MNIST preset.

    python bench/golden_speed.py [--preset mnist|mnist-lbe|…] [--data-dir D] [--epochs N]

Reads ``D/mnist/`` or ``$POPFLIP_DATA/mnist/`` and downloads nothing. Later epochs are faster, since only samples that
trigger an update go backward.
"""

from __future__ import annotations

import argparse
import os

for threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):  # read when NumPy is loaded
    os.environ.setdefault(threads, "1")

import sys  # noqa: E402
from pathlib import Path  # noqa: E402

from popflip.devices.golden import GoldenDevice  # noqa: E402
from popflip.errors import PopflipError  # noqa: E402
from popflip.experiment import prepare  # noqa: E402
from popflip.training import train  # noqa: E402


def measure(preset: str, data_dir: Path | None, epochs: int | None) -> None:
    """Train, and print a line per epoch."""
    experiment = prepare(preset=preset, data_dir=data_dir)
    config, samples = experiment.config, len(experiment.y_train)
    last = min(config.epochs, epochs or config.epochs)
    print(f"{preset} {'-'.join(map(str, config.layers))} {config.precision}, rule {config.rule}, one thread")
    print(f"{'epoch':>5} {'samples/s':>10} {'updates':>8}")
    with GoldenDevice(config) as device:
        device.reset()
        for epoch in range(last):
            run = train(device, experiment.x_train, experiment.y_train, (epoch + 1) * samples // config.batch)
            errors = sum(result.errors for result in run.history)
            print(f"{epoch + 1:>5} {run.samples / run.seconds:>10.0f} {errors / run.samples:>8.1%}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description="Speed of the golden model (MNIST presets, one thread).")
    parser.add_argument("--preset", default="mnist", help="preset to train (mnist)")
    parser.add_argument("--data-dir", type=Path, help="folder with mnist/ in it, instead of $POPFLIP_DATA")
    parser.add_argument("--epochs", type=int, help="epochs to measure (all)")
    options = parser.parse_args()
    if options.data_dir is None and not os.environ.get("POPFLIP_DATA"):
        print("skipped: needs MNIST; give --data-dir D or POPFLIP_DATA=D, where D holds mnist/")
        return 0
    measure(options.preset, options.data_dir, options.epochs)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except PopflipError as error:
        sys.exit(f"golden_speed: {error}")
