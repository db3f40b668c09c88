"""The command ``tilewright``: loads a command when it is called, and turns errors into sentences and exit codes."""

from __future__ import annotations

import importlib
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any, NoReturn

import click

from ... import __version__
from ...errors import EXIT_BUG, EXIT_OK, EXIT_USER_ERROR, UserError
from ...registry import nearest
from .state import State, common_options
from .text import printable

#: Command to its line in ``tilewright --help``; its module, of the same name, is imported when the command is called.
COMMANDS = {
    "compile": "Compile a model to one self-contained native library.",
    "run": "Run a compiled library on given or made-up inputs.",
    "bench": "Measure latency, alone or side by side with other runtimes.",
    "quantize": "Make a float model one of integers, and measure what that costs.",
    "compare": "Show, layer by layer, where two versions of a model part.",
    "profile": "Show where the time of a compiled library goes.",
    "inspect": "Show what is in a library or a model.",
    "targets": "List the machines that can be compiled for.",
    "runner": "Build the program that runs libraries on a board.",
    "doctor": "Check that this machine has what compiling needs.",
}

_EXIT_INTERRUPTED = 128 + signal.SIGINT
_EXIT_PIPE_CLOSED = 128 + signal.SIGPIPE
_BUG = "This is a bug in Tilewright. Please report it with the lines above and the output of 'tilewright doctor'."


class CommandLine(click.Group):
    """The group of all commands."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands' names in the order of a user's day."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command's module and return the command, or None for an unknown name."""
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(f".{cmd_name}", __package__).command
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that the first argument names; an unknown one is told its neighbours."""
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            raise click.UsageError(f"there is no command '{name}'{nearest(name, list(COMMANDS))}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; a reader that closed its pipe has seen enough and is no error."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            _silence_output()
            raise click.exceptions.Exit(_EXIT_PIPE_CLOSED) from None

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> NoReturn:
        """Run and exit: 0, 2 for an error the user can mend, 1 for a bug, 128 + n for signal n."""
        state = State()

        def run() -> int:
            code = super(CommandLine, self).main(
                args, prog_name or "tilewright", complete_var, standalone_mode=False, obj=state, **extra
            )
            sys.stdout.flush()
            return code if isinstance(code, int) else EXIT_OK

        sys.exit(exit_code_of(run, state))


def exit_code_of(run: Callable[[], int], state: State) -> int:
    """Call a function and return its exit code, or say on standard error why it failed and return that code."""
    try:
        return run()
    except click.ClickException as error:
        _say(_usage_sentence(error))
        return EXIT_USER_ERROR
    except UserError as error:
        if state.verbose:
            traceback.print_exc()
        _say(str(error))
        return EXIT_USER_ERROR
    except (KeyboardInterrupt, click.Abort):
        _say("interrupted")
        return _EXIT_INTERRUPTED
    except BrokenPipeError:
        _silence_output()
        return _EXIT_PIPE_CLOSED
    except Exception:
        traceback.print_exc()
        print(_BUG, file=sys.stderr)
        return EXIT_BUG


def _say(sentence: str) -> None:
    print(f"tilewright: error: {printable(sentence)}", file=sys.stderr)


def _usage_sentence(error: click.ClickException) -> str:
    message = error.format_message().rstrip(".")
    context = getattr(error, "ctx", None)
    return f"{message}; see '{context.command_path} --help'" if context else message


def _silence_output() -> None:
    """Point standard output at nothing, so that the interpreter's last flush cannot fail."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):
        return


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    sys.exit(128 + number)


@click.group(
    cls=CommandLine,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="""\b
Examples:
  tilewright compile model.onnx                    write model.so for this machine
  tilewright run model.so --inputs x.npz           run it
  tilewright bench model.so --against onnxruntime --model model.onnx
  tilewright inspect model.so

Exit codes: 0 success, 2 something you can mend, 1 a bug in Tilewright.""",
)
@click.version_option(__version__, prog_name="tilewright", message="%(prog)s %(version)s")
@common_options
def cli() -> None:
    """Compile trained models into self-contained native libraries."""


def main() -> NoReturn:
    """Run the command line. A request to terminate unwinds the stack, so that temporary files go."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _terminate)
    cli.main()
