"""The token format (DESIGN section 5): what is on disk, how it is written, and how it is read back and checked.

A *dump directory* holds `wav.scp`, `tokens.ark`, `utt2num_tokens`, `utt2num_samples`, `codec_code_per_frame`,
`token_list` and `manifest.json`. A *token file* NAME.ark (what `sitok encode -o NAME.ark` writes) has NAME.scp,
NAME.utt2num_samples and NAME.manifest.json beside it. The archive is Kaldi's int32 vectors: one 1-D array per
utterance, frame-major, length T * N, value `code + sum(sizes[:layer])`: what `kaldiio.load_scp` reads, in the layout of
ESPnet's speechlm1 recipe (which has not been run on it). `utt2num_tokens` counts T, not T * N.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from sitok_espnet.errors import SiTokError
from sitok_espnet.inputs import read_scp

LAYOUT_VERSION = 1
ELEMENT = np.dtype([("bytes", "u1"), ("value", "<i4")])  # Kaldi writes the size of an integer before each
HEADER = b"\0B\x04"


def layer_offsets(sizes: Sequence[int]) -> np.ndarray:
    """(N,) value of code 0 of each codebook."""
    return np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)


def flatten_codes(codes: np.ndarray, sizes: Sequence[int]) -> np.ndarray:
    """(T, N) codes -> (T * N,) int32 values, frame-major."""
    return (codes + layer_offsets(sizes)).astype(np.int32).reshape(-1)


def check_codes(codes, sizes: Sequence[int], name: str) -> np.ndarray:
    """Array-like codes -> int64 (T, N), T >= 1, each code within its codebook; SiTokError naming `name` otherwise."""
    array = codes.detach().cpu().numpy() if hasattr(codes, "detach") else np.asarray(codes)
    if not np.issubdtype(array.dtype, np.integer):
        raise SiTokError(f"{name}: codes must be integers, got {array.dtype}")
    if array.ndim != 2 or array.shape[1] != len(sizes) or len(array) == 0:
        raise SiTokError(f"{name}: expected shape (T, {len(sizes)}) with T >= 1, got {array.shape}")
    wrong = (array < 0) | (array >= np.asarray(sizes))
    if wrong.any():
        frame, book = map(int, np.argwhere(wrong)[0])
        raise SiTokError(
            f"{name}: unknown code {array[frame, book]} at token {frame}, codebook {book}: this model's codes are "
            f"0 to {sizes[book] - 1}; do the tokens belong to another model?"
        )
    return array.astype(np.int64)


def unflatten_codes(values: np.ndarray, sizes: Sequence[int], name: str) -> np.ndarray:
    """(T * N,) values -> (T, N) int64 codes; SiTokError naming `name` if they are not of these codebooks."""
    books = len(sizes)
    if len(values) == 0 or len(values) % books:
        raise SiTokError(f"{name}: {len(values)} values are not a whole number of tokens of {books} codebooks")
    codes = values.reshape(-1, books).astype(np.int64) - layer_offsets(sizes)
    wrong = (codes < 0) | (codes >= np.asarray(sizes))
    if wrong.any():
        frame, book = map(int, np.argwhere(wrong)[0])
        low = int(layer_offsets(sizes)[book])
        raise SiTokError(
            f"{name}: value {int(values[frame * books + book])} at token {frame}, codebook {book} is out of range "
            f"({low} to {low + sizes[book] - 1}): damaged, or tokens of another model"
        )
    return codes


def ark_record(utt: str, values: np.ndarray) -> tuple[bytes, int]:
    """One entry of an archive: its bytes, and where in them a scp must point (behind the identifier)."""
    elements = np.empty(len(values), dtype=ELEMENT)
    elements["bytes"], elements["value"] = 4, values
    key = utt.encode("utf-8") + b" "
    return key + HEADER + len(values).to_bytes(4, "little") + elements.tobytes(), len(key)


def token_list(sizes: Sequence[int]) -> Iterator[str]:
    """Names of all values in order: <codec_layer{L}_code{K}>."""
    for layer, size in enumerate(sizes):
        for code in range(size):
            yield f"<codec_layer{layer}_code{code}>"


def set_files(ark: Path, rows: Sequence[tuple[str, int, int, int]], sizes: Sequence[int]) -> dict[str, list[str]]:
    """File name -> lines of the lists beside an archive; rows: (utterance, offset, T, S)."""
    return {
        "wav.scp": [f"{utt} {ark}:{offset}" for utt, offset, _, _ in rows],
        "utt2num_tokens": [f"{utt} {tokens}" for utt, _, tokens, _ in rows],
        "utt2num_samples": [f"{utt} {samples}" for utt, _, _, samples in rows],
        "codec_code_per_frame": [str(len(sizes))],
        "token_list": list(token_list(sizes)),
    }


def make_manifest(tokenizer, dtype: str) -> dict:
    """What every set of tokens says about its model; counts are added by the writer."""
    from sitok_espnet import __version__

    return {
        "layout_version": LAYOUT_VERSION,
        "package_version": __version__,
        "model_hash": tokenizer.model_hash,
        "codes_hash": tokenizer.codes_hash,
        "mel_hash": tokenizer.mel_config.hash(),
        "dtype": dtype,
        "sample_rate": tokenizer.sample_rate,
        "frame_rate": str(tokenizer.frame_rate),
        "num_codebooks": tokenizer.num_codebooks,
        "codebook_sizes": list(tokenizer.codebook_sizes),
    }


@dataclass(frozen=True)
class TokenEntry:
    """utt: identifier. ark: archive. offset: bytes. num_tokens: T. num_samples: S, exact length of the audio."""

    utt: str
    ark: Path
    offset: int
    num_tokens: int
    num_samples: int


@dataclass(frozen=True)
class TokenSet:
    """A finished set of tokens. Iterating yields (utt, codes (T, N) int64), each checked.

    manifest: the parsed manifest. entries: one an utterance, in the order of the scp.
    """

    manifest: dict
    entries: tuple[TokenEntry, ...]

    def __len__(self) -> int:
        return len(self.entries)

    def __iter__(self) -> Iterator[tuple[str, np.ndarray]]:
        return self.read(self.entries)

    def read(self, entries: Iterable[TokenEntry]) -> Iterator[tuple[str, np.ndarray]]:
        """(utt, codes (T, N) int64) of some entries, each checked."""
        sizes = self.manifest["codebook_sizes"]
        handle, opened = None, None
        try:
            for entry in entries:
                if opened != entry.ark:
                    if handle is not None:
                        handle.close()
                    handle, opened = open(entry.ark, "rb"), entry.ark
                name = f"{entry.ark}: utterance {entry.utt}"
                codes = unflatten_codes(_read_vector(handle, entry, name), sizes, name)
                if len(codes) != entry.num_tokens:
                    raise SiTokError(
                        f"{name}: {len(codes)} tokens in the archive, {entry.num_tokens} by its lengths: "
                        f"the files are not of one dump"
                    )
                yield entry.utt, codes
        finally:
            if handle is not None:
                handle.close()


def _read_vector(handle, entry: TokenEntry, name: str) -> np.ndarray:
    handle.seek(entry.offset)
    header = handle.read(len(HEADER) + 4)
    if len(header) < len(HEADER) + 4:
        raise SiTokError(f"{name}: the archive is truncated (it ends before this entry): make the tokens again")
    if not header.startswith(HEADER):
        raise SiTokError(f"{name}: no int32 vector at byte {entry.offset}: archive and scp do not belong together")
    length = int.from_bytes(header[len(HEADER) :], "little", signed=True)
    data = handle.read(max(length, 0) * ELEMENT.itemsize)
    if len(data) < length * ELEMENT.itemsize:
        raise SiTokError(
            f"{name}: the archive is truncated ({len(data) // ELEMENT.itemsize} of {length} values are there): "
            f"make the tokens again"
        )
    elements = np.frombuffer(data, dtype=ELEMENT)
    if not (elements["bytes"] == 4).all():
        raise SiTokError(f"{name}: damaged archive (not int32 values)")
    return elements["value"]


def open_tokens(path: Path | str) -> TokenSet:
    """Open a dump directory (or a file in it), or NAME.ark / NAME.scp with its manifest; checks all but the codes.

    Raises:
        SiTokError: naming the file: unfinished or missing pieces, a layout of another version, lists that disagree.
    """
    path = Path(path)
    if not path.exists():
        raise SiTokError(f"{path}: no such token file or dump directory")
    folder = path if path.is_dir() else path.parent
    if not path.is_dir() and path.with_suffix(".manifest.json").is_file():
        scp, samples, manifest = (path.with_suffix(s) for s in (".scp", ".utt2num_samples", ".manifest.json"))
        tokens = None
    else:
        scp, samples, manifest = (folder / n for n in ("wav.scp", "utt2num_samples", "manifest.json"))
        tokens = _read_counts(folder / "utt2num_tokens") if manifest.is_file() else None
    content = _read_manifest(manifest, path)
    per_token = Fraction(content["sample_rate"]) / Fraction(content["frame_rate"])
    num_samples = _read_counts(samples)
    entries = []
    for number, line in enumerate(_lines(scp), start=1):
        utt, _, location = line.partition(" ")
        ark, _, offset = location.strip().rpartition(":")
        if not ark or not offset.isdigit():
            raise SiTokError(f"{scp}:{number}: expected `utterance archive:offset`, got {line!r}")
        # A set that was moved is found beside its scp; the paths in it are for programs started in the recipe.
        beside = scp.parent / Path(ark).name
        location = beside if beside.is_file() else Path(ark)
        if not location.is_file():
            raise SiTokError(f"{scp}:{number}: archive {ark} is missing (looked for {beside}, too)")
        if utt not in num_samples:
            raise SiTokError(f"{samples}: utterance {utt} of {scp} is missing")
        count = int(-(-num_samples[utt] // per_token))
        if tokens is not None and tokens.get(utt) != count:
            raise SiTokError(
                f"{folder / 'utt2num_tokens'}: utterance {utt} has {tokens.get(utt)} tokens, but {num_samples[utt]} "
                f"samples make {count}: the files are not of one dump"
            )
        entries.append(TokenEntry(utt, location, int(offset), count, num_samples[utt]))
    if len(entries) != content["num_utterances"] or len({entry.utt for entry in entries}) != len(entries):
        raise SiTokError(
            f"{scp}: {len(entries)} utterances ({len({e.utt for e in entries})} different), "
            f"{content['num_utterances']} by {manifest.name}: make the tokens again"
        )
    return TokenSet(content, tuple(entries))


def read_tokens(path: Path | str) -> Iterator[tuple[str, np.ndarray]]:
    """(utt, codes (T, N) int64) of every utterance; see open_tokens and TokenSet."""
    return iter(open_tokens(path))


def read_places(scp: Path, codes_hash: str) -> dict[str, np.ndarray]:
    """utterance -> codes (T, N) int64 of a list ``utterance archive:offset`` of places in finished dumps.

    Raises:
        SiTokError: something else than such a place, a dump that has been made again since, or tokens of another
            tokenizer than that with this hash.
    """
    dumps: dict[Path, tuple[TokenSet, dict[tuple[str, int], TokenEntry]]] = {}
    wanted: dict[Path, dict[str, TokenEntry]] = defaultdict(dict)
    for item in read_scp(scp):
        ark, _, offset = item.location.rpartition(":")
        if not ark or not offset.isdigit():
            raise SiTokError(f"{scp}: expected `utterance archive:offset`, got {item.utt} {item.location!r}")
        folder = Path(ark).parent
        if folder not in dumps:
            dump = open_tokens(folder)
            if dump.manifest["codes_hash"] != codes_hash:
                raise SiTokError(
                    f"{scp}: {folder} holds tokens of another tokenizer (codes_hash {dump.manifest['codes_hash']}) "
                    f"than is asked for ({codes_hash}): where they have been made again, run stage 2 again"
                )
            dumps[folder] = dump, {(entry.ark.name, entry.offset): entry for entry in dump.entries}
        entry = dumps[folder][1].get((Path(ark).name, int(offset)))
        if entry is None:
            raise SiTokError(f"{scp}: {item.location} of {item.utt} is no entry of the tokens there: run stage 2 again")
        wanted[folder][item.utt] = entry
    codes = {}
    for folder, entries in wanted.items():
        codes |= zip(entries, (values for _, values in dumps[folder][0].read(entries.values())), strict=True)
    return codes


def _lines(path: Path) -> list[str]:
    if not path.is_file():
        raise SiTokError(f"{path} is missing: the tokens are incomplete, make them again")
    return path.read_text(encoding="utf-8").splitlines()


def _read_counts(path: Path) -> dict[str, int]:
    """`utt number` lines."""
    counts = {}
    for number, line in enumerate(_lines(path), start=1):
        utt, _, value = line.partition(" ")
        if not value.strip().isdigit() or int(value) == 0:
            raise SiTokError(f"{path}:{number}: expected `utterance count`, got {line!r}")
        counts[utt] = int(value)
    return counts


def _read_manifest(manifest: Path, asked: Path) -> dict:
    if not manifest.is_file():
        raise SiTokError(
            f"{asked}: no {manifest.name} beside it: not a set of tokens, or its dump has not finished (run it again)"
        )
    try:
        content = json.loads(manifest.read_text(encoding="utf-8"))
        if content["layout_version"] != LAYOUT_VERSION:
            raise SiTokError(
                f"{manifest}: layout version {content['layout_version']}, this package reads {LAYOUT_VERSION}: "
                f"dump again, or use the package version {content.get('package_version')} that wrote it"
            )
        if not content["codebook_sizes"] or len(content["codebook_sizes"]) != content["num_codebooks"]:
            raise ValueError("num_codebooks and codebook_sizes disagree")
        if not (Fraction(content["frame_rate"]) > 0 and content["sample_rate"] > 0 and content["num_utterances"] >= 0):
            raise ValueError("rates and counts must be positive")
        content["model_hash"], content["codes_hash"], content["mel_hash"]  # noqa: B018  (their absence is the error)
    except SiTokError:
        raise
    except (ValueError, KeyError, TypeError) as error:
        raise SiTokError(f"{manifest}: damaged manifest ({error!r}): make the tokens again") from error
    return content
