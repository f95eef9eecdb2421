"""A vision transformer: in floats, and with ternary MLPs.

python examples/vit.py --report vit.json --plot vit.png     Fashion-MNIST, minutes on two cores
python examples/vit.py --size paper                         a larger one, for a GPU
python examples/vit.py --dataset FOLDER --pixels 32         images in FOLDER/train/CLASS/ and FOLDER/test/CLASS/

fp32: AdamW trains everything. hybrid: GFT trains the MLPs of all blocks, two thirds of the weights.
"""

from dataclasses import dataclass

import _experiment as lab
import _images as images
import torch
from torch import Tensor, nn
from torch.nn.functional import unfold

from popflip.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Recipe(images.Recipe):
    """A vision transformer and its training."""

    patch: int  # height and width of the part of an image that becomes a token
    blocks: int
    heads: int
    width: int
    dropout: float = 0.0
    pixels: int = 32  # height and width that images of a folder get

    def __post_init__(self) -> None:
        super().__post_init__()
        lab.check_blocks(self.width, self.heads, self.dropout)


SIZES = {
    "small": Recipe(patch=7, blocks=4, heads=4, width=64, epochs=5, batch=128),
    "paper": Recipe(patch=7, blocks=6, heads=6, width=384, epochs=20, batch=256, dropout=0.1),
}
MODES = {"fp32": (), "hybrid": ("*.fc", "*.proj")}  # names of ternary layers


class VisionTransformer(nn.Module):
    """Images ``[batch, channels, height, width]`` → scores ``[batch, classes]``."""

    def __init__(self, recipe: Recipe, image: tuple[int, int, int], classes: int):
        super().__init__()
        channels, height, width = image
        self.patch = recipe.patch
        tokens = (height // self.patch) * (width // self.patch)
        self.token = nn.Linear(channels * self.patch**2, recipe.width)
        self.place = nn.Parameter(0.2 * torch.randn(tokens, recipe.width))  # about as large as the tokens
        self.blocks = nn.Sequential(
            *(lab.Block(recipe.width, recipe.heads, recipe.dropout) for _ in range(recipe.blocks))
        )
        self.norm, self.head = nn.LayerNorm(recipe.width), nn.Linear(recipe.width, classes)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.token(unfold(x, self.patch, stride=self.patch).transpose(1, 2)) + self.place
        return self.head(self.norm(self.blocks(tokens)).mean(1))


class ViT(images.ImageExperiment):
    """A vision transformer that tells the classes of images."""

    dataset = "fashion-mnist"
    sizes, modes = SIZES, MODES

    def model(self, mode):
        _, height, width = self.image
        if height % self.recipe.patch or width % self.recipe.patch:
            raise ConfigError(f"patch: images of {height} × {width} pixels are no whole patches of {self.recipe.patch}")
        model = VisionTransformer(self.recipe, self.image, self.classes)
        lab.initialise(model, self.recipe.width, self.recipe.blocks, self.modes[mode])
        return model


if __name__ == "__main__":
    lab.start(__doc__, ViT)
