"""Sources of pronunciations and their order."""

import pytest

from sitok_espnet.errors import SiTokError
from sitok_espnet.evaluate.pronunciations import (
    OWN_PRONUNCIATIONS,
    build_dictionary,
    pronounce_by_rule,
    read_pronunciations,
)

# The 39 phones of the recogniser's acoustic model.
PHONES = set(
    "AA AE AH AO AW AY B CH D DH EH ER EY F G HH IH IY JH K L M N NG OW OY P R S SH T TH UH UW V W Y Z ZH".split()
)


@pytest.fixture
def base(tmp_path):
    path = tmp_path / "base.dict"
    path.write_text("read R EH D\nread(2) R IY D\nreader R IY D ER\npbx B AH G\n")
    return path


def test_sources_in_order(base):
    result = build_dictionary(["read", "dahdi", "pbx", "shrimbot"], base)
    assert result.pronunciations["read"] == ("R EH D", "R IY D")
    assert result.pronunciations["dahdi"] == ("D AA D IY",)
    assert result.pronunciations["pbx"] == ("B AH G",), "the recogniser's own dictionary comes first"
    assert result.by_rule == ("shrimbot",)
    assert result.text().splitlines()[2:4] == ["read R EH D", "read(2) R IY D"]


def test_own_file_is_well_formed():
    lines = [line.split() for line in OWN_PRONUNCIATIONS.read_text(encoding="utf-8").splitlines()]
    entries = [line for line in lines if line and line[0] != "#"]
    words = {word for word, *_ in entries}
    assert {"dahdi", "pbx", "semicolon"} <= words and len(words) >= 25
    assert all(phones and set(phones) <= PHONES for _, *phones in entries)
    assert set(read_pronunciations(OWN_PRONUNCIATIONS, words)) == words


@pytest.mark.parametrize(
    ("word", "phones"),
    [("mgk", "EH M JH IY K EY"), ("shrimp", "SH R IH M P"), ("bake", "B AE K"), ("fuzzy", "F AH Z IY")],
)
def test_rules(word, phones):
    assert pronounce_by_rule(word) == phones


def test_rules_know_their_phones_only():
    for word in ("queueing", "nightly", "xylophone", "tchotchke", "o'clock", "eeee"):
        assert set(pronounce_by_rule(word).split()) <= PHONES


def test_another_script_is_an_error_for_people(base):
    with pytest.raises(SiTokError, match="English"):
        build_dictionary(["\u043f\u0440\u0438\u0432\u0435\u0442"], base)
