"""The command line. An error is one line on stderr; no output file is ever half-written.

Exit codes: 0 done · 1 a device differs from the golden model · 2 bad input, or a result could not be written ·
130 interrupted.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from popflip.cli import hardware, train
from popflip.cli.account import account
from popflip.cli.infer import infer
from popflip.cli.info import info
from popflip.cli.load import load
from popflip.cli.options import with_flag
from popflip.cli.screen import complain, screen
from popflip.cli.start import INTERRUPTED, ended, prepare
from popflip.errors import Difference, Interrupted, PopflipError
from popflip.files import reason

DIFFERENT, BAD_INPUT = 1, 2

app = typer.Typer(
    help="Networks of binary and ternary weights, trained on the chip with popcounts, counters and bit flips.",
    epilog="First steps: popflip train · popflip train --device sim --verify · popflip info",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (
    train.train,
    infer,
    train.verify,
    hardware.verilog,
    hardware.build,
    load,
    hardware.estimate,
    account,
    info,
):
    app.command()(command)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"popflip {version('popflip')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Options of the program itself."""


def main() -> None:
    """Entry point of ``popflip``."""
    prepare()
    with screen() as out:
        code = run_command()
        out.flush()
        if out.failure is not None:
            complain(f"standard output: {out.failure}")
            code = code or BAD_INPUT
    ended()
    sys.exit(code)


def run_command(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code; without arguments, print the help. Errors end here, as one line."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        code = app(arguments or ["--help"], standalone_mode=False)
        if code == INTERRUPTED:  # newer versions of typer return it on Ctrl-C
            return _fail("interrupted", INTERRUPTED)
        return code if isinstance(code, int) else 0
    except Interrupted as error:
        return _fail(error, INTERRUPTED)
    except (KeyboardInterrupt, typer.Abort):
        return _fail("interrupted", INTERRUPTED)
    except Difference as error:
        return _fail(error, DIFFERENT)
    except PopflipError as error:
        return _fail(with_flag(str(error)), BAD_INPUT)
    except OSError as error:
        return _fail(f"{error.filename}: {reason(error)}" if error.filename else reason(error), BAD_INPUT)
    except MemoryError:
        return _fail("not enough memory for a network or data set of this size", BAD_INPUT)
    except Exception as error:
        if hasattr(error, "format_message"):  # a usage error; its class moved between versions of typer
            return _fail(error.format_message(), BAD_INPUT)
        raise


def _fail(message: object, code: int) -> int:
    complain(message)
    return code
