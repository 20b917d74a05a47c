"""hub: a model's folder from Hugging Face's hub, where huggingface_hub is installed and the network reaches it."""

from __future__ import annotations

from pathlib import Path

from pgembed import errors
from pgembed.models.conversion import exported, weights

# What a model is read from; a repository often has the same weights in several other formats.
_PATTERNS = ["*.json", weights.SINGLE, "model-*.safetensors", "*/model.safetensors", "0_Transformer/*.safetensors"]
_FALLBACK = [pattern for place in exported.PLACES for pattern in (place, f"{place}_data", f"{place}.data")]
_HINT = "Pass a folder: huggingface-cli download, or SentenceTransformer(...).save_pretrained, writes one on any machine with a network."


def fetch_hub(name: str, revision: str | None = None) -> Path:
    """Fetch a repository's files into huggingface_hub's own cache.

    Args:
        name: of the repository, such as sentence-transformers/all-mpnet-base-v2.
        revision: a commit, tag or branch; None for the newest.
    Returns:
        The folder, whose name is the commit's.
    Raises:
        NotReady: huggingface_hub is not installed, or the repository can't be fetched.
    """
    try:
        import huggingface_hub
    except ImportError:
        raise errors.NotReady(
            "package huggingface_hub is not installed", hint=f"pip install 'pgembed-extension[hub]' into pgembed's environment. Or: {_HINT}"
        ) from None
    try:
        folder = Path(huggingface_hub.snapshot_download(name, revision=revision, allow_patterns=_PATTERNS))
        if not any(folder.rglob("*.safetensors")):
            folder = Path(huggingface_hub.snapshot_download(name, revision=revision, allow_patterns=[*_PATTERNS, *_FALLBACK]))
    except Exception as error:  # of many classes: HTTP, cache, name
        raise errors.NotReady(
            f'model "{name}" could not be fetched from the hub', detail=f"{type(error).__name__}: {error}"[:500], hint=_HINT
        ) from None
    return folder
