"""LBE's run-time registers, and their values for a configuration."""

from __future__ import annotations

from popflip.golden.config import LbeConfig
from popflip.hw.common.registers import Register
from popflip.hw.config import ChipConfig


def registers(chip: ChipConfig) -> tuple[Register, ...]:
    """The registers of the rule, in the order of their numbers on the link."""
    return (
        Register("reinforce_p256", 0, 256, 2, "probability in 256ths that a synapse of an updated row is reinforced"),
        *(
            Register(
                f"margin{layer}",
                -rows - 1,
                rows,
                0,
                f"layer {layer} is updated while no more neurons than this agree with its class beyond its rival",
            )
            for layer, rows in enumerate(chip.rows)
        ),
        *(
            Register(f"group{layer}", 1, rows, rows, f"neurons of layer {layer} of which at most one is updated")
            for layer, rows in enumerate(chip.rows)
        ),
        *(
            Register(f"near{layer}", 0, synapses + 1, 0, f"layer {layer}: right neurons win with a smaller |sum|")
            for layer, synapses in enumerate(chip.synapses)
        ),
    )


def values(config: LbeConfig) -> dict[str, int]:
    """Register values for ``config``, not yet clamped.

    The golden scores ``y`` are twice the number of neurons that agree, less a constant: ``y_t − y_j < margin`` where at
    most ``⌊(margin − 1) / 2⌋`` more neurons agree.
    """
    return {
        "reinforce_p256": config.reinforce_p256,
        **{f"margin{layer}": (margin - 1) // 2 for layer, margin in enumerate(config.margin)},
        **{f"group{layer}": group for layer, group in enumerate(config.group)},
        **{f"near{layer}": near for layer, near in enumerate(config.near)},
    }
