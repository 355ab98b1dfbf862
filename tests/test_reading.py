"""What real documents hold beside plain sentences is read as it is meant, and what is not read is said."""

import io
import json
import random
import re
import textwrap
import unicodedata
import zipfile
from html import escape

import pytest
from PIL import Image
from pypdf import PdfReader, PdfWriter

from study.config import ParamsError
from study.documents import formats
from study.documents import read as reading
from study.documents.read import LONGEST, Passage, read_folder
from study.documents.text import even, language_of, rejoined, sentences_in
from study.paths import PARAMS, ROOT
from test_intake import pdf, put, read, sentences

SENTENCES = {
    "en": [
        "The U.S. Navy bought it on Jan. 5 at 3 p.m. from Dr. Lind.",
        "See No. 7, p. 12, and Fig. 3.",
        "Is it loud?",
        "No!",
        "It was for J. R. Marsh Ltd. in St. Gallen.",
        "It was built in 1901.[4]",
        'He said "Go."',
        "She left.",
    ],
    "de": ["Er sagte: „Es ist rot.“", "Dann ging er.", "Siehe z. B. Nr. 4 vom 3. Mai.", "Das kostet ca. 5,50 Euro."],
    "fr": ["Elle est arrivée le 1er mai.", "« Où est-il ? » demanda-t-elle.", "Voir p. 12."],
    "es": ["El Sr. López llegó a las tres.", "¿Dónde está?", "¡Aquí!", "Véase la pág. 4."],
    "zh": ["北京是中国的首都。", "它很大。", "下雨了吗？", "没有。"],
    "ja": ["東京は日本の首都です。", "行きますか？", "はい。"],
}


@pytest.mark.parametrize("language", SENTENCES)
def test_sentences_end_as_in_their_language(tmp_path, language):
    text = ("" if language in ("zh", "ja") else " ").join(SENTENCES[language])
    assert sentences(read(tmp_path, "a.txt", text)) == SENTENCES[language]
    (file,) = read_folder(tmp_path).files
    assert file.language == language and file.sentences == len(SENTENCES[language])


def test_short_and_invented_texts_are_read_as_english():
    assert {language_of(text) for text in ("Owls", "", "vazed is more fast than ditav.", "yo 3")} == {"en"}
    assert sentences_in("vazed sees ditav. who? gol.", "en") == ("vazed sees ditav.", "who?", "gol.")


def test_letters_are_made_even_and_nothing_else():
    assert (
        even("ofﬁce ﬂat wa\u00adter\u200b cafe\u0301 \ufeffschÃ¶n fÃ¼r Ã¤ltere")
        == "office flat water café schön für ältere"
    )
    for kept in ("“quoted” 「引用」 ＡＢＣ &lt;b&gt; 3 µm ½ … — naïve", "क्‍ष", "می‌خواهم"):
        assert even(kept) == unicodedata.normalize("NFC", kept)


def test_a_compound_that_shares_a_part_with_another_keeps_its_hyphen():
    text = "A two-\noption question, a two-word one. With or with-\nout it; how-\never over-\nall some-\nthing is out."
    said = "A two-option question, a two-word one. With or without it; however overall something is out."
    assert rejoined(text) == said
    assert rejoined("A two-lane road, and two-\nsome, or twosome.") == "A two-lane road, and twosome, or twosome."


def test_words_cut_by_a_lines_end_are_joined(tmp_path):
    text = "The con-\ncrete is well-\nknown, as all well-known Anglo-\nSaxon work - or\nnot - is."
    assert rejoined(text) == "The concrete is well-known, as all well-known Anglo-Saxon work - or\nnot - is."
    assert sentences(read(tmp_path / "1", "a.txt", text)) == sentences(
        read(tmp_path / "2", "a.pdf", pdf(text.split("\n")))
    )


@pytest.mark.parametrize(
    ("about", "kept"),
    [
        ("---\ntitle: Pumps\ntags: [a, b]\nlist:\n  - c\n\n---\n", False),
        ('+++\ntitle = "Pumps"\n+++\n', False),
        ("---\n\nA line between rules.\n\n---\n", True),
        ("---\n- a\n---\n", True),
        ("---\na: [\n---\n", True),
    ],
)
def test_front_matter_is_not_text(tmp_path, about, kept):
    passages = read(tmp_path, "a.md", f"{about}\n# Pump house\n\nThe pump is red.\n")
    assert passages[-1] == Passage("a.md", "Pump house", ("The pump is red.",))
    assert (len(passages) > 1) == kept


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ("<td><p>The pump is red.</p><p>The gate is blue.</p></td>", [["The pump is red."], ["The gate is blue."]]),
        ("<td>The lamp is red.<br> <br/>It is old.</td>", [["The lamp is red."], ["It is old."]]),
        ("<td><ul><li>Oil the hinge.</li><li>Close it.</li></ul></td>", [["Oil the hinge.", "Close it."]]),
        ("<td><p>a</p><p>b</p><p>c</p></td><td>menu</td>", [["a"], ["b"], ["c"], ["menu"]]),
        ("<td><p>pump</p></td><td><p>red</p></td>", [["pump | red"]]),
        ("<td>pump<br>house</td><td><p>red</p><p>blue</p></td>", [["pump house | red blue"]]),
        ("<th>part</th></tr><tr><td><p>a</p><p>b</p></td>", [["part", "a b"]]),
    ],
)
def test_a_table_with_blocks_in_its_cells_arranges_them_and_others_are_rows(tmp_path, table, expected):
    passages = read(tmp_path, "a.html", f"<table><tr>{table}</tr></table>")
    assert [list(passage.sentences) for passage in passages] == expected


def scanned_pdf(*texts):
    """A PDF with a page for each text, a picture for each None."""
    writer = PdfWriter()
    for text in texts:
        if text is None:
            picture = io.BytesIO()
            Image.new("L", (40, 40), 128).save(picture, "PDF")
            writer.append(PdfReader(picture))
        else:
            writer.append(PdfReader(io.BytesIO(pdf([text]))))
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def test_pages_that_are_pictures_or_in_unknown_letters_are_named(tmp_path):
    put(tmp_path, "a.pdf", scanned_pdf("Owls hunt.", None, None, "Hawks fly."))
    put(tmp_path, "b.pdf", scanned_pdf("Owls sleep.", "\\(cid:12\\)\\(cid:7\\) \\(cid:3\\) a"))
    put(tmp_path, "c.txt", "All of it.")
    reading = read_folder(tmp_path)
    said = [("a.pdf", "Owls hunt."), ("a.pdf", "Hawks fly."), ("b.pdf", "Owls sleep."), ("c.txt", "All of it.")]
    assert [(p.file, *p.sentences) for p in reading.passages] == said
    assert [file.left_out.partition(":")[0] for file in reading.files] == ["page 2, 3 of 4", "page 2 of 2", ""]
    assert "text recognition" in reading.files[0].left_out and "font" in reading.files[1].left_out
    with pytest.raises(ParamsError, match=r"d.pdf: holds no text \(page 1 of 1: pictures with hardly any text; .*OCR"):
        read(tmp_path / "scan", "d.pdf", scanned_pdf(None))


@pytest.mark.parametrize("how", ["RC4-128", "AES-256"])
def test_a_pdf_that_anybody_can_open_is_read(tmp_path, how):
    writer, out = PdfWriter(clone_from=PdfReader(io.BytesIO(pdf(["Owls hunt."])))), io.BytesIO()
    writer.encrypt("", "owner", algorithm=how)
    writer.write(out)
    assert sentences(read(tmp_path, "a.pdf", out.getvalue())) == ["Owls hunt."]


def word(body, **more):
    """A Word file of this body."""
    kinds, schemas = "http://schemas.openxmlformats.org/package/2006", "http://schemas.openxmlformats.org"
    relation = "application/vnd.openxmlformats-package.relationships+xml"
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{kinds}/content-types"><Default Extension="xml" '
        f'ContentType="application/xml"/><Default Extension="rels" ContentType="{relation}"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{kinds}/relationships"><Relationship Id="r1" Target="word/document.xml" '
        f'Type="{schemas}/officeDocument/2006/relationships/officeDocument"/></Relationships>',
        "word/document.xml": f'<w:document xmlns:w="{schemas}/wordprocessingml/2006/main"><w:body>{body}</w:body>'
        "</w:document>",
        **more,
    }
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, text in parts.items():
            packed.writestr(name, text)
    return out.getvalue()


def paragraph(text, style=""):
    styled = f'<w:pPr><w:pStyle w:val="{style}"/></w:pPr>' if style else ""
    return f"<w:p>{styled}<w:r><w:t>{text}</w:t></w:r></w:p>"


def test_a_word_file_is_read_with_its_headings_and_tables(tmp_path):
    cells = "".join(f"<w:tc>{paragraph(text)}</w:tc>" for text in ("pump", "red"))
    body = paragraph("Pump house", "Heading1") + paragraph("The pump is red. It is ofﬁcial.")
    body += f"<w:tbl><w:tr>{cells}</w:tr></w:tbl>" + paragraph("It ends.")
    assert read(tmp_path, "a.docx", word(body)) == [
        Passage("a.docx", "Pump house", ("The pump is red.", "It is official.")),
        Passage("a.docx", "Pump house", ("pump | red",)),
        Passage("a.docx", "Pump house", ("It ends.",)),
    ]


def test_a_hostile_word_file_is_refused(tmp_path, monkeypatch):
    bomb = {"word/bomb.bin": b"\0" * (6 * 2**20)}
    monkeypatch.setattr(formats, "LARGEST_UNPACKED_MB", 5)
    with pytest.raises(ParamsError, match=r"a.docx: unpacks to 6 MB, more than 5 MB; split it"):
        read(tmp_path / "1", "a.docx", word(paragraph("x"), **bomb))
    entities = "".join(f'<!ENTITY e{k + 1} "{f"&e{k};" * 10}">' for k in range(12))
    laughs = f'<!DOCTYPE d [<!ENTITY e0 "ha">{entities}]><d>&e12;</d>'
    with pytest.raises(ParamsError, match=r"a.docx: cannot be read as a Word file"):
        read(tmp_path / "2", "a.docx", word("", **{"word/document.xml": laughs}))


def test_all_problems_of_a_kind_are_said_at_once_endings_before_contents(tmp_path):
    for name, content in (("a.txt", "Fine."), ("b.txt", b"caf\xe9"), ("c.pdf", "none"), ("d.xls", "x"), ("e.odt", "x")):
        put(tmp_path, name, content)
    with pytest.raises(ParamsError) as refused:
        read_folder(tmp_path)
    assert all(f"{name}: files that end in" in str(refused.value) for name in ("d.xls", "e.odt"))
    for name in ("d.xls", "e.odt"):
        (tmp_path / name).unlink()
    with pytest.raises(
        ParamsError, match=r"2 documents cannot be read\n  .*b.txt, line 1: .*\n  .*c.pdf: cannot be read"
    ):
        read_folder(tmp_path)


def test_a_name_in_separate_accents_is_the_same_name(tmp_path):
    put(tmp_path, unicodedata.normalize("NFD", "Größe.txt"), "Owls hunt.")
    assert read_folder(tmp_path).passages[0].file == unicodedata.normalize("NFC", "Größe.txt")


def test_a_long_block_is_cut_between_sentences_and_nothing_is_lost(tmp_path):
    said = [f"Lamp number {k} is red." for k in range(400)]
    passages = read(tmp_path, "a.txt", " ".join(said))
    assert sentences(passages) == said
    assert all(LONGEST / 2 < sum(map(len, p.sentences)) <= LONGEST for p in passages[:-1])
    assert sentences(read(tmp_path / "2", "a.txt", f"Go. {'x' * 4000} end. Stop.")) == [
        "Go.",
        f"{'x' * 4000} end.",
        "Stop.",
    ]


def test_a_file_is_read_once_for_all_processes_and_again_where_it_or_a_reader_changes(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "KEPT", tmp_path / "kept")
    opened = []
    text_file = reading.READERS[".txt"]
    monkeypatch.setitem(reading.READERS, ".txt", lambda path: opened.append(path) or text_file(path))
    for text, more in (("Owls hunt.", 1), ("Owls hunt.", 0), ("Owls hunt. They fly.", 1)):
        reading._file_read.cache_clear()  # as in another process
        before = len(opened)
        found = read(tmp_path / "docs", "a.txt", text)
        assert len(opened) - before == more and sentences(found) == list(sentences_in(text, "en"))
    kept = list((tmp_path / "kept").iterdir())
    assert len(kept) == 2 and all(file.suffix == ".json" for file in kept)
    for file in kept:
        file.write_text("[]")  # damaged
    reading._file_read.cache_clear()
    assert len(read(tmp_path / "docs", "a.txt", "Owls hunt.")) == 1 and len(opened) == 3
    monkeypatch.setattr(reading, "_readers", lambda: "others")
    reading._file_read.cache_clear()
    assert read_folder(tmp_path / "docs").passages and len(opened) == 4


def test_a_spoilt_word_file_is_read_or_refused(tmp_path):
    whole, rng = word(paragraph("Owls hunt.") * 3), random.Random(0)
    for k in range(40):
        spoilt = bytearray(whole[: rng.randrange(len(whole))] if k % 4 == 0 else whole)
        for _ in range(rng.randrange(1, 8)):
            if spoilt:
                spoilt[rng.randrange(len(spoilt))] = rng.randrange(256)
        try:
            read(tmp_path / str(k), "a.docx", bytes(spoilt))
        except ParamsError as error:
            assert "a.docx" in str(error)


@pytest.mark.parametrize("xml", ["<w:document/>", "<a>", "", "<!DOCTYPE a SYSTEM 'file:///etc/passwd'><a/>"])
def test_a_word_file_without_a_document_is_refused(tmp_path, xml):
    with pytest.raises(ParamsError, match=r"a.docx: (cannot be read as a Word file|holds no text)"):
        read(tmp_path, "a.docx", word("", **{"word/document.xml": xml}))


def test_entities_cut_words_and_formulas(tmp_path):
    page = "<p>con&shy;crete of&#xFB01;cial.&#8203; The wa-\nter is self-\ncontained, pre-\nand post-war.</p>"
    said = ["concrete official.", "The water is self-contained, pre- and post-war."]
    assert sentences(read(tmp_path / "1", "a.html", page)) == said
    assert sentences(read(tmp_path / "2", "a.md", page[3:-4])) == said
    formula = '<w:p><m:oMath xmlns:m="http://schemas.openxmlformats.org/officeDocument/2006/math"/></w:p>'
    put(tmp_path / "3", "a.docx", word(paragraph("The force is here.") + formula))
    assert "formulas" in read_folder(tmp_path / "3").files[0].left_out


def test_labels_stay_with_their_values(tmp_path):
    rows = "<tr><td>kettle</td><td><ul><li>64<li>grey<li>3 years</ul></td></tr><tr><td>lamp</td><td>39</td></tr>"
    (passage,) = read(tmp_path, "a.html", f"<table>{rows}</table>")
    assert passage.sentences == ("kettle | 64 grey 3 years", "lamp | 39")


def in_every_format(blocks):
    """The same text, (heading, sentences) by block, as the bytes of a file in each of six formats."""
    said = [(heading, " ".join(sentences)) for heading, sentences in blocks]
    plain = "\n\n".join(part for block in said for part in block if part)
    marked = "\n\n".join(
        "".join(f"## {h}\n\n" if h else "") + re.sub(r"([\\`*_{}\[\]#|<>~-])", r"\\\1", text) for h, text in said
    )
    page = "".join((f"<h2>{escape(h)}</h2>" if h else "") + f"<p>{escape(text)}</p>" for h, text in said)
    body = "".join((paragraph(escape(h), "Heading2") if h else "") + paragraph(escape(text)) for h, text in said)
    records = "\n".join(json.dumps({"title": h, "text": text}) for h, text in said)
    lines = [
        re.sub(r"([\\()])", r"\\\1", line)
        for _, text in said
        for line in (*textwrap.wrap(text, 80, break_on_hyphens=False), "")
    ]
    sheets = [lines[at : at + 45] for at in range(0, len(lines), 45)]
    return {"txt": plain, "md": marked, "html": page, "docx": word(body), "jsonl": records, "pdf": pdf(*sheets)}


HANDBOOK, TEMPLATES = PARAMS / "documents" / "handbook", PARAMS / "documents" / "templates"
TEXTS, PAGES = [*HANDBOOK.iterdir(), *TEMPLATES.glob("*/documents/*")], [*ROOT.glob("docs/*.md")]


@pytest.mark.parametrize("path", TEXTS + PAGES, ids=lambda path: path.name)
def test_a_document_says_the_same_in_every_format(tmp_path, path):
    """Sentence by sentence; word for word in pages with tables and code, which have none."""
    put(tmp_path / "own", path.name, path.read_bytes())
    blocks = [(p.heading, p.sentences) for p in read_folder(tmp_path / "own").passages]
    said, headings = [sentence for _, some in blocks for sentence in some], {heading for heading, _ in blocks}
    for ending, content in in_every_format(blocks).items():
        put(tmp_path / ending, f"a.{ending}", content)
        passages = read_folder(tmp_path / ending).passages
        found = [sentence for sentence in sentences(passages) if sentence not in headings]
        if path in PAGES:
            found, said = (re.findall(r"\w+", " ".join(some)) for some in (found, said))
        assert found == said, ending
        assert not read_folder(tmp_path / ending).files[0].left_out
