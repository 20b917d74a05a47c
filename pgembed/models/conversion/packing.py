"""packing: matrices in the order in which a CPU's kernels read them, in the file of weights, so that backends share that too.

onnxruntime copies every matrix into an order of its own when it opens a session: 10 MB a backend of the default model in int8, 40 MB in
fp32. It can write that order to a file and map it (option save_external_prepacked_constant_initializers), which makes it the server's
instead of a backend's. An order is looked up by a checksum of what the kernels ask for, so on another CPU, or with another version, it
is not found, and the session makes its copy as before. From onnxruntime 1.32 what is found is also compared, and a file that was written
over is refused; only the mapped pages stay.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

from pgembed.models import runtime
from pgembed.models.conversion.graph import PAGE

_KEY = "prepacked"
# <kernel>+<checksum>, then offset;length;checksum of each part.
_ENTRY = re.compile(r"[^|]+(\|\d+;\d+;\d+)+")


def add_packed(graphs: Sequence[Any], path: Path, data: Path) -> None:
    """Append the packed matrices to the file of weights and name them in the graphs.

    onnxruntime writes them wherever the last one ended, and its kernels crash where the address is not a multiple of 64; so each is
    copied to the beginning of a page.

    Args:
        graphs: ``onnx.ModelProto`` whose tensors of one name are the same; changed in place.
        path: the file of one that has the tensors of all.
        data: the file of weights, beside ``path``.
    """
    import onnx

    with tempfile.TemporaryDirectory(dir=path.parent) as name:
        packed = Path(name) / path.name
        runtime.write_packed(path, packed)
        entries: dict[str, list[tuple[str, str]]] = {}
        with packed.with_name(f"{packed.name}.data").open("rb") as source, data.open("ab") as target:
            for tensor in onnx.load(str(packed), load_external_data=False).graph.initializer:
                # What a later onnxruntime may write otherwise is left out, and costs memory only.
                known = [
                    (entry.key, entry.value)
                    for entry in tensor.external_data
                    if entry.key.startswith(_KEY) and _ENTRY.fullmatch(entry.value)
                ]
                entries[tensor.name] = [(key, _moved(value, source, target)) for key, value in known]
    for graph in graphs:
        for tensor in graph.graph.initializer:
            for key, value in entries.get(tensor.name, []) if tensor.external_data else []:
                tensor.external_data.add(key=key, value=value)


def _moved(entry: str, source: BinaryIO, target: BinaryIO) -> str:
    """Copy the parts that an entry names to pages of their own; the entry that names them there."""
    key, *parts = entry.split("|")
    for i, part in enumerate(parts):
        offset, length, checksum = map(int, part.split(";"))
        source.seek(offset)
        start = -(-target.seek(0, 2) // PAGE) * PAGE
        target.truncate(start)  # and filled with zeros up to there
        target.seek(0, 2)
        target.write(source.read(length))
        parts[i] = f"{start};{length};{checksum}"
    return "|".join([key, *parts])
