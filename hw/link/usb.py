"""USB: a serial port of class CDC-ACM at full speed, between the host's frames and the chip's two streams of bytes.

LUNA (the extra ``usb``) has the protocol engine and the PHY, which drives the two wires of the bus from pins of the
FPGA. This module adds what makes them a serial port: descriptors, the requests of the class, three endpoints, and the
crossing between the clock of USB and that of the chip. Only designs with USB import it.
"""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Elaboratable, Module, ResetInserter, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.fifo import AsyncFIFO
from amaranth.lib.wiring import In, Out
from luna.gateware.usb.usb2.device import USBDevice
from luna.gateware.usb.usb2.endpoints.stream import USBStreamInEndpoint, USBStreamOutEndpoint
from luna.gateware.usb.usb2.request import StallOnlyRequestHandler, USBRequestHandler
from usb_protocol.emitters import DeviceDescriptorCollection
from usb_protocol.emitters.descriptors import cdc
from usb_protocol.types import USBRequestType

from popflip.hw.link.usb_names import PRODUCT, PRODUCT_ID, VENDOR, VENDOR_ID

STATUS_ENDPOINT, DATA_ENDPOINT = 3, 4
PACKET_BYTES = 64
"""Most bytes of a packet at full speed."""
ANSWER_BYTES = PACKET_BYTES - 1
"""Most bytes of a packet to the host: a short packet ends the host's read, which else waits for more."""
PATIENCE = 240
"""Cycles of 12 MHz without another byte after which a packet goes to the host: 20 µs, so that the predictions of one
request share packets."""
CROSSING = 16
"""Bytes in each queue between the two clocks."""


class LineRequests(USBRequestHandler):
    """Acknowledges SET_LINE_CODING and SET_CONTROL_LINE_STATE, without effect: there is no line. Other requests of the
    class stall.
    """

    SET_LINE_CODING, SET_CONTROL_LINE_STATE = 0x20, 0x22

    def elaborate(self, platform) -> Module:
        m = Module()
        interface, setup = self.interface, self.interface.setup
        known = (setup.request == self.SET_LINE_CODING) | (setup.request == self.SET_CONTROL_LINE_STATE)
        with m.If((setup.type == USBRequestType.CLASS) & known):
            m.d.comb += interface.claim.eq(1)
            with m.If(interface.rx_ready_for_response):
                m.d.comb += interface.handshakes_out.ack.eq(1)
            with m.If(interface.status_requested):
                m.d.comb += self.send_zlp()
        return m


# LUNA names a submodule after its class, and a second one of the same class after its place in memory. So each endpoint
# has a class of its own: the same sources make the same netlist.


class StatusEndpoint(USBStreamInEndpoint):
    """The class's interrupt endpoint. It has nothing to say."""


class AnswerEndpoint(USBStreamInEndpoint):
    """Bytes to the host. ``restart`` empties it, and its next packet is DATA0."""

    def __init__(self, restart: Signal):
        self.restart = restart
        super().__init__(endpoint_number=DATA_ENDPOINT, max_packet_size=ANSWER_BYTES)

    def elaborate(self, platform) -> Elaboratable:
        return ResetInserter({"usb": self.restart})(super().elaborate(platform))


class RequestEndpoint(USBStreamOutEndpoint):
    """Bytes from the host. ``restart`` empties it, and it expects DATA0."""

    def __init__(self, restart: Signal):
        self.restart = restart
        super().__init__(endpoint_number=DATA_ENDPOINT, max_packet_size=PACKET_BYTES)

    def elaborate(self, platform) -> Elaboratable:
        return ResetInserter({"usb": self.restart})(super().elaborate(platform))


class UsbSerial(wiring.Component):
    """A USB device that is a serial port. ``serial`` is its serial number, a name without blanks.

    ``bus`` is what LUNA drives: ``d_p`` and ``d_n`` with ``i``, ``o`` and ``oe``, and ``pullup`` with ``o``, of the
    pins; or LUNA's UTMI interface, for a PHY elsewhere. Domains: ``usb`` (12 MHz) and, with pins, ``usb_io`` (48 MHz,
    edges aligned with those of ``usb``). A reset of the bus empties the endpoints and restarts their sequence.

    Members
    -------
    ``rx`` : Out(stream of 8), ``tx`` : In(stream of 8)
        In domain ``sync``, of any frequency. The host waits while ``rx`` is not ready: no byte is lost.
    """

    def __init__(self, bus: Any, serial: str):
        self.bus, self.serial = bus, serial
        super().__init__({"rx": Out(stream.Signature(8)), "tx": In(stream.Signature(8))})

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.device = device = USBDevice(bus=self.bus, handle_clocking=False)
        control = device.add_standard_control_endpoint(descriptors(self.serial))
        control.add_request_handler(LineRequests())
        control.add_request_handler(
            StallOnlyRequestHandler(
                lambda setup: (setup.type == USBRequestType.VENDOR) | (setup.type == USBRequestType.RESERVED)
            )
        )
        requests, answers = RequestEndpoint(device.reset_detected), AnswerEndpoint(device.reset_detected)
        status = StatusEndpoint(endpoint_number=STATUS_ENDPOINT, max_packet_size=PACKET_BYTES)
        for endpoint in (status, requests, answers):
            device.add_endpoint(endpoint)
        m.d.comb += device.connect.eq(1)
        self._receive(m, requests.stream)
        self._send(m, answers)
        return m

    def _receive(self, m: Module, requests: Any) -> None:
        """Requests to ``rx``."""
        m.submodules.requests = queue = AsyncFIFO(width=8, depth=CROSSING, w_domain="usb", r_domain="sync")
        m.d.comb += [
            queue.w_data.eq(requests.payload),
            queue.w_en.eq(requests.valid),
            requests.ready.eq(queue.w_rdy),
            self.rx.payload.eq(queue.r_data),
            self.rx.valid.eq(queue.r_rdy),
            queue.r_en.eq(self.rx.ready),
        ]

    def _send(self, m: Module, answers: AnswerEndpoint) -> None:
        """``tx`` to answers. A packet leaves when it is full or no byte has come for a while."""
        m.submodules.answers = queue = AsyncFIFO(width=8, depth=CROSSING, w_domain="sync", r_domain="usb")
        quiet = Signal(range(PATIENCE + 1))
        taken = answers.stream.valid & answers.stream.ready
        m.d.comb += [
            queue.w_data.eq(self.tx.payload),
            queue.w_en.eq(self.tx.valid),
            self.tx.ready.eq(queue.w_rdy),
            answers.stream.payload.eq(queue.r_data),
            answers.stream.valid.eq(queue.r_rdy),
            queue.r_en.eq(answers.stream.ready),
            answers.flush.eq(quiet == PATIENCE),
        ]
        with m.If(taken):
            m.d.usb += quiet.eq(0)
        with m.Elif(~answers.flush):
            m.d.usb += quiet.eq(quiet + 1)


def descriptors(serial: str) -> DeviceDescriptorCollection:
    """What the device tells the host about itself: a CDC-ACM serial port with ``serial`` as its serial number."""
    found = DeviceDescriptorCollection()
    with found.DeviceDescriptor() as device:
        device.idVendor, device.idProduct = VENDOR_ID, PRODUCT_ID
        device.bDeviceClass, device.bDeviceSubclass, device.bDeviceProtocol = 0xEF, 0x02, 0x01  # its interfaces belong
        device.iManufacturer, device.iProduct, device.iSerialNumber = VENDOR, PRODUCT, serial
        device.bNumConfigurations = 1
    with found.ConfigurationDescriptor() as configuration:
        with configuration.InterfaceAssociationDescriptor() as both:  # Windows asks for it
            both.bFirstInterface, both.bInterfaceCount = 0, 2
            both.bFunctionClass, both.bFunctionSubClass, both.bFunctionProtocol = 0x02, 0x02, 0x01
        with configuration.InterfaceDescriptor() as control:
            control.bInterfaceNumber = 0
            control.bInterfaceClass, control.bInterfaceSubclass, control.bInterfaceProtocol = 0x02, 0x02, 0x01
            union, management = cdc.UnionFunctionalDescriptorEmitter(), cdc.CallManagementFunctionalDescriptorEmitter()
            union.bControlInterface, union.bSubordinateInterface0 = 0, 1
            management.bDataInterface = 1
            for part in (cdc.HeaderDescriptorEmitter(), union, management):
                control.add_subordinate_descriptor(part)
            with control.EndpointDescriptor() as status:
                status.bEndpointAddress, status.bmAttributes = 0x80 | STATUS_ENDPOINT, 0x03
                status.wMaxPacketSize, status.bInterval = PACKET_BYTES, 11
        with configuration.InterfaceDescriptor() as transfer:
            transfer.bInterfaceNumber = 1
            transfer.bInterfaceClass, transfer.bInterfaceSubclass, transfer.bInterfaceProtocol = 0x0A, 0, 0
            for address in (0x80 | DATA_ENDPOINT, DATA_ENDPOINT):
                with transfer.EndpointDescriptor() as endpoint:
                    endpoint.bEndpointAddress, endpoint.wMaxPacketSize = address, PACKET_BYTES
    return found
