"""A chip at USB in simulation: its device and PHY, the two wires of the bus, and a host, whose packets Python makes."""

from __future__ import annotations

import random
from types import SimpleNamespace

from amaranth.hdl import DomainRenamer, EnableInserter, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out
from luna.gateware.interface.gateware_phy import GatewarePHY

from popflip.hw.link.usb import UsbSerial
from popflip.hw.top import Chip
from popflip.sim.cxxrtl.simulation import Simulation
from popflip.sim.errors import SimulationTimeout

BIT = 4
"""Clock cycles of a bit at full speed: the simulation's one clock has 48 MHz."""
RESET_BITS, GAP_BITS = 500, 60

OUT, IN, SETUP, DATA0, DATA1, ACK, NAK, STALL = 0xE1, 0x69, 0x2D, 0xC3, 0x4B, 0xD2, 0x5A, 0x1E


class UsbBoard(wiring.Component):
    """``chip`` behind the pins of USB, with ``serial`` as serial number, and a host's PHY at the same wires.

    All clocks are one: what LUNA clocks at 12 MHz moves in every fourth cycle.

    Members
    -------
    ``rx`` : In(stream of 8)
        Packets for the host to send: a length, then as many bytes. Length 0 resets the bus.
    ``tx`` : Out(stream of 8)
        What the host receives: 1 and a byte; 0 and another 0 at the end of a packet.
    """

    def __init__(self, chip: Chip, serial: str):
        self.chip, self.serial = chip, serial
        super().__init__({"rx": In(stream.Signature(8)), "tx": Out(stream.Signature(8))})

    def elaborate(self, platform) -> Module:
        m = Module()
        phase = Signal(2)
        self.strobe = phase == BIT - 1
        m.d.sync += phase.eq(phase + 1)
        ends = [SimpleNamespace(d_p=_pin(), d_n=_pin()) for _ in range(2)]
        device, host = ends
        device.pullup = SimpleNamespace(o=Signal())
        m.submodules.chip = self.chip
        m.submodules.usb = usb = self._at_12_mhz(UsbSerial(device, self.serial))
        phy = GatewarePHY(io=host)
        m.submodules.phy = self._at_12_mhz(phy)
        wiring.connect(m, usb.rx, self.chip.rx)
        wiring.connect(m, self.chip.tx, usb.tx)
        reset = Signal()
        for wire, idle in (("d_p", device.pullup.o), ("d_n", 0)):
            ours, theirs = getattr(host, wire), getattr(device, wire)
            level = Signal()
            with m.If(reset):
                m.d.comb += level.eq(0)
            with m.Elif(ours.oe):
                m.d.comb += level.eq(ours.o)
            with m.Elif(theirs.oe):
                m.d.comb += level.eq(theirs.o)
            with m.Else():
                m.d.comb += level.eq(idle)
            m.d.comb += [ours.i.eq(level), theirs.i.eq(level)]
        self._send(m, phy, reset)
        self._receive(m, phy)
        return m

    def _at_12_mhz(self, part):
        """``part`` with LUNA's two clocks made of ours."""
        return DomainRenamer({"usb": "sync", "usb_io": "sync"})(EnableInserter({"usb": self.strobe})(part))

    def _send(self, m: Module, phy: GatewarePHY, reset: Signal) -> None:
        left, timer = Signal(8), Signal(range(RESET_BITS + 1))
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.rx.ready.eq(self.strobe)
                with m.If(self.rx.ready & self.rx.valid):
                    m.d.sync += [left.eq(self.rx.payload), timer.eq(RESET_BITS)]
                    m.next = "SEND"
                    with m.If(self.rx.payload == 0):
                        m.next = "RESET"
            with m.State("RESET"):
                m.d.comb += reset.eq(1)
                m.d.sync += timer.eq(timer - self.strobe)
                with m.If(timer == 0):
                    m.d.sync += timer.eq(GAP_BITS)
                    m.next = "GAP"
            with m.State("SEND"):
                m.d.comb += [phy.tx_valid.eq(1), phy.tx_data.eq(self.rx.payload)]
                m.d.comb += self.rx.ready.eq(phy.tx_ready & self.strobe)
                with m.If(self.rx.ready):
                    m.d.sync += left.eq(left - 1)
                    with m.If(left == 1):
                        m.d.sync += timer.eq(GAP_BITS)
                        m.next = "GAP"
            with m.State("GAP"):
                m.d.sync += timer.eq(timer - self.strobe)
                with m.If(timer == 0):
                    m.next = "IDLE"

    def _receive(self, m: Module, phy: GatewarePHY) -> None:
        m.submodules.queue = queue = SyncFIFOBuffered(width=9, depth=128)
        second = Signal()
        m.d.comb += [
            queue.w_en.eq((phy.rx_valid | phy.rx_complete) & self.strobe),
            queue.w_data.eq(phy.rx_data | (phy.rx_valid << 8)),
            self.tx.valid.eq(queue.r_rdy),
            self.tx.payload.eq(queue.r_data[8]),
            queue.r_en.eq(self.tx.ready & second),
        ]
        with m.If(second & queue.r_data[8]):
            m.d.comb += self.tx.payload.eq(queue.r_data[:8])
        with m.If(second & ~queue.r_data[8]):
            m.d.comb += self.tx.payload.eq(0)
        with m.If(self.tx.valid & self.tx.ready):
            m.d.sync += second.eq(~second)


def _pin() -> SimpleNamespace:
    return SimpleNamespace(i=Signal(), o=Signal(), oe=Signal())


def _crc(data: bytes, polynomial: int, start: int) -> int:
    """A CRC of USB over ``data``, lowest bit first; ``polynomial`` is reflected."""
    crc = start
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (polynomial if crc & 1 else 0)
    return crc ^ start


def token(pid: int, address: int, endpoint: int) -> bytes:
    """A token's packet."""
    value, crc = address | endpoint << 7, 0x1F
    for place in range(11):
        crc = crc >> 1 ^ (0x14 if (crc ^ value >> place) & 1 else 0)
    return bytes([pid]) + (value | (crc ^ 0x1F) << 11).to_bytes(2, "little")


def data_packet(pid: int, data: bytes) -> bytes:
    """A packet of data."""
    return bytes([pid]) + data + _crc(data, 0xA001, 0xFFFF).to_bytes(2, "little")


class UsbHost:
    """A host's driver of ``simulation``, of a :class:`UsbBoard`: a transport, as a serial port of class CDC-ACM is.

    :attr:`faults` is the probability with which a packet is damaged on the bus, in either direction, drawn with
    ``seed``. Bulk transfers survive that, but not requests at the control endpoint: a host begins those again. The
    device is unplugged, and plugged in again, before the writes whose numbers are in :attr:`replug`.
    """

    def __init__(self, simulation: Simulation, seed: int = 1):
        self.simulation, self.draw = simulation, random.Random(seed)
        self.faults = 0.0
        self.address, self.bytes, self.damaged = 0, bytearray(), 0
        self.writes, self.replug = 0, set[int]()
        self.refused = 0  # packets to the chip that it had no room for

    # Packets

    def send(self, packet: bytes) -> None:
        """Send a packet, or a damaged one."""
        if self.draw.random() < self.faults:
            packet = packet[:-1] + bytes([packet[-1] ^ 1 << self.draw.randrange(8)])
            self.damaged += 1
        self.simulation.write(bytes([len(packet)]) + packet)

    def receive(self) -> bytes:
        """The packet that the device sends; empty if it sends none, or a damaged one."""
        packet = bytearray()
        try:
            while True:
                flag, byte = self.simulation.read(2)
                if not flag:
                    break
                packet.append(byte)
        except SimulationTimeout:
            return b""
        whole = len(packet) == 1 or packet == data_packet(packet[0], packet[1:-2])
        if self.draw.random() < self.faults:
            self.damaged += 1
            return b""
        return bytes(packet) if whole else b""

    def out(self, pid: int, endpoint: int, toggle: int, data: bytes) -> int:
        """A transaction to the device; the PID of its answer, 0 for none."""
        self.send(token(pid, self.address, endpoint))
        self.send(data_packet((DATA0, DATA1)[toggle], data))
        return (self.receive() or b"\0")[0]

    def take(self, endpoint: int, toggle: int) -> bytes | int:
        """A transaction from the device: its data; else the PID of its answer, 0 for none or what came before."""
        self.send(token(IN, self.address, endpoint))
        packet = self.receive()
        if len(packet) < 3:
            return packet[0] if packet else 0
        self.send(bytes([ACK]))
        return packet[1:-2] if packet[0] == (DATA0, DATA1)[toggle] else 0

    # Requests at the control endpoint

    def control(self, request: bytes, data: bytes = b"") -> bytes | None:
        """Run ``request``, a SETUP of 8 bytes, with ``data`` to the device or data from it. None: it stalls."""
        while self.out(SETUP, 0, 0, request) != ACK:
            pass
        found = bytearray()
        if request[0] & 0x80:
            wanted, toggle = int.from_bytes(request[6:], "little"), 1
            while len(found) < wanted:
                part = self.take(0, toggle)
                if part == STALL:
                    return None
                if isinstance(part, bytes):
                    found += part
                    toggle ^= 1
                    if len(part) < 64:
                        break
            while (answer := self.out(OUT, 0, 1, b"")) != ACK:
                assert answer != STALL
            return bytes(found)
        if data:
            while self.out(OUT, 0, 1, data) != ACK:
                pass
        while not isinstance(status := self.take(0, 1), bytes):
            if status == STALL:
                return None
        return status

    def plug_in(self) -> dict[str, bytes]:
        """Reset the bus and enumerate the device as a host does. Returns its descriptors."""
        self.simulation.write(b"\0")
        self.address, self.sequence, self.expected = 0, 0, 0
        found = {"device": self.control(bytes.fromhex("8006000100001200"))}
        assert self.control(bytes.fromhex("0005170000000000")) == b""  # SET_ADDRESS 23
        self.address = 23
        head = self.control(bytes.fromhex("8006000200000900"))
        assert head is not None
        found["configuration"] = self.control(bytes.fromhex("800600020000") + head[2:4])
        for index in range(1, 4):
            found[f"string {index}"] = self.control(bytes([0x80, 6, index, 3, 9, 4, 255, 0]))
        assert self.control(bytes.fromhex("0009010000000000")) == b""  # SET_CONFIGURATION 1
        return found

    # Transport

    @property
    def now(self) -> float:
        """Clock cycles."""
        return self.simulation.cycles

    def deadline(self, expected: int, cycles: int, clock_hz: int, patience: float) -> float:
        """See :class:`popflip.devices.transport.Transport`."""
        return self.now + cycles + 100 * BIT * expected + patience * 400_000

    def write(self, data: bytes) -> None:
        """Send ``data`` in packets of 64 bytes, each until the device has taken it."""
        self.writes += 1
        if self.writes in self.replug:
            self.replug.remove(self.writes)
            self.bytes.clear()
            self.plug_in()
        for first in range(0, len(data), 64):
            while (answer := self.out(OUT, 4, self.sequence, data[first : first + 64])) != ACK:
                assert answer in (NAK, 0)
                self.refused += answer == NAK
                self._poll()
            self.sequence ^= 1

    def read(self, count: int, deadline: float) -> bytes:
        """The next ``count`` bytes; :class:`TimeoutError` at ``deadline``."""
        while len(self.bytes) < count:
            if self.now >= deadline:
                raise TimeoutError
            self._poll()
        data = bytes(self.bytes[:count])
        del self.bytes[:count]
        return data

    def restore(self) -> None:
        """Nothing goes away."""

    def close(self) -> None:
        """Nothing to release."""

    def _poll(self) -> None:
        part = self.take(4, self.expected)
        if isinstance(part, bytes):
            assert len(part) < 64, "a full packet does not end a read"
            self.bytes += part
            self.expected ^= 1
        else:
            assert part in (NAK, 0)
