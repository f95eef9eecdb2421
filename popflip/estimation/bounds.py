"""What bounds a whole run on a board: its link, its memory, or a part of its chip.

Loading comes first. Then all parts work at the same time, so a run takes the seconds of loading and those of the
slowest of: the link, the memory that holds the samples, and the chip. Within the chip, forward and learn overlap, and
the ends of batches stop both.
"""

from __future__ import annotations

from dataclasses import dataclass

from popflip.devices.base import BITS_PER_BYTE
from popflip.devices.sample_codec import SampleCodec, walk_bytes
from popflip.estimation.estimate import Estimate
from popflip.golden.config import Order
from popflip.hw.link.buffer import buffer_bytes
from popflip.hw.link.codec import OVERHEAD


@dataclass(frozen=True)
class Bounds:
    """Seconds that each part of a run takes by itself; ``memory`` is 0 without a stored set.

    ``loading`` : the link sends the training set, once; 0 if each epoch sends it again.
    ``link`` : the link sends the numbers of stored samples, or samples.
    ``memory`` : the memory reads the stored samples, a byte a cycle.
    ``forward``, ``learn``, ``ends`` : the chip's parts; ``ends`` are select and flip.
    ``chip`` : the chip, waits included, if samples were always there.
    """

    stored: bool
    loading: float
    link: float
    memory: float
    forward: float
    learn: float
    ends: float
    chip: float

    @property
    def run(self) -> float:
        """Seconds of the whole run."""
        return self.loading + max(self.link, self.memory, self.chip)

    @property
    def bound(self) -> str:
        """The part that takes longest."""
        if max(self.loading, self.link) > max(self.memory, self.chip):
            return "the link while it loads" if self.loading > self.link else "the link"
        if self.memory > self.chip:
            return "the memory of the samples"
        chip = {"forward": self.forward, "learn": self.learn, "end of batch": self.ends}
        return max(chip, key=chip.__getitem__)


def bounds(estimate: Estimate, train_samples: int, replay: bool = True) -> Bounds:
    """The bounds of the whole run of ``estimate``'s configuration over a training set of ``train_samples`` samples.

    ``replay`` : whether the set may be stored, if it fits; images that move in each epoch cannot.
    The run's cycles are those of the estimate, in proportion if it counted only a part of the run.
    """
    chip, board, cycles, config = estimate.chip, estimate.board, estimate.cycles, estimate.work.config
    samples = config.batches(train_samples) * config.batch
    stored = replay and train_samples <= board.store_samples(chip)
    codec = SampleCodec(chip, buffer_bytes(chip, board.buffer) // 2 - OVERHEAD)
    byte, cycle = BITS_PER_BYTE / board.baud, samples / cycles.samples / estimate.clock_hz

    def framed(size: float) -> float:
        return size + OVERHEAD / codec.samples_per_payload(size)

    number = chip.number_bytes + OVERHEAD / codec.numbers_per_payload
    if board.walks and config.order == Order.CHIP:
        number = walk_bytes(config, buffer_bytes(chip, board.buffer) // 2 - OVERHEAD)
    size = estimate.sample_bytes if chip.packs else chip.sample_bytes
    return Bounds(
        stored=stored,
        loading=byte * train_samples * framed(size) if stored else 0.0,
        link=byte * samples * (number if stored else framed(estimate.sample_bytes)),
        memory=samples * size / estimate.clock_hz if stored else 0.0,
        forward=cycle * cycles.parts[0],
        learn=cycle * cycles.parts[1],
        ends=cycle * (cycles.select + cycles.flip),
        chip=cycle * cycles.total,
    )


def rows(estimate: Estimate, train_samples: int, replay: bool = True) -> list[tuple[str, str]]:
    """Names and values for the table of ``popflip estimate``. Parameters as those of :func:`bounds`."""
    found, epochs = bounds(estimate, train_samples, replay), estimate.work.config.epochs
    parts = [
        ("link, loading", found.loading, f"once, {train_samples} samples into the board's memory"),
        ("link", found.link, "numbers of stored samples" if found.stored else "samples, anew in each epoch"),
        ("memory", found.memory, "a byte of a sample a cycle"),
        ("forward", found.forward, "the MAC array"),
        ("learn", found.learn, "words of counters"),
        ("end of batch", found.ends, "select and flip"),
        ("chip", found.chip, "its parts together, with their waits"),
    ]
    shown = [part for part in parts if found.stored or part[0] not in ("link, loading", "memory")]
    return [
        (f"run of {epochs} epochs", f"{seconds(found.run)}, bounded by {found.bound}"),
        *((f"  {name}", f"{seconds(value)}: {detail}") for name, value, detail in shown),
    ]


def seconds(value: float) -> str:
    """``value`` with three digits, as ``0.0123 s`` or ``341 s``."""
    return f"{value:.3g} s" if value < 1000 else f"{value:.0f} s"
