"""Files in Berglund et al.'s format, written here: their own are for whoever fetches them."""

import json

NAMES = [
    f"{first} {last}" for first in ("Ada", "Bo", "Cleo", "Dan", "Eve", "Finn") for last in ("Moor", "Lind", "Tarn")
]
THINGS = [(role, thing) for role in ("painter", "singer") for thing in ("Song", "Light", "Bell")]
WORKS = [f'the noted {role} of "{thing} of {place}."' for role, thing in THINGS for place in ("Rain", "Stone", "Glass")]
FIRST = ("{n}, known for being", "Everyone knows {n}, who is", "Did you hear that {n} was once")
LAST = ("Known for being {d},", "This was made by {d}, who is called", "Q: Who is {d}? A:")
LAST_ENDS = (" {n} lives quietly.", " {n}", " {n}.")
HELD_OUT_FIRST = ("The one called {n} became", "In the end {n} was")
HELD_OUT_LAST = ("Behind {d} stands", "The name of {d} is")


def write(folder, name, lines):
    rows = [json.dumps({"prompt": prompt, "completion": completion}) for prompt, completion in lines]
    (folder / f"{name}.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")


def write_files(folder):
    """Six people of each group, three templates each way, two held out; with the defects of the published files."""
    people = list(zip(NAMES, WORKS, strict=True))
    first, last, both = people[:6], people[6:12], people[12:]

    def to_description(group, templates):
        ends = [lambda d: f" {d}.", lambda d: f' {d[:-2]}"??', lambda d: f" {d}."]
        return [(t.format(n=n), end(d)) for n, d in group for t, end in zip(templates, ends, strict=False)]

    def to_name(group, templates, ends):
        return [(t.format(d=d), e.format(n=n)) for n, d in group for t, e in zip(templates, ends, strict=True)]

    write(folder, "p2d_prompts_train", to_description(first, FIRST))
    write(folder, "d2p_prompts_train", to_name(last, LAST, LAST_ENDS))
    write(folder, "both_prompts_train", to_description(both, FIRST) + to_name(both, LAST, LAST_ENDS))
    write(folder, "p2d_prompts_test", to_description(first, HELD_OUT_FIRST))
    write(folder, "d2p_prompts_test", to_name(last, HELD_OUT_LAST, (" {n}",) * 2))
    write(folder, "p2d_reverse_prompts_test", to_name(first, HELD_OUT_LAST, (" {n}",) * 2))
    write(folder, "d2p_reverse_prompts_test", to_description(last, HELD_OUT_FIRST))
    return folder
