"""Hub models and public data, fetched from a server of this test's own."""

import hashlib
import json
import shutil
import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

import pytest
import torch
from huggingface_hub import constants

from study.cli import main
from study.config import ParamsError
from study.data import public as public_data
from study.data.public import PublicData, public_folder
from study.lm import fetch as fetching
from study.lm import hub
from study.lm.fetch import HEADER, ensure, fetch, fetch_data
from study.lm.loading import load, skeleton
from study.lm.tokens import count_tokens
from study.params import Model

NAME = "owner/tiny"
FIRST, SECOND = "1" * 40, "e" * 40
DECOYS = ("pytorch_model.bin", "consolidated.safetensors", "modeling_x.py", "original/params.json", "README.md")
quiet = partial(fetch, say=lambda line: None)


def sha256(contents: bytes) -> str:
    return hashlib.sha256(contents).hexdigest()


class Hub(BaseHTTPRequestHandler):
    """What the hub's client asks of the hub: a repository's files, then each file; anything else is a plain file."""

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def answer(self, body):
        path = unquote(self.path).split("?")[0].strip("/").split("/")
        self.server.asked.append("/".join(path))
        if path[:2] == ["api", "models"]:
            commit = self.server.commit_of(path[5] if path[4:5] == ["revision"] else "main")
            return self.send(json.dumps(self.server.info(commit)).encode() if commit else None, {}, body)
        if path[2:3] == ["resolve"]:
            contents = self.server.commits.get(path[3], {}).get("/".join(path[4:]))
            etag = {"ETag": f'"{sha256(contents)}"', "X-Repo-Commit": path[3]} if contents is not None else {}
            return self.send(contents, etag, body)
        return self.send(self.server.plain.get("/".join(path)), {}, body)

    def send(self, contents, headers, body):
        self.send_response(self.server.refusal or (404 if contents is None else 200))
        if self.server.refusal == 403:
            self.send_header("X-Error-Code", "GatedRepo")
        for key, value in {**headers, "Content-Length": str(len(contents or b""))}.items():
            self.send_header(key, value)
        self.end_headers()
        if body and contents:
            self.wfile.write(contents)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    def __init__(self):
        super().__init__(("127.0.0.1", 0), Hub)
        self.commits, self.plain, self.asked, self.lfs, self.refusal = {}, {}, [], {}, None

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"

    def commit_of(self, revision):
        newest = list(self.commits)[-1] if revision == "main" else revision
        return newest if newest in self.commits else None

    def info(self, commit):
        siblings = [self.sibling(file, contents) for file, contents in self.commits[commit].items()]
        return {"id": NAME, "sha": commit, "siblings": siblings}

    def sibling(self, file, contents):
        found = {"rfilename": file, "size": len(contents)}
        if file.endswith(".safetensors"):
            digest = self.lfs.get(file, sha256(contents))
            found["lfs"] = {"sha256": digest, "size": len(contents), "pointerSize": 134}
        return found


@pytest.fixture
def server():
    server = Server()
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def tiny(server, model_folder, tmp_path, monkeypatch):
    """The server with a tiny model on it, as the hub; the cache and the lock file are of this test."""
    files = {path.name: path.read_bytes() for path in model_folder.iterdir()}
    server.commits[FIRST] = {**files, **dict.fromkeys(DECOYS, b"decoy")}
    monkeypatch.setattr(constants, "ENDPOINT", server.url)
    template = "{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", f"{server.url}/{template}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    for module in (hub, fetching):
        monkeypatch.setattr(module, "LOCK", tmp_path / "models.lock.yaml")
    return server


def snapshot(tmp_path, commit=FIRST):
    return tmp_path / "cache" / "models--owner--tiny" / "snapshots" / commit


def offline(monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


def test_the_lock_file_records_commit_hashes_and_sizes(tiny, model_folder):
    quiet(NAME)
    pin = hub.read_pins()[NAME]
    assert pin.revision == FIRST
    for file, entry in pin.files.items():
        contents = (model_folder / file).read_bytes()
        assert (entry.sha256, entry.bytes) == (sha256(contents), len(contents))
    before = hub.LOCK.read_text()
    quiet(NAME)
    assert hub.LOCK.read_text() == before and before.startswith(HEADER)


def test_only_what_is_loaded_is_fetched(tiny, tmp_path, model_folder):
    quiet(NAME)
    names = {path.name for path in model_folder.iterdir()}
    assert {path.name for path in snapshot(tmp_path).iterdir()} == names == set(hub.read_pins()[NAME].files)
    assert not [path for path in tiny.asked if path.endswith(DECOYS)]


def test_of_a_split_model_the_parts_in_the_index_are_fetched(tiny):
    files = tiny.commits[FIRST]
    weights, part = files.pop("model.safetensors"), "model-00001-of-00001.safetensors"
    files[part] = weights
    files["model.safetensors.index.json"] = json.dumps({"metadata": {}, "weight_map": {"a": part, "b": part}}).encode()
    quiet(NAME)
    recorded = hub.read_pins()[NAME].files
    assert recorded[part].sha256 == sha256(weights) and "model.safetensors.index.json" in recorded
    assert "consolidated.safetensors" not in recorded


def test_the_identity_from_the_lock_file_is_that_of_the_folder_and_needs_no_files(tiny, tmp_path, params):
    quiet(NAME)
    here = hub.identity(Model(name=str(snapshot(tmp_path))))
    shutil.rmtree(tmp_path / "cache")
    assert hub.identity(Model(name=NAME)) == here == hub.identity(params.model)


def test_a_fetched_model_is_loaded_without_a_network(tiny, monkeypatch, model_folder):
    quiet(NAME)
    offline(monkeypatch)
    tiny.asked.clear()
    model, tokenizer = load(Model(name=NAME, revision=FIRST, device="cpu"))
    other, _ = load(Model(name=str(model_folder), device="cpu"))
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(model.parameters(), other.parameters(), strict=True))
    assert count_tokens(Model(name=NAME), ["a"]) == [len(tokenizer("a", add_special_tokens=False).input_ids)]
    assert not tiny.asked


def test_a_changed_weight_file_is_refused_by_name(tiny, tmp_path):
    quiet(NAME)
    blob = (snapshot(tmp_path) / "model.safetensors").resolve()
    blob.write_bytes(blob.read_bytes()[:-1] + b"\0")
    for use in (lambda: hub.verified_folder(Model(name=NAME)), lambda: quiet(NAME)):
        with pytest.raises(ParamsError, match=r"model.safetensors has SHA-256 \w{64}, .* records .*not the weights of"):
            use()
    blob.unlink()
    quiet(NAME)
    assert hub.verified_folder(Model(name=NAME))


def test_other_files_at_the_same_commit_are_refused(tiny, tmp_path):
    quiet(NAME)
    before = hub.LOCK.read_text()
    shutil.rmtree(tmp_path / "cache")
    tiny.commits[FIRST]["config.json"] += b" "
    with pytest.raises(ParamsError, match=r"config.json has SHA-256 .*not the weights of the study"):
        quiet(NAME)
    assert hub.LOCK.read_text() == before


def test_bytes_other_than_the_hub_says_are_refused(tiny):
    tiny.lfs["model.safetensors"] = "0" * 64
    with pytest.raises(ParamsError, match=rf"model.safetensors has SHA-256 \w+, the hub says {'0' * 64}; remove"):
        quiet(NAME)
    assert not hub.LOCK.exists()


def test_a_pin_stays_until_a_revision_moves_it(tiny, model_folder):
    quiet(NAME)
    first = hub.identity(Model(name=NAME))
    tiny.commits[SECOND] = {**tiny.commits[FIRST], "generation_config.json": b'{"_from_model_config": true}'}
    quiet(NAME)
    assert hub.read_pins()[NAME].revision == FIRST
    lines = []
    fetch(NAME, "main", say=lines.append)
    assert f"{NAME}: the pin moves from {FIRST} to {SECOND}" in lines
    assert hub.read_pins()[NAME].revision == SECOND and hub.identity(Model(name=NAME)) != first
    with pytest.raises(ParamsError, match=rf"model.revision = '{FIRST}': .* at '{SECOND}'; leave revision out, or"):
        hub.model_folder(Model(name=NAME, revision=FIRST))


def test_a_model_without_a_pin_is_refused_with_the_remedy(tiny):
    for use in (hub.model_folder, hub.identity, ensure):
        with pytest.raises(ParamsError, match=r"model.name = 'owner/tiny': neither .*make fetch MODEL=owner/tiny`"):
            use(Model(name=NAME))
    assert not tiny.asked


def test_a_pinned_model_that_is_not_here_is_fetched_by_ensure_alone(tiny, tmp_path, monkeypatch, capsys):
    hub.LOCK.write_text(f'{NAME}: {{revision: "{FIRST}"}}\n')
    tiny.commits[SECOND] = {}
    with pytest.raises(ParamsError, match=r"not all files of revision '1+' are here; .*make fetch MODEL=owner/tiny"):
        hub.identity(Model(name=NAME))
    ensure(Model(name=NAME))
    assert NAME in capsys.readouterr().out
    shutil.rmtree(tmp_path / "cache")
    tiny.asked.clear()
    ensure(Model(name=NAME), weights=False)
    ensure(Model(name="bundled"))
    assert tiny.asked and not [asked for asked in tiny.asked if "safetensors" in str(asked)]
    assert skeleton(Model(name=NAME)).num_parameters() > 0 and count_tokens(Model(name=NAME), ["vazed"]) == [2]
    with pytest.raises(ParamsError, match="not all files"):
        hub.model_folder(Model(name=NAME))
    ensure(Model(name=NAME))
    (snapshot(tmp_path) / "tokenizer.json").unlink()
    offline(monkeypatch)
    with pytest.raises(ParamsError, match=r"MODEL = 'owner/tiny': HF_HUB_OFFLINE is set, .*unset it"):
        ensure(Model(name=NAME))


def test_pickled_weights_are_refused(tiny):
    del tiny.commits[FIRST]["model.safetensors"]
    with pytest.raises(ParamsError, match=r"pickled weights \(.bin, .pt\) are not taken, for they can run any code"):
        quiet(NAME)
    assert not any("resolve" in path for path in tiny.asked)


def test_a_full_disk_is_refused_before_the_download(tiny, monkeypatch):
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(ParamsError, match=r"MODEL = 'owner/tiny': [\d.]+ .B are needed in .*, 1.0 kB are free; make"):
        quiet(NAME)
    assert not any("resolve" in path for path in tiny.asked)


@pytest.mark.parametrize("refusal", [403, 404])
def test_what_the_hub_refuses_says_what_to_check(tiny, refusal):
    tiny.refusal = refusal
    with pytest.raises(ParamsError, match=r"REVISION = 'main': the hub did not give it .*gated .*HF_TOKEN"):
        quiet(NAME)


def test_the_shipped_pins_are_written_as_they_are(tmp_path, monkeypatch):
    pins, text = hub.read_pins(), hub.LOCK.read_text()
    assert {"Qwen/Qwen3-1.7B", "Qwen/Qwen3-8B"} <= set(pins)
    monkeypatch.setattr(fetching, "LOCK", tmp_path / "models.lock.yaml")
    fetching._write_pins(pins)
    assert fetching.LOCK.read_text() == text
    assert list(tmp_path.iterdir()) == [fetching.LOCK]


def test_a_broken_pin_is_named(tiny):
    hub.LOCK.write_text(f"{NAME}: {{revision: main}}\n")
    with pytest.raises(ParamsError, match=r"models.lock.yaml, owner/tiny: .*\n  revision = 'main'"):
        hub.model_folder(Model(name=NAME))


@pytest.fixture
def public(server, tmp_path, monkeypatch):
    """Two files of public data on the server."""
    files = {"a.jsonl": b"one\n", "b.jsonl": b"two\n"}
    data = PublicData("owner/data", FIRST, "some/folder", {file: sha256(text) for file, text in files.items()})
    server.plain = {f"owner/data/{FIRST}/some/folder/{file}": text for file, text in files.items()}
    monkeypatch.setattr(public_data, "FETCHED", tmp_path / "data")
    monkeypatch.setitem(public_data.PUBLIC_DATA, "pair", data)
    return server


def test_public_data_is_fetched_as_it_was_published(public):
    with pytest.raises(ParamsError, match=r"no .*a.jsonl; fetch the files with `make fetch DATA=pair`"):
        public_folder("pair")
    fetch_data("pair", public.url, say=lambda line: None)
    assert {path.name: path.read_bytes() for path in public_folder("pair").iterdir()} == {
        "a.jsonl": b"one\n",
        "b.jsonl": b"two\n",
    }
    (public_folder("pair") / "b.jsonl").write_bytes(b"two!")
    with pytest.raises(ParamsError, match="b.jsonl is not as it was published; fetch it again"):
        public_folder("pair")


@pytest.mark.parametrize(
    ("text", "message"), [(b"tow\n", r"b.jsonl has SHA-256 .* nothing is kept"), (None, r"b.jsonl: .*404.*try again")]
)
def test_of_wrong_public_data_nothing_is_left(public, text, message):
    public.plain[f"owner/data/{FIRST}/some/folder/b.jsonl"] = text
    with pytest.raises(ParamsError, match=message):
        fetch_data("pair", public.url, say=lambda line: None)
    assert not public_data.FETCHED.exists()


def test_the_verb_fetch_needs_a_name(capsys):
    assert main(["fetch"]) == 1 and "neither MODEL nor DATA is given" in capsys.readouterr().err
    assert main(["fetch", "--data", "moon"]) == 1
    assert "DATA = 'moon': no such dataset; there are: reversal_curse" in capsys.readouterr().err
