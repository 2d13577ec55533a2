"""``python -m rainbow``: the command line, for those who start it from a program."""

from rainbow.cli import main

if __name__ == "__main__":
    main()
