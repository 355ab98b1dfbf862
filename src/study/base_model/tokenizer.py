"""The bundled model's tokenizer: closed-class words are one token, a nonsense word is two.

WordPiece with a closed vocabulary in a stock `PreTrainedTokenizerFast`: openings have three letters and endings
start with "##", so the greedy longest match splits every nonsense word in one way only.
"""

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from study.lm.prompts import CLOSED_CLASS
from study.worlds import closed_class_words
from study.worlds.words import ENDINGS, OPENINGS

PAD, BOS, EOS, UNK = "<pad>", "<s>", "</s>", "<unk>"


def build_tokenizer() -> PreTrainedTokenizerFast:
    """The tokenizer of the bundled model; it puts <s> before a text and nothing after it."""
    endings = [f"##{ending}" for ending in ENDINGS]
    tokens = [PAD, BOS, EOS, UNK, ".", ",", "?", *closed_class_words(CLOSED_CLASS), *OPENINGS, *endings]
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
