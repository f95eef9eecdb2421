"""Replay: a training set is sent once, then the numbers of its samples; and what that is worth on a board.

A board learns no faster than samples come over its link, ten bits a byte. A number is two bytes, a sample of MNIST 99.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from popflip.data.augment import MovingImages
from popflip.devices.base import Device, LinkSpeed
from popflip.errors import DeviceError


def keep(
    device: Device,
    x: NDArray[np.uint8] | MovingImages,
    y: NDArray[np.integer],
    wanted: bool | None = None,
    announce: Callable[[str], object] = lambda line: None,
) -> bool:
    """Put a training set into the device's store; whether it is there now, to be trained by numbers.

    ``wanted``: None where it fits, False never, and with True it is an error if it does not. Images that are moved anew
    in every epoch cannot be kept.
    """
    if wanted is False:
        return False
    if isinstance(x, MovingImages):
        if wanted:
            raise DeviceError("--replay: training images are moved anew in each epoch, so they have to be sent")
        return False
    room = device.store_samples
    if len(x) > room:
        if wanted:
            place = f"holds {room}" if room else "does not exist"
            raise DeviceError(f"--replay: the data set has {len(x)} training samples, the device's store {place}")
        if room:
            announce(f"{len(x)} training samples do not fit the chip's store of {room}: all are sent in every epoch")
        return False
    announce(f"storing {len(x)} training samples on the chip")
    device.store(x, y)
    return True


def busy_cycles(cycles: Mapping[str, int]) -> int:
    """Cycles in which the chip had something to do: the others it waited for the link."""
    forward = cycles["forward_busy"] + cycles["forward_stall"]
    learn = cycles["learn_busy"] + cycles["learn_stall"]
    return max(forward, learn) + cycles["select"] + cycles["flip"]


def bounds(link: LinkSpeed, cycles: Mapping[str, int], samples: int, replayed: bool) -> dict[str, Any]:
    """What bounds a run of ``samples`` on a board, for its report, in samples a second: what the run came to, the most
    that its link carries either way, and the most that the chip can do, which is what it would if it never waited.
    """
    replay = link.number_bytes
    return {
        "clock_hz": link.clock_hz,
        "baud": link.baud,
        "replayed": replayed,
        "bytes_per_sample": link.sample_bytes,
        "bytes_per_sample_replayed": replay,
        "samples_per_second": link.clock_hz * samples / cycles["total"],
        "chip_samples_per_second": link.clock_hz * samples / busy_cycles(cycles),
        "link_samples_per_second": link.samples_per_second(link.sample_bytes),
        "link_samples_per_second_replayed": None if replay is None else link.samples_per_second(replay),
    }


def summary(bounds: Mapping[str, Any]) -> str:
    """:func:`bounds` in a line."""
    sent, replayed = bounds["link_samples_per_second"], bounds["link_samples_per_second_replayed"]
    chip = bounds["chip_samples_per_second"]

    def limit(link: float) -> str:
        return "link-bound" if link < chip else "chip-bound"

    reached = f"at {bounds['samples_per_second']:,.0f} samples/s"
    if bounds["replayed"]:
        return f"{limit(replayed)} {reached} with replay, without it {limit(sent)} at up to {min(sent, chip):,.0f}"
    more = "" if replayed is None else f", with replay {limit(replayed)} at up to {min(replayed, chip):,.0f}"
    return f"{limit(sent)} {reached}{more}"
