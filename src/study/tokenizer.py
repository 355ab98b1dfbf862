"""The bundled model's tokenizer: closed-class words are one token, a nonsense word is two.

WordPiece with a closed vocabulary in a stock `PreTrainedTokenizerFast`: openings have three letters and endings
start with "##", so the greedy longest match splits every nonsense word in one way only.
"""

import re

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from study.prompts import CLOSED_CLASS
from study.wording import LEAD_INS
from study.words import ENDINGS, OPENINGS
from study.worlds import WORLDS

PAD, BOS, EOS, UNK = "<pad>", "<s>", "</s>", "<unk>"


def closed_class_words() -> list[str]:
    """Every word of the wordings and prompts that is not a nonsense word, sorted."""
    texts = [form.text for world in WORLDS.values() for forms in world.WORDING.values() for form in forms]
    texts += [text for world in WORLDS.values() for text in getattr(world, "CLOSED_CLASS", ())]
    return sorted({word for text in [*texts, *LEAD_INS, CLOSED_CLASS] for word in re.sub(r"{.}|[.,?]", " ", text).split()})


def build_tokenizer() -> PreTrainedTokenizerFast:
    """The tokenizer of the bundled model; it puts <s> before a text and nothing after it."""
    tokens = [PAD, BOS, EOS, UNK, ".", ",", "?", *closed_class_words(), *OPENINGS, *(f"##{e}" for e in ENDINGS)]
    backend = Tokenizer(models.WordPiece({t: k for k, t in enumerate(tokens)}, unk_token=UNK))
    backend.normalizer = normalizers.Lowercase()
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Split(Regex(r"[.,?]"), "isolated")]
    )
    backend.decoder = decoders.WordPiece(cleanup=True)
    backend.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", special_tokens=[(BOS, tokens.index(BOS))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token=BOS, eos_token=EOS, pad_token=PAD, unk_token=UNK, padding_side="right"
    )
