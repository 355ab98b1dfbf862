"""A dataset as tables of rows."""

from typing import Any

from study.data.questions import Dataset


def tables_of(dataset: Dataset) -> dict[str, list[dict[str, Any]]]:
    """A dataset as tables of rows.

    Its closure is every fact that holds, with the last rule and the stated facts it rests on; its names are those of a
    file of facts. Without a world there is no closure, and no document states a known fact.
    """
    world = dataset.world
    tables = {
        "documents": [
            {
                "facts": [world.canonical(fact) for fact in document.facts] if world else [],
                "sentences": list(document.sentences),
                "text": document.text,
            }
            for document in dataset.documents
        ],
        "questions": [question._asdict() for question in dataset.questions],
    }
    if world:
        tables["closure"] = [
            {
                **fact._asdict(),
                "rule": derivation.rule,
                "hops": derivation.hops,
                "supports": sorted(world.canonical(support) for support in derivation.supports),
            }
            for fact, derivation in world.closure.items()
        ]
    if world and world.original_names:
        tables["names"] = [{"word": word, "name": name} for word, name in world.original_names.items()]
    return tables
