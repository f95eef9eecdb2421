"""Testbench of the whole trainer: batch after batch, its state equals golden's."""

import random
from types import SimpleNamespace

import cocotb
import numpy as np
from cocotb.triggers import FallingEdge, ReadOnly

from popflip.golden.common.packing import pack
from popflip.golden.common.prng import first_state
from popflip.golden.config import Config, LbeConfig, Rule
from popflip.golden.memory.weights import State, first_difference
from popflip.golden.trainer import Trainer
from popflip.hw.config import ChipConfig
from popflip.hw.layouts import counter_word, weight_word
from popflip.hw.registers import register_values, registers, status_words
from popflip.hw.trainer_port import TrainerCommand
from popflip.sim.bench.clock import start
from popflip.sim.bench.networks import chip_of
from popflip.sim.bench.runner import parameters
from popflip.sim.bench.streams import StreamSink, StreamSource, unpacker

PATIENCE = 100_000  # cycles
_BESIDE = ("samples__label", "samples__infer", "samples__packed", "samples__last")
CONFIGS = {Rule.GFT: Config, Rule.LBE: LbeConfig}


class Driver:
    """Drives the trainer's port as the link's controller does."""

    def __init__(self, dut, chip: ChipConfig, stall: float, seed: int):
        self.dut, self.chip = dut, chip
        self._random = random.Random(f"{seed} packed")
        self._unpack = {"weights": unpacker(weight_word(chip)), "counters": unpacker(counter_word(chip))}
        self.numbers = {register.name: number for number, register in enumerate(registers(chip))}
        self.samples = StreamSource(dut, "port__samples__stream", 8, stall=stall, seed=seed)
        self.commands = StreamSource(dut, "port__command", 1, stall=stall, seed=seed)
        self.predictions = StreamSink(dut, "port__predictions", range(chip.classes), stall=stall, seed=seed)
        strobes = [f"state__{memory}__{access}" for memory in ("weights", "counters") for access in ("read", "write")]
        for stream in (self.samples, self.commands, self.predictions):
            stream.monitor.patience = PATIENCE  # a sample takes long on a chip with one walk
        for name in ("register__write", "status__read", "status__index", *_BESIDE, *strobes):
            self.port(name).value = 0

    def port(self, name: str):
        """A signal of the trainer's port. Verilog has no signals of width 0: a dummy takes the writes to them."""
        return getattr(self.dut, f"port__{name}", SimpleNamespace(value=0))

    async def idle(self) -> None:
        """Wait until nothing is in flight."""
        for _ in range(PATIENCE):
            await FallingEdge(self.dut.clk)
            await ReadOnly()
            if self.dut.port__idle.value:
                await FallingEdge(self.dut.clk)
                return
        raise AssertionError("the trainer does not become idle")

    async def write_register(self, name: str, value: int) -> None:
        self.port("register__index").value = self.numbers[name]
        self.port("register__value").value = value & 0xFFFFFFFF
        self.port("register__write").value = 1
        await FallingEdge(self.dut.clk)
        self.port("register__write").value = 0

    async def command(self, command: TrainerCommand) -> None:
        self.commands.send(command.value)
        await self.commands.drain()
        await self.idle()

    async def sample(self, x: np.ndarray, label: int | None) -> None:
        self.port("samples__label").value = label or 0
        self.port("samples__infer").value = label is None
        content = np.packbits(x, bitorder="little")
        packs = self.chip.packs and self._random.random() < 0.5
        self.port("samples__packed").value = packs
        if not packs:
            self.samples.send(*content.tolist())
            return await self.samples.drain()
        packed = pack(content[None])[0].tolist()
        for number, byte in enumerate(packed):
            self.port("samples__last").value = number == len(packed) - 1
            self.samples.send(byte)
            await self.samples.drain()
        return None

    async def status(self) -> dict[str, int]:
        values = {}
        for number, word in enumerate(status_words(self.chip)):
            self.port("status__index").value = number
            self.port("status__read").value = 1
            await FallingEdge(self.dut.clk)
            self.port("status__read").value = 0
            while not self.dut.port__status__valid.value:
                await FallingEdge(self.dut.clk)
            values[word.name] = int(self.dut.port__status__value.value)
        return values

    async def read(self, memory: str, address: int, bank: int = 0) -> list[int]:
        """A word of weights or counters, as numbers."""
        self.port(f"state__{memory}__read").value = 1
        self.port(f"state__{memory}__read_address").value = address
        if memory == "weights" or self.chip.learn_rows > 1:
            self.port(f"state__{memory}__read_bank").value = bank
        await FallingEdge(self.dut.clk)
        self.port(f"state__{memory}__read").value = 0
        for _ in range(1, self.chip.read_latency):
            await FallingEdge(self.dut.clk)
        await ReadOnly()
        values = self._unpack[memory](int(self.port(f"state__{memory}__read_data").value))
        await FallingEdge(self.dut.clk)
        return values

    async def state(self, rng: int) -> State:
        """Read all weights and counters through the port."""
        chip, lanes = self.chip, self.chip.array_synapses
        state = State([], [], rng)
        for layer in range(chip.depth):
            rows, count, synapses = chip.rows[layer], chip.words[layer], chip.synapses[layer]
            weights = np.zeros((rows, count * lanes), np.int8)
            counters = np.zeros((rows, count * lanes), np.int16)
            for row in range(rows):
                for word in range(count):
                    place = slice(word * lanes, (word + 1) * lanes)
                    bank, address = chip.weight_map.bank(row), chip.weight_map.address(layer, row, word)
                    weights[row, place] = await self.read("weights", address, bank)
                    bank, address = chip.counter_map.bank(row), chip.counter_map.address(layer, row, word)
                    counters[row, place] = await self.read("counters", address, bank)
            for name, words in (("weights", weights), ("counters", counters)):
                assert not words[:, synapses:].any(), f"layer {layer}: a pad of the {name} is not zero"
            # Weights of one bit: 1 is +1. Of two bits: two's complement.
            weights = 2 * weights - 1 if chip.weight_bits == 1 else (weights & 1) - (weights & 2)
            state.weights.append(weights[:, :synapses].astype(np.int8))
            state.counters.append(counters[:, :synapses])
        return state


async def train(driver: Driver, golden: Trainer, batch: int, rng: np.random.Generator, density: float) -> None:
    """Train chip and golden on a batch of random samples. Some samples are also classified first."""
    config, answers = golden.config, []
    for _ in range(batch):
        x = (rng.random(config.inputs) < density).astype(np.uint8)
        if rng.random() < 0.2:
            await driver.sample(x, None)
            answers += golden.infer(x[None]).tolist()
        label = int(rng.integers(config.classes))
        await driver.sample(x, label)
        golden.train(x[None], np.array([label]))
    assert await driver.predictions.receive(len(answers)) == answers, "predictions"


async def compare(driver: Driver, golden: Trainer, where: str) -> None:
    """Assert that weights, counters, random state, signature and counts are golden's."""
    status = await driver.status()
    difference = first_difference(await driver.state(status["rng"]), golden.state)
    assert difference is None, f"{where}: {difference}"
    expected = {
        "samples": golden.samples,
        "batches": golden.batches,
        "errors": golden.errors,
        "correct": golden.correct,
        "signature": golden.signature,
        "rng": golden.state.rng,
        **{f"flips{layer}": flips for layer, flips in enumerate(golden.flips)},
    }
    got = {name: status[name] for name in expected}
    assert got == expected, f"{where}: {got}, expected {expected}"
    assert status["total"] > status["forward_busy"] > 0 or not golden.samples
    assert (status["learn_busy"] > 0) == (golden.errors > 0)


@cocotb.test()
async def equals_golden(dut):
    """State, signature and counts equal golden's after a reset and after every batch; then once more from a reset.

    LBE, where every sample is a batch, compares after as many samples as the parameter ``sizes`` lists.
    """
    options = parameters()
    config = CONFIGS[Rule(options["config"]["rule"])](**options["config"])
    chip = chip_of(options["chip"])
    golden = Trainer(config)
    rng = np.random.default_rng(options["seed"])
    lbe, wrong = chip.rule == Rule.LBE, options["break_golden"]

    await start(dut)
    driver = Driver(dut, chip, options["stall"], options["seed"])
    for name, value in register_values(chip, config).items():
        await driver.write_register(name, value)
    if options["ends_by_itself"]:
        await driver.write_register("batch", config.batch)
    sizes = options["sizes"] if lbe else [config.batch] * options["batches"]
    for last in (False, True):
        golden.reset()
        await driver.write_register("rng", first_state(config.seed))
        await driver.command(TrainerCommand.RESET)
        await compare(driver, golden, "initial state")
        for number, size in enumerate(sizes[:1] if last else sizes):
            k = config.schedule(number, len(sizes))
            for layer, count in enumerate(k):
                await driver.write_register(f"k{layer}", count)
            await train(driver, golden, size, rng, options["density"])
            # LBE has no END_BATCH. The command must change nothing.
            by_itself = options["ends_by_itself"] or (lbe and number % 2 == 0)
            await driver.idle() if by_itself else await driver.command(TrainerCommand.END_BATCH)
            golden.end_batch(k)
            if wrong and number == len(sizes) - 1:
                layer, row, synapse = wrong
                golden.state.counters[layer][row, synapse] ^= 1
            await compare(driver, golden, f"batch {number + 1}")
