"""A Popflip network as a QONNX graph: ``qonnx`` itself computes golden's scores and classes from it, and it comes back
as the same network."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from fuzz import damaged, folder, fuzz
from hypothesis import given
from hypothesis import strategies as st

from popflip import Classifier, checkpoint
from popflip.cli.main import run_command
from popflip.devices.golden import GoldenDevice
from popflip.errors import ConfigError, FileError, PopflipError
from popflip.golden.config import Config
from popflip.golden.trainer import Trainer
from popflip.qonnx import from_onnx, to_onnx

INSTALL = "pip install 'popflip[qonnx]'"
onnx = pytest.importorskip("onnx", reason=f"onnx is not installed: {INSTALL}")
execution = pytest.importorskip("qonnx.core.onnx_exec", reason=f"qonnx is not installed: {INSTALL}")

from qonnx.core.modelwrapper import ModelWrapper  # noqa: E402

SHAPES = [((5, 2), "ternary"), ((9, 7, 3), "binary"), ((33, 8, 3), "ternary"), ((12, 6, 5, 4), "binary")]
BATCH = 400


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def config_of(layers: tuple[int, ...], precision: str = "ternary") -> Config:
    depth = len(layers) - 1
    return Config(layers, precision, k0=(2,) * depth, window=(3,) * (depth - 1), margin=7, seed=5)


def saved(config: Config, thresholds=(1,), **labels) -> Trainer:
    """Saves a network of random weights as ``n.npz``; the golden model of it."""
    trainer = Trainer(config)
    checkpoint.save(Path("n.npz"), checkpoint.untrained(config, trainer.state.weights, thresholds, **labels))
    return trainer


def executed(path: str, x: np.ndarray) -> dict[str, np.ndarray]:
    """The outputs of ``qonnx``' own execution."""
    return execution.execute_onnx(ModelWrapper(path), {"x": x.astype(np.float32)})


def bits(layers: tuple[int, ...], batch: int = BATCH) -> np.ndarray:
    return np.random.default_rng(layers[0]).integers(0, 2, (batch, layers[0])).astype(np.uint8)


# The same network -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("layers", "precision"), SHAPES)
def test_qonnx_computes_goldens_scores_and_classes(layers, precision):
    trainer, x = saved(config_of(layers, precision)), bits(layers)
    to_onnx("n.npz", "n.onnx", batch=BATCH)
    found, scores = executed("n.onnx", x), trainer.scores(x)
    assert found["scores"].tolist() == scores.tolist()
    assert found["class"].tolist() == trainer.infer(x).tolist()
    largest = (scores == scores.max(1, keepdims=True)).sum(1)
    assert (largest > 1).any()  # ties are among them: the lowest class wins


def test_a_tie_of_all_classes_is_the_first():
    """With all weights 0, whole batches tie; a sum of 0 gives −1 in a hidden layer."""
    config = config_of((4, 3, 5))
    weights = [np.zeros((3, 5), np.int8), np.zeros((5, 4), np.int8)]
    checkpoint.save(Path("n.npz"), checkpoint.untrained(config, weights, [1]))
    to_onnx("n.npz", "n.onnx", batch=2)
    assert executed("n.onnx", np.ones((2, 4)))["class"].tolist() == [0, 0]
    whole = execution.execute_onnx(ModelWrapper("n.onnx"), {"x": np.ones((2, 4), np.float32)}, True)
    assert whole["activations0"].tolist() == [[-1.0] * 3] * 2
    weights[1][:, -1] = [0, 1, 0, 1, 0]
    checkpoint.save(Path("n.npz"), checkpoint.untrained(config, weights, [1]))
    to_onnx("n.npz", "n.onnx", batch=1)
    assert executed("n.onnx", np.zeros((1, 4)))["class"].tolist() == [1]


@pytest.mark.parametrize(("layers", "precision"), SHAPES)
def test_it_comes_back_as_the_same_network(layers, precision):
    config = config_of(layers, precision)
    trainer = saved(config)
    to_onnx("n.npz", "n.onnx")
    assert from_onnx("n.onnx", "again.npz") == config
    found = checkpoint.load(Path("again.npz"))
    assert found.config == config
    assert [w.tolist() for w in found.state.weights] == [w.tolist() for w in trainer.state.weights]
    assert not any(m.any() for m in found.state.counters)
    assert found.status.samples == 0
    to_onnx("again.npz", "again.onnx")
    assert Path("again.onnx").read_bytes() == Path("n.onnx").read_bytes()


@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
def test_labels_and_thresholds_come_back():
    thresholds = np.array([[0.5, 1e-3, -2.0], [1.0, np.inf, 7.25]])
    saved(config_of((6, 2)), thresholds, classes=["no", "yes"], feature_names=["a", "b", "c"])
    to_onnx("n.npz", "n.onnx")
    from_onnx("n.onnx", "again.npz")
    first, second = checkpoint.load(Path("n.npz")), checkpoint.load(Path("again.npz"))
    for name in ("thresholds", "classes", "feature_names"):
        assert getattr(first, name).tolist() == getattr(second, name).tolist()
    values = [[0, 1, 7], [2, 0, 8]]
    assert Classifier.load("again.npz").predict(values).tolist() == Classifier.load("n.npz").predict(values).tolist()


def test_a_trained_network(capsys):
    """Trained by the golden model on digits, run by qonnx on all test samples, back on the golden model."""
    flags = ("--layers", "256,16,10", "--epochs", "2", "--save", "n.npz")
    assert run_command(["train", *flags]) == 0
    to_onnx("n.npz", "n.onnx", batch=BATCH)
    x = bits((256,))
    found = checkpoint.load(Path("n.npz"))
    golden = GoldenDevice(found.config)
    golden.load(found.state, found.status)
    expected = golden.infer(x).tolist()
    assert len(set(expected)) > 3
    assert executed("n.onnx", x)["class"].tolist() == expected
    from_onnx("n.onnx", "again.npz")
    again = checkpoint.load(Path("again.npz"))
    golden.load(again.state, again.status)
    assert golden.infer(x).tolist() == expected


@pytest.mark.parametrize("precision", ["ternary", "binary"])
def test_a_network_of_pytorch(precision):
    """PyTorch, the golden model and qonnx predict the same, sample by sample."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'popflip[torch]'")
    from popflip.torch import GFTLinear, Sign, export, load

    torch.manual_seed(3)
    layers = [GFTLinear(20, 9, precision, "synapse", 1), Sign(), GFTLinear(9, 4, precision, "synapse", 1)]
    network = torch.nn.Sequential(*layers)
    export(network, "m.npz")
    to_onnx("m.npz", "m.onnx", batch=BATCH)
    x = bits((20,))
    expected = network(torch.from_numpy(x).float()).argmax(1).tolist()
    assert executed("m.onnx", x)["class"].tolist() == expected
    from_onnx("m.onnx", "again.npz")
    assert load("again.npz")(torch.from_numpy(x).float()).argmax(1).tolist() == expected


# The graph ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("precision", "kind"), [("ternary", "INT2"), ("binary", "BIPOLAR")])
def test_types_and_nodes(precision, kind):
    saved(config_of((8, 4, 3), precision))
    to_onnx("n.npz", "n.onnx", batch=2)
    model = ModelWrapper("n.onnx")
    onnx.checker.check_model(model.model)
    assert [node.op_type for node in model.graph.node] == ["MatMul", "MultiThreshold", "MatMul", "Add", "ArgMax"]
    kinds = {name: str(model.get_tensor_datatype(name)) for name in ("x", "weights0", "weights1", "biases")}
    assert kinds == {"x": "BINARY", "weights0": kind, "weights1": kind, "biases": kind}
    assert str(model.get_tensor_datatype("activations0")) == "BIPOLAR"
    assert str(model.get_tensor_datatype("thresholds0")) == "UINT2"
    shapes = {name: model.get_tensor_shape(name) for name in ("x", "weights0", "thresholds0", "scores")}
    assert shapes == {"x": [2, 8], "weights0": [8, 4], "thresholds0": [4, 1], "scores": [2, 3]}
    for name in ("weights0", "thresholds0", "biases"):
        allowed = model.get_tensor_datatype(name)
        assert all(allowed.allowed(value) for value in model.get_initializer(name).flatten())


def test_a_graph_of_others_gets_rules_of_thumb():
    """Without metadata: thresholds one for all neurons and between whole numbers, no biases at the end, no ArgMax."""
    trainer = saved(config_of((8, 4, 3)))
    weights = [w.copy() for w in trainer.state.weights]
    weights[0][:, -1], weights[1][:, -1] = 0, 0
    checkpoint.save(Path("n.npz"), checkpoint.untrained(trainer.config, weights, [1]))
    to_onnx("n.npz", "n.onnx")

    def foreign(model):
        del model.metadata_props[:]
        graph = model.graph
        del graph.node[3:]
        graph.node[2].output[0] = "scores"
        replace_tensor(model, "thresholds0", np.array([[0.25]], np.float32))
        del graph.quantization_annotation[:]

    change("n.onnx", foreign)
    config = from_onnx("n.onnx", "again.npz")
    assert (config.layers, config.precision, config.window) == ((8, 4, 3), "ternary", (1,))
    found = checkpoint.load(Path("again.npz"))
    assert [w.tolist() for w in found.state.weights] == [w.tolist() for w in weights]
    assert found.thresholds.tolist() == [1]


# Refused --------------------------------------------------------------------------------------------------------------


def change(path: str, edit) -> None:
    """Write the graph of ``path`` again, after ``edit``."""
    model = onnx.load(path)
    edit(model)
    Path(path).write_bytes(model.SerializeToString())


def replace_tensor(model, name: str, values: np.ndarray) -> None:
    tensors = model.graph.initializer
    place = [tensor.name for tensor in tensors].index(name)
    tensors[place].CopyFrom(onnx.numpy_helper.from_array(values, name))


def tensor(name: str, values: object):
    """An edit that gives the tensor ``name`` other ``values``."""
    return lambda model: replace_tensor(model, name, np.array(values, np.float32))


def node(place: int, kind: str):
    """An edit that makes a node one of another ``kind``."""
    return lambda model: setattr(model.graph.node[place], "op_type", kind)


def external(model) -> None:
    model.graph.initializer[0].data_location = onnx.TensorProto.EXTERNAL
    model.graph.initializer[0].external_data.add(key="location", value="/etc/passwd")


def reverse_ties(model) -> None:
    next(each for each in model.graph.node[-1].attribute if each.name == "select_last_index").i = 1


def bad_metadata(text: str):
    return lambda model: onnx.helper.set_model_props(model, {"popflip": text})


def wider(model) -> None:
    values = json.loads(model.metadata_props[0].value)
    values["config"]["layers"][0] = 9
    onnx.helper.set_model_props(model, {"popflip": json.dumps(values)})


def no_parameters(model) -> None:
    values = json.loads(model.metadata_props[0].value)
    del values["config"]["mmax"]
    onnx.helper.set_model_props(model, {"popflip": json.dumps(values)})


NOT_OURS = "n.onnx: not the graph of a Popflip network: "
OUTPUTS = "its MultiThreshold has other outputs than −1 and +1 (out_scale 2, out_bias −1)"
VALUES = "layer 0: weights and biases other than −1, 0 and +1; a threshold is 1 minus the bias"


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda model: model.graph.node[0].ClearField("input"), "its node MatMul does not use 'x' as its first input"),
        (lambda model: model.graph.node.pop(0), "its node MultiThreshold does not use 'x' as its first input"),
        (node(0, "Gemm"), "it has a node Gemm, expected MatMul"),
        (node(1, "Sign"), "it has a node Sign, expected MultiThreshold"),
        (node(1, "Add"), "its node Add is followed by MatMul, expected the end"),
        (lambda model: model.graph.node[1].ClearField("attribute"), OUTPUTS),
        (reverse_ties, "its ArgMax takes the last of equal scores, a chip the first"),
        (tensor("weights0", [[2] * 4] * 8), VALUES),
        (tensor("thresholds0", [[9]] * 4), VALUES),
        (tensor("thresholds0", [[0]] * 3), "its node MultiThreshold has 3 values, expected 4, one for each neuron"),
        (tensor("weights0", [[np.nan] * 4] * 8), "its tensor 'weights0' holds no numbers"),
        (tensor("weights0", [0] * 8), "its weights have shape (8,), expected a matrix"),
        (lambda model: model.graph.initializer[0].dims.append(7), "its tensor 'weights0' is damaged: ValueError"),
        (lambda model: model.graph.initializer.pop(0), "its node MatMul has no constant as its second input"),
        (external, "its tensor 'weights0' lies in another file; save the graph with all its data inside"),
        (lambda model: model.graph.ClearField("node"), "it has no layers"),
        (lambda model: model.graph.ClearField("input"), "it has 0 inputs, expected 1"),
        (bad_metadata("{"), "its metadata is not JSON of Popflip"),
        (bad_metadata("{}"), "its metadata is damaged: KeyError"),
        (no_parameters, "its metadata has other parameters than this version"),
        (wider, "its layers are [8, 4, 3], but its metadata says [9, 4, 3]"),
    ],
)
def test_a_graph_that_is_no_network(edit, message):
    saved(config_of((8, 4, 3)))
    to_onnx("n.npz", "n.onnx")
    change("n.onnx", edit)
    with pytest.raises(FileError, match="^" + re.escape(NOT_OURS + message) + "$"):
        from_onnx("n.onnx", "again.npz")
    assert not Path("again.npz").exists()


@cache
def small() -> bytes:
    """A graph of a small network."""
    place = folder()
    config = config_of((5, 3, 2))
    network = checkpoint.untrained(config, Trainer(config).state.weights, [1])
    checkpoint.save(place / "small.npz", network)
    to_onnx(place / "small.npz", place / "small.onnx")
    return (place / "small.onnx").read_bytes()


@fuzz
@given(content=damaged(st.builds(small)))
def test_damaged_graphs(content):
    """A damaged file gives a network, or an error of one line that names it."""
    path = folder() / "f.onnx"
    path.write_bytes(content)
    try:
        from_onnx(path, folder() / "again.npz")
    except PopflipError as error:
        assert str(path) in str(error) and "\n" not in str(error)


def test_other_files_and_networks():
    Path("f").write_bytes(b"\x00\xff nothing")
    with pytest.raises(FileError, match=r"^f: not an ONNX file: \w+$"):
        from_onnx("f", "again.npz")
    with pytest.raises(FileError, match=r"^none: no such file or directory$"):
        from_onnx("none", "again.npz")
    with pytest.raises(FileError, match=r"^none.npz: no such file or directory$"):
        to_onnx("none.npz", "n.onnx")
    saved(config_of((8, 4, 3)))
    for batch in (0, 2**20 + 1):
        with pytest.raises(ConfigError, match=rf"^batch: {batch} is outside 1 … 1048576$"):
            to_onnx("n.npz", "n.onnx", batch)
    lbe = ("--rule", "lbe", "--layers", "256,32", "--limit-batches", "1", "--save", "l.npz")
    assert run_command(["train", *lbe]) == 0
    with pytest.raises(ConfigError, match=r"^model: l.npz holds a network of rule lbe, expected gft$"):
        to_onnx("l.npz", "n.onnx")
    conv = Config("4x4x2,c3k3,3", k0=(2, 2), window=(3,))
    saved(conv)
    with pytest.raises(
        ConfigError, match=r"^model: n.npz holds 4x4x2-c3k3-3, which reads images; graphs have dense layers only$"
    ):
        to_onnx("n.npz", "n.onnx")
    assert not Path("n.onnx").exists()


def test_a_binary_network_keeps_no_zeros():
    saved(config_of((8, 4, 3), "binary"))
    to_onnx("n.npz", "n.onnx")
    change("n.onnx", lambda model: replace_tensor(model, "weights0", np.zeros((8, 4), np.float32)))
    message = NOT_OURS + "the weights of layer 0 do not fit its configuration"
    with pytest.raises(FileError, match="^" + re.escape(message) + "$"):
        from_onnx("n.onnx", "again.npz")


def test_without_onnx_it_says_what_to_install():
    script = (
        "import sys\nsys.modules['onnx'] = None\n"
        "from popflip.errors import PopflipError\nfrom popflip.qonnx import to_onnx\n"
        "try:\n    to_onnx('n.npz', 'n.onnx')\n"
        "except PopflipError as error:\n    print(type(error).__name__, isinstance(error, ImportError), error)\n"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.strip()
    assert found == f"OnnxMissing True popflip.qonnx needs onnx, which is not installed: {INSTALL}"
