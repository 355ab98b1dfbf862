"""Prompts in a model's chat template, and the forms that a question is asked in."""

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

from study.config import ParamsError
from study.limits import limited
from study.lm.prompts import Prompts, asked_as
from study.params import Form

# Some templates say what day it is, by a setting or by a clock; a prompt must be the same tomorrow.
DATE = "01 Jan 2025"
NO_CLOCK = f"{{% macro strftime_now(format) %}}{DATE}{{% endmacro %}}"
TEMPLATE_SECONDS, TEMPLATE_GIGABYTES = 10, 1  # that filling in a chat template may take
MARK = "\u241e"  # stands for what is asked


def framed(
    tokenizer: PreTrainedTokenizerBase,
    prompt: str,
    prompts: Prompts,
    thinking: bool,
    turns: Sequence[tuple[str, str]] = (),
) -> str:
    """A prompt in the model's chat template, if it is a chat model; after turns of prompts and answers."""
    if not prompts.chat:
        return prompt
    roles = ("user", "assistant")
    told = [{"role": role, "content": text} for turn in turns for role, text in zip(roles, turn, strict=True)]
    if not tokenizer.chat_template:
        raise ParamsError("prompts.style = 'chat': the model's tokenizer has no chat template; use plain")
    try:
        with limited(TEMPLATE_SECONDS, TEMPLATE_GIGABYTES):  # a template is a program that came with the model
            text: str = tokenizer.apply_chat_template(
                [*told, {"role": "user", "content": prompt}],
                chat_template=NO_CLOCK + tokenizer.get_chat_template(),
                tokenize=False,
                add_generation_prompt=True,
                enable_thinking=thinking,
                date_string=DATE,
            )
    except Exception as error:  # whatever it does
        raise ParamsError(
            f"prompts.style = 'chat': the model's chat template fails ({type(error).__name__}: {error}); use plain"
        ) from None
    return text


class Asking:
    """Puts contexts and queries into a form; without one, they stay as they are."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, prompts: Prompts, form: Form | None):
        self.wording, self.before, self.after = asked_as(form) if form else "{query}", "", ""
        if form is Form.CHAT:
            whole = framed(tokenizer, MARK, prompts._replace(chat=True), thinking=False)
            self.before, _, self.after = whole.partition(MARK)
            self.before = self.before.removeprefix(str(tokenizer.bos_token or ""))  # the tokenizer puts it there

    def context(self, text: str) -> str:
        """What comes before all questions about a context."""
        return self.before + text

    def question(self, query: str) -> str:
        """What comes after it, up to an option."""
        asked = self.wording.replace("{query}", query)
        return f"{asked}{self.after}{query}" if self.after else asked
