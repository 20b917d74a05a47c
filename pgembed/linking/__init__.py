"""Entity linking: which row of a table a mention in a text means, or that it means none.

    dictionary = linking.compile([(0, "shared_buffers"), (1, "work_mem")])
    linking.link("we raised shared_bufers", dictionary)

A text goes through three steps, each a module: `mentions` finds places that may name a row, `candidates` the rows they may
mean, `ranking` decides between these and none. Rows are numbers here; who fetches them, and with whose rights, is another
room's business.
"""

from __future__ import annotations

from collections.abc import Sequence

from pgembed.errors import InvalidParameter
from pgembed.linking import mentions, ranking
from pgembed.linking.dictionary import Dictionary, compile
from pgembed.linking.mentions import Check
from pgembed.linking.ranking import Context, Link

__all__ = ["Context", "Dictionary", "Link", "compile", "link"]


def link(
    content: str,
    dictionary: Dictionary,
    context: Context | None = None,
    *,
    spans: Sequence[tuple[int, int]] | None = None,
    check: Check | None = None,
) -> list[Link]:
    """Find the mentions in a text and the row that each means.

    Args:
        content: any text; an empty one has no mentions.
        dictionary: from `compile`. Where it is empty every mention is nil.
        context: tells homonyms apart and finds rows that no name leads to; None decides by spelling alone.
        spans: the places to link, as in `Link` (1-based, end exclusive); None finds them.
        check: called now and then, so that a cancel takes effect.
    Returns:
        A link for every mention, in the order of the text, none overlapping another unless `spans` do.
    Raises:
        InvalidParameter: a span that is empty or reaches beyond the text.
    """
    found = mentions.find(content, dictionary, check)
    asked = found
    if spans is not None:
        for start, end in spans:
            if not 1 <= start < end <= len(content) + 1:
                raise InvalidParameter(f"span {start} to {end} is not within the text, which has {len(content)} characters")
        asked = [mentions.Mention(start - 1, end - 1, content[start - 1 : end - 1], given=True) for start, end in spans]
    return ranking.rank(content, asked, found, dictionary, context, check)
