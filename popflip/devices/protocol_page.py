"""The page about the protocol, generated from the data that define it: ``docs/protocol.md``.

Print it with ``python -m popflip.devices.protocol_page``.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from popflip.golden.presets import PRESETS
from popflip.hw.config import ChipConfig
from popflip.hw.link.buffer import BUFFER_BYTES, longest_payload
from popflip.hw.link.codec import SYNC, TRAILER_BYTES, encode
from popflip.hw.link.commands import COMMANDS, PROTOCOL_VERSION, REFUSAL, RESULTS, Command, CommandFormat, Field, Result
from popflip.hw.link.identity import Identity
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
            _example(PRESETS[preset].config.batch),
        )
    )


def _example(batch: int) -> str:
    value = struct.pack("<BI", 0, batch)
    request, answer = encode(7, Command.CONFIGURE, value), encode(7, Result.OK)
    parts = (
        (request[:1], "SYNC"),
        (request[1:2], "sequence number 7"),
        (request[2:3], f"command {Command.CONFIGURE:d}, CONFIGURE"),
        (request[3:5], f"length {len(value)}"),
        (request[5:6], f"lowest byte of CRC-32 of `{request[1:5].hex(' ')}`"),
        (value[:1], "register 0, `batch`"),
        (value[1:], f"value {batch}"),
        (request[-TRAILER_BYTES:], f"CRC-32 of `{request[1:-TRAILER_BYTES].hex(' ')}`"),
    )
    return (
        f"A request that sets register 0 to {batch}, and the answer OK:\n\n"
        f"```\n{request.hex(' ')}\n{answer.hex(' ')}\n```\n\n"
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
UART on boards (8 data bits, no parity, 1 stop bit), the same bytes into a simulated chip. Numbers are little-endian.

| bytes | part |
| --- | --- |
| 1 | SYNC, `{SYNC:02x}` |
| 1 | sequence number |
| 1 | command, or the result in an answer |
| 2 | length of the payload in bytes |
| 1 | check: lowest byte of the CRC-32 of the four bytes before it |
| length | payload |
| 4 | CRC-32 (as in zlib) of all bytes before it except SYNC |

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
"""

_WORDS = """\
**Packed samples** leave out bytes that are zero. Chips of rule gft with 16 synapses per cycle or more support them. The
bytes of inputs form groups of 8. Each group becomes a mask, with bit `i` set if byte `i` of the group is not zero, then
those bytes in order. Zero masks at the end are left out, but a packed sample has at least one byte. Any byte string is
a valid packed sample: missing bytes of inputs are zero, and bytes past the last input are ignored. A size has one byte,
or two if a label, all bytes of inputs and their masks can exceed 255 bytes. For example, the inputs
`00 00 07 80 00 00 00 00 00 01` with label 4 become the item `06 04 0c 07 80 02 01`.

**Labels** have one byte, or two if there are more than 256 classes.

**Words** of weights and counters are padded with zeros to whole bytes, and their first element is in the lowest bits. A
binary weight has one bit (1: +1, 0: −1), a ternary weight two (two's complement). A counter has the bits of mmax and a
sign bit. `hw/memory_map.py` defines which word holds which synapses. Lanes past the last synapse must be written as
zeros.
"""


if __name__ == "__main__":
    print(page(), end="")
