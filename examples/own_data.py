"""Learn a table of your own: real values with a text label in the last column of a CSV file.

python examples/own_data.py FILE.csv
python examples/own_data.py              writes scikit-learn's wine data to wine.csv and learns that
"""

import argparse
import csv
from pathlib import Path

import numpy as np
from sklearn.datasets import load_wine
from sklearn.model_selection import cross_val_score

from popflip import Classifier

parser = argparse.ArgumentParser()
parser.add_argument("file", nargs="?", help="numbers, and a label in the last column; the first line has names")
parser.add_argument("--epochs", type=int, help="passes over the training samples")
arguments = parser.parse_args()

path = Path(arguments.file or "wine.csv")
if arguments.file is None:
    wine = load_wine()
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow([*wine.feature_names, "label"])
        table.writerows(
            [*values, wine.target_names[label]] for values, label in zip(wine.data, wine.target, strict=True)
        )

with path.open(newline="") as file:
    names, *rows = csv.reader(file)
x = np.array([row[:-1] for row in rows], float)
y = np.array([row[-1] for row in rows])  # text is fine

# Nothing else is needed: quantiles of the training data turn each value into four bits, and rules of thumb choose the
# network. Every parameter that you give replaces a rule.
model = Classifier(epochs=arguments.epochs)
scores = cross_val_score(model, x, y, cv=5)
print(f"{path}: {len(x)} samples, {len(names) - 1} features, labels {', '.join(sorted(set(y)))}")
print(f"accuracy in 5-fold cross-validation: {scores.mean():.1%} ± {scores.std():.1%}")

model.fit(x, y)
config = model.config_
print(f"network {config.layers}, batches of {config.batch}, {config.epochs} epochs, k0 {config.k0}")
for values, label, predicted in zip(x[:3], y, model.predict(x[:3]), strict=False):
    print(f"{values[0]:8.2f}, {values[1]:.2f}, …: {label}, predicted {predicted}")
