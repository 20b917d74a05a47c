"""adding: a folder of any kind becomes an installed model."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from pgembed import errors, models
from pgembed.models import store
from pgembed.models.conversion.graph import Precision
from pgembed.models.hub import fetch_hub
from pgembed.models.options import Options

__all__ = ["add_folder", "fetch_hub"]


def add_folder(
    source: Path,
    target: Path,
    name: str,
    *,
    precision: Precision = "fp32",
    options: Options = Options(),  # noqa: B008  (frozen)
    source_label: str,
    source_revision: str = "",
    sha256: str | None = None,
    report: Callable[[str], None] = lambda line: None,
) -> models.ModelInfo:
    """Install a model's folder, of whichever kind it is, under ``target / name``. A name that is there gets a new revision.

    The model is run before its name points to it; where anything fails, everything stays as it was.

    Args:
        source: a sentence-transformers folder with a transformer in it, or one that Model2Vec saved.
        target: the directory of all models, made where it is missing.
        precision: of a transformer.
        options: what is to be different from what the folder says: prompts, dim, layers, normalize.
        source_label: where the folder came from, for people; ``source_revision`` is its version.
        sha256: what the checksum of the weights must be, in hexadecimal digits; None for whatever it is.
        report: gets one line for each thing done.
    Returns:
        The installed model's description.
    Raises:
        InvalidParameter: the name can't be one, or an option is outside of what the model has.
        FileMissing, FileDamaged: the folder has not what a model needs, or its files do not belong together.
        NotSupported: the model, or an option of it, is of a kind that is not provided for.
    """
    models.check_name(name)
    if not source.is_dir():
        raise errors.FileMissing(f'folder "{source}" does not exist', hint="Give the folder that holds the model's config.json.")
    if _is_static(source):
        from pgembed.models import static_folder

        if precision != "fp32":
            raise errors.NotSupported(f"a static model has no precision {precision}", hint="Leave out the precision.")
        return static_folder.install_folder(
            source, target, name, options=options, source_label=source_label, source_revision=source_revision, sha256=sha256, report=report
        )
    from pgembed.models import runtime
    from pgembed.models.conversion import convert

    runtime.need_converter()
    folder = convert.read_folder(source, precision)
    store.check_sha256(f'the weights in "{source}"', folder.sha256, sha256)
    return convert.convert(
        folder, target, name=name, precision=precision, source=source_label, revision=source_revision, report=report, options=options
    )


def _is_static(source: Path) -> bool:
    """Whether the folder says that it is a table of tokens; what is broken is for the transformer's reader to report."""
    try:
        modules = json.loads((source / "modules.json").read_text(encoding="utf-8"))
        if any(str(module["type"]).endswith(".StaticEmbedding") for module in modules):
            return True
    except (OSError, ValueError, KeyError, TypeError):
        pass
    try:
        config = json.loads((source / "config.json").read_text(encoding="utf-8"))
        return bool(config.get("model_type") == "model2vec")
    except (OSError, ValueError, AttributeError):
        return False
