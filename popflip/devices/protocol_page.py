"""The page about the protocol, generated from the data that define it: ``docs/protocol.md``.

Print it with ``python -m popflip.devices.protocol_page``.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from popflip.golden.presets import PRESETS
from popflip.hw.config import ChipConfig
from popflip.hw.link.buffer import BUFFER_BYTES, longest_payload
from popflip.hw.link.codec import HEADER_BYTES, OPEN, SYNC, TRAILER_BYTES, encode
from popflip.hw.link.commands import (
    COMMANDS,
    PROTOCOL_VERSION,
    REFUSAL,
    RESULTS,
    SESSION_BYTES,
    Command,
    CommandFormat,
    Field,
    Refusal,
    Result,
)
from popflip.hw.link.identity import Identity
from popflip.hw.link.tables import NONCE_BITS
from popflip.hw.registers import registers, status_words


def page() -> str:
    """The text of ``docs/protocol.md``."""
    preset = "digits"
    chip = ChipConfig.of(PRESETS[preset].config)
    formats = COMMANDS.values()
    parts = dict.fromkeys(field for format in formats for field in (*format.request, *format.item, *format.answer))
    return "\n".join(
        (
            _INTRODUCTION,
            _table(("event", "what happens"), _GUARANTEES),
            _NONCE,
            "## Commands\n",
            _table(("code", "command", "payload", "answer", "effect"), map(_command, formats)),
            "Fields in brackets repeat, once for each item. Fields:\n",
            _fields(parts),
            _WORDS,
            "## Results\n",
            _table(("code", "result", "meaning"), ((f"{key:d}", key.name, text) for key, text in RESULTS.items())),
            "Payload of an answer that is not OK:\n",
            _fields(REFUSAL),
            "## Identity\n",
            _fields(Identity.FIELDS),
            _SHAPE,
            _fields(Identity.SHAPE_FIELDS),
            "Then, for each layer:\n",
            _fields(Identity.LAYER_FIELDS),
            "## Registers\n",
            f"Registers of preset `{preset}`. In other networks the ranges differ; there is a `window` for each hidden "
            "layer and a `k` for each layer.\n",
            _table(
                ("number", "register", "lowest", "highest", "at power-up", "meaning"),
                (
                    (str(number), f"`{word.name}`", str(word.low), str(word.high), str(word.init), word.summary)
                    for number, word in enumerate(registers(chip))
                ),
            ),
            "## Status words\n",
            "Each is a u32 that wraps. CYCLES sends the words from `total` on, SIGNATURE the one of that name.\n",
            _table(
                ("number", "word", "meaning"),
                ((str(number), f"`{word.name}`", word.summary) for number, word in enumerate(status_words(chip))),
            ),
            "## Example\n",
            _example(chip, PRESETS[preset].config.batch),
        )
    )


def _example(chip: ChipConfig, batch: int) -> str:
    """A host opens a chip that has a session, sets a register, and meets the chip again after a restart."""
    old, number, nonce = 0x5EED_0001, 0x1234_5678, 0xBEEF
    session = number ^ nonce << NONCE_BITS
    own = struct.pack("<I", number)
    identity = Identity.of(chip, BUFFER_BYTES, 0, bytes(8)).pack()
    value = struct.pack("<BI", 0, batch)
    request = encode(4, Command.CONFIGURE, value, session)
    frames = (
        ("host", encode(2, Command.IDENTIFY, own), "IDENTIFY as an open frame"),
        ("chip", encode(2, Result.BAD_HEADER, Refusal(old, 9).pack()), f"refused: the chip is in session `{old:08x}`"),
        ("host", encode(3, Command.IDENTIFY, own, old), "IDENTIFY as a frame of that session"),
        (
            "chip",
            encode(3, Result.OK, struct.pack("<I", session) + identity)[: HEADER_BYTES + SESSION_BYTES],
            f"OK: `{number:08x}` and the chip's `{nonce:04x}` make `{session:08x}`; identity and CRC-32 follow",
        ),
        ("host", request, f"CONFIGURE: register 0 becomes {batch}"),
        ("chip", encode(4, Result.OK, b"", session), "OK"),
        ("host", encode(5, Command.END_BATCH, b"", session), "END_BATCH, after the chip has restarted"),
        ("chip", encode(5, Result.BAD_HEADER, Refusal(OPEN, 0).pack()), "refused: the chip has no session"),
    )
    parts = (
        (request[:1], "SYNC"),
        (request[1:2], "sequence number 4"),
        (request[2:3], f"command {Command.CONFIGURE:d}, CONFIGURE"),
        (request[3:5], f"length {len(value)}"),
        (request[5:6], f"lowest byte of `crc32({request[1:5].hex(' ')}, {session:08x})`"),
        (value[:1], "register 0, `batch`"),
        (value[1:], f"value {batch}"),
        (request[-TRAILER_BYTES:], f"`crc32({request[1:-TRAILER_BYTES].hex(' ')}, {session:08x})`"),
    )
    return (
        "A host opens a chip that another host has left, and the chip restarts later:\n\n"
        + _table(("from", "bytes", "meaning"), ((end, f"`{frame.hex(' ')}`", name) for end, frame, name in frames))
        + "\nThe parts of CONFIGURE:\n\n"
        + _table(("bytes", "part"), ((f"`{part.hex(' ')}`", name) for part, name in parts))
    )


def _command(format: CommandFormat) -> tuple[str, ...]:
    payload = [field.name for field in format.request]
    if format.item:
        payload.append(f"[{', '.join(field.name for field in format.item)}]")
    answer = (field.name for field in format.answer)
    summary = format.summary + (" Waits until the chip is idle." if format.waits else "")
    return f"{format.command:d}", format.command.name, ", ".join(payload), ", ".join(answer), summary


def _fields(fields: Iterable[Field]) -> str:
    return _table(("field", "type", "meaning"), ((field.name, field.type, field.summary) for field in fields))


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = (head, ("---",) * len(head), *rows)
    return "".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |\n" for line in lines)


_INTRODUCTION = f"""\
# Link protocol, version {PROTOCOL_VERSION}

This page is generated: `python -m popflip.devices.protocol_page > docs/protocol.md`.

The host sends requests and the chip answers each of them, in order. Requests and answers are frames on a byte stream: a
UART on boards (8 data bits, no parity, 1 stop bit) or the two bulk endpoints of a USB serial port (CDC-ACM), the same
bytes into a simulated chip. Packets of USB begin and end anywhere in a frame. Numbers are little-endian.

| bytes | part |
| --- | --- |
| 1 | SYNC, `{SYNC:02x}` |
| 1 | sequence number |
| 1 | command, or the result in an answer |
| 2 | length of the payload in bytes |
| 1 | check: lowest byte of the CRC-32 of the four bytes before it |
| length | payload |
| 4 | CRC-32 of all bytes before it except SYNC |

Both checksums are `zlib.crc32(bytes, session)`: they continue from the number of the session.

- The chip executes a request if the check and the CRC-32 match, the sequence number is the expected one and every value
  is valid. Each executed request increments the expected number. Any other request changes nothing, and the answer says
  why.
- An answer repeats the sequence number of its request as the chip received it. After a bad header the chip searches for
  the next SYNC.
- IDENTIFY tells the size of the chip's packet buffer. The host may send frames ahead of their answers as long as all
  unanswered ones fit the buffer. The chip refuses a payload longer than the buffer less
  {BUFFER_BYTES - longest_payload(BUFFER_BYTES)} bytes.
- To recover from any fault, send as many zeros as the buffer holds, which ends a frame that was cut short. Then send a
  request with a sequence number that cannot be the expected one. The answer, BAD_SEQUENCE, contains the expected one.

## Sessions

A session is one host and one chip between two IDENTIFY. Its number, a u32, enters both checksums of every frame. So a
frame costs no byte more, and it is whole only for a receiver of the same session.

- A chip has no session at power-up, and the number 0. It then takes only IDENTIFY.
- A request is a frame of the chip's current session. That holds for IDENTIFY too, which ends this session and begins
  the next one. The chip refuses requests that came before the session they meet (BAD_SESSION).
- IDENTIFY has a random number of the host as its payload. The chip adds its own part: it xors the upper half with the
  lower {NONCE_BITS} bits of the clock cycles since power-up. The result is the new session number. The host draws a new
  number for every IDENTIFY. Its lower half is not 0, and not that of the session that ends.
- The answer OK is a frame of the session. All other answers and the answer to IDENTIFY are *open*: frames of number 0,
  which anyone can read. Their payload begins with the number of the chip's session. The host takes an answer to
  IDENTIFY only if the lower half in it is its own.

To open a chip, the host sends IDENTIFY as an open frame. If the chip has a session, its refusal contains the number,
and the host sends IDENTIFY as a frame of that session. During a run the host compares the number in each refusal with
its own. 0 means that the chip has restarted. Any other number means that another host has begun a session. The same
number means that the line damaged the request.

What this guarantees:
"""

_GUARANTEES = (
    (
        "The chip restarts in mid-run, whatever sequence numbers both expect",
        "It refuses the next request, with session 0. Two CRC-32 that start from different numbers end in different "
        "numbers, so no undamaged frame of the old session passes.",
    ),
    (
        "A second host opens the chip",
        "The chip refuses the next request of the first host, with the new number. The lower halves of the numbers "
        "differ.",
    ),
    (
        "A second host sends without opening",
        "Its frames are of another session. They change nothing, and the refusals contain the number.",
    ),
    (
        "IDENTIFY comes twice, or late",
        "The first copy has ended the session to which the second one belongs. The chip refuses it, and it changes "
        "nothing.",
    ),
    (
        "IDENTIFY comes again after a restart",
        "The chip had no session in both cases, so the host's number alone would not tell them apart. The chip's part "
        "differs, because the time since power-up does. The old session comes back with a probability of "
        f"1 in {2**NONCE_BITS}.",
    ),
    (
        "An old answer comes late",
        "It belongs to an earlier session and does not pass. An old answer to IDENTIFY contains another lower half, "
        f"except for 1 in {2**NONCE_BITS}.",
    ),
    (
        "A header is damaged, and the payload behind it contains a frame",
        "The chip may find that frame, but its author did not know the number of the session. It passes only if the "
        "author guessed all 32 bits.",
    ),
    (
        "A request waits in the chip's buffer while IDENTIFY, ahead of it, is executed",
        "The chip refuses it with BAD_SESSION, although it came undamaged and its sequence number may be the expected "
        "one.",
    ),
)

_NONCE = f"""\
All rows but the fifth would hold without the chip's part, which costs a counter of {NONCE_BITS} bits.
"""

_WORDS = """\
**Packed samples** leave out bytes that are zero. Chips of rule gft with 16 synapses per cycle or more support them. The
bytes of inputs form groups of 8. Each group becomes a mask, with bit `i` set if byte `i` of the group is not zero, then
those bytes in order. Zero masks at the end are left out, but a packed sample has at least one byte. Any byte string is
a valid packed sample: missing bytes of inputs are zero, and bytes past the last input are ignored. A size has one byte,
or two if a label, all bytes of inputs and their masks can exceed 255 bytes. For example, the inputs
`00 00 07 80 00 00 00 00 00 01` with label 4 become the item `06 04 0c 07 80 02 01`.

**Stored samples** are items of TRAIN_PACKED if the chip takes packed samples, with a limit: size and its bytes together
fit the power of two of bytes that holds every packed sample. Otherwise they are items of TRAIN. A **number** has two
bytes, or three if the store holds more than 65536 samples.

**Walks.** The order of the stored set is that of `golden/common/order.py` for samples 0 … `last_sample` and a key. Its
three words go to register `key` one after the other, the first word first. TRAIN_SET with `n` items trains
`n · samples` samples from `place` on. After each `samples` of them the chip sets registers `k0` … to the values of an
item and ends the batch. The answer means that the last batch's end has begun, and that all samples were received. The
counts come with STATUS.

**Labels** have one byte, or two if there are more than 256 classes.

**Words** of weights and counters are padded with zeros to whole bytes, and their first element is in the lowest bits. A
binary weight has one bit (1: +1, 0: −1), a ternary weight two (two's complement). A counter has the bits of mmax and a
sign bit. `hw/memory_map.py` defines which word holds which synapses. Lanes past the last synapse must be written as
zeros.
"""

_SHAPE = """\
The identity of a network with convolutions goes on, and its length tells so. `mmax` is then the largest limit of a
layer's counters.
"""


if __name__ == "__main__":
    print(page(), end="")
