"""How a model wants to be spoken to, told from its tokenizer's files."""

import json
from functools import cache
from pathlib import Path

from tokenizers import Tokenizer

from study.hub import model_folder
from study.params import Model
from study.prompts import BUNDLED, CHAT, CONSIDER, PLAIN


def speaks(params: Model) -> str:
    """The style of prompts for a model: the bundled ones' own language, chat with a template, or plain text."""
    return _speaks(model_folder(params))


@cache
def _speaks(folder: Path) -> str:
    tokenizer, config = folder / "tokenizer.json", folder / "tokenizer_config.json"
    if tokenizer.is_file() and Tokenizer.from_file(str(tokenizer)).token_to_id(CONSIDER) is not None:
        return BUNDLED
    in_config = config.is_file() and json.loads(config.read_text(encoding="utf-8")).get("chat_template")
    return CHAT if in_config or (folder / "chat_template.jinja").is_file() else PLAIN
