"""GFT's run-time registers, and their values for a configuration."""

from __future__ import annotations

from popflip.golden.config import Config
from popflip.hw.common.registers import Register
from popflip.hw.config import ChipConfig


def registers(chip: ChipConfig) -> tuple[Register, ...]:
    """The registers of the rule, in the order of their numbers on the link."""
    difference = 2 * chip.v_max
    hidden = range(chip.depth - 1)
    batch = 2 ** (16 if chip.compact else 31) - 1
    return (
        Register("batch", 0, batch, 0, "samples after which the chip ends a batch by itself; 0: never"),
        Register("margin", -difference - 1, difference, 0, "a sample triggers an update while v_t − v_rival ≤ margin"),
        Register("flip_p256", 1, 256, 128, "a selected synapse flips with probability flip_p256 / 256"),
        Register("shift", 0, chip.counter_bits, 0, "counters lose m >> shift at the end of a batch; 0: all of it"),
        *(
            Register(f"window{layer}", 0, chip.v_max, 0, f"largest |v| at which neurons of layer {layer} learn")
            for layer in hidden
        ),
        *(
            Register(f"k{layer}", 0, rows * synapses, 0, f"synapses of layer {layer} selected at the end of a batch")
            for layer, (rows, synapses) in enumerate(zip(chip.rows, chip.synapses, strict=True))
        ),
    )


def values(config: Config) -> dict[str, int]:
    """Register values for ``config``, not yet clamped. ``k`` is set before the end of each batch."""
    return {
        "batch": 0,
        "margin": config.margin,
        "flip_p256": config.flip_p256,
        "shift": config.shift or 0,
        **{f"window{layer}": window for layer, window in enumerate(config.window)},
    }
