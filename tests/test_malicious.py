"""What somebody made to do harm runs nothing, writes nothing outside the results, and is text wherever it is shown.

Each payload would leave a mark, a file, if it were run.
"""

import json
import pickle
import re
import shutil
import struct
import zlib
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from bs4 import BeautifulSoup
from safetensors.torch import load_file

from study import cli
from study.advice import report_file
from study.config import ParamsError
from study.documents import read
from study.documents.read import read_folder
from study.evidence.verify import runs_listed
from study.lm.framing import framed
from study.lm.generation import generate
from study.lm.loading import load, load_config, load_tokenizer
from study.lm.prompts import prompts_in
from study.pages.page import place_about
from study.params import Model, load_params

HTML = "<script>alert(1)</script><img src=x onerror=alert(1)><a href='javascript:alert(1)'>x</a>"


@pytest.fixture
def mark(tmp_path, monkeypatch) -> Path:
    """The file that a payload would leave; nobody is asked whether to run one."""
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("somebody was asked whether to run code"))
    return tmp_path / "mark"


@pytest.fixture
def folder(model_folder, tmp_path) -> Path:
    """A tiny model that may be spoilt."""
    return Path(shutil.copytree(model_folder, tmp_path / "model"))


def params_of(folder: Path) -> Model:
    return Model(name=str(folder), device="cpu")


def changed(file: Path, **values) -> None:
    """Change some settings in a JSON file."""
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


class Payload:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


# ---- Models ----


def test_a_pickle_is_no_weights(folder, mark):
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"lm_head.weight": Payload(mark)}))
    model, _ = load(params_of(folder))
    assert torch.equal(
        model.get_input_embeddings().weight, load_file(folder / "model.safetensors")["model.embed_tokens.weight"]
    )
    (folder / "model.safetensors").unlink()
    with pytest.raises(ParamsError, match=r"no config.json and safetensors weights there"):
        load(params_of(folder))
    (folder / "model.safetensors").write_bytes(pickle.dumps(Payload(mark)))
    with pytest.raises(ParamsError, match=r"cannot be loaded \(SafetensorError"):
        load(params_of(folder))
    assert not mark.exists()
    pickle.loads(pickle.dumps(Payload(mark)))  # noqa: S301 (it is one that leaves its mark)
    assert mark.exists()


def put(folder: Path, header: dict | bytes, body: bytes, length: int | None = None) -> None:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", length or len(text)) + text + body)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda header, body: (header, body, 2**62), "header too large"),
        (lambda header, body: (header, body, 200_000_000), "header too large"),
        (lambda header, body: (b'{"a":' * 1000, body), "recursion limit exceeded"),
        (lambda header, body: (b"\xff" * 64, body), "invalid UTF-8 in header"),
        (lambda header, body: (header, body[: len(body) // 2]), "file not fully covered"),
        (lambda header, body: (changed_tensor(header, data_offsets=[0, 2**40]), body), "invalid .*offset"),
        (lambda header, body: (changed_tensor(header, data_offsets=[2**63, 2**63 + 8]), body), "offset"),
        (lambda header, body: (changed_tensor(header, dtype="F64"), body), "invalid shape, data type, or offset"),
        (
            lambda header, body: (changed_tensor(header, dtype="PICKLE"), body),
            "invalid JSON in header: unknown variant",
        ),
        (lambda header, body: (changed_tensor(header, shape=[32, 889]), body), "cannot be loaded"),
        (lambda header, body: (renamed_tensor(header), body), r"lack \d weights, such as (lm_head|model\.embed)"),
    ],
)
def test_spoilt_safetensors_are_refused_in_a_sentence(folder, spoil, message):
    data = (folder / "model.safetensors").read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    put(folder, *spoil(json.loads(data[8 : 8 + length]), data[8 + length :]))
    with pytest.raises(ParamsError, match=rf"model\.name = .*{message}"):
        load(params_of(folder))


def changed_tensor(header: dict, **values) -> dict:
    return header | {"model.embed_tokens.weight": header["model.embed_tokens.weight"] | values}


def renamed_tensor(header: dict) -> dict:
    return {("other" if name == "model.embed_tokens.weight" else name): entry for name, entry in header.items()}


def test_code_beside_a_model_is_neither_run_nor_asked_about(folder, mark):
    for name in ("modeling", "configuration", "tokenization"):
        code = f"import pathlib; pathlib.Path({str(mark)!r}).touch()\nclass A: pass\n"
        (folder / f"{name}.py").write_text(code)
    auto = {"AutoConfig": "configuration.A", "AutoModelForCausalLM": "modeling.A"}
    changed(folder / "config.json", auto_map=auto)
    changed(folder / "tokenizer_config.json", auto_map={"AutoTokenizer": ["tokenization.A", "tokenization.A"]})
    load_config(params_of(folder))  # as what it says to be besides, which transformers knows
    for settings in ({}, {"tokenizer_class": "A"}):
        changed(folder / "tokenizer_config.json", **settings)
        with suppress(ParamsError):
            load(params_of(folder))
    changed(folder / "config.json", model_type="unheard of")
    with pytest.raises(ParamsError, match="cannot be loaded .* without code of its own"):
        load(params_of(folder))
    assert not mark.exists()


@pytest.mark.parametrize(
    ("file", "values", "message"),
    [
        (
            "config.json",
            {"_attn_implementation": "evil/kernel"},
            r"_attn_implementation = 'evil/kernel' in config.json",
        ),
        ("config.json", {"experts_implementation": "evil"}, r"experts_implementation = 'evil' in config.json"),
        ("config.json", {"vocab_size": 10**12}, "cannot be loaded"),
        ("config.json", {"hidden_size": -1}, "cannot be loaded"),
        ("config.json", {"eos_token_id": [[1]]}, "cannot be loaded"),
        (
            "adapter_config.json",
            {"base_model_name_or_path": "evil/model"},
            "has adapter_config.json; merge the adapter",
        ),
    ],
)
def test_settings_that_want_something_else_loaded_are_refused(folder, file, values, message):
    (folder / file).touch()
    (folder / file).write_text(json.dumps(json.loads((folder / file).read_text() or "{}") | values))
    with pytest.raises(ParamsError, match=message):
        load(params_of(folder))


def test_no_generation_settings_decide_what_is_written(folder):
    before = generate(*load(params_of(folder)), ["so:"], 4, 0.7, 0, 4).texts
    attack = {
        "custom_generate": "evil/repo",
        "max_length": 1,
        "temperature": -1,
        "bad_words_ids": [[3]],
        "num_beams": 9,
    }
    changed(folder / "generation_config.json", **attack)
    assert generate(*load(params_of(folder)), ["so:"], 4, 0.7, 0, 4).texts == before


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.__class__.__init__.__globals__['os'].system('touch MARK') }}",
        "{{ cycler.__init__.__globals__.os.popen('touch MARK').read() }}",
        "{% for k in range(1000000000) %}x{% endfor %}",
        "{% set x = namespace(n=0) %}{% for a in range(99999) %}{% for b in range(99999) %}{% set x.n = x.n + 1 %}"
        "{% endfor %}{% endfor %}",
        "{{ 'x' * 100000000000 }}",
        "{{ 9 ** (9 ** 9) }}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{% include '/etc/passwd' %}",
        "{{ messages[0].content",
        "{{ raise_exception('no') }}",
    ],
)
def test_a_chat_template_ends_in_an_error_and_never_in_a_command(folder, mark, monkeypatch, template):
    monkeypatch.setattr("study.lm.framing.TEMPLATE_SECONDS", 1)
    tokenizer = load_tokenizer(params_of(folder))
    tokenizer.chat_template = template.replace("MARK", str(mark))
    with pytest.raises(
        ParamsError, match=r"(?s)prompts.style = 'chat': the model's chat template fails \(.*; use plain"
    ):
        framed(tokenizer, "so:", prompts_in("chat", "full"), thinking=False)
    assert not mark.exists()


# ---- Settings ----


def test_yaml_makes_no_objects(tmp_path, mark):
    file = tmp_path / "mine.yaml"
    for tag in ("apply:os.system", "apply:pathlib.Path.touch", "name:os.system", "object/new:os.system"):
        file.write_text(f"model: !!python/object/{tag} [touch {mark}]\n")
        with pytest.raises(ParamsError, match="not valid YAML: could not determine a constructor"):
            load_params(file)
    assert not mark.exists()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["plan", "--study", "../params/default"], "STUDY = '../params/default'"),
        (["reproduce", "--study", "../x"], "STUDY = '../x'"),
        (["status", "--study", "/etc/passwd"], "STUDY = '/etc/passwd'"),
        (["base-model", "--size", "../default"], "SIZE = '../default'"),
        (["base-report", "--size", "../../x"], "SIZE = '../../x'"),
        (["help-nb", "../"], r"NB = '\.\./': no notebook"),
        (["help-nb", "**"], r"NB = '\*\*': no notebook"),
        (["nb", "0[0-9]", "params/smoke.yaml"], r"NB = '0\[0-9\]': no notebook"),
    ],
)
def test_no_name_leads_out_of_its_folder(given, message, capsys):
    assert cli.main(given) == 1
    assert re.search(message, capsys.readouterr().err)


@pytest.mark.parametrize("documents", ["..", "../..", "/", "params/documents/..", ".", "a/../../..", "../../../x"])
def test_results_about_documents_stay_in_the_results(tmp_path, documents):
    place = place_about(tmp_path, "documents", documents)
    assert place.parent == tmp_path / "documents" and place.name not in ("", ".", "..")


def test_a_list_of_trials_names_no_other_folder(tmp_path):
    (tmp_path / "05_compare").mkdir()
    for key in ("../../secret", "/etc", "..", "a/b", "", "x" * 20):
        (tmp_path / "05_compare" / "runs.csv").write_text(f"world,seed,arm,run,status\nw,0,a,{key},finished\n")
        with pytest.raises(ParamsError, match="is no key of a run"):
            runs_listed(tmp_path)


# ---- Documents ----


def test_documents_are_text(tmp_path, mark):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.html").write_text(f"<p>Owls hunt.</p>{HTML}<iframe src='file:///etc/passwd'>in</iframe>")
    (tmp_path / "docs" / "b.md").write_text(
        f"Owls sleep.\n\n{HTML}\n\n[x](javascript:alert(1)) ![y](file:///etc/passwd)"
    )
    text = " ".join(s for passage in read_folder(tmp_path / "docs").passages for s in passage.sentences)
    assert "Owls hunt." in text and "Owls sleep." in text
    assert not re.search(r"<script|onerror|root:", text)


def test_links_out_of_the_folder_are_not_followed(tmp_path):
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "a.txt").symlink_to("/etc/passwd")
    with pytest.raises(ParamsError, match=r"a\.txt: a link that leads out of the folder"):
        read_folder(docs)
    (docs / "a.txt").unlink()
    (docs / "out").symlink_to(tmp_path)
    with pytest.raises(ParamsError, match="out: a link to a folder"):
        read_folder(docs)


def test_odd_file_names_are_names(tmp_path):
    names = ["a\nb.txt", "<b>x.txt", "$(touch mark).txt", "`id`.txt", "a|b.txt", "\u202etxt.txt"]
    for name in names:
        (tmp_path / name).write_text("Owls hunt.")
    assert sorted(passage.file for passage in read_folder(tmp_path).passages) == sorted(names)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)


def bomb(contents: bytes, forms: int = 0) -> bytes:
    """A PDF whose page has compressed contents, and forms of which each draws the next one ten times."""
    box = (
        "/MediaBox[0 0 9 9]/Resources<</Font<</F<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>>>/XObject<</X 5 0 R>>>>"
    )
    objects = [b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Count 1/Kids[3 0 R]>>"]
    objects += [f"<</Type/Page/Parent 2 0 R{box}/Contents 4 0 R>>".encode()]
    for number, stream in enumerate([contents, *[b"BT /F 9 Tf (owl) Tj ET " + b"/X Do " * 10] * forms]):
        form = (
            f"/Type/XObject/Subtype/Form/BBox[0 0 9 9]/Resources<</XObject<</X {number + 5} 0 R>>>>" if number else ""
        )
        packed = zlib.compress(stream)
        head = f"<<{form}/Filter/FlateDecode/Length {len(packed)}>>stream\n".encode()
        objects.append(head + packed + b"\nendstream")
    body = b"".join(b"%d 0 obj" % number + text + b"\nendobj\n" for number, text in enumerate(objects, 1))
    return b"%PDF-1.4\n" + body + b"trailer<</Size %d/Root 1 0 R>>\n%%%%EOF" % (len(objects) + 1)


@pytest.mark.parametrize(("contents", "forms"), [(b" ", 0), (b"/X Do " * 10, 30)], ids=["stream", "forms"])
def test_a_bomb_is_refused_in_time(tmp_path, monkeypatch, contents, forms):
    monkeypatch.setattr(read, "MOST_SECONDS", 3)
    data = bomb(contents if forms else contents * 100_000_000, forms)
    assert len(data) < 10**6
    (tmp_path / "a.pdf").write_bytes(data)
    with pytest.raises(ParamsError, match=r"a\.pdf: (takes more than|cannot be read as PDF|holds no text)"):
        read_folder(tmp_path)


def test_a_page_that_takes_too_long_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(read, "MOST_SECONDS", 0.5)
    (tmp_path / "a.html").write_text("<a " * 200_000)
    with pytest.raises(ParamsError, match=r"a\.html: takes more than 0\.5 seconds to read; split it"):
        read_folder(tmp_path)


# ---- What is shown ----


def live(html: str) -> list[str]:
    """What a browser would run or fetch by itself."""
    found = []
    for tag in BeautifulSoup(html, "html.parser").find_all(True):
        bad = [name for name in tag.attrs if name.startswith("on") or name in ("srcdoc", "formaction")]
        bad += [
            name for name in ("href", "src", "action", "data") if re.match(r"\s*(java|vb)script:", tag.get(name, ""))
        ]
        if tag.name in ("script", "iframe", "object", "embed", "base", "form", "svg", "math", "style") or bad:
            found.append(str(tag)[:80])
    return found


def test_a_report_has_no_script_and_fetches_nothing():
    html = report_file.as_html(f"# {HTML}\n\n{HTML}\n\n[x](javascript:alert(1)) ![y](https://evil.example/z.png)", HTML)
    policy = BeautifulSoup(html, "html.parser").find("meta", attrs={"http-equiv": "Content-Security-Policy"})["content"]
    assert policy == "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    assert [tag for tag in live(html) if not tag.startswith("<style>")] == []
