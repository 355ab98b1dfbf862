"""Token counts of texts; a fast tokenizer is loaded without torch."""

from collections.abc import Sequence

from study.lm.hub import model_folder, tokenizer_in
from study.params import Model


def count_tokens(params: Model, texts: Sequence[str]) -> list[int]:
    """Tokens of each text under the model's tokenizer, special tokens not counted."""
    file = model_folder(params, weights=False) / "tokenizer.json"
    if not file.is_file():  # an old kind, which only transformers reads
        from study.lm.loading import load_tokenizer  # only here, for it imports torch

        tokenizer = load_tokenizer(params)
        return [len(tokenizer(text, add_special_tokens=False).input_ids) for text in texts]
    encoded = tokenizer_in(file).encode_batch(list(texts), add_special_tokens=False)
    return [len(text.ids) for text in encoded]
