"""The tables of commands and results are complete and agree with each other."""

from __future__ import annotations

from popflip.hw.link.commands import COMMANDS, RESULTS, Command, Result


def test_every_command_and_result_is_described():
    assert set(COMMANDS) == set(Command)
    assert set(RESULTS) == set(Result)


def test_commands_that_read_have_an_answer():
    assert {key for key, format in COMMANDS.items() if format.answer} == {
        key for key, format in COMMANDS.items() if format.reads
    }
