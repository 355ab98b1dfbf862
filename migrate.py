"""Rename the published runs: from keys of source to keys of what is declared, from old labels to new. Nothing is recomputed.

python migrate.py OLD_TRIALS OLD_PLAN STUDY NEW_RUNS
"""
import json, re, sys, shutil
from pathlib import Path
import pandas as pd
from study.params import load_params
from study.paths import PARAMS
from study.runs.store import Store, content_hash
from study.runs.runner import waves_of

old, plan, study, new = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], Path(sys.argv[4])
LABELS = {"trained direction": "as stated"}
def label(text): return re.sub(r"\b(icl|ft|ft augmented) elsewhere\b", r"\1 retention", text)
lines = [re.match(r"  (\w+) +([0-9a-f]{20})  (.*)", l).groups() for l in plan.read_text().splitlines() if re.match(r"  \w+ +[0-9a-f]{20}  ", l)]
params, store = load_params(PARAMS / f"{study}.yaml"), Store(new)
keys = {}
k = 0
for part in (params, *params.other_models):
    for wave in waves_of(part, store):
        for run in wave:
            state, was, name = lines[k]; k += 1
            assert label(name) == run.label, (name, run.label)
            if run.key in keys:
                assert keys[run.key] == was, (run.label, was, keys[run.key]); continue
            keys[run.key] = was
            rows = pd.read_parquet(old / was / "rows.parquet")
            record = json.loads((old / was / "record.json").read_text())
            rows = rows.rename(columns={"elsewhere": "retention"})
            if "split" in rows: rows["split"] = rows["split"].replace(LABELS)
            if "arm" in rows: rows["arm"] = [label(a) for a in rows["arm"]]
            if "params_sha256" in rows: rows["params_sha256"] = content_hash(run.params.plain())
            source = record["recipe"].get("code", "")
            record = {n: v for n, v in record.items() if n not in ("recipe", "params", "versions", "label", "rows_sha256", "sharding")}
            if "arm" in record: record["arm"] = label(record["arm"])
            if "curve" in record: record["curve"] = [{LABELS.get(n, n): v for n, v in look.items()} for look in record["curve"]]
            old_record = json.loads((old / was / "record.json").read_text())
            record |= {"label": run.label, "recipe": run.recipe, "params": run.params.plain(), "libraries": old_record["versions"], "source": {"commit": "", "sha256": source}, "renamed_from": was}
            store.write(run.key, rows, record, run.name)
assert k == len(lines), (k, len(lines))
left = {p.name for p in old.iterdir() if p.is_dir()} - set(keys.values())
print(len(keys), "runs renamed;", len(lines), "lines;", len(left), "not in the plan", list(left)[:3])
Path("/tmp").joinpath(f"keys_{study}.json").write_text(json.dumps(keys, indent=1))
