"""`segany models`: which weights there are, and getting, looking into, converting and checking them."""

from __future__ import annotations

import json
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter

from segany.cli.console import Bar, say, show, table

if TYPE_CHECKING:
    from segany.modeling.checkpoints.load import LoadedModel

models = App(name="models", help="List, download, inspect, convert and verify weights.", help_format="plaintext")

WIDEST = 96
"""Characters of a value in the table of `info`."""

Layout = Literal["official", "huggingface", "segany"]


@models.command(name="list")
def list_models() -> int:
    """Every model that can be named, and whether its weights are here."""
    from segany.modeling.checkpoints.download import REGISTRY, cached_path
    from segany.modeling.checkpoints.load import EMBEDDED

    here = f"inside the package ({EMBEDDED.stat().st_size / 1e6:.0f} MB)" if EMBEDDED.is_file() else "missing"
    rows = [("tiny", here, "this project's own; always there")]
    for name, remote in REGISTRY.items():
        path = cached_path(name)
        state = "downloaded" if path.is_file() else f"not here ({remote.size / 1e6:.0f} MB to download)"
        rows.append((name, state, remote.note or remote.file_name))
    show(table(("model", "weights", "note"), rows))
    return 0


@models.command
def download(name: str, /) -> int:
    """Fetch released weights into the cache folder; an interrupted download is resumed.

    Args:
        name: vit_b, vit_l, vit_h or vit_t.
    """
    from segany.modeling.checkpoints import download as remote

    if name == "tiny":
        say("tiny is inside the package; there is nothing to download")
        return 0
    with Bar(f"downloading {name} (bytes)") as bar:
        path = remote.download(name, progress=bar.update)
    show(str(path))
    return 0


@models.command
def info(
    source: str = "tiny",
    /,
    *,
    as_json: Annotated[bool, Parameter(name="--json", help="Everything, whole, as JSON.", negative="")] = False,
) -> int:
    """What a checkpoint holds: layout, model, sizes, and what it says of itself.

    Args:
        source: a model's name or a path.
    """
    loaded = _load(source)
    config = loaded.config.to_dict()
    parameters = sum(tensor.numel() for tensor in loaded.model.state_dict().values())
    if as_json:
        about = {key: _plain(value) for key, value in loaded.metadata.items() if key != "config"}
        facts = {"config": config, "values": parameters, "fingerprint": loaded.fingerprint, "metadata": about}
        show(json.dumps(facts, indent=1))
        return 0
    rows = [("model", loaded.config.name), ("values", f"{parameters:,}"), ("fingerprint", loaded.fingerprint)]
    rows += [(f"config {key}", str(value)) for key, value in config.items() if key != "name"]
    rows += [(key, value) for key, value in loaded.metadata.items() if key != "config"]
    show(table(("what", "value"), [(key, shorten(value, WIDEST, placeholder=" …")) for key, value in rows]))
    if any(len(value) > WIDEST for _, value in rows):
        say(f"what ends in … is shown whole by: segany models info {source} --json")
    return 0


def _plain(value: str) -> Any:
    """What JSON in a text stands for; other text as it is."""
    try:
        return json.loads(value)
    except ValueError:
        return value


@models.command
def convert(
    source: str,
    /,
    *,
    to: Annotated[Layout, Parameter(help="official (.pth), huggingface (a folder) or segany (.safetensors).")],
    output: Annotated[Path, Parameter(name=["--output", "-o"], help="File, or folder for huggingface.")],
    half: Annotated[bool, Parameter(help="Store float16; for segany only.", negative="")] = False,
) -> int:
    """Write a checkpoint in another layout.

    Args:
        source: a model's name or a path.
    """
    from segany.modeling.checkpoints.convert import convert as rewrite

    show(str(rewrite(source, output, to, half=half)))
    return 0


@models.command
def verify(source: str = "tiny", /) -> int:
    """Check weights whole: the pinned hash of a downloaded file, then every tensor.

    Args:
        source: a model's name or a path.
    """
    from segany.modeling.checkpoints import download as remote

    if source in remote.REGISTRY and remote.cached_path(source).is_file():
        remote.verify(remote.cached_path(source), remote.REGISTRY[source])
        say("hash: as released")
    loaded = _load(source)
    show(f"{source}: good; {loaded.config.name}, fingerprint {loaded.fingerprint}")
    return 0


def _load(source: str) -> LoadedModel:
    from segany.modeling.checkpoints.load import load_model

    return load_model(source)
