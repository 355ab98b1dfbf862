import pytest
from transformers import PreTrainedTokenizerFast

from study.config import ParamsError
from study.lm import prompts as module
from study.lm.framing import DATE, Asking, framed
from study.lm.prompt_style import _speaks
from study.lm.prompts import BARE, BUNDLED, CHAT, FULL, OF_BUNDLED, PLAIN, prompts_in
from study.params import Form, Model, Params
from study.runs.augment import sentences_in
from study.runs.run import prompts_of

TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}[{{ message['role'] }}] {{ message['content'] }}<turn>\n{% endfor %}"
    "{% if add_generation_prompt %}[assistant] "
    "{% if not enable_thinking %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)


def test_the_bundled_model_is_told_in_the_words_it_was_pretrained_on():
    assert OF_BUNDLED.in_context(["a b.", "c d."]) == "a b. c d. so:"
    assert OF_BUNDLED.from_one("a b.") == "a b. so:"
    assert OF_BUNDLED.from_all(["a b.", "c d."], "c d.") == "a b. c d. consider: c d. so:"
    assert OF_BUNDLED.in_context([]) == ""


@pytest.mark.parametrize("style", [PLAIN, CHAT])
@pytest.mark.parametrize("wording", [FULL, BARE])
def test_english_prompts_show_what_they_are_about(style, wording):
    prompts = prompts_in(style, wording)
    assert "Anna {statement}." in prompts.from_one("Anna {statement}.")  # braces of a document are its own
    shown = prompts.from_all(["First {target}.", "Second."], "Second.")
    assert "First {target}." in shown and shown.count("Second.") == 2
    assert prompts.asking("Who?").startswith("Question: Who?")
    assert prompts.chat == (style == CHAT)


def test_the_ablation_says_less():
    for style in (PLAIN, CHAT):
        assert len(prompts_in(style, BARE).local) < len(prompts_in(style, FULL).local) / 2


def test_a_prompt_that_lacks_what_it_must_show_is_refused(tmp_path, monkeypatch):
    file = tmp_path / "english.yaml"
    file.write_text(module.PROMPTS.read_text().replace("{statement}", "statement"))
    monkeypatch.setattr(module, "PROMPTS", file)
    with pytest.raises(ParamsError, match=r"chat\.full\.local .* holds \{statement\}"):
        prompts_in.__wrapped__(CHAT, FULL)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("    draft: |-", "    drfat: |-", r"chat\.full\.drfat: no such prompt; there are: between, context, .*draft"),
        ("chat:\n", "chat: no\nelse:\n", r"chat\.full = False: no mapping of prompts"),
    ],
)
def test_a_misspelt_prompt_is_named(tmp_path, monkeypatch, before, after, message):
    file = tmp_path / "english.yaml"
    file.write_text(module.PROMPTS.read_text().replace(before, after, 1))
    monkeypatch.setattr(module, "PROMPTS", file)
    with pytest.raises(ParamsError, match=message):
        prompts_in.__wrapped__(CHAT, FULL)


@pytest.fixture
def chatting(tokenizer):
    copy = PreTrainedTokenizerFast(tokenizer_object=tokenizer.backend_tokenizer, bos_token="<s>", eos_token="</s>")  # noqa: S106
    copy.chat_template = TEMPLATE
    return copy


def test_a_chat_model_is_asked_in_its_template_and_does_not_think_unless_told(chatting):
    prompts = prompts_in(CHAT, FULL)
    assert framed(chatting, "hello", prompts, False) == "<s>[user] hello<turn>\n[assistant] <think>\n\n</think>\n\n"
    assert framed(chatting, "hello", prompts, True) == "<s>[user] hello<turn>\n[assistant] "
    assert framed(chatting, "hello", prompts_in(PLAIN, FULL), False) == "hello"


def test_a_question_is_asked_in_each_form(chatting):
    prompts, query = prompts_in(CHAT, FULL), "Ditav is slower than"
    asking = Asking(chatting, prompts, None)
    assert asking.context("One.\n\n") + asking.question(query) == f"One.\n\n{query}"
    asking = Asking(chatting, prompts, Form.QUESTION)
    assert asking.question(query).startswith("Question: ") and asking.question(query).endswith(f"\nAnswer: {query}")
    asking = Asking(chatting, prompts, Form.CHAT)
    whole = asking.context("One.\n\n") + asking.question(query)
    assert whole.startswith("[user] One.\n\n") and whole.endswith(
        f"{query} ...<turn>\n[assistant] <think>\n\n</think>\n\n{query}"
    )


def test_a_template_that_writes_today_s_date_writes_the_same_tomorrow(chatting):
    clock = "{% if strftime_now is defined %}{{ strftime_now('%d %B %Y') }}{% else %}{{ date_string }}{% endif %} "
    chatting.chat_template = clock + TEMPLATE
    assert framed(chatting, "hello", prompts_in(CHAT, FULL), True) == f"{DATE} <s>[user] hello<turn>\n[assistant] "


def test_chat_without_a_template_is_refused(tokenizer):
    with pytest.raises(ParamsError, match=r"prompts\.style = 'chat': .* no chat template; use plain"):
        framed(tokenizer, "hello", prompts_in(CHAT, FULL), False)


def test_the_style_follows_the_tokenizer(model_folder, tmp_path, chatting, model):
    def style(folder):
        params = Params.parse({"model": {"name": str(folder)}}, "test")
        return next(s for s in (BUNDLED, PLAIN, CHAT) if prompts_in(s, FULL) == prompts_of(params))

    assert style(model_folder) == BUNDLED
    assert prompts_of(Params(model=Model())) == OF_BUNDLED
    model.save_pretrained(tmp_path)
    text = chatting.backend_tokenizer.to_str().replace('"consider:"', '"weigh:"')
    (tmp_path / "tokenizer.json").write_text(text)
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
    assert style(tmp_path) == PLAIN
    (tmp_path / "chat_template.jinja").write_text(TEMPLATE)
    _speaks.cache_clear()
    assert style(tmp_path) == PLAIN  # it has a template, but does not end where the template ends a turn: a base model
    (tmp_path / "tokenizer_config.json").write_text('{"eos_token": {"content": "<turn>"}}')
    _speaks.cache_clear()
    assert style(tmp_path) == CHAT


def test_a_model_that_goes_on_as_if_asked_again_is_not_listened_to():
    text = "\n- Anna flies the Merrow\n- The Merrow is flown by Anna\n\nStatement: Bert sings.\nWhat follows:\n- No"
    sentences = sentences_in("prompt", text, False, prompts_in(PLAIN, FULL))
    assert sentences == ["Anna flies the Merrow.", "The Merrow is flown by Anna."]


def test_a_thought_that_the_template_begins_is_no_inference():
    prompts = prompts_in(CHAT, FULL)
    assert sentences_in("<think>\n", "It may be so.\n</think>\nAnna sings.", True, prompts) == ["Anna sings."]
    assert sentences_in("<think>\n", "It may be so. It may not.", False, prompts) == []


def test_thinking_needs_room(params):
    with pytest.raises(ParamsError, match=r"prompts\.thinking = True: .* be 1024 at least"):
        Params.parse({"prompts": {"thinking": True}}, "test")
