"""A deep network of linear layers on MNIST: in floats, with its inner layers ternary, with all layers ternary.

python examples/mnist_hybrid.py --report mnist.json --plot mnist.png    784-1024×4-10, minutes on two cores
python examples/mnist_hybrid.py --size paper                            784-4096×4-10, for a GPU
python examples/mnist_hybrid.py --dataset fashion-mnist                 on other images

fp32: AdamW trains everything. hybrid: GFT trains the layers between two hidden layers, AdamW the first and the last.
ternary: GFT trains all layers, and the network has no floats.
"""

from dataclasses import dataclass
from itertools import pairwise

import _experiment as lab
import _images as images
from torch import nn

from popflip.torch import convert


@dataclass(frozen=True, kw_only=True)
class Recipe(images.Recipe):
    """A network of linear layers and its training."""

    width: int
    hidden: int = 4  # layers


SIZES = {
    "small": Recipe(width=1024, epochs=10, batch=256),
    "paper": Recipe(width=4096, epochs=10, batch=256),
}
MODES = {"fp32": (), "hybrid": ("inner*",), "ternary": ("first", "inner*", "last")}  # names of ternary layers
PAPER = {"fp32": 0.9833, "hybrid": 0.9715, "ternary": 0.9446}  # its Table 1


class Mnist(images.ImageExperiment):
    """Linear layers without bias; between them a norm without parameters, and ReLU."""

    sizes, modes, paper = SIZES, MODES, PAPER

    def model(self, mode):
        recipe = self.recipe
        channels, height, width = self.image
        widths = [channels * height * width, *[recipe.width] * recipe.hidden, self.classes]
        model = nn.Sequential()
        model.add_module("flat", nn.Flatten())
        for number, (inputs, outputs) in enumerate(pairwise(widths)):
            if number:
                model.add_module(f"norm{number}", nn.LayerNorm(inputs, elementwise_affine=False))
                model.add_module(f"relu{number}", nn.ReLU())
            name = "first" if number == 0 else "last" if number == recipe.hidden else f"inner{number}"
            model.add_module(name, nn.Linear(inputs, outputs, bias=False))
        for pattern in self.modes[mode]:
            convert(model, pattern)
        return model


if __name__ == "__main__":
    lab.start(__doc__, Mnist)
