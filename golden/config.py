"""Configuration of a run: a network and its learning parameters, one frozen, validated object per rule.

The result of a run depends only on its configuration and its data. Parameters of the hardware (rows and synapses a
cycle, memory layout, link) are in :mod:`popflip.hw.config` and never change a result.
"""

from __future__ import annotations

from popflip.golden.gft.config import Config
from popflip.golden.layers import MAX_WIDTH
from popflip.golden.lbe.config import LbeConfig
from popflip.golden.network import WORD, Network, Order, Precision, Rule

__all__ = ["MAX_WIDTH", "WORD", "AnyConfig", "Config", "LbeConfig", "Network", "Order", "Precision", "Rule"]

AnyConfig = Config | LbeConfig
"""The configuration of any rule; ``config.rule`` says which."""
