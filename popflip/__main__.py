"""``python -m popflip``, and the command ``popflip``."""

from popflip.cli.start import prepare


def main() -> None:
    """Entry point: what must come first, and then the command line, whose imports take a tenth of a second."""
    prepare()
    from popflip.cli.main import main as run

    run()


if __name__ == "__main__":
    main()
