"""LibriSpeech: SET/SPEAKER/CHAPTER/SPEAKER-CHAPTER-NNNN.flac, with the transcripts of a chapter in one file.

Read by the tokenizer recipe and by the probe recipe.
"""

from __future__ import annotations

from pathlib import Path

from fetch_corpus import Archive
from local_corpus import Faults, Published, Recording, check_audio, visible

_PAGE = "https://www.openslr.org/resources/12"
# Utterances, and SHA-256 of the archive as torchaudio publishes it.
_SUBSETS = {
    "train-clean-100": (28539, "d4ddd1d5a6ab303066f14971d768ee43278a5f2a0aa43dc716b0e64ecbbbf6e2"),
    "train-clean-360": (104014, "146a56496217e96c14334a160df97fffedd6e0a04e66b9c5af0d40be3c792ecf"),
    "train-other-500": (148688, "ddb22f27f96ec163645d53215559df6aa36515f26e01dd70798188350adcb6d2"),
    "dev-clean": (2703, "76f87d090650617fca0cac8f88b9416e0ebf80350acb97b343a85fa903728ab3"),
    "dev-other": (2864, "12661c48e8c3fe1de2c1caa4c3e135193bfb1811584f11f569dd12645aa84365"),
    "test-clean": (2620, "39fde525e59672dc6d1551919b1478f724438a95aa55f874b576be21967e6c23"),
    "test-other": (2939, "d09c181bba5cf717b3dee7d4d592af11a3ee3a09e08ae025c5506f6ebe961c29"),
}
LIBRISPEECH = Published(
    name="LibriSpeech",
    variable="LIBRISPEECH",
    rate=16000,
    counts={name: count for name, (count, _) in _SUBSETS.items()},
    archives={
        name: Archive(f"{_PAGE}/{name}.tar.gz", f"sha256:{sha256}", f"LibriSpeech/{name}", name)
        for name, (_, sha256) in _SUBSETS.items()
    },
    licence=(
        "LibriSpeech ASR corpus, https://www.openslr.org/12 (Panayotov, Chen, Povey, Khudanpur, 2015; from LibriVox)\n"
        "Licence: CC BY 4.0, https://creativecommons.org/licenses/by/4.0/\n"
        "Changed here: transcripts in lower case, converted to 24 kHz."
    ),
)
_TEXTS = ".trans.txt"


def read_chapter(path: Path, faults: Faults) -> dict[str, str]:
    """`ID TEXT` lines of a transcript file; a line without text or with an id of another chapter is a fault."""
    texts = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        utterance, _, text = line.strip().partition(" ")
        if not text or not utterance.startswith(path.name.removesuffix(_TEXTS) + "-"):
            faults.add(f"{path}:{number}: expected an id of this chapter and its text, got {line!r}")
        elif utterance in texts:
            faults.add(f"{path}:{number}: {utterance} occurs twice")
        else:
            texts[utterance] = text
    return texts


def read_subset(root: Path, name: str) -> dict[str, Recording]:
    """Utterance -> recording, with the text as it is (capitals).

    Raises:
        SiTokError: audio without a transcript or the other way round, lines that cannot be read, broken audio.
    """
    faults, found, audio = Faults(), {}, set(visible((root / name).glob("*/*/*.flac")))
    for chapter in visible((root / name).glob(f"*/*/*{_TEXTS}")):
        for utterance, text in read_chapter(chapter, faults).items():
            path = chapter.parent / f"{utterance}.flac"
            if path not in audio:
                faults.add(f"{path} is missing, but {chapter.name} has its text")
            found[utterance] = Recording(path, utterance.split("-")[0], text)
    for path in sorted(audio - {item.path for item in found.values()}):
        chapter = "-".join(path.parts[-3:-1])
        faults.add(f"{path} has no text in {chapter}{_TEXTS}")
    check_audio(sorted(audio), LIBRISPEECH.rate, faults)
    faults.stop(f"copy {name} again")
    return found
