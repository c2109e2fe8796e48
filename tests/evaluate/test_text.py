"""One normalisation for reference and hypothesis."""

from sitok_espnet.evaluate.text import normalize_characters, normalize_words


def test_words():
    assert (
        normalize_words("Waldo\u2019s  *PBX*, semi-colon; press 10!") == "waldo's pbx semi colon press one zero".split()
    )
    assert normalize_words("'quoted' o'clock rock 'n' roll's'") == "quoted o'clock rock n roll's".split()
    assert normalize_words("\u00dcBER \u043f\u0440\u0438\u0432\u0435\u0442") == [
        "\u00fcber",
        "\u043f\u0440\u0438\u0432\u0435\u0442",
    ]
    assert normalize_words(" ... ") == []


def test_characters_count_single_spaces():
    assert normalize_characters("To,  be!") == ["t", "o", " ", "b", "e"]


def test_normalisation_is_idempotent():
    once = normalize_words("It's 5 o'clock -- \uff21\uff22")
    assert normalize_words(" ".join(once)) == once
