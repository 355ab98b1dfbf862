"""The documents in context: all, or as many as fit; none is ever cut."""

import random
from bisect import bisect_right
from collections.abc import Callable, Sequence

from study.data.questions import Document, spread


def fitting(
    documents: Sequence[Document], tokens_of: Callable[[Sequence[Document]], int], limit: int | None, seed: str
) -> tuple[Document, ...]:
    """As many documents as fit into `limit` tokens, in their own order.

    The choice is random, but one about each fact comes before a second about any. One that is too long alone is left
    out, and the others stay.

    Args:
        documents: to choose from.
        tokens_of: number of tokens that some of them take in context.
        limit: of these tokens; None for no limit.
        seed: decides which documents.

    Raises:
        ValueError: if not even one fits.
    """
    if limit is None or tokens_of(documents) <= limit:
        return tuple(documents)
    drawn = spread(range(len(documents)), (lambda k: str(documents[k].facts),), random.Random(f"fitting/{seed}"))
    numbers = [k for k in drawn if tokens_of([documents[k]]) <= limit]

    def first(count: int) -> tuple[Document, ...]:
        return tuple(documents[k] for k in sorted(numbers[:count]))

    fits = bisect_right(range(1, len(numbers) + 1), limit, key=lambda count: tokens_of(first(count)))
    if not fits:
        raise ValueError(
            f"not one of {len(documents)} documents fits into {limit} tokens of context; use shorter documents, a "
            "model that reads more, or a larger questions.context_tokens"
        )
    return first(fits)
