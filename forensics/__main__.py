"""``python -m forensics``: the command line, where its script is not on the path."""

from forensics.cli.app import main

if __name__ == "__main__":
    main()
