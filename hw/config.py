"""The parameters that a build of the chip fixes: the network's shape, and the geometry of the hardware.

Learning parameters that run-time registers hold (margin, windows, shift, flip probability, flips to select, batch,
random state) are in :mod:`popflip.hw.registers`. Configurations with equal :class:`ChipConfig` share one netlist, one
simulated chip and one bitstream.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from amaranth.utils import ceil_log2

from popflip.golden.common.order import MOST
from popflip.golden.config import WORD, AnyConfig, Network, Precision, Rule
from popflip.golden.errors import ConfigError
from popflip.hw.memory_map import MemoryMap, WeightMap, first_indices, map_counters, map_weights, rows_per_bank

MAX_ROWS = 1024
MIN_SYNAPSES, MAX_SYNAPSES = 4, 1024
MAX_STORE_SAMPLES = MOST
SDRAMS = ("ulx3s", "colorlight_i5")
"""SDRAMs that can hold the store, by the names of their boards."""
LARGE_ROWS = 32  # from this many rows a cycle on, the memory banks spread over the whole chip


@dataclass(frozen=True)
class ChipConfig(Network):
    """Shape of the network, and geometry. Invalid values raise :class:`ConfigError`. No geometry changes a result.

    ``array_rows`` (``P``), ``array_synapses`` (``N``) : rows and synapses that the MAC array takes in one cycle, powers
    of two.
    ``slots`` : samples on the chip at once, whether received, going forward or waiting to be learned; a power of two.
    ``classes`` : needed for LBE only; GFT's last layer has a row for each.
    ``dclip`` : largest magnitude of a hidden neuron's error; GFT only.
    ``store_samples`` : training samples that the chip keeps and can train again by number, a power of two; 0: none.
    ``sdram`` : the SDRAM that keeps them, one of :data:`SDRAMS`; "": memory of the FPGA.
    ``walks`` : whether the chip walks through its stored set by itself, in the order of
    :mod:`popflip.golden.common.order`.
    ``learn_rows`` (``Pc``; GFT) : rows of the first layer whose counters take votes in one cycle, and whose counters
    the end of a batch counts in one cycle; a power of two, no more than ``P`` and ``N``.
    ``compact`` (GFT, N ≤ 8) : for an iCE40 UP5K, whose block RAM holds little more than the weights. Counters lie in
    its single-port RAMs, which read or write one word a cycle. Inputs and activations of all samples share one memory
    with one read port. With convolutions, forward and learning share one walk over the positions
    (:mod:`popflip.hw.serial`).
    ``mmaxes`` : limit of each layer's counters, none larger than ``mmax``; (): ``mmax`` for all.
    """

    layers: tuple[int | str, ...]
    precision: Precision
    mmax: int
    dclip: int
    array_rows: int
    array_synapses: int
    slots: int = 8
    rule: Rule = Rule.GFT
    classes: int = 0
    store_samples: int = 0
    learn_rows: int = 1
    compact: bool = False
    mmaxes: tuple[int, ...] = ()
    sdram: str = ""
    walks: bool = False

    def __post_init__(self) -> None:
        if not self.classes and self.rule == Rule.GFT:
            object.__setattr__(self, "classes", self.layers[-1])
        _power_of_two("rows", self.array_rows, 1, MAX_ROWS)
        _power_of_two("synapses", self.array_synapses, MIN_SYNAPSES, MAX_SYNAPSES)
        _power_of_two("slots", self.slots, 2, 64)
        if self.store_samples != 0:
            _power_of_two("store", self.store_samples, 1, MAX_STORE_SAMPLES)
        self._check_store()
        most = min(self.array_rows, self.array_synapses) if self.rule == Rule.GFT else 1
        _power_of_two("learn_rows", self.learn_rows, 1, most)
        if self.compact and (self.rule != Rule.GFT or self.pipelined or self.learn_rows > 1):
            raise ConfigError("compact: needs rule gft, at most 8 synapses and learn_rows 1")
        if self.serial:
            self._check_serial()
        elif self.compact and self.array_rows > self.array_synapses:
            raise ConfigError(
                f"compact: needs no more rows than synapses, not {self.array_rows} and {self.array_synapses}"
            )

    def _check_serial(self) -> None:
        """Raise :class:`ConfigError` unless a unit of ``N`` activations is a word of each layer."""
        rows, lanes = self.array_rows, self.array_synapses
        if rows < lanes:
            raise ConfigError(f"compact: needs no fewer rows than synapses with convolutions, not {rows} and {lanes}")
        for index, layer in enumerate(self.plan[:-1], 1):
            if layer.rows % lanes and not layer.bias:  # a convolution
                raise ConfigError(
                    f"compact: layers[{index}] has {layer.rows} rows; with {lanes} synapses a cycle it needs a "
                    f"multiple of {lanes}"
                )

    def _check_store(self) -> None:
        """Raise :class:`ConfigError` unless the chip has a store for what walks, and a known SDRAM for it."""
        if self.walks and not self.store_samples:
            raise ConfigError("walks: the chip has no store to walk through; give it one, or leave it out")
        if not self.sdram:
            return
        if self.sdram not in SDRAMS:
            raise ConfigError(f"sdram: {self.sdram!r} is not one of {', '.join(SDRAMS)}")
        if not self.store_samples:
            raise ConfigError("sdram: it holds the store, but the chip has none; give it one, or leave it out")

    @classmethod
    def of(
        cls,
        config: AnyConfig,
        array_rows: int | None = None,
        array_synapses: int = 32,
        slots: int | None = None,
        store_samples: int = 0,
        learn_rows: int | None = None,
        compact: bool = False,
        sdram: str = "",
        walks: bool = False,
    ) -> ChipConfig:
        """A chip that runs ``config``.

        ``array_rows`` : by default 4, with convolutions the smallest power of two from 4 to 32 that holds the rows of
        every convolutional layer. ``learn_rows`` : by default 1, with convolutions as many as ``array_rows``, at most
        4, and 1 if ``compact``. ``slots`` : by default 8, with convolutions 4, and 2 if ``compact``.

        An image that no convolution reads is a dense network's inputs, in the order ``[y][x][c]``
        (:func:`popflip.golden.conv.patches.pixels`). :class:`ConfigError` if no chip runs the network
        (:func:`check_runs_on_chips`).
        """
        check_runs_on_chips(config)
        convolves = config.convolves
        if array_rows is None:
            array_rows = _rows_for(config) if convolves else 4
        if learn_rows is None:
            learn_rows = min(4, array_rows, array_synapses) if convolves and not compact else 1
        limits = config.mmaxes
        return cls(
            layers=config.layers if convolves else (config.inputs, *config.layers[1:]),
            precision=config.precision,
            mmax=max(limits),
            dclip=getattr(config, "dclip", 1),
            array_rows=array_rows,
            array_synapses=array_synapses,
            slots=slots or (2 if compact else 4 if convolves else 8),
            rule=config.rule,
            classes=config.classes,
            store_samples=store_samples,
            learn_rows=learn_rows,
            compact=compact,
            mmaxes=limits if len(set(limits)) > 1 else (),
            sdram=sdram,
            walks=walks,
        )

    # Bits -------------------------------------------------------------------------------------------------------------

    @property
    def weight_bits(self) -> int:
        """Bits of a weight: binary 1 (1 is +1), ternary 2 (two's complement)."""
        return 1 if self.precision == Precision.BINARY else 2

    @property
    def counter_bits(self) -> int:
        """Bits of a counter, two's complement."""
        return self.mmax.bit_length() + 1

    @property
    def limits(self) -> tuple[int, ...]:
        """Limit of the counters of each layer."""
        return self.mmaxes or (self.mmax,) * self.depth

    @property
    def v_max(self) -> int:
        """Largest magnitude of a neuron's sum ``v``: every synapse agrees, at every position of its pool."""
        return max(layer.synapses * layer.pool**2 for layer in self.plan)

    @property
    def score_max(self) -> int:
        """Largest magnitude of a class's score: a sum of the last layer (GFT), or neurons that agree with ρ (LBE)."""
        return self.v_max if self.rule == Rule.GFT else max(self.rows)

    @property
    def label_bytes(self) -> int:
        """Bytes of a class on the link."""
        return 1 if self.classes <= 256 else 2

    @property
    def input_bytes(self) -> int:
        """Bytes of a sample's input bits on the link."""
        return -(-self.inputs // 8)

    @property
    def sample_bytes(self) -> int:
        """Bytes of a training sample on the link: its label and its inputs."""
        return self.label_bytes + self.input_bytes

    @property
    def packs(self) -> bool:
        """Whether the chip takes packed samples (:mod:`popflip.golden.common.packing`).

        Chips that are not pipelined lack the cells to unpack them, and LBE uses every word of a sample, zero or not.
        Networks with positions take a bit a cycle, packed or not.
        """
        return self.rule == Rule.GFT and self.pipelined and not self.convolves

    @property
    def packed_bytes(self) -> int:
        """Most bytes of a packed sample: all input bytes, and a mask for every eight of them."""
        return self.input_bytes + -(-self.input_bytes // 8)

    @property
    def size_bytes(self) -> int:
        """Bytes of a packed sample's length field on the link. The length includes the label."""
        return 1 if self.label_bytes + self.packed_bytes <= 255 else 2

    @property
    def stored_bytes(self) -> int:
        """Most bytes of an item of STORE, and of a sample in the store: packed with its size, if the chip packs."""
        return self.size_bytes + self.label_bytes + self.packed_bytes if self.packs else self.sample_bytes

    @property
    def number_bytes(self) -> int:
        """Bytes of a stored sample's number on the link."""
        return 2 if self.store_samples <= 2**16 else 3

    @property
    def pipelined(self) -> bool:
        """Whether registers shorten paths at the cost of cells: if N > 8. Smaller arrays are for small, slow chips."""
        return self.array_synapses > 8

    @property
    def read_latency(self) -> int:
        """Cycles from a request for a word of weights or counters to its data: 1 + 2 × :attr:`memory_stages`."""
        return 1 + 2 * self.memory_stages

    @property
    def memory_stages(self) -> int:
        """Pipeline stages between an engine and the memories of weights and counters, in each direction.

        A pipelined chip has one, because it has many banks. A large one has two, because its banks spread over the
        whole chip. LBE has none, because every sample waits for the counters of its rows.
        """
        if not self.pipelined or self.rule != Rule.GFT:
            return 0
        return 2 if self.array_rows >= LARGE_ROWS else 1

    # The forward pass of the rule -------------------------------------------------------------------------------------

    @property
    def serial(self) -> bool:
        """Whether forward and learning take turns over the positions of one sample: compact chips with convolutions."""
        return self.compact and self.convolves

    @property
    def layerwise(self) -> bool:
        """Whether each layer learns from its own sums (LBE): the sums of all layers leave the forward pass, and a
        layer's weights change with every sample, so that the next sample waits for them."""
        return self.rule == Rule.LBE

    @property
    def windowed(self) -> bool:
        """Whether hidden neurons have a window, outside which errors do not pass back (GFT)."""
        return self.rule == Rule.GFT

    @property
    def signed_inputs(self) -> bool:
        """Whether the inputs 0 and 1 stand for −1 and +1 (LBE). Otherwise an input of 0 adds nothing."""
        return self.rule == Rule.LBE

    @property
    def fires_at_zero(self) -> bool:
        """Whether a neuron's activation is +1 (LBE) or −1 (GFT) where its sum is 0."""
        return self.rule == Rule.LBE

    # Layout -----------------------------------------------------------------------------------------------------------

    @property
    def words(self) -> tuple[int, ...]:
        """N-synapse words of a row of each layer."""
        return tuple(-(-synapses // self.array_synapses) for synapses in self.synapses)

    @property
    def list_words(self) -> int:
        """Most words in the list of a sample's nonzero words: one for each word and position of the first layer; 0 on
        chips without lists."""
        if self.serial:
            return 0
        return self.words[0] * self.plan[0].positions

    @property
    def mask_words(self) -> tuple[int, ...]:
        """32-synapse words of a row of each layer. Each has a random mask and an index in the flip signature."""
        return tuple(-(-synapses // WORD) for synapses in self.synapses)

    @property
    def groups(self) -> tuple[int, ...]:
        """Groups of ``P`` rows of each layer. The last one may be partly empty."""
        return rows_per_bank(self.rows, self.array_rows)

    @property
    def fold(self) -> int:
        """Words of a row of the last layer that the array takes in one cycle, a power of two.

        More than 1 if a pipelined chip of GFT has more array rows than that layer needs: the array then computes
        ``P/fold`` rows × ``fold·N`` synapses of it.
        """
        if not self.pipelined or self.rule != Rule.GFT or self.depth == 1 or self.convolves:
            return 1
        rows = max(1 << ceil_log2(self.rows[-1]), self.learn_rows)
        return max(1, min(self.array_rows // rows, 1 << ceil_log2(self.words[-1])))

    @property
    def bias_apart(self) -> bool:
        """Whether the biases of the first layer lie in memories of their own, and its sums start from them.

        Pipelined chips whose inputs fill whole words do so: the array then skips a word that holds only the bias.
        """
        return self.pipelined and bool(self.plan[0].bias) and self.inputs % self.array_synapses == 0

    @property
    def array_words(self) -> tuple[int, ...]:
        """Cycles that the array spends on a row of each layer: one a word, or ``fold`` words in the last layer."""
        return (*self.words[:-1], -(-self.words[-1] // self.fold))

    @cached_property
    def weight_map(self) -> WeightMap:
        """Bank and address of every word of weights, in ``P`` banks."""
        return map_weights(self.rows, self.words, self.array_rows, self.fold)

    @cached_property
    def counter_map(self) -> MemoryMap:
        """Bank and address of every word of counters, in ``Pc`` banks."""
        return map_counters(self.rows, self.words, self.learn_rows)

    @property
    def word_base(self) -> tuple[int, ...]:
        """Global index of the first 32-synapse word of each layer in the flip signature."""
        return first_indices(rows * words for rows, words in zip(self.rows, self.mask_words, strict=True))

    def real_lanes(self, layer: int, word: int) -> int:
        """Bit mask of the lanes of an N-synapse ``word`` that hold a synapse or the bias; the others are pads."""
        lanes = self.synapses[layer] - word * self.array_synapses
        return (1 << max(0, min(lanes, self.array_synapses))) - 1


def check_runs_on_chips(config: AnyConfig) -> None:
    """Raise :class:`ConfigError` if the counters of the network are such that no chip has."""
    if len(set(config.mmaxes)) > 1 and not config.convolves:
        values = ", ".join(map(str, config.mmaxes))
        raise ConfigError(
            f"mmax: {values} given, but all counters of a chip without convolutions are alike; give one number"
        )


def _rows_for(config: AnyConfig) -> int:
    """Rows of an array that holds those of every convolutional layer, if it may be so large."""
    rows = max(layer.rows for layer in config.plan if not layer.bias)
    return min(max(4, 1 << ceil_log2(rows)), LARGE_ROWS)


def _power_of_two(name: str, value: int, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high or value & (value - 1):
        raise ConfigError(f"{name}: {value!r} is not a power of two from {low} to {high}")
