"""The share of GFT's step in a training step of a small transformer whose MLPs, or all layers, are ternary.

    python bench/torch_step.py [--blocks 4] [--width 128] [--context 64] [--batch 16] [--steps 10]

Prints processor time of forward and backward, AdamW and GFT, the mean of some steps. Needs PyTorch.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable

try:
    import torch
    from torch import Tensor, nn
    from torch.nn.functional import cross_entropy, scaled_dot_product_attention
except ModuleNotFoundError:
    print("bench/torch_step.py: PyTorch is not installed: pip install 'popflip[torch]'")
    sys.exit(0)

from popflip.torch import GFT, convert, split

LETTERS, HEADS, WARM_UP = 65, 4, 3


class Block(nn.Module):
    """A block of a transformer: causal attention and an MLP, each in a residual branch. ``[batch, time, width]``."""

    def __init__(self, width: int):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        parts = self.qkv(self.norm1(x)).chunk(3, 2)
        q, k, v = (part.unflatten(2, (HEADS, -1)).transpose(1, 2) for part in parts)
        x = x + self.out(scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2))
        return x + self.mlp(self.norm2(x))


def transformer(blocks: int, width: int) -> nn.Sequential:
    """Letters ``[batch, time]`` → scores of the next ``[batch, time, letters]``."""
    layers = (Block(width) for _ in range(blocks))
    return nn.Sequential(nn.Embedding(LETTERS, width), *layers, nn.LayerNorm(width), nn.Linear(width, LETTERS))


def timed(work: Callable[[], object]) -> float:
    """Seconds that ``work`` takes: of the processor, or, with a GPU, by the clock."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        start = time.perf_counter()
        work()
        torch.cuda.synchronize()
        return time.perf_counter() - start
    start = time.process_time()
    work()
    return time.process_time() - start


def measure(patterns: list[str], options: argparse.Namespace) -> dict[str, float]:
    """Mean seconds of each part of a training step."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(1)
    model = transformer(options.blocks, options.width).to(device)
    convert(model, patterns)
    weights, rest = split(model)
    gft, adamw = GFT(weights, shift=8), torch.optim.AdamW(rest)
    x = torch.randint(0, LETTERS, (options.batch, options.context + 1), device=device)

    def passes() -> None:
        cross_entropy(model(x[:, :-1]).flatten(0, 1), x[:, 1:].flatten()).backward()

    seconds = {"forward, backward": 0.0, "AdamW": 0.0, "GFT": 0.0}
    for step in range(WARM_UP + options.steps):
        for name, work in zip(seconds, (passes, adamw.step, gft.step), strict=True):
            spent = timed(work)
            seconds[name] += spent if step >= WARM_UP else 0
        adamw.zero_grad()
    return {name: total / options.steps for name, total in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, value in (("blocks", 4), ("width", 128), ("context", 64), ("batch", 16), ("steps", 10)):
        parser.add_argument(f"--{name}", type=int, default=value)
    options = parser.parse_args()
    for title, patterns in (("MLPs ternary", ["*.mlp.*"]), ("all ternary", ["*.mlp.*", "*.qkv", "*.out"])):
        seconds = measure(patterns, options)
        parts = ", ".join(f"{name} {1000 * value:.1f} ms" for name, value in seconds.items())
        print(f"{title}: {parts}; GFT {seconds['GFT'] / sum(seconds.values()):.1%} of a step")


if __name__ == "__main__":
    main()
