"""weights: what safetensors files hold, as float32. Never a pickle: reading one runs whatever code it carries."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pgembed import errors
from pgembed.models import store

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
_FLOATS = {"F64", "F32", "F16", "BF16"}


def files_of(folder: Path) -> tuple[Path, ...]:
    """The safetensors files of a folder, one or the shards that its index names, in order; () where there are none.

    Raises:
        FileMissing: the index names a file that is not there.
        FileDamaged: the index is not one.
    """
    if (folder / SINGLE).is_file():
        return (folder / SINGLE,)
    index = folder / INDEX
    if not index.is_file():
        return ()
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        shards = tuple(folder / Path(name).name for name in names)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise errors.FileDamaged(
            f'file "{index}" is not an index of weights', detail=repr(error), hint="Fetch the model again, or mend the file."
        ) from None
    for shard in shards:
        if not shard.is_file():
            raise errors.FileMissing(f'file "{shard}" does not exist, and "{INDEX}" names it', hint="Fetch the model again.")
    return shards


def sha256(files: Sequence[Path]) -> str:
    """The checksum of one file; of several, the checksum of theirs in order."""
    digests = [store.sha256(path) for path in files]
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


def read(files: Iterable[Path]) -> dict[str, NDArray[np.float32]]:
    """All floating-point tensors by name; float16, bfloat16 and float64 are converted. Integers (buffers) are left out.

    Raises:
        FileDamaged: a file is not whole, or a number in it is NaN or infinite.
    """
    import numpy as np
    import safetensors

    found: dict[str, NDArray[np.float32]] = {}
    for path in files:
        try:
            with safetensors.safe_open(str(path), framework="np") as file:
                for name in file.keys():  # noqa: SIM118  (it is no dict)
                    kind = file.get_slice(name).get_dtype()
                    if kind in _FLOATS:
                        array = _bfloat16(path, name) if kind == "BF16" else file.get_tensor(name)
                        found[name] = np.ascontiguousarray(array, np.float32).reshape(array.shape)
        except safetensors.SafetensorError as error:
            raise errors.FileDamaged(f'file "{path}" is not a whole safetensors file', detail=str(error), hint="Fetch it again.") from None
    for name, array in found.items():
        check_finite(name, array)
    return found


def check_finite(name: str, array: Any) -> None:
    """Refuse NaN and infinity, which would spread to every vector.

    Raises:
        FileDamaged: there are some.
    """
    import numpy as np

    wrong = int(array.size - np.count_nonzero(np.isfinite(array)))
    if wrong:
        raise errors.FileDamaged(
            f'weight "{name}" has {wrong} of {array.size} numbers that are NaN or infinite, expected none',
            hint="Fetch the model again, or take another: its training may have failed.",
        )


def _bfloat16(path: Path, name: str) -> NDArray[np.float32]:
    """A tensor that numpy has no type for: the upper half of a float32."""
    import numpy as np

    # The library has checked header and offsets already.
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        said = json.loads(file.read(size))[name]
        start, end = said["data_offsets"]
        file.seek(8 + size + start)
        halves = np.frombuffer(file.read(end - start), "<u2")
    return (halves.astype(np.uint32) << 16).view(np.float32).reshape(said["shape"])
