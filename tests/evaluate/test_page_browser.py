"""The report page in a real Chromium, without a window: it opens from disk, plays, and asks for nothing else.

Playwright drives the Chromium of the system; it downloads none.
"""

import os
import shutil

import pytest
from eval_dir import SYSTEMS, make_eval_dir, make_scored_experiment, probes, results, write_json

from sitok_espnet.evaluate.page.collect import collect
from sitok_espnet.evaluate.page.render import render_page

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--autoplay-policy=no-user-gesture-required",
    "--mute-audio",
]
LONG = "sitok_bpe40_model_confstacking_factor8_normalize_confeps3.0_encoder_confnum_layers1_quantizer_conf"
PLAY = """async (player) => {
    await player.play();
    const started = Date.now();
    while (player.currentTime === 0 && Date.now() - started < 30000) await new Promise((go) => setTimeout(go, 20));
    const state = [player.readyState, player.currentTime, player.error && player.error.message];
    const others = [...document.querySelectorAll("audio")].filter((other) => other !== player && !other.paused);
    return [...state, others.length];
}"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")
    found = os.environ.get("SITOK_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if not found:
        pytest.skip("no Chromium: apt-get install chromium, or set SITOK_CHROMIUM to the path of one")
    profile = tmp_path_factory.mktemp("profile")
    with api.sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            str(profile), executable_path=found, headless=True, args=FLAGS
        )
        yield context
        context.close()


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    experiment = make_scored_experiment(folder / LONG)
    write_json(folder / "probes" / "results.json", probes())
    path = folder / "report.html"
    path.write_text(render_page(collect([experiment, folder / "probes"], 2)), encoding="utf-8")
    return path


@pytest.fixture
def opened(browser, page_file, request):
    """The page in a window of the asked width, what the console said and what was requested."""
    page = browser.new_page()
    page.set_viewport_size({"width": getattr(request, "param", 1280), "height": 900})
    page.said, page.asked = [], []
    page.on("console", lambda message: page.said.append(message.text))
    page.on("pageerror", lambda error: page.said.append(str(error)))
    page.on("request", lambda asked: page.asked.append(asked.url))
    page.goto(page_file.as_uri())
    page.wait_for_function("[...document.images].every((image) => image.complete)")
    yield page
    page.close()


@pytest.mark.parametrize("opened", [360, 1280], indirect=True)
def test_it_fits_the_window(opened):
    details = opened.locator("details")
    for index in range(details.count()):
        details.nth(index).evaluate("(box) => { box.open = true; }")
    width, window = opened.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert width <= window
    ticks = opened.evaluate("[...document.querySelectorAll('.spectrogram b')].map((tick) => tick.offsetHeight)")
    assert len(ticks) > 0 and max(ticks) == min(ticks)  # none of them is broken into two lines
    # What is wider scrolls inside its own frame, with its first column in place.
    frame = opened.locator(".scroll").first
    first = frame.locator("tbody th").first
    before = first.bounding_box()["x"]
    frame.evaluate("(box) => { box.scrollLeft = 200; }")
    assert first.bounding_box()["x"] == before


def test_nothing_but_the_file_is_requested(opened, page_file):
    assert [url for url in opened.asked if not url.startswith("data:")] == [page_file.as_uri()]
    assert (
        opened.evaluate("performance.getEntriesByType('resource').filter((e) => !e.name.startsWith('data:')).length")
        == 0
    )
    assert opened.said == []


def test_pictures_are_visible(opened):
    widths = opened.evaluate("[...document.images].map((image) => image.naturalWidth)")
    assert len(widths) > 2 * len(SYSTEMS) and min(widths) > 0


def test_every_player_plays_and_alone(opened):
    players = opened.locator("audio")
    assert players.count() == 2 * len(SYSTEMS)
    for index in range(players.count()):
        ready, time, error, others = players.nth(index).evaluate(PLAY)
        assert error is None and ready >= 2 and time > 0 and others == 0, index
    assert opened.said == []


def test_columns_are_sorted_by_key(opened):
    head = opened.locator("table.sortable thead th").nth(2)
    column = opened.locator("table.sortable tbody tr")

    def values():
        texts = [column.nth(index).locator("td").nth(1) for index in range(column.count())]
        return [cell.inner_text().split()[0] if cell.count() else "" for cell in texts]

    original = values()
    head.locator("button").focus()
    opened.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "ascending"
    measured = [float(text) for text in values() if text]
    assert measured == sorted(measured) and values()[-1] == ""
    opened.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "descending"
    assert [float(text) for text in values() if text] == sorted(measured, reverse=True) and values()[-1] == ""
    opened.locator("table.sortable thead th").first.locator("button").click()
    assert values() == original


def test_hostile_text_runs_nothing(browser, tmp_path):
    content = results()
    content["systems"]["peer_dac_1k"]["reason"] = '<img src=x onerror="document.title = 1">'
    texts = dict.fromkeys(("spk1-a", "spk1-b", "spk1-c"), "<script>document.title = 1</script>")
    page = render_page(collect([make_eval_dir(tmp_path / "eval", content, texts=texts)], 1), title="kept")
    (tmp_path / "page.html").write_text(page)
    tab = browser.new_page()
    tab.goto((tmp_path / "page.html").as_uri())
    assert tab.title() == "kept"
    assert "<script>document.title = 1</script>" in tab.locator(".utterance h4").first.inner_text()
    assert 'not run: <img src=x onerror="document.title = 1">' in tab.locator("td.reason").first.inner_text()
    tab.close()
