"""The error message of a tool that fails."""

from __future__ import annotations

from popflip.bitstream.toolchain import complaint


def test_the_complaint_is_the_first_error():
    assert complaint("Info: x\nERROR: no bel\nERROR: 2 errors\n", 1) == "no bel"
    assert complaint("Traceback\n  line\nValueError: odd\n\n", 1) == "ValueError: odd"
    assert complaint("\n", 7) == "ended with code 7 and no message"
