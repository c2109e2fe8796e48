"""Train a SiTok tokenizer, or collect its statistics (stages 4 and 5 of the recipe)."""

from sitok_espnet.tasks.sitok import SiTokTask


def main(cmd=None):
    """Entry point; ``cmd`` is a list of arguments, by default those of the process."""
    SiTokTask.main(cmd=cmd)


if __name__ == "__main__":
    main()
