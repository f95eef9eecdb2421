"""A network of PyTorch as a Popflip model and back: the same predictions, sample by sample, and it goes on learning."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from digits import TRAIN, digits
from marks import with_long
from simulated import need_compiler

from popflip import Classifier, checkpoint
from popflip.cli.main import run_command
from popflip.devices.golden import GoldenDevice
from popflip.errors import ConfigError, FileError
from popflip.golden.config import Config
from popflip.golden.trainer import Trainer
from popflip.training import run

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'popflip[torch]'")

from torch import nn  # noqa: E402
from torch_fixtures import one_thread  # noqa: E402, F401

from popflip.torch import (  # noqa: E402
    GFT,
    GFTLinear,
    MarginLoss,
    Sign,
    chip_network,
    chip_optimiser,
    chip_state,
    export,
    load,
    split,
)


@pytest.fixture(autouse=True)
def seeded(tmp_path, monkeypatch):
    torch.manual_seed(7)
    monkeypatch.chdir(tmp_path)


def mlp(precision: str = "ternary", bias="synapse") -> nn.Sequential:
    return nn.Sequential(
        GFTLinear(12, 9, precision, bias=bias),
        Sign(window=1.0, dclip=2),
        GFTLinear(9, 7, precision, bias=bias),
        Sign(window=0.5),
        GFTLinear(7, 3, precision, bias=bias),
    )


def predictions(network: nn.Sequential, x: np.ndarray) -> list[int]:
    """Classes of the largest scores, the lowest on ties, as whole numbers: a scale rounds ties apart."""
    for module in network:
        if isinstance(module, GFTLinear):
            module.scale = 1.0
    return network(torch.from_numpy(x).float()).argmax(1).tolist()


# Files ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("precision", "bias"), [("ternary", "synapse"), ("ternary", False), ("binary", "synapse")])
def test_an_exported_network_predicts_the_same(precision, bias):
    network = mlp(precision, bias)
    config = export(network, "m.npz", margin=5, k0=(4, 3, 2))
    assert (config.layers, config.precision) == ((12, 9, 7, 3), precision)
    assert (config.window, config.dclip, config.margin, config.k0) == (
        (2, 1) if precision == "ternary" else (3, 1),
        2,
        5,
        (4, 3, 2),
    )
    x = np.random.default_rng(1).integers(0, 2, (500, 12)).astype(np.uint8)
    saved = checkpoint.load(Path("m.npz"))
    golden = GoldenDevice(saved.config)
    golden.load(saved.state, saved.status)
    expected = predictions(network, x)
    assert len(set(expected)) > 1
    assert golden.infer(x).tolist() == expected
    assert Classifier.load("m.npz").predict(x).tolist() == expected
    assert predictions(load("m.npz"), x) == expected
    assert not any(m.any() for m in saved.state.counters)


@pytest.mark.parametrize("precision", with_long(["ternary", "binary"], "binary"))
def test_the_simulated_chip_predicts_the_same_and_goes_on_learning(precision):
    need_compiler()
    layers = (GFTLinear(20, 6, precision, bias="synapse"), Sign(), GFTLinear(6, 3, precision, bias="synapse"))
    network = nn.Sequential(*layers)
    export(network, "m.npz", batch=30, epochs=4)
    rng = np.random.default_rng(2)
    x = rng.integers(0, 2, (90, 20)).astype(np.uint8)  # the chip of tests/popflip/test_classifier.py
    chip = Classifier.load("m.npz", device="sim").set_params(rows=2, synapses=8)
    assert chip.precision == precision
    assert chip.predict(x).tolist() == predictions(network, x)
    np.savez("own.npz", x=x, y=rng.integers(0, 3, 90))
    arguments = ("--start", "m.npz", "--dataset", "own.npz", "--device", "sim", "--rows", "2", "--synapses", "8")
    assert run_command(["verify", *arguments]) == 0


def test_labels_and_thresholds_are_kept():
    network = nn.Sequential(GFTLinear(6, 2, bias="synapse"))
    export(network, "m.npz", thresholds=[3, 8], classes=["no", "yes"])
    model = Classifier.load("m.npz")
    values = np.array([[0, 3, 8], [9, 2, 4]])
    bits = np.concatenate([values >= 3, values >= 8], 1).astype(np.uint8)
    assert model.predict(values).tolist() == [("no", "yes")[each] for each in predictions(network, bits)]


def test_a_saved_network_of_golden_comes_back():
    x, y = digits((3, 6, 9, 12))
    config = Config((256, 16, 10), k0=(80, 20), window=(6,), epochs=4)
    golden = GoldenDevice(config)
    run(golden, x[:TRAIN], y[:TRAIN])
    saved = checkpoint.Checkpoint(config, golden.state(), golden.status(), None, np.array([3, 6, 9, 12]), None)
    checkpoint.save(Path("g.npz"), saved)
    network = load("g.npz")
    assert predictions(network, x[TRAIN:]) == golden.infer(x[TRAIN:]).tolist()
    assert [module.window for module in network if isinstance(module, Sign)] == [6]


def test_a_network_trained_in_floats_goes_onto_the_chip():
    """Cross entropy and float votes in PyTorch; the exported network is as good, and goes on learning."""
    x, y = digits((3, 6, 9, 12))
    inputs, classes = torch.from_numpy(x).float(), torch.from_numpy(y)
    network = nn.Sequential(GFTLinear(256, 32, bias="synapse"), Sign(), GFTLinear(32, 10, bias="synapse"))
    weights, rest = split(network)
    assert rest == []
    steps, batch = 150, 128
    gft = GFT(weights, k0=0.005, steps=steps, shift=6)
    for _ in range(steps):
        part = torch.randint(0, TRAIN, (batch,))
        nn.functional.cross_entropy(network(inputs[part]), classes[part]).backward()
        gft.step()
    export(network, "m.npz", samples=TRAIN)
    model = Classifier.load("m.npz")
    before = model.score(x[TRAIN:], y[TRAIN:])
    assert before > 0.85
    assert model.predict(x[TRAIN:]).tolist() == predictions(network, x[TRAIN:])
    model.partial_fit(x[:TRAIN], y[:TRAIN])
    assert model.score(x[TRAIN:], y[TRAIN:]) > 0.85


def test_a_chips_network_in_pytorch():
    config = Config((5, 4, 2), k0=(3, 1), window=(2,), dclip=2)
    network = chip_network(config)
    optimiser = chip_optimiser(network, config, 1000)
    assert [(group["k0"], group["mmax"]) for group in optimiser.param_groups] == [(3, 127), (1, 127)]
    each = replace(config, mmax=(31, 127))
    assert [group["mmax"] for group in chip_optimiser(network, each, 1000).param_groups] == [31, 127]
    assert chip_state(optimiser).rng == optimiser.rng
    assert float(MarginLoss(16)(network(torch.zeros(1, 5)), torch.tensor([0])).detach()) > 0


# Refused --------------------------------------------------------------------------------------------------------------

OTHER = "network: expected nn.Sequential of GFTLinear, Sign, …, GFTLinear; the chip has nothing else"


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (GFTLinear(3, 2), OTHER),
        (nn.Sequential(), OTHER),
        (nn.Sequential(GFTLinear(3, 2), Sign()), OTHER),
        (nn.Sequential(GFTLinear(3, 4), nn.ReLU(), GFTLinear(4, 2)), OTHER),
        (nn.Sequential(nn.Linear(3, 2)), OTHER),
        (nn.Sequential(GFTLinear(3, 2)), "network: a layer has bias=True; the chip needs bias='synapse'"),
        (
            nn.Sequential(GFTLinear(3, 2, "binary", bias=False)),
            "network: a layer has bias=False; the chip needs bias='synapse'",
        ),
        (
            nn.Sequential(GFTLinear(3, 4, bias=False), Sign(), GFTLinear(5, 2, bias=False)),
            "network: layer 1 has 5 inputs, expected 4",
        ),
        (
            nn.Sequential(GFTLinear(3, 4, bias=False), Sign(), GFTLinear(4, 2, "binary", bias="synapse")),
            "network: its layers are binary and ternary, but a chip has one precision",
        ),
    ],
)
def test_a_network_that_the_chip_does_not_have(network, message):
    with pytest.raises(ConfigError, match="^" + re.escape(message) + "$"):
        export(network, "m.npz")
    assert not Path("m.npz").exists()


def test_a_network_that_reads_images():
    config = Config("4x4x2,c3k3,3", k0=(2, 2), window=(3,))
    trainer = Trainer(config)
    checkpoint.save(Path("n.npz"), checkpoint.untrained(config, trainer.state.weights, [1]))
    with pytest.raises(ConfigError, match=r"^layers: 4x4x2-c3k3-3 reads images; popflip.torch has dense layers only$"):
        load("n.npz")


def test_thresholds_that_do_not_fit():
    with pytest.raises(ConfigError, match=r"^thresholds: shape \(2,\) does not fit 5 input bits$"):
        export(nn.Sequential(GFTLinear(5, 2, bias="synapse")), "m.npz", thresholds=[1, 2])


def test_a_file_of_another_kind():
    with pytest.raises(FileError, match=r"^none.npz: no such file or directory$"):
        load("none.npz")
    assert run_command(["train", "--rule", "lbe", "--layers", "256,32", "--limit-batches", "1", "--save", "l.npz"]) == 0
    with pytest.raises(ConfigError, match=r"^path: l.npz holds a network of rule lbe, expected gft$"):
        load("l.npz")


def test_float_counters_are_not_the_chips():
    layer = GFTLinear(3, 2)
    for options in ({}, {"integer": True}):
        with pytest.raises(
            ConfigError, match=r"^optimiser: its counters are not the chip's; it needs integer=True and mmax$"
        ):
            chip_state(GFT([layer.weight], **options))
