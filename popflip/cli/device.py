"""From the settings of a command to its chip and its device."""

from __future__ import annotations

from typing import TYPE_CHECKING

from popflip.cli.display import announce
from popflip.cli.options import CHIP, Settings
from popflip.cli.start import interruptible

if TYPE_CHECKING:
    from popflip.devices.base import Device
    from popflip.golden.config import AnyConfig
    from popflip.hw.config import ChipConfig


def chip_for(settings: Settings, config: AnyConfig) -> ChipConfig:
    """The chip for ``config``. :meth:`ChipConfig.of` chooses every chip parameter that ``settings`` leaves out."""
    from popflip.golden.config import Order
    from popflip.hw.config import ChipConfig

    names = {
        "rows": "array_rows",
        "synapses": "array_synapses",
        "learn_rows": "learn_rows",
        "store": "store_samples",
        "compact": "compact",
    }
    walks = bool(settings.store) and config.order == Order.CHIP
    return ChipConfig.of(config, walks=walks, **{names[name]: value for name, value in settings.values(names).items()})


def board_chip(settings: Settings, config: AnyConfig, board: str) -> ChipConfig:
    """The chip that ``board`` has for ``config``, with its memories, but for what ``settings`` give."""
    from popflip import constraints

    entry = constraints.board(board)
    return entry.chip(entry.fit(settings.preset, config.rule), config, **settings.values(CHIP))


def device_for(settings: Settings, name: str, config: AnyConfig, board: str | None = None) -> Device:
    """Open the device called ``name`` for ``config``: :func:`popflip.devices.open.open_device` with the settings.

    ``board`` : the one whose chip is simulated. The command is interruptible from here on.
    """
    from popflip.devices.open import open_device
    from popflip.errors import ConfigError

    interruptible()
    if board is not None and name != "sim":
        raise ConfigError(f"board: it names the chip to simulate, but the device is {name}; use device sim")
    if board is not None:
        chip: ChipConfig | None = board_chip(settings, config, board)
    else:
        # The golden model needs no chip, but chip parameters that do not fit are still an error.
        chip = chip_for(settings, config) if name != "golden" or settings.values(CHIP) else None
    return open_device(name, config, chip, waves=settings.waves, announce=announce, baud=settings.baud)
