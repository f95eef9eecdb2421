"""The cycles of an estimate against those that a simulated chip counts."""

from __future__ import annotations

from typing import Any

from simulated import need_compiler

from popflip.devices.open import open_device
from popflip.estimation.cycles import cycles_of
from popflip.estimation.workload import count_work
from popflip.experiment import Experiment
from popflip.hw.config import ChipConfig
from popflip.training import train

BATCHES = 3


def compare(experiment: Experiment, array: dict[str, Any], within: float = 0.1) -> None:
    """Compare the cycle model with a simulated chip of geometry ``array``: exactly, but for the total, which holds
    waiting and may differ by the share ``within``."""
    need_compiler()
    work = count_work(experiment, BATCHES)
    others = {name: value for name, value in array.items() if name not in ("rows", "synapses")}
    chip = ChipConfig.of(experiment.config, array["rows"], array["synapses"], **others)
    with open_device("sim", experiment.config, chip) as device:
        device.reset()
        counted = train(device, experiment.training_samples, experiment.y_train, BATCHES).cycles
    cycles = cycles_of(chip, work)
    assert counted is not None
    for name in ("forward_busy", "learn_busy", "select", "flip"):
        assert (name, getattr(cycles, name)) == (name, counted[name])
    assert (1 - within) * counted["total"] < cycles.total < (1 + within) * counted["total"]
