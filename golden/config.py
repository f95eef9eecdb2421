"""Configuration of a run: a network and how it learns, one frozen, validated object per rule.

A run's result depends on its configuration and its data, and on nothing else. What the hardware adds (rows and synapses
a cycle, memory layout, link) is in :mod:`popflip.hw.config` and never changes a result.
"""

from __future__ import annotations

from popflip.golden.gft.config import Config
from popflip.golden.lbe.config import LbeConfig
from popflip.golden.network import MAX_WIDTH, WORD, Network, Precision, Rule

__all__ = ["MAX_WIDTH", "WORD", "AnyConfig", "Config", "LbeConfig", "Network", "Precision", "Rule"]

AnyConfig = Config | LbeConfig
"""The configuration of any rule; ``config.rule`` says which."""
