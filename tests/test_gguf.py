"""Models in one GGUF file: found by hash, whole or in parts, unpacked once, and refused where something is wrong."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from gguf import GGUFWriter
from huggingface_hub import constants

from study.config import ParamsError
from study.lm import fetch, hub
from study.lm.gguf import pieces_in
from study.lm.loading import load
from study.lm.prompt_style import speaks
from study.lm.prompts import PLAIN
from study.params import Model
from tests.conftest import english_tokenizer

NAME, FILE = "owner/tiny-GGUF", "tiny.gguf"
WIDTH, LAYERS = 32, 2


def write_gguf(path: Path, architecture: str = "llama", without: str = "") -> dict[str, np.ndarray]:
    """Write a tiny model with a tokenizer of bytes; returns its weights by their names in the file."""
    tokenizer = english_tokenizer()
    vocabulary = tokenizer.get_vocab()
    tokens = sorted(vocabulary, key=vocabulary.__getitem__)
    merges = [" ".join(pair) for pair in json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]]
    writer = GGUFWriter(path, architecture)
    writer.add_block_count(LAYERS)
    writer.add_context_length(256)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(48)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // 4)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_merges(merges)
    writer.add_token_types([1] * len(tokens))
    writer.add_eos_token_id(vocabulary["</s>"])
    shapes = {
        "token_embd.weight": (len(tokens), WIDTH),
        "output_norm.weight": (WIDTH,),
        "output.weight": (len(tokens), WIDTH),
    }
    for k in range(LAYERS):
        shapes |= {
            f"blk.{k}.attn_norm.weight": (WIDTH,),
            f"blk.{k}.ffn_norm.weight": (WIDTH,),
            f"blk.{k}.attn_q.weight": (WIDTH, WIDTH),
            f"blk.{k}.attn_k.weight": (WIDTH // 2, WIDTH),
            f"blk.{k}.attn_v.weight": (WIDTH // 2, WIDTH),
            f"blk.{k}.attn_output.weight": (WIDTH, WIDTH),
            f"blk.{k}.ffn_gate.weight": (48, WIDTH),
            f"blk.{k}.ffn_up.weight": (48, WIDTH),
            f"blk.{k}.ffn_down.weight": (WIDTH, 48),
        }
    rng = np.random.default_rng(0)
    weights = {name: rng.normal(0, 0.1, shape).astype(np.float32) for name, shape in shapes.items() if name != without}
    for name, array in weights.items():
        writer.add_tensor(name, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return weights


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> tuple[Path, dict[str, np.ndarray]]:
    """A folder with the tiny file, and its weights."""
    folder = tmp_path_factory.mktemp("gguf")
    return folder, write_gguf(folder / FILE)


def recorded(path: Path) -> hub.File:
    """What the lock file says of a file."""
    return hub.File(sha256=hashlib.sha256(path.read_bytes()).hexdigest(), bytes=path.stat().st_size)


@pytest.fixture
def pinned(written, tmp_path, monkeypatch) -> Model:
    """The tiny file in a lock file of its own, and an empty cache."""
    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path / "home"))
    for module in (hub, fetch):
        monkeypatch.setattr(module, "LOCK", tmp_path / "lock.yaml")
    fetch._write_pins({NAME: hub.Pin(files={FILE: recorded(written[0] / FILE)})})
    return Model(name=NAME, file=FILE, device="cpu")


def quiet(model: Model, weights: Path | None = None) -> list[str]:
    said: list[str] = []
    fetch.fetch_gguf(model, weights, said.append)
    return said


def test_the_weights_are_those_of_the_file(pinned, written):
    with pytest.raises(ParamsError, match=rf"not unpacked here yet; `make fetch MODEL={NAME} FILE={FILE}`"):
        load(pinned)
    said = quiet(pinned, written[0])
    assert any("unpacking" in line for line in said) and hub.verified_folder(pinned).is_dir()
    assert speaks(pinned) == PLAIN
    model, tokenizer = load(pinned)
    found = model.get_output_embeddings().weight.detach().numpy()
    np.testing.assert_allclose(found, written[1]["output.weight"], atol=2e-3)  # of bfloat16
    assert tokenizer.decode(tokenizer("Ada Moor is known.").input_ids) == "Ada Moor is known."
    assert not any("unpacking" in line for line in quiet(pinned, written[0]))  # once


def test_a_file_in_parts_is_joined(pinned, written, tmp_path):
    contents, folder = (written[0] / FILE).read_bytes(), tmp_path / "parts"
    folder.mkdir()
    cut = [0, 1000, 5000, len(contents)]
    for k in range(3):  # ten comes after two, whatever the alphabet says
        (folder / f"part{(2, 9, 10)[k]}.bin").write_bytes(contents[cut[k] : cut[k + 1]])
    (folder / "README.md").write_text("not a part")
    pieces = pieces_in(folder, FILE, recorded(written[0] / FILE))
    assert [piece.name for piece in pieces] == ["part2.bin", "part9.bin", "part10.bin"]
    quiet(pinned, folder)
    assert load(pinned)[0].num_parameters() > 0
    assert [path.name for path in hub.unpacked_folder("x").parent.iterdir()] == [hub.gguf_sha256(pinned)]  # no remains


def test_a_file_with_another_hash_is_refused(pinned, written, tmp_path):
    other = bytearray((written[0] / FILE).read_bytes())
    other[-1] ^= 1
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / FILE).write_bytes(other)
    with pytest.raises(ParamsError, match=rf"{FILE} is as long, but has SHA-256"):
        quiet(pinned, tmp_path / "other")
    with pytest.raises(ParamsError, match="no such folder"):
        quiet(pinned, tmp_path / "nowhere")


def test_what_was_changed_after_unpacking_is_refused(pinned, written):
    quiet(pinned, written[0])
    file = hub.model_folder(pinned) / "config.json"
    file.write_text(file.read_text().replace("256", "255"))
    with pytest.raises(ParamsError, match=r"config\.json was changed since it was unpacked; remove"):
        hub.verified_folder(pinned)


def test_a_file_that_cannot_be_used_leaves_nothing(pinned, written, tmp_path):
    folder = tmp_path / "bad"
    folder.mkdir()
    write_gguf(folder / "lacking.gguf", without="blk.1.ffn_up.weight")
    write_gguf(folder / "unknown.gguf", architecture="perceptron")
    (folder / "torn.gguf").write_bytes((written[0] / FILE).read_bytes()[:3000])
    wrong = {"lacking.gguf": "lacks 1 weights", "unknown.gguf": "cannot be loaded", "torn.gguf": "no GGUF file"}
    for name, message in wrong.items():
        with pytest.raises(ParamsError, match=rf"FILE = '{name}': {message}"):
            quiet(Model(name=str(folder), file=name))
    cache = hub.unpacked_folder("x").parent
    assert not cache.exists() or not any(cache.iterdir())


def test_disk_is_asked_first(pinned, written, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 9, 1))
    with pytest.raises(ParamsError, match=r"unpacking takes .* GB are free; make room, or set HF_HOME"):
        quiet(pinned, written[0])


def test_identity_is_of_the_file_not_of_where_it_lies(pinned, written, tmp_path):
    copy = shutil.copytree(written[0], tmp_path / "copy")
    assert hub.identity(Model(name=str(copy), file=FILE)) == hub.identity(pinned)
    with pytest.raises(ParamsError, match=r"model\.file = 'other\.gguf': .*records no such file of"):
        hub.identity(Model(name=NAME, file="other.gguf"))
    for use in (lambda: hub.identity(Model(name=NAME)), lambda: fetch.fetch(NAME)):
        with pytest.raises(ParamsError, match=rf"its weights are in GGUF files; add model\.file, one of: {FILE}"):
            use()
    with pytest.raises(ParamsError, match="leave it out for 'bundled'"):
        Model.parse({"file": FILE}, "test")


def test_nothing_is_trusted_that_is_not_pinned(pinned, written):
    with pytest.raises(ParamsError, match="records no other.gguf .* nothing tells whether a file is the right one"):
        quiet(Model(name=NAME, file="other.gguf"), written[0])
