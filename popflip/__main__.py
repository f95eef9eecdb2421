"""``python -m popflip``: the command ``popflip``."""

from popflip.cli.main import main

if __name__ == "__main__":
    main()
