"""nanoGPT on Tiny Shakespeare, one character after the other: in floats, with ternary MLPs, with all of it ternary.

python examples/nanogpt.py --report nanogpt.json --plot nanogpt.png     three models, minutes on two cores
python examples/nanogpt.py --size paper                                 the paper's size, for a GPU
python examples/nanogpt.py --text FILE                                  on a text of your own

fp32: AdamW trains everything. hybrid1: GFT trains the MLPs. hybrid2: GFT trains the MLPs and Q, K, V and O as well;
embeddings and norms are floats. Each model writes some text at its end.
"""

from dataclasses import dataclass
from pathlib import Path

import _experiment as lab
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from popflip.data.shakespeare import tiny_shakespeare
from popflip.errors import DataError
from popflip.files import open_input

TRAIN_SHARE = 0.9  # the text's beginning, as in nanoGPT
TEMPERATURE = 0.8  # of the text that a model writes


@dataclass(frozen=True, kw_only=True)
class Recipe(lab.Recipe):
    """A GPT and its training."""

    blocks: int
    heads: int
    width: int
    context: int  # characters that the model sees
    steps: int
    dropout: float
    characters: int = 500  # that a trained model writes

    def __post_init__(self) -> None:
        super().__post_init__()
        lab.check_blocks(self.width, self.heads, self.dropout)


SIZES = {
    "small": Recipe(blocks=4, heads=4, width=128, context=64, batch=16, steps=1200, dropout=0.0),
    "paper": Recipe(blocks=6, heads=6, width=384, context=256, batch=64, steps=2000, dropout=0.2),
}
MODES = {  # names of ternary layers
    "fp32": (),
    "hybrid1": ("*.fc", "*.proj"),
    "hybrid2": ("*.fc", "*.proj", "*.q", "*.k", "*.v", "*.out"),
}
PAPER = {"fp32": 1.06, "hybrid1": 1.61, "hybrid2": 3.01}  # its Table 2; 1.06 is what the training loss comes to


class GPT(nn.Module):
    """Characters ``[batch, time]`` → scores of the next ones ``[batch, time, letters]``."""

    def __init__(self, recipe: Recipe, letters: int):
        super().__init__()
        width = recipe.width
        self.letter, self.place = nn.Embedding(letters, width), nn.Embedding(recipe.context, width)
        self.dropout = nn.Dropout(recipe.dropout)
        blocks = (lab.Block(width, recipe.heads, recipe.dropout, causal=True) for _ in range(recipe.blocks))
        self.blocks = nn.Sequential(*blocks)
        self.norm, self.head = nn.LayerNorm(width, bias=False), nn.Linear(width, letters, bias=False)
        self.head.weight = self.letter.weight

    def forward(self, x: Tensor) -> Tensor:
        x = self.dropout(self.letter(x) + self.place.weight[: x.shape[1]])
        return self.head(self.norm(self.blocks(x)))


class NanoGPT(lab.Experiment):
    """A GPT that learns a text."""

    title, metric = "nanoGPT", "val_loss"
    sizes, modes, paper = SIZES, MODES, PAPER

    def __init__(self, recipe, device, options):
        super().__init__(recipe, device, options)
        text = own_text(options.text) if options.text else tiny_shakespeare(options.data_dir)
        self.letters = sorted(set(text))
        numbers = {letter: number for number, letter in enumerate(self.letters)}
        letters = torch.tensor([numbers[letter] for letter in text])
        cut = int(TRAIN_SHARE * len(letters))
        if len(letters) - cut <= recipe.context:
            raise DataError(f"text: {len(letters)} characters; with a context of {recipe.context}, more are needed")
        self.train_text, self.val_text = letters[:cut].to(device), letters[cut:].to(device)

    @classmethod
    def add_options(cls, parser):
        super().add_options(parser)
        parser.add_argument("--text", type=Path, metavar="FILE", help="a text in UTF-8 instead of Tiny Shakespeare")

    @property
    def steps(self):
        return self.recipe.steps

    def model(self, mode):
        model = GPT(self.recipe, len(self.letters))
        lab.initialise(model, self.recipe.width, self.recipe.blocks, self.modes[mode])
        return model

    def batches(self, generator):
        windows = self.train_text.unfold(0, self.recipe.context + 1, 1)
        while True:
            first = torch.randint(len(windows), (self.recipe.batch,), generator=generator)
            part = windows[first.to(self.device)]
            yield part[:, :-1], part[:, 1:]

    def measure(self, model, whole):
        """Mean loss of a character, on as many of the training text as there are in the validation text."""
        size = len(self.val_text) if whole else min(len(self.val_text), 20 * self.recipe.batch * self.recipe.context)
        texts = {"train_loss": self.train_text, "val_loss": self.val_text}
        return {name: self._loss(model, text[:size]) for name, text in texts.items()}

    def _loss(self, model: nn.Module, text: Tensor) -> float:
        context = self.recipe.context
        windows = text.unfold(0, context + 1, context)
        total = torch.zeros((), device=self.device)
        for part in windows.split(self.recipe.batch):
            total += cross_entropy(model(part[:, :-1]).flatten(0, 1), part[:, 1:].flatten(), reduction="sum")
        return float(total) / (len(windows) * context)

    def outcome(self, model):
        """Text that the model writes."""
        written = torch.zeros(1, 1, dtype=torch.long, device=self.device)
        for _ in range(self.recipe.characters):
            scores = model(written[:, -self.recipe.context :])[0, -1] / TEMPERATURE
            written = torch.cat([written, scores.softmax(0).multinomial(1)[None]], 1)
        text = "".join(self.letters[number] for number in written[0, 1:].tolist())
        print(text, flush=True)
        return {"text": text}


def own_text(path: Path) -> str:
    """The text in a file of the user; :class:`DataError` if it is none."""
    try:
        with open_input(path) as file:
            return file.read().decode()
    except UnicodeDecodeError as error:
        raise DataError(f"text: {path} is not a text in UTF-8: {error}") from None


if __name__ == "__main__":
    lab.start(__doc__, NanoGPT)
