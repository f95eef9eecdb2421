"""Train on a board, and check that it learned the same bits as the golden model.

popflip build --board ulx3s_85f --preset digits      makes the bitstream; docs/boards.md says how to program it
python examples/board.py /dev/ttyUSB1                trains on the board
python examples/board.py                             trains on the simulated chip, without any board
"""

import argparse

from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from popflip import Classifier, PopflipError

parser = argparse.ArgumentParser()
parser.add_argument("port", nargs="?", default="sim", help="the board's serial port (default: sim)")
parser.add_argument("--preset", default="digits", help="the preset that the board was built for: digits…")
parser.add_argument("--epochs", type=int, help="passes over the training samples")
arguments = parser.parse_args()

x, x_test, y, y_test = train_test_split(*load_digits(return_X_y=True), test_size=0.2, random_state=0)

# The chip is built for one network: layers, precision, counter width. The preset says which; the rest may vary.
board = Classifier(preset=arguments.preset, epochs=arguments.epochs, device=arguments.port, verbose=True)
golden = Classifier(preset=arguments.preset, epochs=arguments.epochs, device="golden")
try:
    board.fit(x, y)
    print(f"test accuracy on {arguments.port}: {board.score(x_test, y_test):.2%}")
except PopflipError as error:  # no such port, another bitstream, a bad cable
    raise SystemExit(str(error)) from None

counts = board.status_
print(f"{counts.samples} samples, {counts.errors} of them triggered an update, flips {counts.flips}")
print(f"{counts.cycles['total'] / counts.samples:.1f} clock cycles a sample")

golden.fit(x, y)
assert board.state_sha256_ == golden.state_sha256_, "the board differs from the golden model"
print(f"every weight and counter equals the golden model: {board.state_sha256_[:16]}")
