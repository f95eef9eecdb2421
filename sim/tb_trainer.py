"""Testbench of the whole trainer: batch after batch, its state equals golden's."""

import random
from types import SimpleNamespace

import cocotb
import numpy as np
from cocotb.triggers import FallingEdge, ReadOnly

from popflip.golden.config import Config
from popflip.golden.prng import first_state
from popflip.golden.trainer import Trainer
from popflip.golden.weights import State, first_difference
from popflip.hw.config import ChipConfig
from popflip.hw.registers import register_values, registers, status_words
from popflip.hw.trainer_port import TrainerCommand
from popflip.hw.weights import counter_word, weight_word
from popflip.sim.runner import parameters
from popflip.sim.streams import StreamSink, StreamSource, start, unpack

PATIENCE = 100_000  # cycles


class Driver:
    """Drives the trainer's port as the link's controller does."""

    def __init__(self, dut, chip: ChipConfig, stall: float, seed: int):
        self.dut, self.chip = dut, chip
        self.numbers = {register.name: number for number, register in enumerate(registers(chip))}
        self.samples = StreamSource(dut, "port__samples", 8, stall=stall, seed=seed)
        self.commands = StreamSource(dut, "port__command", 1, stall=stall, seed=seed)
        self.predictions = StreamSink(dut, "port__predictions", range(chip.classes), stall=stall, seed=seed)
        strobes = [f"state__{memory}__{access}" for memory in ("weights", "counters") for access in ("read", "write")]
        for name in ("register_write", "status_read", "status_index", "sample_label", "sample_infer", *strobes):
            self.port(name).value = 0

    def port(self, name: str):
        """A signal of the trainer's port; one of no width is not there, and what is written to it is dropped."""
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
        self.port("register_index").value = self.numbers[name]
        self.port("register_value").value = value & 0xFFFFFFFF
        self.port("register_write").value = 1
        await FallingEdge(self.dut.clk)
        self.port("register_write").value = 0

    async def command(self, command: TrainerCommand) -> None:
        self.commands.send(command.value)
        await self.commands.drain()
        await self.idle()

    async def sample(self, x: np.ndarray, label: int | None) -> None:
        self.port("sample_label").value = label or 0
        self.port("sample_infer").value = label is None
        self.samples.send(*np.packbits(x, bitorder="little").tolist())
        await self.samples.drain()

    async def status(self) -> dict[str, int]:
        values = {}
        for number, word in enumerate(status_words(self.chip)):
            self.port("status_index").value = number
            self.port("status_read").value = 1
            await FallingEdge(self.dut.clk)
            self.port("status_read").value = 0
            while not self.dut.port__status_valid.value:
                await FallingEdge(self.dut.clk)
            values[word.name] = int(self.dut.port__status_value.value)
        return values

    async def read(self, memory: str, shape, address: int, bank: int = 0) -> list[int]:
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
        values = unpack(shape, int(self.port(f"state__{memory}__read_data").value))
        await FallingEdge(self.dut.clk)
        return values

    async def state(self, rng: int) -> State:
        """All weights and counters, as the port shows them."""
        chip, lanes = self.chip, self.chip.array_synapses
        state = State([], [], rng)
        for layer in range(chip.depth):
            rows, words, synapses = chip.rows[layer], chip.words[layer], chip.synapses[layer]
            weights = np.zeros((rows, words * lanes), np.int8)
            counters = np.zeros((rows, words * lanes), np.int16)
            for row in range(rows):
                group, bank = divmod(row, chip.array_rows)
                for word in range(words):
                    place = slice(word * lanes, (word + 1) * lanes)
                    address = chip.weight_base[layer] + group * words + word
                    weights[row, place] = await self.read("weights", weight_word(chip), address, bank)
                    address = chip.counter_base[layer] + word * chip.counter_rows[layer] + row // chip.learn_rows
                    bank_of_row = row % chip.learn_rows
                    counters[row, place] = await self.read("counters", counter_word(chip), address, bank_of_row)
            assert not weights[:, synapses:].any() and not counters[:, synapses:].any(), "a pad is not zero"
            # One bit: 1 is +1. Two: two's complement.
            weights = 2 * weights - 1 if chip.weight_bits == 1 else (weights & 1) - (weights & 2)
            state.weights.append(weights[:, :synapses].astype(np.int8))
            state.counters.append(counters[:, :synapses])
        return state


@cocotb.test()
async def equals_golden(dut):
    """Weights, counters, random state, signature, counts and predictions equal golden's after every batch."""
    options = parameters()
    config = Config(**options["config"])
    chip = ChipConfig(**options["chip"])
    golden = Trainer(config)
    rng = np.random.default_rng(options["seed"])
    draw = random.Random(options["seed"])

    await start(dut)
    driver = Driver(dut, chip, options["stall"], options["seed"])
    for name, value in register_values(chip, config).items():
        await driver.write_register(name, value)
    if options["ends_by_itself"]:
        await driver.write_register("batch", config.batch)
    await driver.write_register("rng", first_state(config.seed))
    await driver.command(TrainerCommand.RESET)
    difference = first_difference(await driver.state(0), golden.state)
    assert difference is None, f"initial state: {difference}"

    predictions = 0
    for batch in range(options["batches"]):
        k = config.schedule(batch, options["batches"])
        for layer, count in enumerate(k):
            await driver.write_register(f"k{layer}", count)
        for _ in range(config.batch):
            x = (rng.random(config.inputs) < options["density"]).astype(np.uint8)
            if draw.random() < 0.2:  # a question between lessons
                await driver.sample(x, None)
                predictions += 1
                answer = await driver.predictions.receive(1)
                assert answer == golden.infer(x[None]).tolist()
            label = draw.randrange(config.classes)
            await driver.sample(x, label)
            golden.train(x[None], np.array([label]))
        await driver.idle() if options["ends_by_itself"] else await driver.command(TrainerCommand.END_BATCH)
        golden.end_batch(k)
        if options["break_golden"] and batch == options["batches"] - 1:
            layer, row, synapse = options["break_golden"]
            golden.state.counters[layer][row, synapse] ^= 1
        status = await driver.status()
        difference = first_difference(await driver.state(status["rng"]), golden.state)
        assert difference is None, f"batch {batch + 1}: {difference}"
        expected = {
            "samples": golden.samples,
            "batches": golden.batches,
            "errors": golden.errors,
            "correct": golden.correct,
            "signature": golden.signature,
            "rng": golden.state.rng,
            **{f"flips{layer}": flips for layer, flips in enumerate(golden.flips)},
        }
        assert {name: status[name] for name in expected} == expected
    assert status["total"] > status["forward_busy"] > 0
