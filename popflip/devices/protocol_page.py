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
            _table(("code", "command", "payload", "answer", ""), map(_command, formats)),
            "A part in brackets comes any number of times. The parts:\n",
            _fields(parts),
            _WORDS,
            "## Results\n",
            _table(("code", "result", "meaning"), ((f"{key:d}", key.name, text) for key, text in RESULTS.items())),
            "The payload of an answer that is not OK:\n",
            _fields(REFUSAL),
            "## Identity\n",
            _fields(Identity.FIELDS),
            "## Registers\n",
            f"Of preset `{preset}`; other networks differ in ranges, and have a `window` a hidden layer and a `k` a "
            "layer.\n",
            _table(
                ("number", "register", "lowest", "highest", "at power-up", ""),
                (
                    (str(number), f"`{word.name}`", str(word.low), str(word.high), str(word.init), word.summary)
                    for number, word in enumerate(registers(chip))
                ),
            ),
            "## Status words\n",
            "u32 each, wrapping. CYCLES sends those from `total` on, SIGNATURE the one of that name.\n",
            _table(
                ("number", "word", ""),
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
        f"Set register 0 to {batch}, and the answer OK:\n\n```\n{request.hex(' ')}\n{answer.hex(' ')}\n```\n\n"
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
    return _table(("field", "type", ""), ((field.name, field.type, field.summary) for field in fields))


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = (head, ("---",) * len(head), *rows)
    return "".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |\n" for line in lines)


_INTRODUCTION = f"""\
# Link protocol, version {PROTOCOL_VERSION}

This page is made from the code: `python -m popflip.devices.protocol_page > docs/protocol.md`.

The host sends requests, the chip answers each, in order. Both are frames on a stream of bytes: a UART (8 data bits, no
parity, 1 stop bit) on boards, and the same bytes into the simulated chip. Numbers are little-endian.

| bytes | part |
| --- | --- |
| 1 | SYNC, `{SYNC:02x}` |
| 1 | sequence number |
| 1 | command; in an answer the result |
| 2 | length of the payload in bytes |
| 1 | check: lowest byte of the CRC-32 of the four bytes before it |
| length | payload |
| 4 | CRC-32 (zlib's) of everything before it but SYNC |

- A request is carried out if check and CRC-32 match, its sequence number is the expected one, and every value in it is
  valid. Otherwise it changes nothing, and the answer says why. Each one carried out moves the expected number on by 1.
- The number in an answer is that of its request, as far as it could be read. After a damaged header the chip looks for
  the next SYNC.
- IDENTIFY says how large the chip's packet buffer is. As many frames may be unanswered as fit it; a payload longer than
  the buffer less {BUFFER_BYTES - longest_payload(BUFFER_BYTES)} bytes is refused.
- To recover from any fault: send zeros, as many as the buffer holds, which end a frame that was cut short; then a
  request with a number that cannot be the expected one. Its answer, BAD_SEQUENCE, tells which one is.
"""

_WORDS = """\
Chips of rule gft with 16 synapses a cycle or more take packed samples, in which bytes that are zero are left out. Bytes
of inputs go in groups of 8. A group is a mask, bit `i` set where byte `i` of the group is not zero, and those bytes in
order. Masks of zero at the end are left out, except that a sample has at least one byte. Any bytes are a sample: bytes
of inputs that are not reached are zero, those past the last one are ignored. A size has one byte, or two if label, all
bytes of inputs and their masks may be more than 255. The inputs `00 00 07 80 00 00 00 00 00 01` with label 4 are the
item `06 04 0c 07 80 02 01`.

A label has one byte, or two if there are more than 256 classes. Words are padded to whole bytes with zeros; the first
weight or counter is in the lowest bits. A weight has one bit (1: +1, 0: −1) or, ternary, two (two's complement), a
counter as many as mmax takes and a sign. Which word holds what is in `hw/config.py`. Lanes past the last synapse must
be written as zeros.
"""


if __name__ == "__main__":
    print(page(), end="")
