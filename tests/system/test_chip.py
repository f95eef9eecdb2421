"""The simulated chip: what runs in it equals Amaranth's own simulator cycle by cycle, and every way it can fail."""

import random
import subprocess
import sys
import threading

import pytest
from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import data, fifo, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator

from popflip.golden.config import Config
from popflip.hw.config import ChipConfig
from popflip.sim import chip as simulated
from popflip.sim.cache import built, content_hash
from popflip.sim.cxxrtl import compile as cxxrtl
from popflip.sim.cxxrtl.compile import partition


class Lanes(wiring.Component):
    """Arrays of narrow numbers, as the chip has them: bit planes, a comparison in every lane, sums of the results."""

    i: In(64)
    o: Out(8)

    def elaborate(self, platform) -> Module:
        m = Module()
        numbers = Signal(data.ArrayLayout(2, 50))
        triples = Signal(data.ArrayLayout(3, 33))
        low, high = Signal(50), Signal(50)
        near, far = Signal(33), Signal(33)
        m.d.sync += [
            numbers.as_value().eq(Cat(self.i, numbers.as_value())),
            triples.as_value().eq(Cat(self.i[7:], triples.as_value())),
        ]
        m.d.comb += [
            low.eq(Cat(number[0] for number in numbers)),
            high.eq(Cat(number[1] for number in numbers)),
            near.eq(Cat(triple < self.i[index : index + 3] for index, triple in enumerate(triples))),
            far.eq(Cat(triple[2] for triple in triples)),
            self.o.eq((low ^ high)[3:] + (near & ~far) + (low >> 42)),
        ]
        return m


class Toy(wiring.Component):
    """Bytes in and out with all that CXXRTL has to get right: memories, a queue, stalls, wide and signed arithmetic.

    Each byte is answered by the byte the memory held at a place that wanders; byte 0 is not answered.
    """

    def __init__(self):
        super().__init__({"rx": In(stream.Signature(8)), "tx": Out(stream.Signature(8))})

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.queue = queue = fifo.SyncFIFOBuffered(width=8, depth=5)
        m.submodules.memory = memory = Memory(shape=40, depth=16, init=range(7, 23))
        write, read = memory.write_port(), memory.read_port()
        noise = Signal(64, init=0x9E3779B97F4A7C15)
        total = Signal(range(-500, 500))
        m.submodules.lanes = lanes = Lanes()
        m.d.sync += noise.eq(noise ^ (noise << 13)[:64] ^ (noise >> 7))
        with m.If(self.rx.valid & self.rx.ready):
            m.d.sync += total.eq(total + self.rx.payload.as_signed())
        m.d.comb += [
            self.rx.ready.eq(noise[0] & queue.w_rdy),
            lanes.i.eq(noise),
            queue.w_data.eq(read.data.word_select(noise[2:5], 8) ^ total ^ lanes.o),
            queue.w_en.eq(self.rx.valid & self.rx.ready & (self.rx.payload != 0)),
            write.addr.eq(noise[20:24]),
            write.data.eq(total * noise[:32].as_signed()),
            write.en.eq(noise[1]),
            read.addr.eq(noise[40:44] + total),
            read.en.eq(noise[5] | self.rx.valid),
            self.tx.valid.eq(queue.r_rdy & noise[6]),
            self.tx.payload.eq(queue.r_data),
            queue.r_en.eq(self.tx.ready & noise[6]),
        ]
        return m


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """Libraries of :class:`Toy`: as usual, with waves, and cut into a part a statement with few flags a word."""
    try:
        cxxrtl.compiler()
    except cxxrtl.SimulatorError as missing:
        pytest.skip(str(missing))
    libraries = {}
    for name, sizes in {"usual": {}, "waves": {}, "tiny": {"SMALLEST": 0, "LARGEST": 0, "BITS": 5}}.items():
        folder = tmp_path_factory.mktemp("toy")
        with pytest.MonkeyPatch.context() as patch:
            for constant, value in sizes.items():
                patch.setattr(partition, constant, value)
            cxxrtl.build_library(Toy(), folder, folder / "log", waves=name == "waves")
        libraries[name] = folder / cxxrtl.LIBRARY
    text = (libraries["tiny"].parent / "design.cc").read_text()
    for needed in ("::part20(", "stale[4]", "strided<", "joined("):
        assert needed in text, "the toy does not try all there is"
    return libraries


def conversation(seed: int, rounds: int) -> list[tuple[bytes, int]]:
    """What to write and how many bytes to read, in turns; all that is answered is read in the end."""
    draw = random.Random(seed)
    turns, owed = [], 0
    for _ in range(rounds):
        sent = bytes(draw.randrange(256) if draw.random() < 0.8 else 0 for _ in range(draw.randrange(30)))
        owed += len(sent) - sent.count(0)
        count = draw.randrange(owed + 1)
        owed -= count
        turns.append((sent, count))
    return [*turns, (b"", owed)]


def python_simulator(component, turns) -> list[tuple[bytes, int]]:
    """Answers and cycles at the end of each turn, from Amaranth's simulator, fed as the shim does it."""
    results = []

    async def talk(ctx):
        waiting, cycles = b"", 0
        ctx.set(component.tx.ready, 1)
        for sent, count in turns:
            waiting += sent
            answer = b""
            while len(answer) < count:
                ctx.set(component.rx.valid, bool(waiting))
                ctx.set(component.rx.payload, waiting[0] if waiting else 0)
                if waiting and ctx.get(component.rx.ready):
                    waiting = waiting[1:]
                if ctx.get(component.tx.valid):
                    answer += bytes([ctx.get(component.tx.payload)])
                await ctx.tick()
                cycles += 1
            results.append((answer, cycles))

    simulator = Simulator(component)
    simulator.add_clock(1e-6)
    simulator.add_testbench(talk)
    simulator.run()
    return results


@pytest.mark.parametrize("kind", ["usual", "waves", "tiny"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_equals_the_python_simulator(toy, tmp_path, seed, kind):
    turns = conversation(seed, rounds=40)
    with cxxrtl.Simulation(toy[kind], tmp_path / "toy.vcd" if kind == "waves" else None) as simulation:
        results = []
        for sent, count in turns:
            simulation.write(sent)
            results.append((simulation.read(count), simulation.cycles))
    assert results == python_simulator(Toy(), turns)


def test_time_stands_still_unless_bytes_are_missing(toy):
    with cxxrtl.Simulation(toy["usual"]) as simulation:
        simulation.write(b"\1\2\3")
        assert simulation.cycles == 0
        simulation.read(1)
        cycles = simulation.cycles
        simulation.write(b"\4")
        simulation.read(0)
        assert simulation.cycles == cycles


def test_what_came_before_a_timeout_is_kept(toy):
    with cxxrtl.Simulation(toy["usual"], patience=1000) as simulation:
        simulation.write(b"\1\2\3")
        with pytest.raises(TimeoutError, match="gave 3 of 4 bytes, then nothing for 1000 cycles"):
            simulation.read(4)
        assert len(simulation.read(3)) == 3


def test_closed_simulation(toy):
    simulation = cxxrtl.Simulation(toy["usual"])
    simulation.close()
    simulation.close()
    with pytest.raises(cxxrtl.SimulatorError, match="is closed"):
        simulation.read(1)


def test_waves_hold_every_cycle_of_the_streams(toy, tmp_path):
    path = tmp_path / "toy.vcd"
    with cxxrtl.Simulation(toy["waves"], path) as simulation:
        simulation.write(b"\1\0\2\3")
        answer = simulation.read(3)
        before_close = path.read_text()
        cycles = simulation.cycles
    assert path.read_text() == before_close
    samples = vcd_samples(before_close)
    assert [sample["tx__payload"] for sample in samples.values() if sample["tx__valid"]] == list(answer)
    assert list(samples) == [10 * cycle + 5 for cycle in range(cycles)]


def vcd_samples(text: str) -> dict[int, dict[str, int]]:
    """Values of all signals by name, at each time of a VCD file."""
    codes, values, samples = {}, {}, {}
    for line in text.splitlines():
        if line.startswith("$var"):
            _, _, _, code, name, *_ = line.split()
            codes.setdefault(code, name)
        elif line.startswith("#"):
            values = samples[int(line[1:])] = dict(values)
        elif line[0] in "01":
            values[codes[line[1:]]] = int(line[0])
        elif line[0] == "b":
            bits, code = line[1:].split()
            values[codes[code]] = int(bits, 2)
    return samples


def test_waves_that_cannot_be_written(toy, tmp_path):
    with pytest.raises(cxxrtl.SimulatorError, match=r"cannot write waves to .*nowhere/toy\.vcd: No such file"):
        cxxrtl.Simulation(toy["waves"], tmp_path / "nowhere" / "toy.vcd")


def test_interrupt_ends_a_long_read(toy, tmp_path):
    """Ctrl-C in the middle of a simulation that would go on; its waves are whole up to there."""
    path = tmp_path / "toy.vcd"
    program = f"""
import pathlib, signal, threading, time, _thread
from popflip.sim.cxxrtl.compile import Simulation

signal.signal(signal.SIGINT, signal.default_int_handler)  # also where the tests run in the background

def interrupt():
    waves = pathlib.Path({str(path)!r})
    while not waves.exists() or waves.stat().st_size == 0:  # until it runs
        time.sleep(0.01)
    _thread.interrupt_main()

threading.Thread(target=interrupt, daemon=True).start()
with Simulation({str(toy["waves"])!r}, {str(path)!r}, patience=10**7) as simulation:
    simulation.read(1)
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300)
    assert result.stderr.endswith("KeyboardInterrupt\n")
    assert path.read_text().endswith("\n")


def test_no_compiler_is_one_line(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    cxxrtl.compiler.cache_clear()
    try:
        with pytest.raises(cxxrtl.SimulatorError, match=r"no C\+\+ compiler .*tried no-such-compiler"):
            cxxrtl.compiler()
        monkeypatch.delenv("CXX")
        monkeypatch.setenv("PATH", "")
        with pytest.raises(cxxrtl.SimulatorError, match=r"tried g\+\+, c\+\+, clang\+\+"):
            cxxrtl.compiler()
    finally:
        cxxrtl.compiler.cache_clear()


def test_failed_compilation_leaves_a_log_and_nothing_else(monkeypatch, tmp_path):
    monkeypatch.setenv("POPFLIP_CACHE", str(tmp_path))
    monkeypatch.setattr(cxxrtl, "FLAGS", ("-fno-such-flag",))
    chip = ChipConfig.of(Config(layers=(5, 2), k0=(1,)), array_rows=1, array_synapses=4)
    with pytest.raises(cxxrtl.SimulatorError, match=r"does not compile: .*no-such-flag.*\.log") as caught:
        simulated.SimulatedChip(chip)
    assert "\n" not in str(caught.value)
    assert sorted({path.suffix for path in (tmp_path / "chip").iterdir()}) == [".lock", ".log"]


def test_cache_is_built_once_by_many(monkeypatch, tmp_path):
    monkeypatch.setenv("POPFLIP_CACHE", str(tmp_path))
    builds, folders = [], []

    def build(folder):
        builds.append(folder)
        (folder / "file").write_text("whole")

    threads = [threading.Thread(target=lambda: folders.append(built("kind", "key", build))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(builds) == 1
    assert folders == [tmp_path / "kind" / "key"] * 8
    assert (folders[0] / "file").read_text() == "whole"


def test_a_build_that_fails_leaves_nothing(monkeypatch, tmp_path):
    monkeypatch.setenv("POPFLIP_CACHE", str(tmp_path))

    def fail(folder):
        (folder / "half").write_text("")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        built("kind", "key", fail)
    assert [path.name for path in (tmp_path / "kind").iterdir()] == ["key.lock"]


def test_content_hash_knows_where_parts_end():
    assert content_hash("ab", "c") != content_hash("a", "bc")


def test_a_killed_build_is_cleared_away_by_the_next(monkeypatch, tmp_path):
    monkeypatch.setenv("POPFLIP_CACHE", str(tmp_path))
    (tmp_path / "kind" / "key.half").mkdir(parents=True)
    built("kind", "key", lambda folder: None)
    assert sorted(path.name for path in (tmp_path / "kind").iterdir()) == ["key", "key.lock"]
