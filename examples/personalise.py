"""A device learns the hand of its user: trained at a desk on many writers (A), then on the chip on a few samples (B).

python examples/personalise.py             on the simulated chip (compiled once, about a minute)
python examples/personalise.py golden      on the golden model: NumPy, and the same bits
"""

import argparse
import sys

import numpy as np
from sklearn.datasets import load_digits

from popflip import Classifier
from popflip.cli.main import run_command

parser = argparse.ArgumentParser()
parser.add_argument("device", nargs="?", default="sim", help="sim, golden or a serial port (default: sim)")
parser.add_argument("--samples", type=int, default=50, help="samples of B (default: 50)")
parser.add_argument("--epochs", type=int, default=20, help="passes over the samples of A (default: 20)")
parser.add_argument("--seed", type=int, default=1, help="seed of every run (default: 1)")
arguments = parser.parse_args()

# B writes at a slant: each two rows of an image move one pixel further to the right.
x, y = load_digits(return_X_y=True)
order = np.random.default_rng(0).permutation(len(x))
x, y = x[order].reshape(-1, 8, 8), y[order]
slanted = np.stack([np.roll(x[:, row], (7 - row) // 2 - 1, axis=1) for row in range(8)], axis=1)
a, b = x.reshape(-1, 64), slanted.reshape(-1, 64)
desk, own, test = slice(0, 1000), slice(1000, 1000 + arguments.samples), slice(-360, None)

np.savetxt("b.csv", np.column_stack([b[own], y[own]]), "%d", ",")
network = {"preset": "digits", "seed": arguments.seed}
Classifier(**network, epochs=arguments.epochs).fit(a[desk], y[desk]).save("desk.npz")

run = ["train", "--dataset", "b.csv", "--device", arguments.device, "--seed", str(arguments.seed)]
alone = ["--preset", "digits", "--thresholds", "3,6,9,12"]
for start, file in ((["--start", "desk.npz"], "personal.npz"), (alone, "alone.npz")):
    if code := run_command([*run, *start, "--save", file]):
        sys.exit(code)

print("\nnetwork                       A       B")
for file, title in (("desk.npz", "from the desk"), ("personal.npz", "then on B"), ("alone.npz", "on B alone")):
    model = Classifier.load(file)
    print(f"{title:24} {model.score(a[test], y[test]):7.1%} {model.score(b[test], y[test]):7.1%}")
