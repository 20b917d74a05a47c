"""replies: what an endpoint's answers mean: vectors, reasons of a refusal, and the words of it that may be shown."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pgembed import errors
from pgembed.models.endpoints.endpoint import Endpoint
from pgembed.models.endpoints.exchange import Answer, Trouble

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ALWAYS = 1000  # tries: as often as the endpoint's own limit allows

# Characters of the endpoint's own words in an error: read, and shown after secrets are masked in them.
_READ, _SHOWN = 2000, 300
# Runs of so many characters that a secret has too are masked: of a key, and of a text.
_KEY_RUN, _TEXT_RUN = 6, 12

# 424 and 500 may be one text's: TEI answers 424 where the model fails, Ollama 500 where a vector has NaN.
_AT_FAULT = (400, 413, 414, 422)
_PERHAPS = (424, 500)
_PASSING = (408, 425, 429, 502, 503, 504, 507, 509, 520, 522, 524, 529)


@dataclass(frozen=True)
class Failure:
    """Why a request gave no vectors.

    Attributes:
        reason: to be read after the endpoint's name.
        hint, detail: for the error; no secret is in them.
        tries: how often the same request may be sent again.
        at_fault: one of the texts may be the cause, so that other texts may succeed.
        passes: it may succeed later.
        wait: seconds that the endpoint asks to wait; None where it says nothing.
    """

    reason: str
    hint: str | None = None
    detail: str | None = None
    tries: int = 0
    at_fault: bool = False
    passes: bool = False
    wait: float | None = None


class Misfit(Exception):
    """An answer that succeeds and has not what was asked for; ``dim`` is the number of dimensions, where they are what is wrong."""

    def __init__(self, reason: str, *, dim: int | None = None, detail: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.dim = dim
        self.detail = detail


def of_trouble(trouble: Trouble, count: int) -> Failure:
    """Why there was no answer for so many texts. A batch that was too slow is asked again once, then in parts."""
    tries = min(trouble.tries, 1) if trouble.slow and count > 1 else trouble.tries
    return Failure(trouble.reason, trouble.hint, None, tries, at_fault=trouble.slow, passes=tries > 0)


def of_answer(answer: Answer, endpoint: Endpoint, key: str | None, texts: Sequence[str], now: float) -> Failure:
    """Why an answer's status is not one of success.

    Args:
        key, texts: what was sent: neither is shown, also where the endpoint echoes it.
        now: seconds since 1970, for a Retry-After that is a date.
    """
    status = answer.status
    reason = f"answered HTTP {status}"
    said, code = _words(answer.body)
    detail = f"It said: {masked(said, key, texts)}" if said else None
    if 300 <= status < 400:
        target = _target(answer.headers.get("location", ""))
        hint = f"It redirects to {masked(target, key, texts)}; register that URL if you trust it." if target else "Register its final URL."
        return Failure(f"{reason}, a redirect, which is not followed: key and texts would travel along", hint, detail)
    if status in (401, 403):
        return Failure(f"{reason}: it does not accept the key", f"The key is read {endpoint.key_place}.", detail)
    if status in (404, 405, 410):
        hint = f'Is the URL right (many end in /v1), and does the endpoint have a model "{endpoint.model}" for embeddings?'
        return Failure(f"{reason} at {endpoint.address.path}", hint, detail)
    if status == 429 and code == "insufficient_quota":
        return Failure(f"{reason}: the quota of the key is used up", "See the account that the key belongs to.", detail)
    if status in _AT_FAULT:
        return Failure(reason, None, detail, at_fault=True)
    if status in _PERHAPS or status in _PASSING:
        wait = retry_after(answer.headers.get("retry-after", ""), now)
        hint = f"It asks to wait {wait:.0f} s." if wait else "Try again later; retries and deadline are options of the model."
        return Failure(reason, hint, detail, ALWAYS, at_fault=status in _PERHAPS, passes=True, wait=wait)
    return Failure(reason, "It should answer 200 to POST, as the OpenAI embeddings protocol does.", detail)


def retry_after(said: str, now: float) -> float | None:
    """Seconds that a Retry-After header asks to wait, from a number or from an HTTP date; None where it is neither.

    See https://www.rfc-editor.org/rfc/rfc9110#name-retry-after.
    """
    said = said.strip()
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,6})?", said):
        return float(said)
    from email.utils import parsedate_to_datetime

    try:
        return max(0.0, parsedate_to_datetime(said).timestamp() - now)
    except (TypeError, ValueError, OverflowError):
        return None


def vectors_of(answer: Answer, key: str | None, texts: Sequence[str], dim: int | None) -> tuple[NDArray[np.float32], dict[int, str]]:
    """The vectors of an answer.

    Args:
        key, texts: what was sent.
        dim: how many dimensions they must have; None takes what comes.
    Returns:
        float32, shape (number of texts, dim), in the order of the texts; and what is wrong with the vectors that are no use, by text: their
        rows are zeros.
    Raises:
        Misfit: the answer has another form, other dimensions, or not exactly one vector for each text.
    """
    import numpy as np

    try:
        said = json.loads(answer.body)
    except (ValueError, RecursionError):
        raise Misfit(f"answered with something that is not JSON: {_described(answer)}") from None
    data = said.get("data") if isinstance(said, dict) else None
    if not isinstance(data, list):
        words = _words(answer.body)[0]
        shown = f"It said: {masked(words, key, texts)}" if words else None
        raise Misfit("answered without the list data of the OpenAI protocol", detail=shown)
    if len(data) != len(texts):
        raise Misfit(f"answered with {len(data)} vectors for {len(texts)} texts")
    made: NDArray[np.float32] | None = None
    bad: dict[int, str] = {}
    seen: set[int] = set()
    for item in data:
        place = item.get("index") if isinstance(item, dict) else None
        if type(place) is not int or not 0 <= place < len(texts) or place in seen:
            raise Misfit(f"answered with an index that is missing, twice there, or not from 0 to {len(texts) - 1}")
        seen.add(place)
        row = _row(item.get("embedding"))
        dim = dim or len(row)
        if len(row) != dim:
            raise Misfit(f"answered with vectors of {len(row)} dimensions, expected {dim}", dim=len(row))
        made = np.zeros((len(texts), dim), np.float32) if made is None else made
        if not np.isfinite(row).all():
            bad[place] = "its vector has NaN or infinity"
        elif not row.any() and texts[place].strip():
            bad[place] = "its vector is all zeros"
        else:
            made[place] = row
    if made is None:
        made = np.zeros((0, dim or 0), np.float32)
    return made, bad


def _row(said: object) -> NDArray[np.float32]:
    """One vector: JSON numbers, or the base64 of little-endian float32. null stands for NaN, as JavaScript writes it."""
    import numpy as np

    if isinstance(said, str):
        import base64

        try:
            packed = base64.b64decode(said, validate=True)
        except ValueError:
            raise Misfit("answered with a vector that is no base64") from None
        if not packed or len(packed) % 4:
            raise Misfit("answered with a vector whose bytes are not float32")
        return np.frombuffer(packed, "<f4").astype(np.float32)
    if not isinstance(said, list) or not said:
        raise Misfit("answered with a vector that is no list of numbers")
    kinds = set(map(type, said))
    if not kinds <= {float, int, type(None)}:
        raise Misfit("answered with a vector that has other things than numbers in it")
    try:
        wide = np.array(said, np.float64)
    except OverflowError:  # an integer of more than 308 digits
        wide = np.full(len(said), np.inf)
    with np.errstate(over="ignore"):
        return wide.astype(np.float32)


def masked(said: str, key: str | None, texts: Sequence[str]) -> str:
    """An endpoint's words in one line, cut to some hundred characters, without what they share with a key or with the texts."""
    said = _line(said)[:_READ]
    hidden = bytearray(len(said))
    if key:
        _hide(said, key, min(_KEY_RUN, len(key)), hidden)
    for text in texts:
        line = _line(text)
        if len(line) >= _TEXT_RUN:
            _hide(said, line, _TEXT_RUN, hidden)
        elif line:
            for found in re.finditer(rf"(?<!\w){re.escape(line)}(?!\w)", said):
                hidden[found.start() : found.end()] = b"\1" * len(line)
    shown = "".join("\0" if hide else letter for letter, hide in zip(said, hidden, strict=True))
    shown = re.sub("\0+", "***", shown)
    return shown if len(shown) <= _SHOWN else shown[:_SHOWN] + "..."


def _hide(said: str, secret: str, width: int, hidden: bytearray) -> None:
    for start in range(len(said) - width + 1):
        if said[start : start + width] in secret:
            hidden[start : start + width] = b"\1" * width


def _line(text: str) -> str:
    """A text in one line: neither breaks nor a terminal's control codes."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


def _words(body: bytes) -> tuple[str, str]:
    """What an endpoint says in an error, and its code for it; '' where it has none. Only fields known to hold words are shown: the rest
    of a body may quote the request."""
    try:
        said: Any = json.loads(body)
    except (ValueError, RecursionError):
        return "", ""
    code = ""
    for _ in range(4):
        if isinstance(said, dict):
            code = said["code"] if isinstance(said.get("code"), str) else code
            said = next((said[name] for name in ("error", "message", "detail", "msg") if said.get(name)), None)
        elif isinstance(said, list):
            said = said[0] if said else None
    return (said if isinstance(said, str) else ""), code


def _described(answer: Answer) -> str:
    kind = answer.headers.get("content-type", "").partition(";")[0].strip()
    kind = kind if re.fullmatch(r"[\w.+-]{1,40}/[\w.+-]{1,60}", kind) else "no content type"
    return f"{len(answer.body)} bytes, {kind}"


def _target(location: str) -> str:
    """Where a redirect leads, without what may be secret in a URL; '' where that can't be read."""
    try:
        parts = urlsplit(location)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}" if parts.netloc else parts.path
    except ValueError:
        return ""


def refused(label: str, failure: Failure, tried: int = 1) -> errors.PgembedError:
    """The error for a failure that more tries won't mend now."""
    kind = errors.RemoteUnavailable if failure.passes else errors.RemoteRefused
    times = f", {tried} times" if tried > 1 else ""
    return kind(f"{label} {failure.reason}{times}", hint=failure.hint, detail=failure.detail)
