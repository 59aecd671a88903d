"""Names to functions, and what a person sees when something is wrong."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from cyclopts import App, CycloptsError

from segany import __version__
from segany.cli.benchmark import benchmark
from segany.cli.dataset import dataset
from segany.cli.demo import demo
from segany.cli.doctor import doctor
from segany.cli.engine import engine
from segany.cli.engine_loop import add_loop
from segany.cli.engine_people import add_people
from segany.cli.evaluate import evaluate
from segany.cli.everything import everything
from segany.cli.export import export
from segany.cli.models import models
from segany.cli.segment import segment
from segany.cli.serve import serve
from segany.cli.train import train
from segany.core.errors import Cancelled, InputError, SeganyError

DONE, FAILED, BAD_INPUT = 0, 1, 2

app = App(
    name="segany",
    help="Segment anything: prompts to masks, everything in a photo, and the tools around it.",
    version=f"segany {__version__}",
    version_flags=["--version"],
    help_format="plaintext",
    suppress_keyboard_interrupt=False,
)
app.command(demo)
app.command(segment)
app.command(everything)
app.command(models)
app.command(evaluate)
app.command(dataset)
app.command(benchmark)
app.command(export)
app.command(doctor)
app.command(train)
app.command(serve)
add_loop(engine)
add_people(engine)
app.command(engine)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: words after `segany`; those of the process when left out.

    Returns:
        0 done, 2 bad usage or input, 1 anything else.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        result = app(words, exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        return _complain(f"{str(error).strip()} See: {_help_line(words)}", BAD_INPUT)
    except InputError as error:
        return _complain(str(error), BAD_INPUT)
    except Cancelled as error:
        return _complain(str(error) or "stopped. Finished work is kept.", FAILED)
    except KeyboardInterrupt:
        return _complain("interrupted. Finished work is kept; the same command takes up where it stopped.", FAILED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except (SeganyError, MemoryError, OSError) as error:
        return _complain(f"{error or type(error).__name__}", FAILED)
    return result if isinstance(result, int) else DONE


def _complain(message: str, code: int) -> int:
    print(f"segany: {message}", file=sys.stderr)
    return code


def _help_line(words: Sequence[str]) -> str:
    """The help call of the deepest command that was named."""
    named, _, _ = app.parse_commands(words)
    return " ".join(["segany", *named, "--help"])
