"""The report as one self-contained HTML page (ours): `sitok report`.

collect.py gathers what experiments left, the other modules turn it into what the template shows, render.py fills it in.
"""
