"""ESTOI: extended short-time objective intelligibility."""

from sitok_espnet.evaluate.metrics.stoi import STOI


class ESTOI(STOI):
    """ESTOI (Jensen and Taal 2016) by pystoi: whole spectra of 0.4 s are correlated, not band by band.

    Stricter than STOI: it hears that the spectrum was smeared. The same limits.
    """

    name = "estoi"
    title = "ESTOI"
    variant = "ESTOI"
    extended = True
