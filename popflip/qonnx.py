"""A Popflip network as a QONNX graph and back (https://github.com/fastmachinelearning/qonnx).

::

    x ─▶ MatMul ─▶ MultiThreshold ─▶ … ─▶ MatMul ─▶ Add ─▶ scores ─▶ ArgMax ─▶ class
         weights    2·[v ≥ 1 − bias] − 1    weights   biases

Weights and the last layer's biases are INT2 (ternary) or BIPOLAR (binary) tensors, held as float32, as QONNX does. A
hidden neuron fires where its sum without the bias ``b`` is above ``−b``; sums are whole numbers, so that its threshold
is ``1 − b``. Inputs are 0 and 1 (BINARY), activations −1 and +1. Everything is exact: float32 holds all whole numbers
up to 2²⁴, and no sum exceeds 65,536. ``ArgMax`` takes the first of equal scores, the golden model's tie rule.

The file also holds what a graph has no place for, as JSON under the key ``popflip`` of its metadata: learning
parameters, thresholds of the inputs, and labels. A graph without them gets rules of thumb.

Needs the package ``onnx``; running a graph takes ``qonnx`` besides, or a tool that knows MultiThreshold.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from popflip import checkpoint as checkpoints
from popflip.checkpoint import Checkpoint
from popflip.errors import ConfigError, FileError, OnnxMissing
from popflip.files import read_input, whole_file
from popflip.golden.config import Config, Precision, Rule
from popflip.golden.network import check_integer, check_within
from popflip.heuristics import SMALL_DATA_SET, Shape, configure

DOMAIN = "qonnx.custom_op.general"
OPSETS = {"": 13, DOMAIN: 1}
IR_VERSION = 8
"""Old versions, which every tool of the last years reads; ArgMax with its tie rule needs opset 12."""
ANNOTATION = "finn_datatype"
WEIGHTS = {Precision.TERNARY: "INT2", Precision.BINARY: "BIPOLAR"}
METADATA = "popflip"
MAX_FILE = 2**31 - 1
"""Bytes of the largest graph, the limit of its format."""
MAX_BATCH = 2**20

_PLAIN = Config(layers=(1, 2), k0=(1,))
"""Where the parameters of a graph without metadata start, before the rules of thumb."""


def to_onnx(model: str | Path, path: str | Path, batch: int = 1) -> None:
    """Write the Popflip model in the file ``model`` as a QONNX graph to ``path``.

    Its input ``x`` is ``[batch, inputs]``, the bits 0 and 1 that the model's thresholds make; its outputs are
    ``scores`` ``[batch, classes]`` and ``class`` ``[batch]``. Shapes are fixed, as QONNX's execution needs.

    Raises :class:`OnnxMissing` without the package ``onnx``, :class:`FileError` if ``model`` is no network or ``path``
    cannot be written, and :class:`ConfigError` for a network of rule lbe, one that reads images, or a batch out of
    range.
    """
    onnx = _onnx()
    check_integer("batch", batch)
    check_within("batch", batch, 1, MAX_BATCH)
    saved = checkpoints.load(Path(model))
    if not isinstance(saved.config, Config):
        raise ConfigError(f"model: {model} holds a network of rule {Rule.LBE}, expected {Rule.GFT}")
    if not saved.config.dense:
        name = "-".join(map(str, saved.config.layers))
        raise ConfigError(f"model: {model} holds {name}, which reads images; graphs have dense layers only")
    content = _Graph(onnx, saved.config, batch).model(saved).SerializeToString()
    with whole_file(Path(path)) as file:
        file.write(content)


def from_onnx(path: str | Path, model: str | Path) -> Config:
    """Write the network of the QONNX graph in ``path`` as a Popflip model to the file ``model``. Returns its
    configuration.

    Its weights are those of the graph; its counters are 0, as after ``popflip.torch.export``, and it has seen no
    sample. Raises :class:`OnnxMissing` without the package ``onnx``, and :class:`FileError` if ``path`` holds another
    graph than :func:`to_onnx` writes, or ``model`` cannot be written.
    """
    onnx = _onnx()
    graph = _parsed(onnx, Path(path))
    try:
        saved = _checkpoint(onnx, graph)
        checkpoints.check(saved)
    except ConfigError as error:
        raise FileError(f"{path}: not the graph of a Popflip network: {error}") from None
    checkpoints.save(Path(model), saved)
    assert isinstance(saved.config, Config)
    return saved.config


def _onnx() -> Any:
    """The package ``onnx``, with its submodules."""
    try:
        onnx = import_module("onnx")
    except ModuleNotFoundError as error:
        if error.name != "onnx":
            raise
        raise OnnxMissing("popflip.qonnx needs onnx, which is not installed: pip install 'popflip[qonnx]'") from None
    for name in ("onnx.helper", "onnx.numpy_helper"):
        import_module(name)
    return onnx


# Writing --------------------------------------------------------------------------------------------------------------


class _Graph:
    """Collects the parts of a graph."""

    def __init__(self, onnx: Any, config: Config, batch: int):
        self.onnx, self.config, self.batch = onnx, config, batch
        self.nodes: list[Any] = []
        self.tensors: list[Any] = []
        self.shapes: list[Any] = []
        self.annotations: list[Any] = []

    def model(self, saved: Checkpoint) -> Any:
        """The whole model of ``saved``."""
        helper, config = self.onnx.helper, self.config
        name = "x"
        inputs = [self._value(name, config.inputs, "BINARY")]
        for layer, w in enumerate(saved.state.weights):
            name = self._layer(layer, name, w)
        self._node("ArgMax", [name], "class", axis=1, keepdims=0, select_last_index=0)
        whole = self.onnx.TensorProto.INT64
        outputs = [
            self._value("scores", config.classes, "INT32"),
            helper.make_tensor_value_info("class", whole, [self.batch]),
        ]
        graph = helper.make_graph(self.nodes, "popflip", inputs, outputs, self.tensors, value_info=self.shapes)
        graph.quantization_annotation.extend(self.annotations)
        opsets = [helper.make_opsetid(domain, version) for domain, version in OPSETS.items()]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="popflip")
        helper.set_model_props(model, {METADATA: json.dumps(_metadata(saved))})
        return model

    def _layer(self, layer: int, below: str, w: NDArray[np.int8]) -> str:
        """Add a layer to the activations ``below``. Returns the name of its output."""
        kind = WEIGHTS[self.config.precision]
        weights, bias = w[:, :-1].T, w[:, -1]
        sums = self._tensor(f"weights{layer}", weights, kind)
        self._node("MatMul", [below, sums], f"sums{layer}")
        self.shapes.append(self._value(f"sums{layer}", len(bias), "INT32"))
        if layer == self.config.depth - 1:
            self._node("Add", [f"sums{layer}", self._tensor("biases", bias, kind)], "scores")
            return "scores"
        thresholds = self._tensor(f"thresholds{layer}", 1 - bias[:, np.newaxis], "UINT2")
        name = f"activations{layer}"
        inputs, scale = [f"sums{layer}", thresholds], {"out_scale": 2.0, "out_bias": -1.0}
        self._node("MultiThreshold", inputs, name, domain=DOMAIN, out_dtype="BIPOLAR", **scale)
        self.shapes.append(self._value(name, len(bias), "BIPOLAR"))
        return name

    def _node(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> None:
        self.nodes.append(self.onnx.helper.make_node(kind, inputs, [output], name=f"make_{output}", **attributes))

    def _tensor(self, name: str, values: NDArray, kind: str) -> str:
        content = np.ascontiguousarray(values, np.float32)
        self.tensors.append(self.onnx.numpy_helper.from_array(content, name))
        self._annotate(name, kind)
        return name

    def _value(self, name: str, width: int, kind: str) -> Any:
        """A float tensor ``[batch, width]`` whose values are of a ``kind``."""
        self._annotate(name, kind)
        return self.onnx.helper.make_tensor_value_info(name, self.onnx.TensorProto.FLOAT, [self.batch, width])

    def _annotate(self, name: str, kind: str) -> None:
        entry = self.onnx.StringStringEntryProto(key=ANNOTATION, value=kind)
        self.annotations.append(self.onnx.TensorAnnotation(tensor_name=name, quant_parameter_tensor_names=[entry]))


def _metadata(saved: Checkpoint) -> dict[str, Any]:
    labels = {name: getattr(saved, name) for name in checkpoints.LABELS}
    return {
        "config": asdict(saved.config),
        "thresholds": saved.thresholds.tolist(),
        **{name: None if values is None else values.tolist() for name, values in labels.items()},
    }


# Reading --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Parts:
    """What a graph holds of a network: weights ``[R, S]`` of each layer, their type if it says so, and metadata."""

    weights: list[NDArray[np.int8]]
    kind: str | None
    metadata: dict[str, Any] | None


def _parsed(onnx: Any, path: Path) -> Any:
    """The model in a file. Files that it refers to are not read."""
    content = read_input(path, MAX_FILE, "a graph")
    try:
        return onnx.load_model_from_string(content)
    except Exception as error:  # protobuf's errors have no family of their own
        raise FileError(f"{path}: not an ONNX file: {type(error).__name__}") from None


def _checkpoint(onnx: Any, model: Any) -> Checkpoint:
    parts = _parts(onnx, model)
    widths = [parts.weights[0].shape[1] - 1, *(len(w) for w in parts.weights)]
    if parts.metadata is None:
        binary = parts.kind == "BIPOLAR" or (parts.kind is None and all(w.all() for w in parts.weights))
        given = {"layers": widths, "precision": Precision.BINARY if binary else Precision.TERNARY}
        config = configure(_PLAIN, given, Shape(widths[0], widths[-1], SMALL_DATA_SET))
        assert isinstance(config, Config)
        return checkpoints.untrained(config, parts.weights, [1])
    metadata = parts.metadata
    try:
        config = _config(metadata["config"])
        data = {name: metadata[name] for name in ("thresholds", *checkpoints.LABELS)}
        arrays = {name: None if values is None else np.asarray(values) for name, values in data.items()}
    except ConfigError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"its metadata is damaged: {type(error).__name__}") from None
    if list(config.layers) != widths:
        raise ConfigError(f"its layers are {widths}, but its metadata says {list(config.layers)}")
    thresholds = arrays["thresholds"]
    if thresholds is None or thresholds.ndim < 1 or thresholds.dtype.kind not in "iuf":
        raise ConfigError("thresholds: are not numbers")
    return checkpoints.untrained(config, parts.weights, thresholds, arrays["classes"], arrays["feature_names"])


def _config(values: dict[str, Any]) -> Config:
    names = {each.name for each in fields(Config)}
    if set(values) != names:
        raise ConfigError("its metadata has other parameters than this version")
    return Config(**values)


def _parts(onnx: Any, model: Any) -> _Parts:
    """Walk a graph from its input to its scores."""
    graph = model.graph
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    inputs = [value.name for value in graph.input if value.name not in tensors]
    if len(inputs) != 1:
        raise ConfigError(f"it has {len(inputs)} inputs, expected 1")
    kinds = {
        each.tensor_name: entry.value
        for each in graph.quantization_annotation
        for entry in each.quant_parameter_tensor_names
        if entry.key == ANNOTATION
    }
    steps = list(_chain(graph.node, inputs[0]))
    weights: list[NDArray[np.int8]] = []
    kind = None
    while steps:
        matrix = _constant(onnx, tensors, steps.pop(0), "MatMul")
        kind = kind or kinds.get(matrix[0])
        bias = _bias(onnx, tensors, steps, matrix[1].shape)
        weights.append(_whole(np.column_stack([matrix[1].T, bias]), f"layer {len(weights)}"))
    if not weights:
        raise ConfigError("it has no layers")
    return _Parts(weights, kind, _metadata_of(model))


def _chain(nodes: Sequence[Any], name: str) -> Iterator[Any]:
    """The nodes from the tensor ``name`` on, each of which uses the one before, up to ``ArgMax`` or the end."""
    for node in nodes:
        if node.op_type == "ArgMax":
            _check_argmax(node)
        elif name in node.input[:1] and len(node.output) == 1:
            name = node.output[0]
            yield node
        else:
            raise ConfigError(f"its node {node.op_type} does not use {name!r} as its first input")


def _check_argmax(node: Any) -> None:
    for attribute in node.attribute:
        if attribute.name == "select_last_index" and attribute.i:
            raise ConfigError("its ArgMax takes the last of equal scores, a chip the first")


def _bias(onnx: Any, tensors: dict[str, Any], steps: list[Any], shape: tuple[int, ...]) -> NDArray:
    """The biases ``[R]`` that the node after a product adds, or that its thresholds hold; takes that node."""
    if len(shape) != 2:
        raise ConfigError(f"its weights have shape {shape}, expected a matrix")
    rows = shape[1]
    if not steps:
        return np.zeros(rows)
    node = steps.pop(0)
    last = node.op_type == "Add"
    if last and steps:
        raise ConfigError(f"its node Add is followed by {steps[0].op_type}, expected the end")
    values = _constant(onnx, tensors, node, "Add" if last else "MultiThreshold")[1]
    if not last:
        _check_threshold(node)
        values = 1 - np.ceil(values)
    if values.size not in (1, rows):
        raise ConfigError(f"its node {node.op_type} has {values.size} values, expected {rows}, one for each neuron")
    return np.broadcast_to(values.reshape(-1), rows)


def _check_threshold(node: Any) -> None:
    values = {attribute.name: attribute.f for attribute in node.attribute}
    if (values.get("out_scale", 1.0), values.get("out_bias", 0.0)) != (2.0, -1.0):
        raise ConfigError("its MultiThreshold has other outputs than −1 and +1 (out_scale 2, out_bias −1)")


def _constant(onnx: Any, tensors: dict[str, Any], node: Any, kind: str) -> tuple[str, NDArray]:
    """Name and values of the second input of ``node``, which is a constant."""
    if node.op_type != kind:
        raise ConfigError(f"it has a node {node.op_type}, expected {kind}")
    name = node.input[1] if len(node.input) == 2 else None
    if name not in tensors:
        raise ConfigError(f"its node {kind} has no constant as its second input")
    tensor = tensors[name]
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        raise ConfigError(f"its tensor {name!r} lies in another file; save the graph with all its data inside")
    try:
        values = np.asarray(onnx.numpy_helper.to_array(tensor))
    except Exception as error:  # whatever does not fit in it
        raise ConfigError(f"its tensor {name!r} is damaged: {type(error).__name__}") from None
    if values.dtype.kind not in "iuf" or not np.isfinite(values).all():
        raise ConfigError(f"its tensor {name!r} holds no numbers")
    return str(name), values.astype(np.float64)


def _whole(values: NDArray, place: str) -> NDArray[np.int8]:
    """``values`` as weights."""
    if not np.isin(values, (-1, 0, 1)).all():
        raise ConfigError(f"{place}: weights and biases other than −1, 0 and +1; a threshold is 1 minus the bias")
    return values.astype(np.int8)


def _metadata_of(model: Any) -> dict[str, Any] | None:
    for entry in model.metadata_props:
        if entry.key == METADATA:
            try:
                values = json.loads(entry.value)
            except (ValueError, RecursionError):
                values = None
            if not isinstance(values, dict):
                raise ConfigError("its metadata is not JSON of Popflip")
            return values
    return None
