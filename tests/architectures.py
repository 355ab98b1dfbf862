"""Every causal language model of transformers, tiny: right, refused, wrong or crashed?

Each architecture of transformers' causal-LM mapping is built from its config class with few and narrow layers, saved as
a user would bring it, and goes through all that a study does with a model: it is loaded, its needs are forecast, its
scores are compared with reading each text whole, its text with greedy decoding of each prompt alone, an adapter and all
weights are trained, and a study of six arms is run. A model that the study refuses says why.
"""

import copy
import os
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, GenerationConfig, PretrainedConfig, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from study.base_model.tokenizer import build_tokenizer
from study.config import ParamsError
from study.lm.attention import positions, window
from study.lm.finetuning import BY_WEIGHT, finetune
from study.lm.generation import generate
from study.lm.loading import attention_of, load
from study.lm.scoring import score_options, tokens_of
from study.params import Finetuning, Params, load_params
from study.paths import PARAMS
from study.runs.forecast import forecast
from study.runs.run import FINISHED
from study.runs.runner import evaluation_runs_of, run
from study.runs.store import Store

SECONDS = 1500  # that one architecture may take
MOST = 4_000_000  # weights of a tiny model
WIDTH, LAYERS, HEADS = 32, 2, 4
# What configurations call their sizes, and how small each becomes; a name that a configuration lacks is left out.
SMALL = {
    **dict.fromkeys(("hidden_size", "d_model", "n_embd", "dim", "embedding_size"), WIDTH),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "num_layers", "n_layers"), LAYERS),
    **dict.fromkeys(("encoder_layers", "decoder_layers"), LAYERS),
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "num_heads"), HEADS),
    **dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), HEADS),
    **dict.fromkeys(("num_key_value_heads", "num_kv_heads"), 2),
    **dict.fromkeys(("intermediate_size", "ffn_dim", "n_inner", "encoder_ffn_dim", "decoder_ffn_dim"), 2 * WIDTH),
    **dict.fromkeys(("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len"), 1024),
    **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts"), 4),
    **dict.fromkeys(("sliding_window", "window_size", "attention_window_size", "attention_chunk_size"), 16),
    **dict.fromkeys(("initializer_range", "init_std"), 0.3),
    **dict.fromkeys(("qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim", "index_head_dim"), WIDTH // HEADS),
    **dict.fromkeys(("q_lora_rank", "kv_lora_rank"), WIDTH // 2),
    **{"linear_head_dim": WIDTH // HEADS, "linear_num_heads": HEADS},
    **dict.fromkeys(("ffn_hidden_size", "shared_expert_intermediate_size"), 2 * WIDTH),
    **dict.fromkeys(("hidden_size_per_layer_input", "laurel_rank", "global_head_dim"), WIDTH // HEADS),
    "expert_ffn_hidden_size": WIDTH,
    "index_n_heads": 2,
    "num_kv_shared_layers": 0,
    "rotary_dim": WIDTH // HEADS,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": WIDTH,
    "head_dim": WIDTH // HEADS,
    "state_size": 8,
    "is_decoder": True,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
# Of some the sizes hang together in their own way.
HEAD = {"head_dim": WIDTH // HEADS}
EXPERTS = {"n_shared_experts": 1, "n_group": 1, "topk_group": 1, "num_experts_per_tok": 2, "first_k_dense_replace": 1}
HYBRID = {"layers_block_type": ["linear_attention", "hybrid"]}
MAMBA = {"mamba_n_heads": 4, "mamba_d_head": 16, "mamba_d_state": 8, "mamba_n_groups": 1, "mamba_chunk_size": 16}
OWN: dict[str, dict[str, object]] = {
    "bamba": MAMBA | {"attn_layer_indices": [1]},
    "granitemoehybrid": MAMBA | {"layer_types": ["mamba", "attention"]},
    **dict.fromkeys(("deepseek_v2", "deepseek_v3", "dots1"), EXPERTS),
    "falcon_h1": MAMBA | {"mamba_d_ssm": 64},
    "gemma3n_text": {"layer_types": ["sliding_attention", "full_attention"], "activation_sparsity_pattern": [0.0, 0.0]},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]]},
    **dict.fromkeys(("hunyuan_v1_dense", "hunyuan_v1_moe", "ministral", "qwen4_exp", "qwen4_exp_text"), HEAD),
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1, "mamba_d_state": 8, "mamba_dt_rank": 4},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"], "num_dense_layers": 1},
    "mamba2": {"num_heads": 4, "head_dim": 16, "n_groups": 1, "chunk_size": 16},
    "nemotron": {"num_key_value_heads": 2},
    "reformer": {"axial_pos_embds_dim": (16, 16), "axial_pos_shape": (32, 32), "attention_head_size": 8},
    "rwkv": {"attention_hidden_size": WIDTH, "context_length": 1024},
    "zaya": {"num_experts_per_tok": 1},
    "zamba": HYBRID | {"n_mamba_heads": 2, "mamba_d_state": 8},
    "zamba2": HYBRID | {"mamba_d_state": 8, "n_mamba_heads": 4, "chunk_size": 16},
}


class Outcome(NamedTuple):
    """What became of an architecture: right, refused, wrong, crashed or not built, and why."""

    name: str
    state: str
    why: str = ""


def small_config(name: str, vocabulary: int) -> PretrainedConfig:
    """The configuration of a tiny model, of the text part where there are several."""
    default = CONFIG_MAPPING[name]().get_text_config()
    known = {**default.to_dict(), **getattr(type(default), "attribute_map", {})}
    sizes = {key: value for key, value in SMALL.items() if known.get(key) is not None or key.endswith("_id")}
    if "kv_lora_rank" in known:
        sizes["num_key_value_heads"] = HEADS
    if "vocab_size_per_layer_input" in known:
        sizes["vocab_size_per_layer_input"] = vocabulary
    kinds = list(dict.fromkeys(getattr(default, "layer_types", None) or ()))
    place = getattr(type(default), "attribute_map", {}).get("layer_types", "layer_types")
    if kinds and getattr(getattr(type(default), place, None), "fset", True):
        sizes["layer_types"] = kinds if len(kinds) > 1 else kinds * LAYERS
        sizes |= {key: len(sizes["layer_types"]) for key in ("num_hidden_layers", "n_layer") if key in sizes}
    own = OWN.get(name) or OWN.get(default.model_type, {})
    return type(default)(**sizes | {"vocab_size": vocabulary} | own)


def small_model(name: str, vocabulary: int) -> PreTrainedModel:
    """A tiny random model of an architecture, with the attention that the study loads it with."""
    config = small_config(name, vocabulary)
    with torch.device("meta"):
        weights = AutoModelForCausalLM.from_config(config).num_parameters()
    if weights > MOST:
        raise ValueError(f"{weights / 1e6:.0f} M weights are not tiny")
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, attn_implementation=attention_of(config)).eval()
    model(input_ids=torch.tensor([[3, 4, 5, 6]]))
    return model


QUESTIONS = [("bafed sees", [" vazed.", " vazed is the teacher of ditav.", " ditav."]), ("vazed", [" sees ditav."])] * 3
SENTENCE = "vazed sees ditav. "
PROMPTS = ["vazed sees ditav. so:", "the teacher of vazed is bafed. as teacher, vazed has bafed. so:", "bafed. so:"]


def whole(model: PreTrainedModel, prefix: list[int], options: Iterable[list[int]], start: int) -> list[float]:
    """The log-probability of each option, its text read whole."""
    scores = []
    for option in options:
        ids = prefix + option
        with torch.no_grad():
            log_probs = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0].double().log_softmax(-1)
        scores.append(sum(float(log_probs[k - 1, ids[k]]) for k in range(len(prefix) + start, len(ids))))
    return scores


def scoring_is_right(model, tokenizer) -> str:
    """Scores against whole texts: without a context, and with one below, at and beyond every window."""
    width, room = window(model), (positions(model) or 1024) - 40
    lengths = {0, 3, 60} | {max(0, (width or 0) + more) for more in (-24, -12, -4, 0, 8, 40)}
    for length in sorted(length for length in lengths if length < room):
        context = (SENTENCE * (length // 4 + 1))[: len(SENTENCE) * length // 6].strip()
        prefix, asked = tokens_of(tokenizer, context, QUESTIONS)
        for question, score in zip(asked, score_options(model, tokenizer, context, QUESTIONS), strict=True):
            expected = torch.tensor(whole(model, prefix, question.options, question.start))
            off = float((torch.tensor(score.log_probs) - expected).abs().max())
            if off > 1e-3:
                return f"scores {off:.2g} off with a context of {len(prefix)} tokens"
    return ""


def generation_is_right(model, tokenizer) -> str:
    """Greedy text, batched and alone, against transformers' own."""
    plain = GenerationConfig(do_sample=False, max_new_tokens=12, pad_token_id=0, eos_token_id=2)
    for lead in ("", SENTENCE * 4):
        prompts, expected = [lead + prompt for prompt in PROMPTS], []
        for prompt in prompts:
            ids = torch.tensor([tokenizer(prompt).input_ids])
            model.generation_config = plain  # some would force tokens at the beginning or the end
            expected.append(tokenizer.decode(model.generate(ids)[0, ids.shape[1] :], skip_special_tokens=True))
        for batch_size in (1, 3):
            if generate(model, tokenizer, prompts, 12, 0.0, seed=0, batch_size=batch_size).texts != expected:
                return f"text of batches of {batch_size} is not greedy"
    return ""


def training_is_right(model, tokenizer) -> str:
    """An adapter of every matrix that a token meets, then all weights; each must learn."""
    encoded = tokenizer([SENTENCE * 3, *PROMPTS]).input_ids
    common = {"learning_rates": [1e-2], "step_tokens": 48, "epochs": 1, "fewest_steps": 3, "lora_rank": 2}
    for method in ("lora", "full"):
        settings = Finetuning.parse({**common, "method": method}, "test")
        tuned, record = finetune(copy.deepcopy(model), tokenizer, encoded, settings, 1e-2, 3, seed=0)
        if method == "lora":
            if left := without_adapter(tuned):
                return f"{len(left)} matrices have no adapter, such as {left[0]}"
        elif record.trained_parameters != (all_of := sum(w.numel() for w in model.parameters() if w.requires_grad)):
            return f"{record.trained_parameters} of {all_of} weights are trained"
    return ""


def without_adapter(tuned: torch.nn.Module) -> list[str]:
    """The linear layers and experts of a model with an adapter that it leaves as they are; mixers use some unread."""
    output, names = tuned.get_output_embeddings(), dict(tuned.named_parameters())
    covered = {name.partition(".lora_")[0] for name in names if ".lora_" in name}
    mixers = [name for name, module in tuned.named_modules() if hasattr(module, "A_log") and hasattr(module, "D")]
    left_out = {f"{mixer}.{layer}" for mixer in mixers for layer in BY_WEIGHT}
    layers = [name for name, part in tuned.named_modules() if isinstance(part, torch.nn.Linear) and part is not output]
    experts = [
        name.rpartition(".")[0]
        for name, weight in names.items()
        if weight.ndim == 3 and min(weight.shape) > 1 and "conv" not in name
    ]
    bare = {name.replace(".base_layer", "") for name in [*layers, *experts] if ".lora_" not in name}
    return sorted(bare - covered - left_out)


ARMS = {
    "base": {},
    "icl": {"context": "documents"},
    "ft": {"train": ["documents"]},
    "ft augmented": {"train": ["documents", "local", "global"]},
    "hybrid": {"train": ["documents", "local", "global"], "context": "documents"},
    "ft full": {"train": ["documents"], "method": "full"},
}


def study_of(folder: Path) -> Params:
    """params/gpu.yaml with few facts, few steps and six arms, in the default type."""
    settings = load_params(PARAMS / "gpu.yaml").plain()
    settings |= {"arms": ARMS, "worlds": {"reversals": {"size": 6, "features": 1}}, "seeds": [0]}
    settings["model"] |= {"name": str(folder), "device": "cpu", "dtype": "float32"}
    settings["finetuning"] |= {"learning_rates": [1e-3], "lora_rank": 2, "step_tokens": 256}
    settings["finetuning"] |= {"epochs": 1, "fewest_steps": 2}
    settings["questions"] |= {"per_split": 6, "options": 4}
    settings["augmentation"] |= {"local_tokens": 8, "global_tokens": 8}
    return Params.parse(settings, "test")


def study_is_right(folder: Path) -> str:
    """A study of six arms, with its forecast."""
    for dtype in ("float32", "bfloat16"):
        settings = study_of(folder).plain()
        settings["model"]["dtype"] = dtype
        study, store = Params.parse(settings, "test"), Store(folder / "runs" / dtype)
        forecast(study, store).refuse_what_cannot_fit()
        if dtype == "bfloat16":
            continue
        rows = run(study, store, say=lambda line: None)
        states = {trial.arm: store.record(trial.key)["status"] for trial in evaluation_runs_of(study, store)}
        if set(rows["arm"]) != set(ARMS) or set(states.values()) != {FINISHED}:
            return f"arms end as {states}"
    return ""


def tried(name: str) -> Outcome:
    """Build an architecture and do with it what a study does."""
    from conftest import one_process

    torch.set_num_threads(1)
    tokenizer = build_tokenizer()
    try:
        model = small_model(name, len(tokenizer))
    except Exception as error:
        return Outcome(name, "not built", f"{type(error).__name__}: {' '.join(str(error).split())[:160]}")
    with tempfile.TemporaryDirectory() as place, one_process():
        folder = Path(place)
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        try:
            model, tokenizer = load(study_of(folder).model)
            checks: list[Callable[[], str]] = [
                lambda: scoring_is_right(model, tokenizer),
                lambda: generation_is_right(model, tokenizer),
                lambda: training_is_right(model, tokenizer),
                lambda: study_is_right(folder),
            ]
            wrong = next(filter(None, (check() for check in checks)), "")
        except ParamsError as error:
            return Outcome(name, "refused", str(error).replace(place, "MODEL"))
        except Exception as error:
            at = traceback.extract_tb(error.__traceback__)
            here = [f"{Path(f.filename).name}:{f.lineno}" for f in at if "study" in f.filename or "tests" in f.filename]
            said = " ".join(str(error).split())[:200]
            return Outcome(name, "crashed", f"{type(error).__name__}: {said} ({' '.join(here[-3:])})")
    return Outcome(name, "wrong" if wrong else "right", wrong)


def outcomes(names: Iterable[str]) -> Iterator[Outcome]:
    """Try each architecture in a process of its own."""
    context = get_context("fork")
    for name in names:
        with context.Pool(1) as pool:
            try:
                yield pool.apply_async(tried, [name]).get(SECONDS)
            except Exception as error:
                yield Outcome(name, "crashed", f"{type(error).__name__} after at most {SECONDS} s")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    import warnings

    import transformers

    warnings.simplefilter("ignore")
    transformers.logging.set_verbosity_error()
    counts: Counter[str] = Counter()
    for outcome in outcomes(sys.argv[1:] or sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)):
        counts[outcome.state] += 1
        print(f"{outcome.state:10} {outcome.name:28} {outcome.why}", flush=True)
    print(", ".join(f"{counts[state]} {state}" for state in ("right", "refused", "wrong", "crashed", "not built")))
