"""Run-time registers and status words: one list each, from which the hardware, the host and the protocol page are made.

Every register and status word is 32 bits on the link. A register that is narrower on the chip holds what its range
allows; :func:`register_values` maps a configuration onto them, clamping where a larger value could not act differently.
"""

from __future__ import annotations

from dataclasses import dataclass

from popflip.golden.config import AnyConfig, Config, Rule
from popflip.hw.config import ChipConfig


@dataclass(frozen=True)
class Register:
    """A run-time register: its name, the values it takes (inclusive), its value after power-up, and what it does."""

    name: str
    low: int
    high: int
    init: int
    summary: str

    @property
    def signed(self) -> bool:
        """Whether the 32 bits on the link are two's complement."""
        return self.low < 0


@dataclass(frozen=True)
class StatusWord:
    """A read-only 32-bit word: its name and meaning. Counts wrap at 2**32."""

    name: str
    summary: str


def registers(chip: ChipConfig) -> tuple[Register, ...]:
    """The registers of a chip, in the order of their numbers on the link."""
    return (
        *(_gft_registers(chip) if chip.rule == Rule.GFT else _lbe_registers(chip)),
        Register("rng", 1, 2**32 - 1, 1, "xorshift32 state; never 0"),
        Register("signature", 0, 2**32 - 1, 0, "CRC-32 of the flips so far; written to resume a run"),
    )


def _gft_registers(chip: ChipConfig) -> tuple[Register, ...]:
    difference = 2 * chip.v_max
    hidden = range(chip.depth - 1)
    batch = 2 ** (16 if chip.compact else 31) - 1
    return (
        Register("batch", 0, batch, 0, "samples in a batch; the chip ends a batch by itself after them; 0: never"),
        Register("margin", -difference - 1, difference, 0, "a sample teaches while v_t − v_rival ≤ margin"),
        Register("flip_p256", 1, 256, 128, "a selected synapse flips with probability flip_p256 / 256"),
        Register("shift", 0, chip.counter_bits, 0, "counters lose m >> shift at the end of a batch; 0: all of it"),
        *(
            Register(f"window{layer}", 0, chip.v_max, 0, f"|v| at which neurons of layer {layer} are still taught")
            for layer in hidden
        ),
        *(
            Register(f"k{layer}", 0, rows * synapses, 0, f"synapses of layer {layer} selected at the end of a batch")
            for layer, (rows, synapses) in enumerate(zip(chip.rows, chip.synapses, strict=True))
        ),
    )


def _lbe_registers(chip: ChipConfig) -> tuple[Register, ...]:
    layers = tuple(enumerate(chip.rows))
    return (
        Register("reinforce_p256", 0, 256, 2, "a taught synapse moves on from 0 with probability reinforce_p256 / 256"),
        *(
            Register(
                f"margin{layer}",
                -rows - 1,
                rows,
                0,
                f"layer {layer} is taught while no more neurons than this agree with its class beyond its rival",
            )
            for layer, rows in layers
        ),
        *(
            Register(f"group{layer}", 1, rows, rows, f"neurons of layer {layer} of which one at most is taught")
            for layer, rows in layers
        ),
    )


def register_values(chip: ChipConfig, config: AnyConfig) -> dict[str, int]:
    """Register values that make ``chip`` learn as ``config`` says (``k`` and ``rng`` are set per batch and per run).

    LBE's scores ``y`` are twice the neurons that agree, less a constant: ``y_t − y_j < margin`` where at most
    ``⌊(margin − 1) / 2⌋`` more agree.
    """
    limits = {register.name: register for register in registers(chip)}
    wanted = (
        _gft_values(config)
        if isinstance(config, Config)
        else {
            "reinforce_p256": config.reinforce_p256,
            **{f"margin{layer}": (margin - 1) // 2 for layer, margin in enumerate(config.margin)},
            **{f"group{layer}": group for layer, group in enumerate(config.group)},
        }
    )
    return {name: min(max(value, limits[name].low), limits[name].high) for name, value in wanted.items()}


def _gft_values(config: Config) -> dict[str, int]:
    return {
        "batch": 0,
        "margin": config.margin,
        "flip_p256": config.flip_p256,
        "shift": config.shift or 0,
        **{f"window{layer}": window for layer, window in enumerate(config.window)},
    }


CYCLE_COUNTERS: tuple[StatusWord, ...] = (
    StatusWord("total", "clock cycles since reset"),
    StatusWord("forward_busy", "cycles in which the MAC array took a word"),
    StatusWord("learn_busy", "cycles in which the learning engine took a word of a row"),
    StatusWord("forward_stall", "cycles in which a sample waited for the MAC array, which took nothing"),
    StatusWord("learn_stall", "cycles in which a sample waited for the learning engine, which took nothing"),
    StatusWord("select", "cycles spent finding which counters are the largest"),
    StatusWord("flip", "cycles spent flipping weights and decaying counters"),
)


def status_words(chip: ChipConfig) -> tuple[StatusWord, ...]:
    """The status words of a chip, in the order they are sent."""
    return (
        StatusWord("samples", "samples trained on since reset"),
        StatusWord("batches", "batches ended since reset"),
        StatusWord("errors", "samples since reset that taught"),
        StatusWord("correct", "samples trained on since reset whose class was predicted before learning"),
        StatusWord("signature", "CRC-32 of the flips since reset"),
        StatusWord("rng", "xorshift32 state"),
        *(StatusWord(f"flips{layer}", f"weights of layer {layer} changed since reset") for layer in range(chip.depth)),
        *CYCLE_COUNTERS,
    )
