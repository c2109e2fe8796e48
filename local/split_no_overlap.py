"""Split a small corpus so that held-out sentences share no text and no word n-gram with the training set."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping


def ngrams(text: str, order: int = 4) -> set[tuple[str, ...]]:
    """All word n-grams of a text; empty for a text of fewer than `order` words."""
    words = text.split()
    return {tuple(words[i : i + order]) for i in range(len(words) - order + 1)}


def linked_components(texts: Mapping[str, str], order: int = 4) -> list[list[str]]:
    """Group utterances that share a text or a word n-gram, directly or through others (union-find).

    Groups are lists of sorted ids, ordered by their first id.
    """
    parent = {key: key for key in texts}

    def find(key: str) -> str:
        while parent[key] != key:
            parent[key] = parent[parent[key]]
            key = parent[key]
        return key

    first_with: dict[tuple[str, ...], str] = {}
    for key in sorted(texts):
        # The whole text is a feature of its own: texts shorter than `order` words have no n-gram but may be repeated.
        for feature in {("<text>", texts[key]), *ngrams(texts[key], order)}:
            other = first_with.setdefault(feature, key)
            parent[find(key)] = find(other)
    groups: dict[str, list[str]] = {}
    for key in sorted(texts):
        groups.setdefault(find(key), []).append(key)
    return sorted(groups.values())


def split(
    texts: Mapping[str, str],
    sizes: Mapping[str, int],
    rest: str,
    order: int = 4,
    held_out_words: range = range(1, 1000),
    held_out_group: int = 4,
) -> dict[str, list[str]]:
    """Assign whole linked groups to sets in the order of a hash of their texts.

    texts: id -> normalised text. sizes: held-out set -> wanted number of utterances, filled in this order; `rest` is
    the name of the set that takes what remains. To `rest` goes also a group of more than `held_out_group` utterances
    (a large family of similar prompts would crowd out a small set), one that would overshoot the sets being filled, and
    one with a text whose number of words is not in `held_out_words`. Deterministic: it depends on the texts alone, not
    on the order or the names of the files.
    """

    def rank(group: list[str]) -> tuple[str, list[str]]:
        joined = "\n".join(sorted({texts[key] for key in group}))
        return hashlib.sha256(joined.encode("utf-8")).hexdigest(), group

    result: dict[str, list[str]] = {name: [] for name in (*sizes, rest)}
    for group in sorted(linked_components(texts, order), key=rank):
        short = len(group) <= held_out_group
        eligible = short and all(len(texts[key].split()) in held_out_words for key in group)
        for name, wanted in sizes.items():
            if eligible and len(result[name]) + len(group) <= wanted:
                result[name].extend(group)
                break
        else:
            result[rest].extend(group)
    return {name: sorted(keys) for name, keys in result.items()}
