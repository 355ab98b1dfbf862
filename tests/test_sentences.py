import pytest

from study.data.sentences import generated_sentences, split_sentences


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a b. c d. e f", ["a b.", "c d."]),
        ("", []),
        ("who wrote it? ditav. it sees vazed.", ["who wrote it? ditav.", "it sees vazed."]),
        ("Dr. Lind met J. R. Moor. She left.", ["Dr. Lind met J. R. Moor.", "She left."]),
        ('He saw "A Journey." Version 2.5 came!', ['He saw "A Journey."', "Version 2.5 came!"]),
        ("It costs 3.50 e.g. in May. Fine.", ["It costs 3.50 e.g. in May.", "Fine."]),
        ("plan a. plan b. ", ["plan a.", "plan b."]),
        ("灯在北京。「书在上海！」门关着", ["灯在北京。", "「书在上海！」"]),
        ("दीप हरा है। द्वार", ["दीप हरा है।"]),
    ],
)
def test_running_text_is_cut_at_the_ends_of_sentences(text, expected):
    assert split_sentences(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ditav is less fast than vazed. vazed is", ["ditav is less fast than vazed."]),
        ("Here is what follows:\n1. Ditav sees vazed.\n2) Vazed is seen", ["Ditav sees vazed.", "Vazed is seen."]),
        ("- **Ditav** sees vazed\n* Vazed is seen by ditav\n", ["Ditav sees vazed.", "Vazed is seen by ditav."]),
        ("• \"Ditav sees vazed.\"\n• 'Vazed hears.'", ["Ditav sees vazed.", "Vazed hears."]),
        ("<think>First. Then.</think>\n\nDitav sees vazed.", ["Ditav sees vazed."]),
        ("<think>never closed. and so on", []),
        ("```\nDitav sees vazed.\n```", ["Ditav sees vazed."]),
        ("## Inferences\n\nDitav sees vazed.", ["Ditav sees vazed."]),
        ("Inference 1: Ditav sees vazed.\nConclusion: Vazed hears.", ["Ditav sees vazed.", "Vazed hears."]),
        ("a) Ditav sees vazed.\nb) Who sees vazed? Ditav.", ["Ditav sees vazed.", "Who sees vazed? Ditav."]),
        ("- What follows?\n- Ditav sees vazed.", ["Ditav sees vazed."]),
        ("Ditav sees vazed. Vazed hears ditav.\nGol sees.", ["Ditav sees vazed.", "Vazed hears ditav.", "Gol sees."]),
        ("Ditav sees vazed by day\nVazed is seen by ditav\n", ["Ditav sees vazed by day.", "Vazed is seen by ditav."]),
        ("A. Lind is the pilot.\nJ. Moor is not.", ["A. Lind is the pilot.", "J. Moor is not."]),
        ("Sure! Here they are.\nDitav sees vazed.", ["Ditav sees vazed."]),
        ("I wonder. </think> Ditav sees vazed.", ["Ditav sees vazed."]),
        ("call `__init__` first.", ["call __init__ first."]),
        ("", []),
        ("\n\n", []),
    ],
)
def test_what_models_write_is_read_as_sentences(text, expected):
    assert generated_sentences(text) == expected


def test_a_last_line_that_was_cut_off_does_not_count():
    assert generated_sentences("- Ditav sees vazed\n- Vazed is se", ended=False) == ["Ditav sees vazed."]
    assert generated_sentences("- Ditav sees vazed\n- Vazed is seen", ended=True) == [
        "Ditav sees vazed.",
        "Vazed is seen.",
    ]


def test_a_text_of_one_line_that_ends_in_a_colon_keeps_its_sentences():
    assert generated_sentences("ditav sees vazed. let me tell you:") == ["ditav sees vazed."]
