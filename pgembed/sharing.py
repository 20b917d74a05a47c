"""sharing: equal texts are embedded once. What a model makes of a text depends on nothing but the text, so rows with equal ones share it.

Images are remembered for one refresh, as many as there is room for: in one batch all equal texts share one, and texts of later batches as
long as the image is still there.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Protocol

from pgembed import errors

if TYPE_CHECKING:
    from pgembed.chunks import Chunk

MOST_BYTES = 64 << 20
# Of an entry, beside its image: the key, the objects around both, and the place in the dictionary.
_ENTRY_BYTES = 400


class Encoder(Protocol):
    """A model, as refresh sees it. ``check`` is called now and then, so that a cancel takes effect."""

    def encode(self, texts: Sequence[str], check: Callable[[], None]) -> tuple[list[bytes], list[bool]]:
        """Images of the embeddings of texts, in order, and of which the end was cut at the model's limit."""
        ...

    def split(self, source: str, tokens: int, overlap: int, check: Callable[[], None]) -> list[Chunk]:
        """The chunks of a text, as `pgembed.chunks.split` makes them."""
        ...


@dataclass(slots=True)
class _Made:
    image: bytes
    is_cut: bool
    uses: int = 0


class Shared:
    """A model, for which a text that it has seen lately costs nothing.

    Args:
        page: how many texts the model is given at a time.
        most_bytes: of memory for what is remembered.
    Attributes:
        texts: different ones that were asked for more than once.
        sharing: how often these were asked for, all together.
    """

    def __init__(self, encoder: Encoder, page: int, most_bytes: int = MOST_BYTES) -> None:
        self._encoder = encoder
        self._page = page
        self._most_bytes = most_bytes
        self._bytes = 0
        self._kept: OrderedDict[bytes, _Made] = OrderedDict()
        self.texts = 0
        self.sharing = 0

    def encode(self, texts: Sequence[str], check: Callable[[], None]) -> tuple[list[bytes], list[bool]]:
        """As the model does.

        Raises:
            errors.TextsRefused: the model has no vector for some of them; the positions are of all texts equal to these. Texts that it took
                are remembered, and counted when they are asked for again without the others.
        """
        keys = [hashlib.sha256(text.encode()).digest() for text in texts]
        made: dict[bytes, _Made] = {}
        new: dict[bytes, int] = {}  # where a text stands first, if it is not remembered
        for position, key in enumerate(keys):
            known = self._kept.get(key)
            if known is None:
                new.setdefault(key, position)
            elif key not in made:
                self._kept.move_to_end(key)
                made[key] = known
        remaining = iter(new.items())
        while page := list(islice(remaining, self._page)):
            try:
                images, cut = self._encoder.encode([texts[position] for _, position in page], check)
            except errors.TextsRefused as refused:
                bad = {page[position][0] for position in refused.positions}
                raise errors.TextsRefused(
                    refused.message,
                    positions=tuple(position for position, key in enumerate(keys) if key in bad),
                    reason=refused.reason,
                    hint=refused.hint,
                    detail=refused.detail,
                ) from None
            for (key, _), image, is_cut in zip(page, images, cut, strict=True):
                made[key] = _Made(image, is_cut)
                self._keep(key, made[key])
        for key in keys:
            self._count(made[key])
        return [made[key].image for key in keys], [made[key].is_cut for key in keys]

    def split(self, source: str, tokens: int, overlap: int, check: Callable[[], None]) -> list[Chunk]:
        """As the model does."""
        return self._encoder.split(source, tokens, overlap, check)

    def _keep(self, key: bytes, made: _Made) -> None:
        self._kept[key] = made
        self._bytes += len(made.image) + _ENTRY_BYTES
        while self._bytes > self._most_bytes:
            _, forgotten = self._kept.popitem(last=False)
            self._bytes -= len(forgotten.image) + _ENTRY_BYTES

    def _count(self, made: _Made) -> None:
        made.uses += 1
        if made.uses == 2:
            self.texts += 1
        if made.uses >= 2:
            self.sharing += 2 if made.uses == 2 else 1
