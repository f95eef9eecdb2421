"""Popflip in five lines: train digits, test, go on learning, save, load.

python examples/quickstart.py            on the simulated chip (compiled once, about a minute)
python examples/quickstart.py golden     on the golden model: NumPy, and the same bits
"""

import argparse

from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from popflip import Classifier

parser = argparse.ArgumentParser()
parser.add_argument("device", nargs="?", default="sim", help="sim, golden or a serial port (default: sim)")
parser.add_argument("--epochs", type=int, help="passes over the training samples")
parser.add_argument("--save", default="digits.npz", metavar="F.npz", help="where to save the network")
arguments = parser.parse_args()

# 1797 images of 8 × 8 pixels, 0 … 16. Each pixel becomes four bits, so 64 pixels are 256 input bits.
x, x_test, y, y_test = train_test_split(*load_digits(return_X_y=True), test_size=0.2, random_state=0)
x2, y2 = x[:500], y[:500]  # samples that arrive later
x, y = x[500:], y[500:]

model = Classifier(layers=(256, 64, 10), device=arguments.device, epochs=arguments.epochs, seed=1, verbose=True)
model.fit(x, y)
print(f"test accuracy after fit: {model.score(x_test, y_test):.2%}")

model.partial_fit(x2, y2)
print(f"test accuracy after partial_fit: {model.score(x_test, y_test):.2%}")

model.save(arguments.save)
again = Classifier.load(arguments.save)
assert (again.predict(x_test) == model.predict(x_test)).all()
print(f"{arguments.save}: state {again.state_sha256_[:16]}, read by `popflip infer --model` too")
