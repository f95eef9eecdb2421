"""Presets: named experiments whose results are published."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from popflip.golden.config import AnyConfig, Config, LbeConfig, Precision


class Augment(StrEnum):
    """Augmentation of training images. ``shift``: in each epoch, each image moves by 0 or 1 pixel at random."""

    NONE = "none"
    SHIFT = "shift"


@dataclass(frozen=True)
class Preset:
    """A named experiment: data set, thresholds that turn its values into input bits, configuration and augmentation."""

    summary: str
    dataset: str
    thresholds: tuple[int, ...]
    config: AnyConfig
    augment: Augment = Augment.NONE


PRESETS: dict[str, Preset] = {
    "digits": Preset(
        "8×8 digits, 256-64-10 ternary: the main job, about 97 %",
        "digits",
        (3, 6, 9, 12),
        Config(layers=(256, 64, 10), k0=(164, 26), window=(6,)),
    ),
    "digits-binary": Preset(
        "8×8 digits, 256-64-10 binary, about 96 %",
        "digits",
        (3, 6, 9, 12),
        Config(layers=(256, 64, 10), precision=Precision.BINARY, k0=(49, 8), window=(6,), epochs=40),
    ),
    "digits-small": Preset(
        "8×8 digits, 192-32-10 ternary: fits the block RAM of an iCE40 UP5K, about 95.5 %",
        "digits",
        (4, 8, 12),
        Config(layers=(192, 32, 10), k0=(62, 13), margin=11, window=(5,), epochs=40),
    ),
    "digits-medium": Preset(
        "8×8 digits, 192-48-10 ternary, 6-bit counters: fits the block RAM of an iCE40 HX8K, about 96 %",
        "digits",
        (4, 8, 12),
        Config(layers=(192, 48, 10), batch=128, k0=(93, 20), margin=14, window=(5,), mmax=31, epochs=40),
    ),
    "mnist": Preset(
        "MNIST, 784-256-10 ternary, about 96 %",
        "mnist",
        (128,),
        Config(layers=(784, 256, 10), batch=1024, epochs=15, k0=(803, 41), margin=32, window=(10,), shift=5),
    ),
    "mnist-tiles": Preset(
        "MNIST, pixels in tiles, 784-256-10 ternary, about 96 %: fewer words hold a one",
        "mnist-tiles",
        (128,),
        Config(layers=(784, 256, 10), batch=2048, epochs=15, k0=(1606, 82), margin=32, window=(10,), shift=5),
    ),
    "mnist-25f": Preset(
        "MNIST, pixels in tiles, 784-80-10 ternary: fits the block RAM of an ECP5 25F",
        "mnist-tiles",
        (128,),
        Config(layers=(784, 80, 10), batch=1024, epochs=15, k0=(251, 13), margin=18, window=(10,), shift=5),
    ),
    "mnist-binary": Preset(
        "MNIST, 784-256-10 binary, about 96 %",
        "mnist",
        (128,),
        Config(
            layers=(784, 256, 10),
            precision=Precision.BINARY,
            batch=1024,
            epochs=15,
            k0=(401, 20),
            margin=32,
            window=(10,),
            shift=5,
        ),
    ),
    "mnist-small": Preset(
        "MNIST, pixels in tiles, 784-128-10 binary: fits an iCE40 UP5K, about 94.5 %",
        "mnist-tiles",
        (128,),
        Config(
            layers=(784, 128, 10),
            precision=Precision.BINARY,
            batch=1024,
            epochs=15,
            k0=(201, 10),
            margin=23,
            window=(10,),
            shift=5,
        ),
    ),
    "mnist-wide": Preset(
        "MNIST, images moved at random, 784-480-10 ternary: fits the block RAM of an ECP5 85F, about 97.5 %",
        "mnist",
        (128,),
        Config(
            layers=(784, 480, 10),
            batch=2048,
            epochs=60,
            k0=(754, 38),
            margin=44,
            window=(10,),
            mmax=63,
        ),
        Augment.SHIFT,
    ),
    "digits-conv": Preset(
        "8×8 digits, 8x8x4-c16k3p2-10 ternary, shared weights: 3,146 synapses, about 95 %",
        "digits",
        (3, 6, 9, 12),
        Config(layers=("8x8x4", "c16k3p2", 10), k0=(12, 100), margin=32, window=(6,)),
    ),
    "mnist-conv": Preset(
        "MNIST, images moved at random, 28x28-c16k5p2-c32k5s2-10 ternary: 28,890 synapses",
        "mnist",
        (128,),
        Config(
            layers=("28x28", "c16k5p2", "c32k5s2", 10),
            batch=1024,
            epochs=60,
            k0=(2, 51, 251),
            margin=60,
            window=(2, 6),
            dclip=3,
            shift=5,
        ),
        Augment.SHIFT,
    ),
    "mnist-conv-25f": Preset(
        "MNIST, images moved at random, 28x28-c8k5p2-c16k5s2-10 ternary: 11,250 synapses, fits an ECP5 25F",
        "mnist",
        (128,),
        Config(
            layers=("28x28", "c8k5p2", "c16k5s2", 10),
            batch=1024,
            epochs=40,
            k0=(1, 13, 126),
            margin=42,
            window=(2, 5),
            dclip=3,
            shift=5,
        ),
        Augment.SHIFT,
    ),
    "mnist-conv-wide": Preset(
        "MNIST, images moved at random, 28x28-c32k5s2-c64k5s2-10 ternary: 83,370 synapses",
        "mnist",
        (128,),
        Config(
            layers=("28x28", "c32k5s2", "c64k5s2", 10),
            batch=1024,
            epochs=40,
            k0=(2, 102, 251),
            margin=84,
            window=(1, 9),
            dclip=3,
            shift=5,
        ),
        Augment.SHIFT,
    ),
    "mnist-conv-flat": Preset(
        "MNIST, images moved at random, 28x28-c64k9s3-10 ternary: one layer of wide kernels, 69,194 synapses",
        "mnist",
        (128,),
        Config(
            layers=("28x28", "c64k9s3", 10),
            batch=1024,
            epochs=60,
            k0=(10, 512),
            margin=120,
            window=(1,),
            dclip=3,
            shift=5,
        ),
        Augment.SHIFT,
    ),
    "mnist-conv-large": Preset(
        "MNIST, 2 thresholds, images moved at random, 28x28x2-c32k5p2-c64k5p2-10 ternary: 84,170 synapses, about 99 %",
        "mnist",
        (64, 160),
        Config(
            layers=("28x28x2", "c32k5p2", "c64k5p2", 10),
            batch=2048,
            epochs=60,
            k0=(6, 205, 502),
            margin=84,
            window=(4, 30),
            dclip=3,
            shift=5,
        ),
        Augment.SHIFT,
    ),
    "fashion-conv": Preset(
        "Fashion-MNIST, 8 thresholds, 28x28x8-c32k5s2-c64k5s2-10 ternary: 88,970 synapses",
        "fashion-mnist",
        (16, 48, 80, 112, 144, 176, 208, 240),
        Config(
            layers=("28x28x8", "c32k5s2", "c64k5s2", 10),
            batch=1024,
            epochs=25,
            k0=(26, 205, 502),
            margin=112,
            window=(3, 9),
            dclip=3,
            shift=5,
        ),
    ),
    "digits-lbe": Preset(
        "8×8 digits, 256-128 binary, rule lbe, about 95 %",
        "digits",
        (3, 6, 9, 12),
        LbeConfig(layers=(256, 128), classes=10, group=(32,), margin=(16,)),
    ),
    "digits-lbe-small": Preset(
        "8×8 digits, 192-64 binary, rule lbe, 6-bit counters: fits an iCE40 UP5K, about 94.5 %",
        "digits",
        (4, 8, 12),
        LbeConfig(layers=(192, 64), classes=10, group=(16,), margin=(8,), mmax=31),
    ),
    "mnist-lbe": Preset(
        "MNIST, 784-512 binary, rule lbe, about 93.5 %",
        "mnist",
        (1,),
        LbeConfig(layers=(784, 512), classes=10, group=(32,), margin=(32,), reinforce_p256=1, epochs=8),
    ),
    "mnist-lbe-deep": Preset(
        "MNIST, 784-512-512 binary, rule lbe, about 94 %",
        "mnist",
        (1,),
        LbeConfig(layers=(784, 512, 512), classes=10, group=(32, 32), margin=(64, 64), reinforce_p256=1, epochs=10),
    ),
}
