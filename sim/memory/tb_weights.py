"""Testbench of the weight banks."""

import random

import cocotb

from popflip.hw.config import ChipConfig
from popflip.hw.layouts import weight_word
from popflip.sim.bench.networks import chip_of
from popflip.sim.bench.parts import Part, each_part
from popflip.sim.bench.runner import parameters
from popflip.sim.bench.words import fields

CYCLES = 800


def place(config: ChipConfig, address: int, bank: int) -> tuple[int, int] | None:
    """Bank and address at which the banks hold a row's word; None if the row does not exist."""
    no_row = address >= config.weight_map.base[-1] and bank >= config.array_rows // config.fold
    return None if no_row else config.weight_map.folded(bank, address)


async def check(part: Part, chip: dict) -> None:
    """The array reads all banks; a row request reads one and takes precedence; writes land at the end of a cycle."""
    config = chip_of(chip)
    width, rows = weight_word(config).size, config.array_rows
    draw = random.Random(parameters()["seed"])
    banks = [[0] * config.weight_map.array_depth for _ in range(rows)]
    array_data = row_data = None  # data of the last request
    shown = [(None, None)] * config.read_latency  # data of the requests in the cycles before
    waiting = None  # the array's request that has not been taken
    biases = [[0] * rows for _ in range(config.groups[0])]  # if biases are apart
    bias_data = landing = None  # biases of the last request, and the one written in the cycle before
    asks = group = 0
    for cycle in range(CYCLES):
        row_read, write = draw.random() < 0.3, draw.random() < 0.5
        address, bank = draw.randrange(config.weight_map.depth), draw.randrange(rows)
        if waiting is None and draw.random() < 0.6:
            waiting = draw.randrange(config.weight_map.array_depth)
        write_address = address if draw.random() < 0.3 else draw.randrange(config.weight_map.depth)
        write_bank, value = draw.randrange(rows), draw.getrandbits(width)
        part.set("row__read", row_read)
        part.set("row__read_address", address)
        part.set("row__read_bank", bank)
        part.set("row__write", write)
        part.set("row__write_address", write_address)
        part.set("row__write_bank", write_bank)
        part.set("row__write_data", value)
        part.set("array__read", waiting is not None)
        part.set("array__address", draw.randrange(config.weight_map.array_depth) if waiting is None else waiting)
        if config.bias_apart:
            asks, group = draw.random() < 0.5, draw.randrange(config.groups[0])
            part.set("bias__en", asks)
            part.set("bias__group", group)
        await part.settled()
        of_array, of_row = shown.pop(0)
        assert of_array is None or part.get("array__data") == of_array, f"cycle {cycle}: data of the array's request"
        assert of_row is None or part.get("row__read_data") == of_row, f"cycle {cycle}: data of the row's request"
        if row_read:
            there = place(config, address, bank)
            array_data, row_data = None, there and banks[there[0]][there[1]]
        elif waiting is not None:
            array_data, row_data = fields((words[waiting] for words in banks), width), None
            waiting = None
        shown.append((array_data, row_data))
        assert bias_data is None or part.get("bias__data") == bias_data, f"cycle {cycle}: biases"
        if asks:
            bias_data = fields(biases[group], config.weight_bits)
        if landing:
            biases[landing[0]][landing[1]] = landing[2]
        of_group, word = divmod(write_address, config.words[0])
        is_bias = write and of_group < config.groups[0] and word == config.words[0] - 1
        landing = (of_group, write_bank, value % (1 << config.weight_bits)) if is_bias else None
        there = place(config, write_address, write_bank)
        if write and there:
            banks[there[0]][there[1]] = value
        await part.next_cycle()


@cocotb.test()
async def equals_lists(dut):
    """Against a list of words for each bank."""
    await each_part(dut, check)
