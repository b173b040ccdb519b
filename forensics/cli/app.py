"""The command line: one file a command, joined here. Nothing heavy is imported until a command runs."""

from __future__ import annotations

import sys
from typing import Any

import typer

from forensics.cli import COMMANDS
from forensics.errors import ExitCode, ForensicsError

__all__ = ["app", "main"]

app = typer.Typer(
    name="forensics",
    help="Prove what a text-to-image model copied: index reference images, audit generated ones, show evidence.",
    epilog="Exit codes: 0 done; 1 failure; 2 a wrong argument or source; 10 copies found (audit --fail-on-findings); "
    "11 some inputs could not be read; 20 files differ from their recorded SHA-256; 130 interrupted. Where several "
    "hold: 20, 1, 10, 11.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

for _register in COMMANDS:
    _register(app)

# Newer versions of typer carry their own click: the public BadParameter leads to the base class that is in use.
_CommandLineError: Any = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")

_INTERRUPTED = 130


def main() -> None:
    """Run the program; errors that it foresees become one line on stderr and a fixed exit code."""
    try:
        code = app(prog_name="forensics", standalone_mode=False)
        if code == _INTERRUPTED:  # newer versions of typer make an exit code of Ctrl-C
            raise KeyboardInterrupt
    except ForensicsError as error:
        sys.stderr.write(f"error: {' '.join(str(error).split())}\n")
        sys.exit(error.exit_code)
    except _CommandLineError as error:
        _show(error)
        sys.exit(ExitCode.USAGE)
    except (KeyboardInterrupt, typer.Abort):
        sys.stderr.write("interrupted: what was finished is kept; run the same command again to go on\n")
        sys.exit(_INTERRUPTED)
    except BrokenPipeError:
        sys.exit(ExitCode.CLEAN)
    except OSError as error:  # a full disk, a folder that may not be written: the operator's to mend, not a bug
        if error.filename is None and error.errno is None:
            raise
        place = f"{error.filename}: " if error.filename is not None else ""
        sys.stderr.write(f"error: {place}{error.strerror or error}\n")
        sys.exit(ExitCode.FAILURE)
    sys.exit(code if isinstance(code, int) else ExitCode.CLEAN)


def _show(error: Any) -> None:
    """Say in one line what is wrong with the command line; a command that was given nothing shows its help."""
    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()
        return
    context = getattr(error, "ctx", None)
    message = " ".join(error.format_message().split()).rstrip(".")
    sys.stderr.write(f"error: {message}" + (f"; see: {context.command_path} --help\n" if context else "\n"))
