"""What a build of the chip fixes: the network's shape, and the geometry that computes it.

Learning parameters that are registers at run time (margin, windows, shift, flip probability, flips to select, batch,
random state) are not here; they are in :mod:`popflip.hw.registers`. Two configurations with equal :class:`ChipConfig`
share one netlist, one simulated chip and one bitstream.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from amaranth.utils import ceil_log2

from popflip.golden.config import WORD, AnyConfig, Network, Precision, Rule
from popflip.golden.errors import ConfigError
from popflip.hw.memory_map import MemoryMap, WeightMap, first_indices, map_counters, map_weights, rows_per_bank

MAX_ROWS = 1024
MIN_SYNAPSES, MAX_SYNAPSES = 4, 1024
MAX_STORE_SAMPLES = 2**16
LARGE_ROWS = 32  # from so many a cycle on, memories lie all over the chip


@dataclass(frozen=True)
class ChipConfig(Network):
    """Shape of the network, and geometry. Invalid values raise :class:`ConfigError`.

    ``array_rows`` (``P``, rows) and ``array_synapses`` (``N``, synapses) are what the popcount MAC array takes in one
    cycle; both are powers of two and change no result. ``slots`` is how many samples are on the chip at once: being
    received, going forward, waiting to be learned. ``dclip`` is GFT's. ``classes`` may be left out where the last layer
    says it (GFT). ``store_samples``, a power of two, is how many training samples the chip can keep and train again by
    their numbers; 0: none. ``learn_rows`` (``Pc``, rows; GFT) is how many rows' counters take a word of votes in one
    cycle in the first layer, where most of them are, and are counted in one at the end of a batch: a power of two, no
    more than ``P`` and ``N``. ``compact`` (GFT, N ≤ 8) is for an iCE40 UP5K whose block memory is just enough for the
    weights: counters lie in its single-port RAMs, which read or write a word in a cycle, not both, and what is known of
    samples in one memory with one port to read it.
    """

    layers: tuple[int, ...]
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

    def __post_init__(self) -> None:
        if not self.classes and self.rule == Rule.GFT:
            object.__setattr__(self, "classes", self.layers[-1])
        _power_of_two("rows", self.array_rows, 1, MAX_ROWS)
        _power_of_two("synapses", self.array_synapses, MIN_SYNAPSES, MAX_SYNAPSES)
        _power_of_two("slots", self.slots, 2, 64)
        if self.store_samples != 0:
            _power_of_two("store", self.store_samples, 1, MAX_STORE_SAMPLES)
        most = min(self.array_rows, self.array_synapses) if self.rule == Rule.GFT else 1
        _power_of_two("learn_rows", self.learn_rows, 1, most)
        if self.compact and (self.rule != Rule.GFT or self.pipelined or self.learn_rows > 1):
            raise ConfigError("compact: is for rule gft, 8 synapses a cycle or less, and one row learned in it")
        if self.compact and self.array_rows > self.array_synapses:
            raise ConfigError(f"compact: {self.array_rows} rows a cycle are more than {self.array_synapses} synapses")

    @classmethod
    def of(
        cls,
        config: AnyConfig,
        array_rows: int = 4,
        array_synapses: int = 32,
        slots: int | None = None,
        store_samples: int = 0,
        learn_rows: int = 1,
        compact: bool = False,
    ) -> ChipConfig:
        """The chip that runs ``config``; with 8 ``slots``, or 2 if it is ``compact``, unless told otherwise."""
        return cls(
            layers=config.layers,
            precision=config.precision,
            mmax=config.mmax,
            dclip=getattr(config, "dclip", 1),
            array_rows=array_rows,
            array_synapses=array_synapses,
            slots=slots or (2 if compact else 8),
            rule=config.rule,
            classes=config.classes,
            store_samples=store_samples,
            learn_rows=learn_rows,
            compact=compact,
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
    def v_max(self) -> int:
        """Largest magnitude of a neuron's sum ``v``: every synapse agrees."""
        return max(self.synapses)

    @property
    def score_max(self) -> int:
        """Largest magnitude of what classes are compared by: sums of the last layer, or (LBE) neurons that agree."""
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
        """Whether samples may come packed (:mod:`popflip.golden.common.packing`). Small chips have no cells to spare
        for it, and LBE takes a sample's every word.
        """
        return self.rule == Rule.GFT and self.pipelined

    @property
    def packed_bytes(self) -> int:
        """Most bytes of a packed sample: all of its own, and a mask for each eight."""
        return self.input_bytes + -(-self.input_bytes // 8)

    @property
    def size_bytes(self) -> int:
        """Bytes of what says how long a packed sample is, with its label, on the link."""
        return 1 if self.label_bytes + self.packed_bytes <= 255 else 2

    @property
    def pipelined(self) -> bool:
        """Whether registers shorten paths at the cost of cells. Arrays with N ≤ 8 are for small, slow chips."""
        return self.array_synapses > 8

    @property
    def read_latency(self) -> int:
        """Cycles from the request of a word of weights or counters to its data: 1 + 2 × :attr:`memory_stages`."""
        return 1 + 2 * self.memory_stages

    @property
    def memory_stages(self) -> int:
        """Registers between an engine and the memories of weights and counters, each way. In fast chips there is one,
        for memories are many; two where they lie all over a large chip. LBE waits for a row's counters with every
        sample, so there is none.
        """
        if not self.pipelined or self.rule != Rule.GFT:
            return 0
        return 2 if self.array_rows >= LARGE_ROWS else 1

    # Layout -----------------------------------------------------------------------------------------------------------

    @property
    def words(self) -> tuple[int, ...]:
        """N-synapse words of a row of each layer."""
        return tuple(-(-synapses // self.array_synapses) for synapses in self.synapses)

    @property
    def mask_words(self) -> tuple[int, ...]:
        """32-synapse words of a row of each layer: one random mask and one signature index each."""
        return tuple(-(-synapses // WORD) for synapses in self.synapses)

    @property
    def groups(self) -> tuple[int, ...]:
        """Groups of ``P`` rows of each layer; the last one may be partly empty."""
        return rows_per_bank(self.rows, self.array_rows)

    @property
    def fold(self) -> int:
        """Words of a last layer's row that the array takes in one cycle, a power of two: 1, or more in fast chips of
        GFT whose ``P`` rows are more than that layer needs. It is then ``P/fold`` rows × ``fold·N`` synapses."""
        if not self.pipelined or self.rule != Rule.GFT or self.depth == 1:
            return 1
        rows = max(1 << ceil_log2(self.rows[-1]), self.learn_rows)
        return max(1, min(self.array_rows // rows, 1 << ceil_log2(self.words[-1])))

    @property
    def bias_apart(self) -> bool:
        """Whether sums of the first layer start from its biases, so that the array need not take a word that holds
        nothing else: in fast chips, where the inputs fill whole words."""
        return self.pipelined and bool(self.bias) and self.inputs % self.array_synapses == 0

    @property
    def array_words(self) -> tuple[int, ...]:
        """Words of a row of each layer as the array takes them: ``fold`` at once of the last."""
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
        """Global index of the first 32-synapse word of each layer, as the flip signature counts them."""
        return first_indices(rows * words for rows, words in zip(self.rows, self.mask_words, strict=True))

    def real_lanes(self, layer: int, word: int) -> int:
        """Bit mask of the lanes of N-synapse ``word`` that are synapses (the bias among them), not pads."""
        lanes = self.synapses[layer] - word * self.array_synapses
        return (1 << max(0, min(lanes, self.array_synapses))) - 1


def _power_of_two(name: str, value: int, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high or value & (value - 1):
        raise ConfigError(f"{name}: {value!r} is not a power of two from {low} to {high}")
