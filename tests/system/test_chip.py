"""The simulated chip equals Amaranth's own simulator cycle by cycle, and each of its failures has a clear message."""

import operator
import os
import random
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

import pytest
from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, fifo, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator
from simulated import need_compiler

from popflip.sim.cache import DIGESTS
from popflip.sim.cxxrtl import compile, emit, load, schedule
from popflip.sim.cxxrtl.compile import build_library, cached_library, compiler, identity
from popflip.sim.cxxrtl.simulation import Simulation
from popflip.sim.errors import SimulatorError

ROUNDS = 15  # turns of a conversation


class Lanes(wiring.Component):
    """Arrays of narrow numbers, as in the chip: bit planes, a comparison per lane, sums of the results."""

    i: In(64)
    o: Out(8)

    def elaborate(self, platform) -> Module:
        m = Module()
        numbers = Signal(data.ArrayLayout(2, 50))
        triples = Signal(data.ArrayLayout(3, 33))
        low, high = Signal(50), Signal(50)
        below, high_bits = Signal(33), Signal(33)
        m.d.sync += [
            numbers.as_value().eq(Cat(self.i, numbers.as_value())),
            triples.as_value().eq(Cat(self.i[7:], triples.as_value())),
        ]
        m.d.comb += [
            low.eq(Cat(number[0] for number in numbers)),
            high.eq(Cat(number[1] for number in numbers)),
            below.eq(Cat(triple < self.i[index : index + 3] for index, triple in enumerate(triples))),
            high_bits.eq(Cat(triple[2] for triple in triples)),
            self.o.eq((low ^ high)[3:] + (below & ~high_bits) + (low >> 42)),
        ]
        return m


class Operators(wiring.Component):
    """Each operator on operands of random widths and signs, below, at and above the 64 bits of an integer.

    New operands come where ``en`` is set, and seldom, since Amaranth's simulator is slow.
    """

    WIDTHS = (1, 2, 7, 31, 32, 33, 63, 64, 65, 90)
    BINARY = (
        operator.add, operator.sub, operator.mul, operator.and_, operator.or_, operator.xor,
        operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge,
    )  # fmt: skip
    UNARY = (operator.invert, operator.neg, Value.all, Value.any, Value.xor, Value.bool)

    i: In(64)
    en: In(1)
    o: Out(8)

    def elaborate(self, platform) -> Module:
        m = Module()
        draw = random.Random(7)
        state = Signal(200)
        with m.If(self.en):
            m.d.sync += state.eq(Cat(self.i, state))
        total = Const(0, 8)
        for index in range(96):
            value, above = Signal(draw.choice(self.WIDTHS), name=f"value{index}"), total
            total = Signal(8, name=f"total{index}")
            m.d.comb += [value.eq(self.result(draw, state, index)), total.eq(above ^ value ^ value[-8:])]
        pieces = Signal(150)  # assigned in pieces, narrow and wide ones, across the words that hold it
        m.d.comb += [
            pieces[:40].eq(state[100:140] + 1),
            pieces[40:80].eq(~state[:40]),
            pieces[80:].eq(state[50:120]),
            self.o.eq(total ^ pieces[36:44] ^ pieces[76:84] ^ pieces[-8:]),
        ]
        return m

    def result(self, draw: random.Random, state: Signal, index: int) -> Value:
        """An operator on random parts of ``state``: all binary ones first, then all others in turn."""
        one, other = (self.operand(draw, state) for _ in range(2))
        others = [lambda each=each: each(one) for each in self.UNARY]
        others += [
            lambda: one << other[:3],
            lambda: one >> other[:5],
            lambda: one.replicate(3),
            lambda: Cat(one, other, state[:9]),
            lambda: Mux(other[0], one, other),
            lambda: state.bit_select(other[:6], 20),
        ]
        return others[index % len(others)]() if index % 2 else self.BINARY[index // 2 % len(self.BINARY)](one, other)

    def operand(self, draw: random.Random, state: Signal) -> Value:
        width = draw.choice(self.WIDTHS)
        low = draw.randrange(len(state) - width)
        part = state[low : low + width]
        return part.as_signed() if draw.random() < 0.5 else part


class Toy(wiring.Component):
    """Bytes through all that CXXRTL must get right: memories, a queue, stalls, wide and signed arithmetic.

    The answer to a byte comes from a random word of the memory. Byte 0 gets no answer.
    """

    def __init__(self):
        super().__init__({"rx": In(stream.Signature(8)), "tx": Out(stream.Signature(8))})

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.queue = queue = fifo.SyncFIFOBuffered(width=8, depth=5)
        m.submodules.memory = memory = Memory(shape=72, depth=16, init=range(7, 23))
        write, read = memory.write_port(), memory.read_port()
        noise = Signal(64, init=0x9E3779B97F4A7C15)
        total = Signal(range(-500, 500))
        m.submodules.lanes = lanes = Lanes()
        m.submodules.operators = operators = Operators()
        m.d.sync += noise.eq(noise ^ (noise << 13)[:64] ^ (noise >> 7))
        with m.If(self.rx.valid & self.rx.ready):
            m.d.sync += total.eq(total + self.rx.payload.as_signed())
        m.d.comb += [
            self.rx.ready.eq(noise[0] & queue.w_rdy),
            lanes.i.eq(noise),
            operators.i.eq(noise),
            operators.en.eq(self.rx.valid & self.rx.ready),
            queue.w_data.eq(read.data.word_select(noise[2:5], 8) ^ total ^ lanes.o ^ operators.o),
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
    """Libraries of :class:`Toy`: normal, with waves, and split into one part per statement with few flags a word."""
    need_compiler()
    limits = [(schedule, "SMALLEST", 0), (schedule, "LARGEST", 0), (emit, "BITS", 5)]
    libraries = {}
    for name, changes in {"normal": [], "waves": [], "tiny": limits}.items():
        folder = tmp_path_factory.mktemp("toy")
        with pytest.MonkeyPatch.context() as patch:
            for module, constant, value in changes:
                patch.setattr(module, constant, value)
            libraries[name] = build_library(Toy(), folder, folder / "log", waves=name == "waves")
    text = (libraries["tiny"].parent / "design.cc").read_text()
    calls = ("strided", "filled", "extended", "bits", "put", "extract", "insert", "value_of")
    needed = ("::part20(", "stale[4]", "joined(", "get(", "set(", *(f"{call}<" for call in calls))
    assert [each for each in needed if each not in text] == [], "the toy does not exercise these"
    return libraries


def conversation(seed: int, rounds: int) -> list[tuple[bytes, int]]:
    """Turns of bytes to write and a number of bytes to read. The last turn reads all answers that are left."""
    draw = random.Random(seed)
    turns, pending = [], 0
    for _ in range(rounds):
        sent = bytes(draw.randrange(256) if draw.random() < 0.8 else 0 for _ in range(draw.randrange(30)))
        pending += len(sent) - sent.count(0)
        count = draw.randrange(pending + 1)
        pending -= count
        turns.append((sent, count))
    return [*turns, (b"", pending)]


@cache
def python_simulator(seed: int) -> list[tuple[bytes, int]]:
    """The toy's answers and cycle count after each turn of a conversation, in Amaranth's simulator.

    It is driven as the shim drives the chip.
    """
    component, turns, results = Toy(), conversation(seed, ROUNDS), []

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


@pytest.mark.parametrize("kind", ["normal", "waves", "tiny"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_equals_the_python_simulator(toy, tmp_path, seed, kind):
    turns = conversation(seed, ROUNDS)
    with Simulation(toy[kind], tmp_path / "toy.vcd" if kind == "waves" else None) as simulation:
        results = []
        for sent, count in turns:
            simulation.write(sent)
            results.append((simulation.read(count), simulation.cycles))
    assert results == python_simulator(seed)


def test_time_passes_only_while_a_read_waits(toy):
    with Simulation(toy["normal"]) as simulation:
        simulation.write(b"\1\2\3")
        assert simulation.cycles == 0
        simulation.read(1)
        cycles = simulation.cycles
        simulation.write(b"\4")
        simulation.read(0)
        assert simulation.cycles == cycles


def test_bytes_received_before_a_timeout_are_kept(toy):
    with Simulation(toy["normal"], timeout_cycles=1000) as simulation:
        simulation.write(b"\1\2\3")
        with pytest.raises(TimeoutError, match="sent 3 of 4 bytes, then nothing for 1000 cycles"):
            simulation.read(4)
        assert len(simulation.read(3)) == 3


def test_closed_simulation(toy):
    simulation = Simulation(toy["normal"])
    simulation.close()
    simulation.close()
    with pytest.raises(SimulatorError, match="is closed"):
        simulation.read(1)


def test_waves_record_every_cycle_of_the_streams(toy, tmp_path):
    path = tmp_path / "toy.vcd"
    with Simulation(toy["waves"], path) as simulation:
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


def test_unwritable_waves_file(toy, tmp_path):
    with pytest.raises(SimulatorError, match=r"cannot write waves to .*nowhere/toy\.vcd: No such file"):
        Simulation(toy["waves"], tmp_path / "nowhere" / "toy.vcd")


def test_waves_on_a_full_disk_end_there_and_close_says_so(toy):
    """The simulation itself goes on; another error is not hidden."""
    turns = conversation(seed=5, rounds=200)
    with Simulation(toy["normal"]) as simulation:
        expected = [(simulation.write(sent), simulation.read(count), simulation.cycles)[1:] for sent, count in turns]
    simulation = Simulation(toy["waves"], "/dev/full")
    found = [(simulation.write(sent), simulation.read(count), simulation.cycles)[1:] for sent, count in turns]
    assert found == expected
    with pytest.raises(SimulatorError) as error:
        simulation.close()
    assert str(error.value) == "/dev/full: cut short, it cannot be written: no space left on device"
    simulation.close()
    with pytest.raises(KeyError), Simulation(toy["waves"], "/dev/full") as simulation:
        simulation.write(b"\1")
        simulation.read(1)
        raise KeyError


def test_interrupt_ends_a_long_read(toy, tmp_path):
    """Ctrl-C during an endless read: the waves file is complete up to that point."""
    path = tmp_path / "toy.vcd"
    program = f"""
import pathlib, signal, threading, time, _thread
from popflip.sim.cxxrtl.simulation import Simulation

signal.signal(signal.SIGINT, signal.default_int_handler)  # also if the tests run in the background

def interrupt():
    waves = pathlib.Path({str(path)!r})
    while not waves.exists() or waves.stat().st_size == 0:  # until the simulation runs
        time.sleep(0.01)
    _thread.interrupt_main()

threading.Thread(target=interrupt, daemon=True).start()
with Simulation({str(toy["waves"])!r}, {str(path)!r}, timeout_cycles=10**7) as simulation:
    simulation.read(1)
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300)
    assert result.stderr.endswith("KeyboardInterrupt\n")
    assert path.read_text().endswith("\n")


def test_a_missing_compiler_is_one_line(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    compiler.cache_clear()
    try:
        with pytest.raises(SimulatorError, match=r"no C\+\+ compiler .*tried no-such-compiler"):
            compiler()
        monkeypatch.delenv("CXX")
        monkeypatch.setenv("PATH", "")
        with pytest.raises(SimulatorError, match=r"tried g\+\+, c\+\+, clang\+\+"):
            compiler()
    finally:
        compiler.cache_clear()


def test_failed_compilation_leaves_a_log_and_nothing_else(monkeypatch, tmp_path):
    monkeypatch.setenv("POPFLIP_CACHE", str(tmp_path))
    monkeypatch.setattr(compile, "FLAGS", ("-fno-such-flag",))
    with pytest.raises(SimulatorError, match=r"does not compile: .*no-such-flag.*\.log") as caught:
        cached_library("chip", "toy", Toy)
    assert "\n" not in str(caught.value)
    assert sorted({path.suffix for path in (tmp_path / "chip").iterdir()}) == [".lock", ".log"]


@pytest.fixture
def cached_toy(toy, monkeypatch, tmp_path):
    """A function that returns the toy's library from a cache of its own, and a list of the builds that took place."""
    monkeypatch.setenv("POPFLIP_CACHE", str(tmp_path))
    builds = []

    def build(component, folder, log, waves):
        builds.append(folder)
        shutil.copy(toy["normal"], folder / compile.LIBRARY)

    monkeypatch.setattr(compile, "build_library", build)
    return lambda: cached_library("chip", "toy", lambda: None), builds


def answers(library) -> list[bytes]:
    """What the toy in ``library`` sends in a short conversation."""
    with Simulation(library) as simulation:
        received = []
        for sent, wanted in conversation(1, 5):
            simulation.write(sent)
            received.append(simulation.read(wanted))
        return received


@pytest.mark.parametrize("damage", ["bit", "cut short", "no digest"])
def test_a_damaged_chip_is_built_again(toy, cached_toy, tmp_path, damage):
    library, builds = cached_toy
    expected = answers(library())
    (path,) = tmp_path.glob("chip/*/chip.so")
    contents = bytearray(path.read_bytes())
    contents[len(contents) // 2] ^= 1
    if damage == "no digest":
        (path.parent / DIGESTS).unlink()
    else:
        path.write_bytes(contents if damage == "bit" else contents[:5000])
    assert library() == path.read_bytes() == toy["normal"].read_bytes()
    assert len(builds) == 2
    assert answers(library()) == expected
    assert len(builds) == 2


def test_a_chip_that_runs_does_not_read_its_file(toy, tmp_path):
    expected = answers(toy["normal"])
    path = Path(shutil.copy(toy["normal"], tmp_path))
    with path.open("ab") as file:
        file.write(b"\0")  # another digest, so that this process has not loaded it yet
    with Simulation(path) as simulation:
        os.truncate(path, 0)  # SIGBUS at the next new page, if it were mapped
        received = []
        for sent, wanted in conversation(1, 5):
            simulation.write(sent)
            received.append(simulation.read(wanted))
    assert received == expected


def test_a_library_is_loaded_once(toy):
    normal, tiny = (toy[name].read_bytes() for name in ("normal", "tiny"))
    assert load.load(normal) is load.load(normal)
    assert load.load(normal)._handle != load.load(tiny)._handle


@pytest.mark.parametrize("system", ["no memory files", "memory files cannot be executed"])
def test_a_system_without_files_in_memory_loads_a_private_file(toy, monkeypatch, tmp_path, system):
    monkeypatch.setattr(load, "_loaded", {})
    if system == "no memory files":
        monkeypatch.delattr(os, "memfd_create")
    else:
        monkeypatch.setattr(os, "memfd_create", lambda name: os.open("/dev/null", os.O_RDWR))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    folders = set(tmp_path.iterdir())
    assert answers(toy["normal"]) == answers(toy["tiny"])
    assert set(tmp_path.iterdir()) == folders


def test_no_library_is_an_error(monkeypatch):
    monkeypatch.setattr(load, "_loaded", {})
    with pytest.raises(OSError, match=r"invalid ELF header|file too short"):
        load.load(b"no library at all")
    assert load._loaded == {}


def test_better_wording_does_not_change_the_cache_key(monkeypatch, tmp_path):
    folder = tmp_path / "cxxrtl"
    shutil.copytree(compile.PACKAGE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(compile, "PACKAGE", folder)
    key = identity(waves=False)
    for path in folder.iterdir():
        comment = "#" if path.suffix == ".py" else "//"
        lines = path.read_text().splitlines()
        path.write_text("\n".join((f"{comment} better", *lines, "", f"{comment} wording  ")))
        assert identity(waves=False) == key, path.name


def test_a_slash_in_a_string_of_cxx_is_code(tmp_path):
    source = tmp_path / "x.cc"
    source.write_text('a("//b"); // c\n\n\n// d "e"\nf\n')
    assert compile._code(source) == 'a("//b");\n// d "e"\nf'


def test_the_cache_key_covers_every_source_of_the_package(monkeypatch, tmp_path):
    folder = tmp_path / "cxxrtl"
    shutil.copytree(compile.PACKAGE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(compile, "PACKAGE", folder)
    key = identity(waves=False)
    for path in sorted(folder.iterdir()):
        text = path.read_text()
        path.write_text(text + "\nmore = 1;\n")
        assert identity(waves=False) != key, path.name
        path.write_text(text)
    (folder / "new.py").touch()
    assert identity(waves=False) != key
    (folder / "new.py").unlink()
    assert identity(waves=False) == key != identity(waves=True)


def test_nothing_outside_the_cache_key_translates_the_chip():
    program = """
import sys
import popflip.sim.cxxrtl.translate, popflip.sim.cxxrtl.wrapper

print(*(name for name in sys.modules if name.startswith("popflip.")))
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    outside = {name for name in result.stdout.split() if not name.startswith("popflip.sim.cxxrtl")}
    assert outside == {"popflip.golden", "popflip.golden.errors", "popflip.sim", "popflip.sim.errors"}
