"""A corpus with Kaldi's command pipes: stage 2 says who must write files."""

import pytest
from format_wav_scp import main as format_main


def test_pipes_are_the_business_of_local_data_sh(tmp_path):
    for name, content in (("wav.scp", "a sox a.wav -t wav - |\n"), ("utt2spk", "a a\n"), ("spk2utt", "a a\n")):
        (tmp_path / name).write_text(content)
    with pytest.raises(SystemExit, match="local/data.sh, stage 1, must write files instead of pipes") as error:
        format_main(["--in_dir", str(tmp_path), "--out_dir", str(tmp_path / "out")])
    assert "stage 2" not in str(error.value)
