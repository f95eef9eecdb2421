"""What the experiments of the paper share: options, training, the report and the plot (arXiv 2410.09734, §4.3, §5).

A script derives :class:`Recipe`, the numbers of a model and of its training, and :class:`Experiment`, the model and its
data, and hands both to :func:`main`::

    options ─▶ Recipe ─▶ Experiment ─▶ train, for each seed and mode ─▶ report, plot
                                       AdamW: floats; GFT: ternary weights
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, NoReturn, get_type_hints

from popflip import __version__
from popflip.cli.signals import held, interrupt_on_stop
from popflip.errors import ConfigError, FileError, PopflipError
from popflip.files import check_writable, whole_file
from popflip.report import PLOT_SUFFIXES

try:
    from popflip.torch import GFT, account, convert, split
    from popflip.torch.votes import Votes
except PopflipError as error:  # PyTorch is missing or too old
    print(error, file=sys.stderr)
    raise SystemExit(2) from None

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, gelu, scaled_dot_product_attention

BAD_INPUT, STOPPED = 2, 130  # exit codes; the second is a shell's after Ctrl-C
BETAS, CLIP, LEAST_RATE = (0.9, 0.99), 1.0, 0.1  # of AdamW; the gradients' largest norm; last learning rate / largest
MAY_BE_ZERO = ("warm_up", "shift", "weight_decay", "dropout")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Numbers of a model and of its training. Each is an option of the script. Raises :class:`ConfigError`."""

    batch: int  # texts or images in a step
    lr: float = 1e-3  # AdamW's largest learning rate
    warm_up: int = 100  # steps until the learning rate is the largest
    weight_decay: float = 0.1  # AdamW's, for matrices
    k0: float = 0.001  # share of a layer's ternary weights selected in the first step
    shift: int = 8  # counters of ternary weights lose m/2^shift in a step
    votes: str = "float"  # kind of votes for ternary weights
    bounded: bool = True  # drop votes beyond a weight's end
    points: int = 10  # measurements in a run

    def __post_init__(self) -> None:
        for name, kind in get_type_hints(type(self)).items():
            value = getattr(self, name)
            if kind in (int, float) and not (0 < value < math.inf or (value == 0 and name in MAY_BE_ZERO)):
                raise ConfigError(f"{name}: {value} is not a number above 0")


class Experiment(ABC):
    """A model in several modes, and its data. It gets all ``options`` of the script, of which some may be its own."""

    title: str
    metric: str  # name of the measurement that counts
    percent = False  # whether that is a share
    sizes: Mapping[str, Any]  # a recipe for each size
    modes: Mapping[str, tuple[str, ...]]  # patterns of the names of the ternary layers in each mode
    paper: Mapping[str, float] = {}  # the paper's results

    def __init__(self, recipe: Any, device: torch.device, options: argparse.Namespace):
        self.recipe, self.device = recipe, device

    @classmethod
    def add_options(cls, parser: argparse.ArgumentParser) -> None:
        """Add the options that say where the data is."""
        parser.add_argument("--data-dir", type=Path, help="folder of data sets, instead of $POPFLIP_DATA or a download")

    @property
    @abstractmethod
    def steps(self) -> int:
        """Steps of a whole run."""

    @abstractmethod
    def model(self, mode: str) -> nn.Module:
        """A new model, on the CPU."""

    @abstractmethod
    def batches(self, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        """Inputs and classes of one step after the other, without end."""

    @abstractmethod
    def measure(self, model: nn.Module, whole: bool) -> dict[str, float]:
        """Measurements of a model, on a part of the data or on the ``whole``."""

    def outcome(self, model: nn.Module) -> dict[str, Any]:
        """What else there is to report about a trained model."""
        return {}

    def text(self, value: float) -> str:
        """A value of the metric."""
        return f"{value:.2%}" if self.percent else f"{value:.3f}"


# A transformer's block ------------------------------------------------------------------------------------------------


class Block(nn.Module):
    """Attention and an MLP, each in a residual branch: ``[batch, tokens, width]`` → the same."""

    def __init__(self, width: int, heads: int, dropout: float = 0.0, *, causal: bool = False):
        super().__init__()
        self.heads, self.causal, self.dropout = heads, causal, nn.Dropout(dropout)
        self.norm1, self.norm2 = nn.LayerNorm(width, bias=False), nn.LayerNorm(width, bias=False)
        self.q, self.k, self.v, self.out = (nn.Linear(width, width, bias=False) for _ in range(4))
        self.fc, self.proj = nn.Linear(width, 4 * width, bias=False), nn.Linear(4 * width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.dropout(self._attention(self.norm1(x)))
        return x + self.dropout(self.proj(gelu(self.fc(self.norm2(x)))))

    def _attention(self, x: Tensor) -> Tensor:
        q, k, v = (each(x).unflatten(2, (self.heads, -1)).transpose(1, 2) for each in (self.q, self.k, self.v))
        dropout = self.dropout.p if self.training else 0.0
        mixed = scaled_dot_product_attention(q, k, v, dropout_p=dropout, is_causal=self.causal)
        return self.out(mixed.transpose(1, 2).flatten(2))


LAST_OF_BRANCH = ("proj", "out")  # linear layers of a block that end a residual branch


def initialise(model: nn.Module, width: int, blocks: int, ternary: Sequence[str]) -> None:
    """Normal weights, with nanoGPT's deviation of 0.02 at its ``width`` of 384; then make the layers ``ternary``
    (patterns of names).

    Narrower models have larger weights, or floats learn slowly. The last layers of the 2·``blocks`` residual branches
    are smaller, so that the branches' sum is not too large.
    """
    deviation, gain = 0.02 * (384 / width) ** 0.5, (2 * blocks) ** -0.5
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=deviation * (gain if name.endswith(LAST_OF_BRANCH) else 1))
    for pattern in ternary:
        convert(model, pattern, gain=gain if pattern.endswith(LAST_OF_BRANCH) else 1)


def check_blocks(width: int, heads: int, dropout: float) -> None:
    """:class:`ConfigError` unless ``heads`` share the ``width`` evenly, and ``dropout`` leaves something."""
    if width % heads:
        raise ConfigError(f"heads: {heads} do not share a width of {width} evenly")
    if dropout >= 1:
        raise ConfigError(f"dropout: {dropout} is not below 1")


# Training -------------------------------------------------------------------------------------------------------------


class Optimisers:
    """AdamW for floats, its learning rate by a schedule, beside GFT for ternary weights."""

    def __init__(self, model: nn.Module, recipe: Recipe, steps: int):
        weights, self._floats = split(model)
        self._each: list[torch.optim.Optimizer] = []
        self._schedule: torch.optim.lr_scheduler.LRScheduler | None = None
        self.gft: GFT | None = None
        if self._floats:
            matrices = [each for each in self._floats if each.ndim > 1]
            vectors = [each for each in self._floats if each.ndim <= 1]
            groups = [{"params": matrices, "weight_decay": recipe.weight_decay}, {"params": vectors, "weight_decay": 0}]
            adamw = torch.optim.AdamW(groups, recipe.lr, BETAS)
            self._schedule = torch.optim.lr_scheduler.LambdaLR(adamw, lambda step: rate(step, recipe.warm_up, steps))
            self._each.append(adamw)
        if weights:
            self.gft = GFT(weights, recipe.k0, steps, shift=recipe.shift, votes=recipe.votes, bounded=recipe.bounded)
            self._each.append(self.gft)

    def step(self) -> None:
        """Learn from the last backward pass."""
        nn.utils.clip_grad_norm_(self._floats, CLIP)
        for each in self._each:
            each.step()
            each.zero_grad()
        if self._schedule is not None:
            self._schedule.step()


def rate(step: int, warm_up: int, steps: int) -> float:
    """Learning rate in ``step``, counted from 0, over the largest: a line up to 1, then a cosine down to a tenth."""
    if step < warm_up:
        return (step + 1) / warm_up
    done = min(1.0, (step - warm_up) / max(1, steps - warm_up))
    return LEAST_RATE + (1 - LEAST_RATE) * (1 + math.cos(math.pi * done)) / 2


def train(experiment: Experiment, mode: str, seed: int, run: dict[str, Any]) -> None:
    """Train a new model. ``run``, its entry in the report, grows at each measurement, so that Ctrl-C loses little.

    Ctrl-C waits for the end of a step: PyTorch calls Python from places that lose a :class:`KeyboardInterrupt`.
    """
    torch.manual_seed(seed)
    recipe, steps = experiment.recipe, experiment.steps
    model = experiment.model(mode).to(experiment.device)
    optimisers = Optimisers(model, recipe, steps)
    batches = experiment.batches(torch.Generator().manual_seed(seed))
    wall, cpu = time.perf_counter(), time.process_time()
    losses: list[Tensor] = []
    with held() as stopping:
        for step in range(1, steps + 1):
            if stopping():
                return
            losses.append(learn(model, optimisers, *next(batches)))
            if step % math.ceil(steps / recipe.points) and step < steps:
                continue
            measured = {"batch_loss": float(torch.stack(losses).mean()), **measure(experiment, model, step == steps)}
            losses.clear()
            run["history"].append({"step": step, **measured})
            run.update(costs(model, optimisers.gft, step))
            run.update(seconds=time.perf_counter() - wall, cpu_seconds=time.process_time() - cpu)
            numbers = ", ".join(f"{name} {value:.4f}" for name, value in measured.items())
            print(f"{mode}, seed {seed}, step {step} of {steps}: {numbers}", flush=True)
    with torch.no_grad():
        run.update(experiment.outcome(model))
    run["finished"] = True


def learn(model: nn.Module, optimisers: Optimisers, x: Tensor, y: Tensor) -> Tensor:
    """One step. Returns the loss of its samples."""
    model.train()
    loss = cross_entropy(model(x).flatten(0, -2), y.flatten())
    loss.backward()
    optimisers.step()
    return loss.detach()


@torch.no_grad()
def measure(experiment: Experiment, model: nn.Module, whole: bool) -> dict[str, float]:
    """The experiment's measurements of ``model``, without dropout."""
    model.eval()
    return experiment.measure(model, whole)


def costs(model: nn.Module, gft: GFT | None, steps: int) -> dict[str, Any]:
    """Parameters of both kinds, updates and bits (docs/pytorch.md, accounting)."""
    found = account(model, gft, steps)
    return {
        "steps": steps,
        "float_parameters": found.float_parameters,
        "ternary_weights": found.ternary_weights,
        "flips": found.flips,
        "updates": found.updates,
        "bits": round(found.bits),
        "stored_bits": found.stored_bits,
    }


# The command ----------------------------------------------------------------------------------------------------------


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(BAD_INPUT, f"{self.prog}: {message}\n")


def start(description: str, kind: type[Experiment]) -> NoReturn:
    """Run the script of ``kind`` with the command line's arguments, and end. SIGTERM and SIGHUP end it like Ctrl-C."""
    interrupt_on_stop()
    sys.exit(main(description, kind))


def main(description: str, kind: type[Experiment], arguments: Sequence[str] | None = None) -> int:
    """Run the script of ``kind`` with ``arguments``. Returns the exit code."""
    parser = parser_of(description, kind)
    options = parser.parse_args(arguments)
    try:
        recipe = recipe_of(kind, options)
        check_outputs(options)
        experiment = kind(recipe, device_of(options.device), options)
        report = new_report(parser.prog, experiment, options)
        check_models(experiment, options.mode)
        return run_all(experiment, options, report)
    except PopflipError as error:
        name, colon, rest = str(error).partition(":")
        place = flag_of(name) if hasattr(options, name) else name
        print(f"{parser.prog}: {place}{colon}{rest}", file=sys.stderr)
        return BAD_INPUT
    except torch.cuda.OutOfMemoryError as error:
        print(f"{parser.prog}: --batch: a step does not fit into memory: {first_line(error)}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print(f"{parser.prog}: stopped", file=sys.stderr)
        return STOPPED


def parser_of(description: str, kind: type[Experiment]) -> Parser:
    """The options that all scripts share, one for each number of a recipe, and those of ``kind``."""
    script = Path(sys.modules[kind.__module__].__file__ or "").name
    parser = Parser(
        script, description=description, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--size", choices=kind.sizes, default="small", help="small (default): minutes on two cores")
    parser.add_argument("--mode", nargs="+", choices=kind.modes, default=list(kind.modes), help="default: all of them")
    parser.add_argument("--seed", "--seeds", nargs="+", type=seed, default=[1], metavar="N", help="one run each (1)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="cpu, cuda, mps, …")
    kind.add_options(parser)
    parser.add_argument("--report", type=Path, metavar="F.json", help="where to save the results")
    parser.add_argument("--plot", type=Path, metavar="F.png", help="where to save a plot: PNG, SVG or PDF")
    numbers = parser.add_argument_group("numbers of the size that may be replaced")
    for name, what in get_type_hints(type(kind.sizes["small"])).items():
        told = ", ".join(f"{getattr(recipe, name)} ({size})" for size, recipe in kind.sizes.items())
        how: dict[str, Any] = {"action": argparse.BooleanOptionalAction} if what is bool else {"type": what}
        if name == "votes":
            how["choices"] = [str(value) for value in Votes]
        numbers.add_argument(flag_of(name), help=told, **how)
    return parser


def flag_of(name: str) -> str:
    """The flag of a parameter."""
    return "--" + name.replace("_", "-")


def seed(text: str) -> int:
    value = int(text)
    if not 0 <= value < 2**32:
        raise argparse.ArgumentTypeError(f"{value} is outside 0 … {2**32 - 1}")
    return value


def recipe_of(kind: type[Experiment], options: argparse.Namespace) -> Any:
    """The recipe of the chosen size, with the numbers that the user replaced."""
    base = kind.sizes[options.size]
    given = {each.name: getattr(options, each.name) for each in fields(base)}
    return replace(base, **{name: value for name, value in given.items() if value is not None})


def check_outputs(options: argparse.Namespace) -> None:
    """:class:`PopflipError` unless the report and the plot can be written after a long run."""
    if options.plot is not None and options.plot.suffix.lower() not in PLOT_SUFFIXES:
        raise ConfigError(f"plot: {options.plot} ends in none of {', '.join(PLOT_SUFFIXES)}")
    check_writable(report=options.report, plot=options.plot)


def first_line(error: Exception) -> str:
    """The first line of an error's message."""
    return str(error).strip().partition("\n")[0]


def device_of(name: str) -> torch.device:
    """The device called ``name``, if PyTorch can use it."""
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ConfigError(f"device: {name} cannot be used: {first_line(error)}") from None
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")  # TF32
    return device


def check_models(experiment: Experiment, modes: Sequence[str]) -> None:
    """:class:`PopflipError` unless there are models and optimisers for the ``modes``, before the first run."""
    try:
        for mode in modes:
            Optimisers(experiment.model(mode), experiment.recipe, experiment.steps)
    except RuntimeError as error:
        raise ConfigError(f"size: the model does not fit into memory: {first_line(error)}") from None


def run_all(experiment: Experiment, options: argparse.Namespace, report: dict[str, Any]) -> int:
    """Train each mode with each seed. The report is saved after each run, and when the user stops."""
    code = 0
    try:
        for number in options.seed:
            for mode in options.mode:
                run = {"mode": mode, "seed": number, "finished": False, "history": []}
                report["runs"].append(run)
                train(experiment, mode, number, run)
                save_report(options.report, report)
    except KeyboardInterrupt:
        code = STOPPED
        print("stopped: the last run has no end")
    print("\n".join(summary(experiment, report)), flush=True)
    for save, path in ((save_report, options.report), (lambda *each: save_plot(experiment, *each), options.plot)):
        try:
            save(path, report)
        except FileError as error:  # the other file may be writable
            print(error, file=sys.stderr)
            code = code or BAD_INPUT
    return code


# Results --------------------------------------------------------------------------------------------------------------


def new_report(name: str, experiment: Experiment, options: argparse.Namespace) -> dict[str, Any]:
    """The report before the first run."""
    return {
        "experiment": name.removesuffix(".py"),
        "size": options.size,
        "recipe": asdict(experiment.recipe),
        "steps": experiment.steps,
        "metric": experiment.metric,
        "paper": dict(experiment.paper),
        "device": str(experiment.device),
        "threads": torch.get_num_threads(),
        "versions": {"popflip": __version__, "torch": torch.__version__},
        "runs": [],
    }


def save_report(path: Path | None, report: dict[str, Any]) -> None:
    """Write the report; :class:`FileError` if that fails."""
    if path is not None:
        with held(), whole_file(path) as file:
            file.write(json.dumps(report, indent=2, ensure_ascii=False).encode() + b"\n")


def summary(experiment: Experiment, report: dict[str, Any]) -> list[str]:
    """A line for each mode: the mean over the seeds, the paper's result, and what training took."""
    lines = []
    for mode in experiment.modes:
        runs = [run for run in report["runs"] if run["mode"] == mode and run["finished"]]
        if not runs:
            continue
        values = [run["history"][-1][experiment.metric] for run in runs]
        parts = [f"{experiment.metric} {experiment.text(sum(values) / len(values))}"]
        if len(runs) > 1:
            parts.append(f"from {experiment.text(min(values))} to {experiment.text(max(values))}, {len(runs)} seeds")
        if mode in experiment.paper:
            parts.append(f"paper {experiment.text(experiment.paper[mode])}")
        floats, ternary = runs[0]["float_parameters"], runs[0]["ternary_weights"]
        parts.append(f"{ternary} ternary weights, {floats} floats, {runs[0]['cpu_seconds']:.0f} s of processor time")
        lines.append(f"{mode}: {'; '.join(parts)}")
    return lines


def save_plot(experiment: Experiment, path: Path | None, report: dict[str, Any]) -> None:
    """Draw the metric over the steps, a line for each run, a colour for each mode; :class:`FileError` if that fails."""
    if path is None:
        return
    from matplotlib.figure import Figure

    axes = (figure := Figure(layout="constrained")).subplots()
    colours = {mode: f"C{index}" for index, mode in enumerate(experiment.modes)}
    shown = set()
    for run in report["runs"]:
        mode, steps = run["mode"], [point["step"] for point in run["history"]]
        values = [point[experiment.metric] for point in run["history"]]
        axes.plot(steps, values, color=colours[mode], label=None if mode in shown else mode)
        shown.add(mode)
    axes.set(title=experiment.title, xlabel="step", ylabel=experiment.metric.replace("_", " "))
    axes.legend()
    with whole_file(path) as file:
        figure.savefig(file, format=path.suffix[1:].lower())
