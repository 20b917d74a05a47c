"""The remote kind: an HTTP endpoint that speaks the OpenAI embeddings protocol, as OpenAI, Ollama, vLLM, TEI and LM Studio do.

The protocol: https://platform.openai.com/docs/api-reference/embeddings. ``endpoint`` says where and how, ``exchange`` sends one request
over a ``wire``, ``replies`` reads the answer; here is what follows from it: batches, retries, and which text is at fault.
"""

from __future__ import annotations

import dataclasses
import json
import random
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgembed import errors
from pgembed.models import threads
from pgembed.models.contract import Encoded, ModelInfo, Role, no_check
from pgembed.models.endpoints import exchange, replies
from pgembed.models.endpoints.endpoint import MOST_DIMENSIONS, Endpoint, fingerprint

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Endpoint", "Remote", "fingerprint", "probe"]

# What is sent where only the endpoint is in question, not a text.
PROBE = "pgembed"

# Seconds before the first retry, doubled each time, up to a limit. Half of a wait is random, so that backends do not all come back at once.
_FIRST_WAIT = 0.5
_LONGEST_WAIT = 30.0

# Bytes of an answer beside its numbers, and of a number: 9 digits take 12 or so, generous printers some 30.
_BODY_BYTES = 1 << 20
_NUMBER_BYTES = 64

# Pieces that most tokenizers make one token of, or less than one: see Remote.token_spans.
_PIECE = re.compile("[A-Za-z]{1,5}|[0-9]|[^\\W_\u2e80-\U0010ffff]{1,2}|\\S")


@dataclass(frozen=True)
class Clock:
    """Time and chance, for tests to have their own: seconds of a steady clock, seconds since 1970, a sleep that looks for a cancel, and a
    number from 0 to 1."""

    steady: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    pause: Callable[[float, Callable[[], None]], None] = exchange.pause
    chance: Callable[[], float] = random.random


class _AtFault(Exception):
    """A request failed for a reason that other texts may not have."""

    def __init__(self, failure: replies.Failure, tried: int) -> None:
        super().__init__(failure.reason)
        self.failure = failure
        self.tried = tried


class Remote:
    """A model behind an endpoint; see ``pgembed.models.Model`` for what it does.

    No connection outlives a call. A text's vector is what the endpoint gives it, which may differ in its last bits from call to call.

    Args:
        info: what is registered. Vectors are scaled to length 1 where it says that they have it.
        endpoint: where it ``gives`` more dimensions than ``info`` has, all of them come out of here, and ``Adapted`` keeps the first.
        clock: for tests.
    Raises:
        errors.InvalidParameter: the endpoint gives fewer dimensions than ``info`` has.
    """

    def __init__(self, info: ModelInfo, endpoint: Endpoint, clock: Clock | None = None) -> None:
        _import_numpy()
        dim = endpoint.gives or info.dim
        if dim < info.dim:
            raise errors.InvalidParameter(
                f'dim must be at most the {dim} that the endpoint of model "{info.name}" gives, not {info.dim}', hint="Take a smaller dim."
            )
        self._info = dataclasses.replace(info, dim=dim, query_prompt="", document_prompt="", basis="none")
        self._endpoint = endpoint
        self._clock = clock or Clock()
        self._batch_size = endpoint.batch_size
        # Vectors of the last call, if it ended in TextsRefused: whoever calls again without these texts need not pay twice.
        self._kept: dict[str, NDArray[np.float32]] = {}

    @property
    def info(self) -> ModelInfo:
        """The model's description, as the endpoint gives it: without prompts and basis, and with all dimensions."""
        return self._info

    def encode(self, texts: Sequence[str], check: Callable[[], None] = no_check, role: Role = "document") -> Encoded:
        """Embed texts, as ``pgembed.models.Model.encode`` says; ``truncated`` is always False, for an endpoint does not tell.

        Args:
            check: called at least every 0.2 s, also while nothing comes.
        Raises:
            errors.TextsRefused: some texts have no vector; the others of the call were tried too, and are not sent again by the next call.
            errors.RemoteUnavailable: no connection, no answer in time, or an error that may pass, in all tries.
            errors.RemoteRefused: an answer that no retry mends: key, model or URL are not accepted, or it is not in the protocol.
            errors.DimensionMismatch: vectors of other dimensions than registered.
            errors.NotReady, errors.FileMissing, errors.FileDamaged: there is no key, or no certificates, where they should be.
        """
        import numpy as np

        kept, self._kept = self._kept, {}
        vectors = np.zeros((len(texts), self._info.dim), np.float32)
        rows = []
        for row, text in enumerate(texts):
            if text in kept:
                vectors[row] = kept[text]
            else:
                rows.append(row)
        if rows:
            bad = self._encode_rows(texts, rows, vectors, check)
            if bad:
                self._kept = {text: vectors[row] for row, text in enumerate(texts) if row not in bad}
                raise self._texts_refused(bad, len(texts))
        return Encoded(vectors, np.zeros(len(texts), np.bool_))

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        """As ``pgembed.models.Model.token_spans`` says, by estimate: the endpoint's tokenizer is not known here.

        A word of Latin letters counts one token for each 5 letters begun, other alphabets one for 2 letters; each digit, each mark and each
        character of Chinese and the like is one. That is rather too many: of English abstracts 99 of 100 have no more tokens than this with
        BERT's WordPiece, and in the middle a fifth to a third less.
        """
        return [found.span() for found in _PIECE.finditer(text)]

    def token_count(self, text: str) -> int:
        """How many tokens the text has, by the same estimate, with two special ones."""
        return len(self.token_spans(text)) + 2

    def _encode_rows(
        self, texts: Sequence[str], rows: list[int], vectors: NDArray[np.float32], check: Callable[[], None]
    ) -> dict[int, replies.Failure]:
        """Fill rows of ``vectors``; returns those that could not be, and why."""
        bad: dict[int, replies.Failure] = {}
        label = f'endpoint {self._endpoint.host} of model "{self._info.name}"'
        talk = _Talk(self._endpoint, label, self._clock, check)

        def fill(batch: list[int], tries: int) -> None:
            made, useless = talk.ask([texts[row] for row in batch], self._info.dim, tries)
            vectors[batch] = _normalized(made) if self._info.normalized else made
            bad.update({batch[place]: replies.Failure(reason) for place, reason in useless.items()})

        def part(batch: list[int]) -> None:
            for start in range(0, len(batch), self._batch_size):
                some = batch[start : start + self._batch_size]
                try:
                    fill(some, 1)
                except _AtFault as fault:
                    halve(some, fault)

        def halve(batch: list[int], fault: _AtFault) -> None:
            if len(batch) == 1:
                bad[batch[0]] = fault.failure
                return
            before, half = len(bad), (len(batch) + 1) // 2
            part(batch[:half])
            part(batch[half:])
            if len(bad) == before:
                # All of them are fine: it was too much at once, and so it will be next time.
                self._batch_size = min(self._batch_size, half)

        try:
            done = 0
            while done < len(rows):
                batch = self._batch(texts, rows, done)
                done += len(batch)
                try:
                    fill(batch, self._endpoint.retries)
                except _AtFault as fault:
                    talk.insist(fault)
                    halve(batch, fault)
        finally:
            talk.close()
        return bad

    def _batch(self, texts: Sequence[str], rows: list[int], start: int) -> list[int]:
        size, chars = 0, 0
        while start + size < len(rows) and size < self._batch_size:
            chars += len(texts[rows[start + size]])
            if size and chars > self._endpoint.batch_chars:
                break
            size += 1
        return rows[start : start + size]

    def _texts_refused(self, bad: dict[int, replies.Failure], count: int) -> errors.TextsRefused:
        positions = tuple(sorted(bad))
        first = bad[positions[0]]
        which = f"text {positions[0] + 1} of {count}"
        if len(bad) > 1:
            listed = ", ".join(str(position + 1) for position in positions[:10])
            which = f"{len(bad)} of {count} texts, which are {listed}{', ...' if len(bad) > 10 else ''}"
        return errors.TextsRefused(
            f'model "{self._info.name}" at {self._endpoint.host} has no vector for {which}: {first.reason}',
            positions=positions,
            reason=first.reason,
            hint="It takes other texts. Is this one longer than the endpoint reads? Split it, or pass NULL.",
            detail=first.detail,
        )


def probe(endpoint: Endpoint, check: Callable[[], None] = no_check, clock: Clock | None = None) -> tuple[int, bool]:
    """Ask an endpoint for the vector of one short text, to see that it works and what it gives.

    Args:
        endpoint: its ``dimensions`` are those wanted; None takes what comes.
    Returns:
        How many dimensions its vectors have, and whether they have as many only if ``dimensions`` are sent. ``(768, False)`` where 256 were
        wanted: the endpoint can't shorten vectors, and whoever wants the first 256 of 768 cuts them here (``Endpoint.gives`` is 768 then).
    Raises:
        errors.InvalidParameter: more dimensions are wanted than there are.
        errors.LimitExceeded: the vectors are longer than PostgreSQL's can be.
        errors.PgembedError: what ``Remote.encode`` raises; reasons that pass are tried once more only.
    """
    _import_numpy()
    wanted = endpoint.dimensions
    hurried = dataclasses.replace(endpoint, retries=min(endpoint.retries, 1))
    dim = _probe_once(dataclasses.replace(hurried, dimensions=None), check, clock)
    if dim > MOST_DIMENSIONS:
        raise errors.LimitExceeded(
            f"endpoint {endpoint.host} gives vectors of {dim} dimensions, expected at most {MOST_DIMENSIONS}",
            hint="Ask it for fewer with dim, or take another model.",
        )
    if wanted is None or wanted == dim:
        return dim, False
    try:
        if _probe_once(hurried, check, clock) == wanted:
            return wanted, True
    except errors.RemoteRefused:
        pass  # not every endpoint knows the parameter
    if wanted > dim:
        raise errors.InvalidParameter(
            f"dim must be from 1 to {dim}, the dimensions that endpoint {endpoint.host} gives, not {wanted}", hint="Leave it out for all."
        )
    return dim, False


def _import_numpy() -> None:
    """Its BLAS starts threads when it is imported, which must not run PostgreSQL's handlers."""
    with threads.signals_blocked():
        import numpy  # noqa: F401  (for what the import does)


def _probe_once(endpoint: Endpoint, check: Callable[[], None], clock: Clock | None) -> int:
    talk = _Talk(endpoint, f"endpoint {endpoint.host}", clock or Clock(), check)
    try:
        made, useless = talk.ask([PROBE], None, endpoint.retries)
    except _AtFault as fault:
        raise replies.refused(talk.label, fault.failure, fault.tried) from None
    finally:
        talk.close()
    if useless:
        raise errors.RemoteRefused(f"{talk.label} answered, and {useless[0].replace('its', 'the')}", hint="Does its model work at all?")
    return int(made.shape[1])


class _Talk:
    """One call's requests. To be closed."""

    def __init__(self, endpoint: Endpoint, label: str, clock: Clock, check: Callable[[], None]) -> None:
        self.label = label
        self._endpoint = endpoint
        self._clock = clock
        self._check = check
        self._line = exchange.Line(endpoint, check)
        self._succeeded = clock.steady()

    def close(self) -> None:
        """Hang up."""
        self._line.close()

    def ask(self, texts: list[str], dim: int | None, tries: int) -> tuple[NDArray[np.float32], dict[int, str]]:
        """Vectors of a batch, as ``replies.vectors_of`` returns them, tried again where that may help.

        Args:
            tries: how often again where one of the texts may be at fault; else it is the endpoint's ``retries``.
        Raises:
            _AtFault: other texts may succeed.
            errors.PgembedError: none will.
        """
        asked: dict[str, object] = {"model": self._endpoint.model, "input": texts, "encoding_format": "float"}
        asked |= {"dimensions": self._endpoint.dimensions} if self._endpoint.dimensions is not None else {}
        body = json.dumps(asked, ensure_ascii=False).encode("utf-8", "replace")
        limit = _BODY_BYTES + len(texts) * (dim or MOST_DIMENSIONS) * _NUMBER_BYTES
        tried = 0
        while True:
            failure = self._try(body, texts, dim, limit)
            if not isinstance(failure, replies.Failure):
                self._succeeded = self._clock.steady()
                return failure
            tried += 1
            wait = self._wait(failure, tried)
            allowed = min(failure.tries, tries if failure.at_fault else self._endpoint.retries)
            late = self._clock.steady() + wait > self._succeeded + self._endpoint.deadline
            if tried > allowed or late:
                if failure.at_fault and not late:
                    raise _AtFault(failure, tried)
                raise replies.refused(self.label, failure, tried)
            self._clock.pause(wait, self._check)

    def insist(self, fault: _AtFault) -> None:
        """See that the endpoint works for another text than those it failed for.

        Raises:
            errors.RemoteUnavailable, errors.RemoteRefused: it does not, so no text was at fault.
        """
        try:
            self.ask([PROBE], None, 0)
        except (_AtFault, errors.RemoteUnavailable, errors.RemoteRefused):
            raise replies.refused(self.label, fault.failure, fault.tried) from None

    def _try(
        self, body: bytes, texts: list[str], dim: int | None, limit: int
    ) -> tuple[NDArray[np.float32], dict[int, str]] | replies.Failure:
        key = self._endpoint.key()
        try:
            answer = self._line.post(body, key, limit)
        except exchange.Trouble as trouble:
            return replies.of_trouble(trouble, len(texts))
        if not 200 <= answer.status < 300:
            return replies.of_answer(answer, self._endpoint, key, texts, self._clock.wall())
        try:
            return replies.vectors_of(answer, key, texts, dim)
        except replies.Misfit as misfit:
            if misfit.dim is not None:
                raise errors.DimensionMismatch(
                    f"{self.label} {misfit.reason}",
                    hint="It serves another model than the one that was registered, or no longer shortens vectors. Register it anew.",
                ) from None
            hint = "Its URL must be that of the OpenAI embeddings protocol: .../v1 or .../v1/embeddings."
            raise errors.RemoteRefused(f"{self.label} {misfit.reason}", hint=hint, detail=misfit.detail) from None

    def _wait(self, failure: replies.Failure, tried: int) -> float:
        longest = min(_LONGEST_WAIT, _FIRST_WAIT * 2.0 ** (tried - 1))
        wait = longest * (0.5 + self._clock.chance() / 2)
        return wait if failure.wait is None else failure.wait + wait


def _normalized(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows scaled to length 1; a row of zeros stays one. In double precision: an endpoint's numbers may be of any size."""
    import numpy as np

    wide = vectors.astype(np.float64)
    lengths = np.sqrt(np.einsum("ij,ij->i", wide, wide))
    lengths[lengths == 0] = 1
    scaled: NDArray[np.float32] = (wide / lengths[:, None]).astype(np.float32)
    return scaled
