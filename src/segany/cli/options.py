"""Options that several commands share, and the small languages of their values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from segany.core.errors import OptionError, PromptError

if TYPE_CHECKING:
    from segany.predict.predictor import Predictor

Dtype = Literal["auto", "float32", "bfloat16", "float16", "int8"]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """Which model runs, and where."""

    model: Annotated[str, Parameter(help="tiny, vit_b, vit_l, vit_h, vit_t, or the path of a checkpoint.")] = "tiny"
    device: Annotated[str, Parameter(help="auto, cpu, cuda, cuda:1, mps.")] = "auto"
    dtype: Annotated[
        Dtype, Parameter(help="Precision; auto is bfloat16 where that is fast here; int8: ViTs on a CPU.")
    ] = "auto"
    threads: Annotated[int | None, Parameter(help="CPU threads; all cores when left out.")] = None

    def predictor(self) -> Predictor:
        """Load the model.

        Raises:
            OptionError: a thread count below 1.
            CheckpointError: no such model, or a damaged one.
        """
        if self.threads is not None and self.threads < 1:
            raise OptionError(f"--threads must be 1 or more; got {self.threads}. Leave it out to use every core.")
        from segany.predict.predictor import Predictor

        return Predictor.from_pretrained(self.model, device=self.device, dtype=self.dtype, threads=self.threads)


def parse_numbers(option: str, text: str, count: int, example: str) -> tuple[float, ...]:
    """`count` comma-separated numbers.

    Raises:
        PromptError: another count, or something that is not a number.
    """
    parts = [part.strip() for part in text.split(",")]
    try:
        numbers = tuple(float(part) for part in parts)
    except ValueError:
        numbers = ()
    if len(numbers) != count:
        raise PromptError(
            f"{option} takes {count} numbers separated by commas, in pixels of the original image; "
            f"got {text!r}. Write for example {option} {example}."
        )
    return numbers


def parse_points(foreground: Sequence[str], background: Sequence[str]) -> tuple[list[tuple[float, ...]], list[int]]:
    """`X,Y` texts as points and their labels, foreground first."""
    points = [parse_numbers("--point", text, 2, "500,375") for text in foreground]
    points += [parse_numbers("--background", text, 2, "500,375") for text in background]
    return points, [1] * len(foreground) + [0] * len(background)


def parse_boxes(boxes: Sequence[str]) -> list[tuple[float, ...]]:
    """`X0,Y0,X1,Y1` texts as boxes."""
    return [parse_numbers("--box", text, 4, "75,275,1725,850") for text in boxes]
