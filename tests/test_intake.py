import io
import json
import os
import re
import subprocess
import sys

import pytest
from pypdf import PdfReader, PdfWriter

from study.config import ParamsError
from study.documents.dataset import ended
from study.documents.formats import LARGEST_MB, READERS
from study.documents.questions import UserQuestion, read_questions, write_questions
from study.documents.read import Passage, read_folder


def put(folder, name, content):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def read(folder, name, content):
    put(folder, name, content)
    return list(read_folder(folder).passages)


def sentences(passages):
    return [sentence for passage in passages for sentence in passage.sentences]


def words(passages):
    return re.findall(r"\w+", " ".join(text for p in passages for text in (p.heading, *p.sentences)))


def pdf(*pages):
    """A PDF with the lines of each page."""
    font = "<</Font<</F <</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding>>>>>>"
    objects = ["<</Type/Catalog/Pages 2 0 R>>", ""]
    for lines in pages:
        shown = " ".join(f"({line}) Tj 0 -14 Td" for line in lines)
        stream = f"BT /F 12 Tf 72 720 Td {shown} ET"
        box = f"/MediaBox[0 0 612 792]/Contents {len(objects) + 2} 0 R/Resources{font}"
        objects += [f"<</Type/Page/Parent 2 0 R{box}>>", f"<</Length {len(stream)}>>stream\n{stream}\nendstream"]
    kids = " ".join(f"{number} 0 R" for number in range(3, len(objects) + 1, 2))
    objects[1] = f"<</Type/Pages/Count {len(pages)}/Kids[{kids}]>>"
    out, offsets = b"%PDF-1.4\n", []
    for number, text in enumerate(objects, 1):
        offsets.append(len(out))
        out += f"{number} 0 obj{text}endobj\n".encode("cp1252", "replace")
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    size = len(objects) + 1
    end = f"trailer<</Size {size}/Root 1 0 R>>\nstartxref\n{len(out)}\n%%EOF\n"
    return out + f"xref\n0 {size}\n0000000000 65535 f \n".encode() + table + end.encode()


def encrypted_pdf(password, owner=None):
    writer, out = PdfWriter(clone_from=PdfReader(io.BytesIO(pdf(["Owls hunt."])))), io.BytesIO()
    writer.encrypt(password, owner, algorithm="RC4-128")
    writer.write(out)
    return out.getvalue()


def test_text_is_read_by_blocks_with_wrapped_lines_joined(tmp_path):
    text = (
        "Owls\n\nOwls hunt at\nnight. They weigh 3.5 kg, says Dr. Ditav.\n\n \nThey eat:\n- mice.\n- small\n  birds\n"
    )
    assert read(tmp_path, "owls.txt", text) == [
        Passage("owls.txt", "", ("Owls",)),
        Passage("owls.txt", "", ("Owls hunt at night.", "They weigh 3.5 kg, says Dr. Ditav.")),
        Passage("owls.txt", "", ("They eat:", "mice.", "small birds")),
    ]


def test_a_number_of_a_list_ends_no_sentence_and_a_wrapped_number_begins_no_item(tmp_path):
    text = "1. Find a mouse. Wait.\n2. Eat it\n\nIt was born on May\n12. It flew in June.\n"
    found = [p.sentences for p in read(tmp_path, "a.txt", text)]
    assert found == [("1. Find a mouse.", "Wait.", "2. Eat it"), ("It was born on May 12.", "It flew in June.")]


MARKDOWN = """# Owls

## Barn owls

They *hunt* at [night](https://example.org/night "hours"), in
`fields`. They **sleep** by day

* Eats mice. Eats rats.
* Has feathers
  1. white
  2. brown

| name | food |
|------|------|
| owl  | mice |
| hawk | ~~none~~ birds. Rabbits. |

```python
print("hoot.")
print("hoot hoot.")
```

> Quoted text.

<div>Raw <b>markup</b> here.</div>
<script>alert("nothing")</script>

Others
======
"""


def test_markdown_is_read_as_it_is_meant(tmp_path):
    heading = "Barn owls"
    assert read(tmp_path, "owls.md", MARKDOWN) == [
        Passage("owls.md", "", ("Owls",)),  # it has no block of its own
        Passage("owls.md", heading, ("They hunt at night, in fields.", "They sleep by day")),
        Passage("owls.md", heading, ("Eats mice.", "Eats rats.", "Has feathers", "white", "brown")),
        Passage("owls.md", heading, ("name | food", "owl | mice", "hawk | none birds. Rabbits.")),
        Passage("owls.md", heading, ('print("hoot.") print("hoot hoot.")',)),
        Passage("owls.md", heading, ("Quoted text.",)),
        Passage("owls.md", heading, ("Raw markup here.",)),
        Passage("owls.md", "", ("Others",)),
    ]


HTML = """<!DOCTYPE html><html><head><meta charset="utf-8"><title>Left out</title><style>p {}</style>
<body><nav><ul><li>Left <a href="/">out</a></ul></nav><!-- left out -->
<h1>Barn <em>owls</em></h1>
<p>They h<b>un</b>t at<br>night. They sleep &amp; rest
<p>They eat
<img src="http://example.invalid/x.png" onerror="alert(1)">mice.
<div>Before.<p>Inside.</p>After.</div>
<ul><li>First<li>Second. Third<ol><li>Fourth</ol></ul>
<table><tr><th>name<th>food<tr><td>owl</td><td></td></tr><tr><td><p>hawk</p></td><td>a<div>b</div></td></tr></table>
<pre>one.
two.</pre>
<script>document.write("left out")</script>
<select><option>red</option><option>blue</option></select>
"""


def test_html_is_read_as_it_is_meant_with_ends_left_out(tmp_path):
    passages = read(tmp_path, "owls.html", HTML)
    assert [p.sentences for p in passages] == [
        ("They hunt at night.", "They sleep & rest"),
        ("They eat mice.",),
        ("Before.",),
        ("Inside.",),
        ("After.",),
        ("First", "Second.", "Third", "Fourth"),
        ("name | food", "owl |", "hawk | a b"),
        ("one. two.",),
        ("red blue",),
    ]
    assert {p.heading for p in passages} == {"Barn owls"}


def test_tables_and_lists_that_only_arrange_a_page_are_no_blocks(tmp_path):
    text = "<table><tr><td><h2>Owls</h2><p>They hunt. They sleep.</p></td><td><ul><li><h3>Hawks</h3>Fly.</ul></table>"
    assert read(tmp_path, "a.htm", text) == [
        Passage("a.htm", "Owls", ("They hunt.", "They sleep.")),
        Passage("a.htm", "Hawks", ("Fly.",)),
    ]


def test_a_pdf_is_read_page_by_page(tmp_path):
    content = pdf(["Owls hunt at", "night. They sleep"], [], ["Page three."])
    assert read(tmp_path, "owls.PDF", content) == [
        Passage("owls.PDF", "", ("Owls hunt at night.", "They sleep")),
        Passage("owls.PDF", "", ("Page three.",)),
    ]


def test_jsonl_has_a_record_a_line_whose_title_is_its_heading(tmp_path):
    records = [{"text": "One.\u2028Two.\n\nThree", "title": "Owls", "id": 7}, {"text": "Four."}]
    text = "\n\n".join(json.dumps(record, ensure_ascii=False) for record in records)
    assert read(tmp_path, "a.jsonl", text) == [
        Passage("a.jsonl", "Owls", ("One.", "Two.")),
        Passage("a.jsonl", "Owls", ("Three",)),
        Passage("a.jsonl", "", ("Four.",)),
    ]


def test_files_come_by_path_and_hidden_ones_not_at_all(tmp_path):
    for name in ("b.txt", "a/z.md", "a.txt", ".hidden.txt", ".git/a.txt", "a/.DS_Store"):
        put(tmp_path, name, "Owls hunt.")
    (tmp_path / "c.txt").symlink_to(tmp_path / "b.txt")
    assert [p.file for p in read_folder(tmp_path).passages] == ["a.txt", "a/z.md", "b.txt", "c.txt"]


PLAIN = """Title of it all

First sentence. "Second one!" Who? Nobody knows... Not even e.g. Dr. J. Smith
nor the 3rd man (1.5 m tall.) And so on

Notes:
1. one thing. another
2) a second thing
• bullet — with dash
Ünïcödé wörds, 中文 句子。 end
"""


@pytest.mark.parametrize("name", ["a.txt", "a.md", "a.html", "a.jsonl", "a.pdf"])
def test_no_word_is_lost_or_moved_and_no_sentence_altered(tmp_path, name):
    plain = PLAIN
    if name == "a.pdf":
        plain = re.sub(r"[()]", "", PLAIN).encode("ascii", "ignore").decode()
    made = {
        "a.jsonl": json.dumps({"text": plain}),
        "a.html": "".join(f"<p>{block}</p>" for block in plain.split("\n\n")),
        "a.pdf": pdf(plain.splitlines()),
    }
    passages = read(tmp_path, name, made.get(name, plain))
    expected = re.findall(r"\w+", plain)
    if name == "a.md":  # the numbers of its list are marks
        expected = [word for k, word in enumerate(expected) if expected[k : k + 2] not in (["1", "one"], ["2", "a"])]
    assert words(passages) == expected
    even = " ".join(plain.split())
    assert all(sentence in even for sentence in sentences(passages))


def test_every_word_of_markdown_and_html_is_there(tmp_path):
    shown = re.sub(r'<script>.*|\(https.*?"\)|```python|^ *\d\. |</?\w+>', " ", MARKDOWN, flags=re.MULTILINE)
    assert sorted(words(read(tmp_path / "1", "a.md", MARKDOWN))) == sorted(
        re.findall(r"\w+", shown) + ["Barn", "owls"] * 5
    )
    found = words(read(tmp_path / "2", "a.html", HTML))
    assert "out" not in found and "left" not in found and "alert" not in found


def test_documents_are_not_changed_by_byte_order_marks_and_line_ends(tmp_path):
    plain = read(tmp_path / "1", "a.txt", "Owls hunt.\nThey\n\nsleep.\n")
    assert read(tmp_path / "2", "a.txt", b"\xef\xbb\xbfOwls hunt.\r\nThey\r\n\r\nsleep.\r\n") == plain
    assert read(tmp_path / "3", "a.txt", "Owls hunt.\rThey\r\rsleep.\r") == plain


def test_deep_nesting_is_read_or_refused(tmp_path):
    assert sentences(read(tmp_path / "1", "a.html", "<div>" * 20_000 + "Owls hunt.")) == ["Owls hunt."]
    unclosed = read(tmp_path / "4", "a.html", "<p>Owls <i>hunt</i>.\n" * 5_000 + "<table><tr><td>a<td><p>b<p>c</table>")
    assert sentences(unclosed) == ["Owls hunt."] * 5_000 + ["a | b c"]
    deep = "".join("  " * k + f"- item{k}\n" for k in range(20))
    assert sentences(read(tmp_path / "2", "a.md", deep)) == [f"item{k}" for k in range(20)]
    with pytest.raises(ParamsError, match=r"a.md: lists, quotes or brackets nest too deeply; flatten them"):
        read(tmp_path / "3", "a.md", ">" * 5000 + " Owls hunt.")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "", r"a.txt: holds no text; move it out"),
        ("a.md", " \n\n---\n", r"a.md: holds no text"),
        ("a.html", "<script>alert(1)</script>", r"a.html: holds no text"),
        ("a.jsonl", "\n", r"a.jsonl: holds no text"),
        ("a.txt", b"Owls\nhunt caf\xe9.", r"a.txt, line 2: byte 0xe9 is no UTF-8; save the file as UTF-8"),
        ("a.html", "<p>Owls <![<b> hunt.", r"a.html: cannot be read as HTML \(.*expected name token.*\); fix it"),
        ("a.md", "Owls\n\n<p>hunt <![<b>", r"a.md: cannot be read as HTML"),
        ("a.html", b"\xff\xfeO\x00w\x00", r"a.html, line 1: byte 0xff is no UTF-8"),
        ("a.txt", "Owls\n\nhunt\0.", r"a.txt, line 3: holds a NUL byte, so it is no text"),
        ("a.odt", "x", r"a.odt: files that end in '.odt' are not read, only .txt, .*; move it out of the folder or"),
        ("a.docx", "x", r"a.docx: cannot be read as a Word file \(.*\); save it again as .docx"),
        ("LICENSE", "x", r"LICENSE: files without an ending are not read"),
        ("a.pdf", b"", r"a.pdf: cannot be read as PDF"),
        ("a.pdf", "no PDF", r"a.pdf: cannot be read as PDF \(.*\); fix it by printing it"),
        ("a.pdf", pdf(["Owls hunt."])[:150], r"a.pdf: cannot be read as PDF"),
        ("a.pdf", encrypted_pdf("secret"), r"a.pdf: is encrypted; save it without a password"),
        ("a.pdf", pdf([]), r"a.pdf: holds no text; if it was scanned, run text recognition \(OCR\) first"),
        ("a.jsonl", '{"text": "One."}\n{"text": ', r"a.jsonl, line 2: is no JSON .*; write one object a line"),
        ("a.jsonl", '\n["One."]', r"a.jsonl, line 2: holds a list, no JSON object; a record is an object with the key"),
        ("a.jsonl", '{"body": "One."}', r"a.jsonl, line 1: holds no text; give the key 'text' a text"),
        ("a.jsonl", '{"text": " "}', r"a.jsonl, line 1: holds no text"),
        ("a.jsonl", '{"text": 7}', r"a.jsonl, line 1: holds no text"),
        ("a.jsonl", '{"text": "One.", "title": 7}', r"a.jsonl, line 1: title = 7 is no text"),
        ("a.jsonl", '{"text": "\\ud800 One."}', r"a.jsonl, line 1: holds half a character"),
        ("a.jsonl", "[" * 100_000, r"a.jsonl, line 1: is no JSON"),
    ],
)
def test_a_document_that_cannot_be_read_is_refused_and_nothing_is_returned(tmp_path, name, content, message):
    put(tmp_path, "0.txt", "Good text.")
    with pytest.raises(ParamsError, match=message):
        read(tmp_path, name, content)


def test_a_folder_that_is_none_or_has_no_document_is_refused(tmp_path):
    with pytest.raises(ParamsError, match="nowhere: no such folder; give the folder"):
        read_folder(tmp_path / "nowhere")
    with pytest.raises(ParamsError, match=r"a.txt: is a file; give the folder"):
        read_folder(put(tmp_path / "1", "a.txt", "Owls hunt."))
    with pytest.raises(ParamsError, match=r"holds no document; put files in it that end in .txt, .md"):
        read(tmp_path / "2", ".hidden.txt", "Owls hunt.")


def test_a_file_too_large_is_refused_before_any_is_opened(tmp_path, monkeypatch):
    for suffix in READERS:
        monkeypatch.setitem(READERS, suffix, lambda path: pytest.fail(f"{path} was opened"))
    put(tmp_path, "0.txt", "Good text.")
    with put(tmp_path, "large.pdf", "").open("r+b") as file:
        file.truncate(300 * 2**20)
    with pytest.raises(ParamsError, match=rf"large.pdf: has 300 MB, more than the {LARGEST_MB} MB .*; split it"):
        read_folder(tmp_path)


def test_links_that_lead_out_are_refused(tmp_path):
    inside, outside = tmp_path / "in", put(tmp_path, "out/a.txt", "Owls hunt.")
    put(inside, "a.txt", "Owls hunt.")
    for target, message in (
        (outside, "link.txt: a link that leads out of the folder"),
        (outside.parent, "link.txt: a link to a folder"),
        (inside / "nowhere", "link.txt: no such file"),
    ):
        (inside / "link.txt").symlink_to(target)
        with pytest.raises(ParamsError, match=message):
            read_folder(inside)
        (inside / "link.txt").unlink()
    os.mkfifo(inside / "pipe.txt")
    with pytest.raises(ParamsError, match="pipe.txt: no such file"):
        read_folder(inside)


def test_a_file_that_may_not_be_read_is_refused(tmp_path, monkeypatch):
    path = put(tmp_path, "a.txt", "Nobody has read this before.")

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    for place, name in ((type(path), "open"), (type(path), "read_bytes")):
        with monkeypatch.context() as patch:
            patch.setattr(place, name, refuse)
            with pytest.raises(ParamsError, match="a.txt: cannot be read: Permission denied"):
                read_folder(tmp_path)


def asked(folder, text, name="questions.csv", documents=("owls.txt", "sub/hawks.md"), options=4):
    return read_questions(put(folder, name, text), documents, options)


def test_questions_of_a_csv_file_with_options_and_a_document(tmp_path):
    text = (
        "id,question,answer,options,document\n"
        'one,"What do owls\n eat, and when?",mice at night |a|b, a | mice at night |a|b ,owls.txt\n'
        "\n"
        ",Which?,2,3 | 1 | 2,\n"
        ",Which?,2,red | blue,\n"
        ",Which?,b,red | blue | green,sub/hawks.md\n"
        ",,,,\n"
    )
    questions = asked(tmp_path, text)
    assert questions[0] == UserQuestion(
        "one", "What do owls eat, and when?", ("a", "mice at night |a|b"), 1, "owls.txt", 2, True
    )
    assert [q[2:] for q in questions[1:]] == [
        (("3", "1", "2"), 2, "", 5, True),
        (("red", "blue"), 1, "", 6, True),
        (("red", "blue", "green"), 1, "sub/hawks.md", 7, True),
    ]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_separators_numbered_options_and_byte_order_marks_are_read(tmp_path, separator):
    rows = ["Question|answer|option_1|option_2|option_10", 'What; or, "this"?|C|x|y|z', "Which?|x|x|y|"]
    quoted = [separator.join('"' + cell.replace('"', '""') + '"' for cell in row.split("|")) for row in rows]
    questions = asked(tmp_path, "\ufeff" + "\r\n".join(quoted))
    assert [q.question for q in questions] == ['What; or, "this"?', "Which?"]
    assert [(q.id, q.options, q.answer, q.line) for q in questions] == [
        ("q1", ("x", "y", "z"), 2, 2),
        ("q2", ("x", "y"), 0, 3),
    ]


def test_questions_of_a_jsonl_file(tmp_path):
    records = [
        {"id": 7, "question": "When?", "answer": 1066, "options": [1065, 1066]},
        {"question": "Who?", "answer": "Ditav", "option_1": "Ditav", "option_2": "Vazed", "document": "owls.txt"},
        {"question": "Where?", "answer": "there", "options": None},
    ]
    questions = asked(tmp_path, "\n".join(map(json.dumps, records)), "q.jsonl", options=2)
    assert questions[:2] == [
        UserQuestion("7", "When?", ("1065", "1066"), 1, "", 1, True),
        UserQuestion("q2", "Who?", ("Ditav", "Vazed"), 0, "owls.txt", 2, True),
    ]
    assert not questions[2].own_options and set(questions[2].options) in ({"there", "1066"}, {"there", "Ditav"})


ANSWERS = ["mice", "rats", "voles", "at night", "by day", "in the barn", "mice"]


def without_options(order=range(7)):
    return "id,question,answer\n" + "".join(f"i{k},Question {k}?,{ANSWERS[k]}\n" for k in order)


def test_other_answers_are_false_options_nearest_in_words_whatever_the_order_of_the_file(tmp_path):
    questions = asked(tmp_path, without_options(), options=3)
    assert all(len(set(q.options)) == 3 and not q.own_options for q in questions)
    assert all(q.options[q.answer] == answer for q, answer in zip(questions, ANSWERS, strict=True))
    assert set(questions[0].options) == {"mice", "rats", "voles"}
    assert {"at night", "by day"} < set(questions[3].options)
    backwards = asked(tmp_path, without_options(reversed(range(len(ANSWERS)))), options=3)
    assert [q[:4] for q in reversed(backwards)] == [q[:4] for q in questions]
    assert all(len(q.options) == 6 for q in asked(tmp_path, without_options(), options=99))
    assert len({q.answer for q in asked(tmp_path, without_options(), options=99)}) > 1


def test_false_options_answer_what_is_asked_for(tmp_path):
    text = (
        "question,answer\nHow many lamps are lit?,12 lamps\nWho lit the lamp?,Petra Oskwin\n"
        "How many doors are open?,three\nWho keeps the keys?,Jon Marsh\nHow many keys are lost?,40 keys\n"
        "Which colour is the lamp?,pale green\n"
    )
    lamps, petra, *_ = asked(tmp_path, text, options=3)
    assert set(lamps.options) == {"12 lamps", "40 keys", "three"}
    assert set(petra.options) > {"Petra Oskwin", "Jon Marsh"}


def test_no_false_option_is_another_true_answer_of_the_same_question(tmp_path):
    text = "question,answer\nWho hunts?,Owls\nwho hunts?,hawks\nWho sings?,owls.\nWho swims?,ducks\n"
    first, second, third, fourth = asked(tmp_path, text, options=9)
    assert set(first.options) == {"Owls", "ducks"} and set(second.options) == {"hawks", "ducks"}
    assert set(third.options) == {"owls.", "hawks", "ducks"} and len(fourth.options) == 3


GOOD = "question,answer,options\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"questions.csv: holds no question; write one a line"),
        (GOOD, r"questions.csv: holds no question"),
        ("id,prompt,answer\n", r"line 1: no column 'question', found 'id', 'prompt', 'answer'; begin with a line of"),
        ("\nquestion\n", r"line 2: no column 'answer', found 'question'"),
        ("question,answer,Answer\n", r"line 1: column 'answer' is there twice"),
        ("question,answer,optoins\n", r"line 1: 'optoins' is unknown; rename or remove it; known are id, question"),
        (GOOD + "Who?,,a | b\n", r"line 2: has no answer; give the text of the true option"),
        (GOOD + ",a,a | b\n", r"line 2: has no question"),
        (GOOD + "Who?,c,a | b\n", r"line 2: answer 'c' is none of its options 'a', 'b'; give the text, number or"),
        (GOOD + "Who?,3,x | y\n", r"line 2: answer '3' is none of its options"),
        (GOOD + "Who?,0,x | y\n", r"line 2: answer '0' is none of its options"),
        (GOOD + "Who?,a,a | b |  a\n", r"line 2: option 'a' is given twice"),
        (GOOD + "Who?,a,a |  | b\n", r"line 2: option 2 is empty"),
        (
            GOOD + "Who?,Ann,Ann | ann.\n",
            r"line 2: option 'ann.' is 'Ann' again, but for case, marks or spaces; keep it",
        ),
        (GOOD + 'Who?,"1,000 km","1,000 km | 1000km | 2"\n', r"line 2: option '1000km' is '1,000 km' again"),
        (GOOD + "Who?,caf\u00e9,caf\u00e9 | cafe\u0301 | b\n", r"line 2: option 'cafe\u0301' is 'caf\u00e9' again"),
        (
            GOOD + "Is the owl red?,red,red | blue\n",
            r"line 2: its answer 'red' stands in the question, and no other option",
        ),
        (GOOD + "Who?,a,a\n", r"line 2: has fewer than two options"),
        (GOOD + "Who?,a,a | b,c\n", r"line 2: has 4 fields, but the header has 3; put a text that holds ',' in double"),
        ("question,answer,option_1,option_2,option_3\nWho?,a,a,,b\n", r"line 2: option 2 is empty"),
        ("question,answer,options,option_1\nWho?,a,a | b,c\n", r"line 2: has options both in one place and numbered"),
        ("id,question,answer\nx,Who?,a\ny,Who?,b\n\nx,Who?,c\n", r"line 5: id 'x' is that of line 2 too"),
        ("id,question,answer\nq2,Who?,a\n,Who?,b\n", r"line 3: id 'q2' is that of line 2 too"),
        (
            "question,answer,document\nWho?,a,owl.txt\nWho?,b,\n",
            r"line 2: document 'owl.txt' is not in the folder; name one of owls.txt, sub/hawks.md",
        ),
        ("question,answer\nWho?,a\nWhat?,A.\n", r"line 2: no other question has another answer .*; give it options"),
        (GOOD + 'Who?,a,a | b\nWho?,"a,a | b\nWho?,a,a | b\n', r"line 3: is no CSV \(.*\); close its quotes"),
        (GOOD.encode() + b"Qu\xe9?,a,a | b\n", r"line 2: byte 0xe9 is no UTF-8"),
        (GOOD + "Who?,a\0,a | b\n", r"line 2: holds a NUL byte"),
    ],
)
def test_questions_that_cannot_be_asked_are_refused_with_their_line(tmp_path, text, message):
    with pytest.raises(ParamsError, match=message) as error:
        asked(tmp_path, text)
    assert "questions.csv" in str(error.value)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ("{", r"line 1: is no JSON .*; write one object a line"),
        ("7", r"line 1: holds a int, no JSON object"),
        ('{"answer": "a"}', r"line 1: has no question"),
        ('{"question": true, "answer": "a"}', r"line 1: question = True is no text; write it in quotes"),
        ('{"question": "Who?", "answer": ["a"]}', r"line 1: answer = \['a'\] is no text"),
        ('{"question": "Who?", "answer": "a", "options": {"a": 1}}', r"line 1: options = \{'a': 1\} is no list"),
        ('{"question": "Who?", "answer": "a", "options": ["a", 1.5]}', r"line 1: options = 1.5 is no text"),
        ('{"question": "Who?", "answer": "a", "note": "x"}', r"line 1: 'note' is unknown"),
    ],
)
def test_records_that_cannot_be_asked_are_refused_with_their_line(tmp_path, record, message):
    with pytest.raises(ParamsError, match=message):
        asked(tmp_path, record, "questions.jsonl")


def test_all_problems_come_in_one_message_by_line_and_at_most_twenty(tmp_path):
    text = GOOD + "Who?,,a | b\n,c,a | a\n" + "Who?,a,a\n" * 22
    with pytest.raises(ParamsError) as error:
        asked(tmp_path, text)
    first, *lines = str(error.value).splitlines()
    assert first.endswith("questions.csv: these questions cannot be used")
    assert [line.split(":")[0] for line in lines[:5]] == ["  line 2", *["  line 3"] * 3, "  line 4"]
    assert len(lines) == 21 and lines[-1] == "  ... and 6 more"


def test_a_file_of_questions_that_is_none_is_refused(tmp_path):
    with pytest.raises(ParamsError, match=r"nowhere.csv: no such file"):
        read_questions(tmp_path / "nowhere.csv", (), 4)
    with pytest.raises(ParamsError, match=r"q.xlsx: questions are read from .csv and .jsonl files; convert it"):
        asked(tmp_path, "x", "q.xlsx")
    with put(tmp_path, "q.csv", "").open("r+b") as file:
        file.truncate(51 * 2**20)
    with pytest.raises(ParamsError, match=r"q.csv: has 51 MB"):
        read_questions(tmp_path / "q.csv", (), 4)


def test_a_draft_is_read_back_as_it_was_and_never_written_over(tmp_path):
    text = "id,question,answer,options,document\nx,\"Who, or\n'what'?\",b,,owls.txt\n,Wo?,Mäuse,,\n,When?,3,,\n"
    questions, path = asked(tmp_path, text), tmp_path / "new" / "draft.csv"
    write_questions(path, [q._replace(options=(q.options[q.answer],), answer=0) for q in questions])
    assert [q._replace(line=0) for q in read_questions(path, ["owls.txt"], 4)] == [
        q._replace(line=0) for q in questions
    ]
    before = path.read_bytes()
    assert before.startswith("\ufeffid,question,answer,options,document\nx,".encode())
    with pytest.raises(FileExistsError):
        write_questions(path, questions[:1])
    assert path.read_bytes() == before


def test_a_question_that_is_there_twice_counts_once_and_one_of_two_answers_stays(tmp_path):
    text = (
        GOOD
        + "Who?,a,a | b\nwho,A,B | A\nWho?,b,a | b\nWhich is it?,red,red | blue\nIs it red or blue?,red,red | blue\n"
    )
    assert [(q.question, q.options[q.answer], q.line) for q in asked(tmp_path, text)] == [
        ("Who?", "a", 2), ("Who?", "b", 4), ("Which is it?", "red", 5), ("Is it red or blue?", "red", 6),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "line",
    [
        "Which class has a kettle?,A,A | B | C",
        "Is there no lamp in room 3?,no,yes | no",
        "How long?,2.125 mm,2.125 mm | 2125 mm",
        "How many?,10\u00b3,10\u00b3 | 103",
        "Which mark?,!,! | ? | .",
    ],
)
def test_short_answers_and_unlike_numbers_are_asked(tmp_path, line):
    assert len(asked(tmp_path, f"{GOOD}{line}")) == 1


def test_options_of_which_one_begins_another_are_asked_to_their_end():
    assert ended(("red", "red wine", "blue")) == ("red.", "red wine.", "blue.")
    assert ended(("red", "reddish", "blue")) == ("red", "reddish", "blue")
    assert ended(("Go", "Go!")) == ("Go.", "Go!")


def test_reading_does_not_wait_for_torch():
    code = "import sys, study.documents.questions; print({'torch', 'transformers'} & {*sys.modules} or 'none')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "none"
