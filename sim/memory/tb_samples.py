"""Testbench of the memory of a compact chip's samples."""

import random

import cocotb

from popflip.hw.layouts import activation_words, input_word
from popflip.sim.bench.memories import ActivationMemory
from popflip.sim.bench.networks import chip_of
from popflip.sim.bench.parts import Part, each_part
from popflip.sim.bench.runner import parameters
from popflip.sim.bench.streams import pack, unpack

CYCLES = 1500
READERS = [f"{who}_{what}" for who in ("forward", "learn") for what in ("inputs", "activations")]


async def check(part: Part, chip: dict) -> None:
    """Every reader sees the words and neurons written to each slot. Words wait while neurons are written."""
    config = chip_of(chip)
    seed, wrong = parameters()["seed"], parameters().get("wrong", {}).get(part.name)
    draw = random.Random(seed)
    words, parts = activation_words(config), config.array_synapses // config.array_rows
    entries = [(slot, position) for slot in range(config.slots) for position in range(config.words[0])]
    neurons = [(slot, word, place) for slot in range(config.slots) for word in range(words) for place in range(parts)]
    lists: dict[tuple[int, int], dict[str, int]] = {}
    activations = ActivationMemory(config, seed)
    shown: tuple[str, object] | None = None  # to the reader of the last request
    waiting: tuple[tuple[int, int], dict[str, int]] | None = None  # an entry that was not taken
    for cycle in range(len(entries) + len(neurons) + CYCLES):
        fills = len(lists) < len(entries) or cycle < len(neurons)
        store = cycle < len(neurons) or (not fills and draw.random() < 0.4)
        slot, word, place = neurons[cycle] if cycle < len(neurons) else draw.choice(neurons)
        active, in_window = draw.getrandbits(config.array_rows), draw.getrandbits(config.array_rows)
        fields = {"write": store, "slot": slot, "word": word, "part": place, "active": active, "in_window": in_window}
        for name, value in fields.items():
            part.set(f"store__{name}", value)
        if waiting is None and (fills or draw.random() < 0.4):
            entry = {"bits": draw.getrandbits(config.array_synapses), "index": draw.randrange(config.words[0])}
            waiting = (entries[len(lists)] if len(lists) < len(entries) else draw.choice(entries)), entry
        part.set("list__write", waiting is not None)
        if waiting is not None:
            (list_slot, position), entry = waiting
            part.set("list__slot", list_slot)
            part.set("list__position", position)
            part.set("list__data", pack(input_word(config), entry))
        reading = None if fills or draw.random() < 0.3 else draw.choice(READERS)
        if reading:
            read_slot, read_position = draw.choice(entries)
            read_word = draw.randrange(words)
        for reader in READERS:
            part.set(f"{reader}__en", reader == reading)
            part.set(f"{reader}__slot", read_slot if reader == reading else draw.randrange(config.slots))
            if reader.endswith("inputs"):
                part.set(f"{reader}__position", read_position if reader == reading else 0)
            else:
                part.set(f"{reader}__word", read_word if reader == reading else 0)
        await part.settled()
        if shown is not None:
            reader, expected = shown
            if reader.endswith("inputs"):
                got = unpack(input_word(config), part.get(f"{reader}__data"))
            else:
                got = part.get(f"{reader}__active"), part.get(f"{reader}__in_window")
            assert (got == expected) != (cycle == wrong), f"cycle {cycle}, {reader}: {got}, expected {expected}"
        assert waiting is None or part.get("list__ready") == (not store), f"cycle {cycle}: ready"
        if reading:
            # A read of the word written in the same cycle is undefined.
            if reading.endswith("inputs"):
                read_place = read_slot, read_position
                written = waiting is not None and not store and waiting[0] == read_place
                shown = None if written else (reading, dict(lists[read_place]))
            else:
                written = store and (slot, word) == (read_slot, read_word)
                shown = None if written else (reading, activations.read(read_slot, read_word))
        if store:
            activations.write(slot, word, place, active, in_window)
        elif waiting is not None:
            lists[waiting[0]] = waiting[1]
            waiting = None
        await part.next_cycle()


@cocotb.test()
async def equals_models(dut):
    """Against a model in Python."""
    await each_part(dut, check)
