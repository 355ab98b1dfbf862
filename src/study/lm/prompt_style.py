"""Which prompts suit a model, by its settings and its tokenizer's files."""

import json
from functools import cache

from study.lm.hub import model_folder, pin_of, settings_in, tokenizer_in
from study.lm.prompts import BUNDLED, CHAT, CONSIDER, PLAIN
from study.params import Model

MOST_TOKENS = 2**32  # of any vocabulary


def speaks(params: Model) -> str:
    """The style of prompts: the bundled model's own language, chat for a chat model, or plain text.

    A template alone does not make a chat model: it must also end its texts as the template ends a turn.
    """
    pin = pin_of(params)
    return _speaks(params, pin.model_dump_json() if pin else "")


@cache
def _speaks(params: Model, _pin: str) -> str:
    folder = model_folder(params, weights=False)
    file = folder / "tokenizer.json"
    tokenizer = tokenizer_in(file) if file.is_file() else None
    if tokenizer and tokenizer.token_to_id(CONSIDER) is not None:
        return BUNDLED
    config, jinja = settings_in(folder / "tokenizer_config.json"), folder / "chat_template.jinja"
    template = jinja.read_text(encoding="utf-8") if jinja.is_file() else json.dumps(config.get("chat_template") or "")
    ids = settings_in(folder / "generation_config.json").get("eos_token_id")
    numbers = [k for k in (ids if isinstance(ids, list) else [ids]) if isinstance(k, int) and 0 <= k < MOST_TOKENS]
    ends = [tokenizer.id_to_token(k) for k in numbers if tokenizer]
    named = config.get("eos_token")
    ends += [named.get("content") if isinstance(named, dict) else named, "eos_token"]
    return CHAT if any(end in template for end in ends if end and isinstance(end, str)) else PLAIN
