"""pgembed report: a page of every kind of column, for every role, and what a browser shows of it."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from psycopg import conninfo
from support import Connection, MakeRole

from pgembed import cli, errors, report

# Rows of three kinds in three heaps, some without a vector; texts are what a page must not believe.
TABLE = """
CREATE TABLE thing (id int PRIMARY KEY, title text, kind text, price numeric, made timestamptz, e vector(8), f vector(4));
INSERT INTO thing
SELECT n,
    CASE WHEN n % 10 = 0 THEN '</script><script>window.hacked = 1</script>'
        WHEN n % 10 = 1 THEN '😀 <b onmouseover="window.hacked = 1">bold</b> & <' || n
         WHEN n = 22 THEN repeat('long ', 200000) WHEN n = 23 THEN NULL ELSE 'plain title number ' || n END,
    CASE n % 3 WHEN 0 THEN '<i>%{x}</i>' WHEN 1 THEN 'one' END,
    CASE WHEN n % 7 = 0 THEN 'NaN' WHEN n % 11 = 0 THEN NULL ELSE n * 1.5 END,
    CASE WHEN n % 13 = 0 THEN 'infinity' ELSE '2026-01-01'::timestamptz + n * interval '1 day' END,
    CASE WHEN n % 20 = 19 THEN NULL ELSE
        (SELECT array_agg((CASE WHEN d = n % 3 THEN 3 ELSE 0 END + sin(n * d * d)) ORDER BY d) FROM generate_series(0, 7) AS d)::vector END,
    (SELECT array_agg(cos(n * d + 1) ORDER BY d) FROM generate_series(1, 4) AS d)::vector
FROM generate_series(1, 120) AS n;
SELECT pgembed.adopt_embedding('thing', 'e'), pgembed.adopt_embedding('thing', 'f', metric => 'l2');
CREATE INDEX ON thing USING hnsw (e vector_cosine_ops);
ANALYZE thing;
"""
# Nothing to plot, one of each, all alike, zero vectors and NULLs, several dimensions and no key.
ODD = """
CREATE TABLE empty (id int PRIMARY KEY, t text, e vector(4));
CREATE TABLE one (id int PRIMARY KEY, e vector(4)); INSERT INTO one VALUES (1, '[1,2,3,4]');
CREATE TABLE alike (id int PRIMARY KEY, t text, e halfvec(4));
INSERT INTO alike SELECT n, 'same', '[1,2,3,4]' FROM generate_series(1, 60) AS n;
CREATE TABLE zero (a int, b text, e vector(3), PRIMARY KEY (a, b));
INSERT INTO zero
SELECT n, 'b', CASE n % 3 WHEN 0 THEN NULL WHEN 1 THEN '[0,0,0]' ELSE '[1,0,0]' END::vector FROM generate_series(1, 12) AS n;
CREATE TABLE mixed (t text, e vector); INSERT INTO mixed VALUES ('a', '[1,2]'), ('b', '[2,1]'), ('c', '[1,0]'), ('d', '[1,2,3]');
SELECT pgembed.adopt_embedding(t::regclass, 'e', metric =>
    CASE WHEN t = 'zero' THEN 'l2' WHEN t = 'alike' THEN 'inner_product' ELSE 'cosine' END)
FROM unnest(ARRAY['empty', 'one', 'alike', 'zero', 'mixed']) AS t;
"""


def url_of(db: Connection, server_url: str, **more: str) -> str:
    return conninfo.make_conninfo(server_url, dbname=db.info.dbname, **more)


def write(url: str, target: str, folder: Path, **options: Any) -> tuple[report.Summary, str]:
    """A report, and its page without the library."""
    made = report.write(url, target, output=folder / "page.html", **{"seconds": 5, **options})
    text = (folder / "page.html").read_text()
    return made, re.sub(r'(id="plotly">).*?(</script>)', r"\1\2", text, flags=re.DOTALL)


def held(page: str) -> dict[str, Any]:
    """The numbers of a page."""
    found = re.search(r'<script type="application/json" id="figures">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    read: dict[str, Any] = json.loads(found[1])
    return read


def test_a_page_says_what_is_so(db: Connection, server_url: str, tmp_path: Path) -> None:
    db.execute(TABLE)
    made, page = write(url_of(db, server_url), "thing", tmp_path, column_name="e", color_by="kind")
    assert (made.table, made.column, made.rows, made.fresh, made.sampled, made.dim) == ("thing", "e", 120, 114, 114, 8)
    assert made.left_out == []
    figures = held(page)
    ways = {trace["name"]: trace for trace in figures["plots"]["curves"]["data"]}
    assert set(ways) == {"every row compared", "HNSW, plain SQL", "pgembed.search"}
    assert ways["every row compared"]["y"] == [1]
    assert all(0.5 < recall <= 1 for recall in ways["HNSW, plain SQL"]["y"])
    assert len(ways["pgembed.search"]["x"]) == 4
    assert made.points == sum(len(trace["x"]) for trace in ways.values())
    assert made.filters >= 3
    assert any(trace["name"].startswith("path: ") for trace in figures["plots"]["filters"]["data"])
    assert figures["map"]["colourings"][0]["name"] == "kind"
    assert [group["label"] for group in figures["map"]["colourings"][0]["groups"]] == ["one", "&lt;i&gt;&#37;{x}&lt;/i&gt;", "NULL"]
    assert len(figures["map"]["x"]) == len(figures["map"]["hover"]) == 114
    # rows that differ are listed with what only one of the two finds, not with what both do
    listed = re.findall(r"<td[^>]*>(.*?)</td>", page[page.index("Rows whose neighbours differ most</caption>") :])
    assert len(listed) == 8 * 5
    assert all(float(share) < 1 and one != two for share, one, two in zip(listed[2::5], listed[3::5], listed[4::5], strict=True))
    for said in ("no codes that searches use", "overlap@10", "linear CKA", "RankMe", "IsoScore", "Nearest pairs", "set_filter_log"):
        assert said in page
    assert "<script>window" not in page
    # the one line that it writes
    assert db.execute("SELECT rows, fresh, pending FROM pgembed.freshness_log WHERE column_name = 'e'").fetchall() == [(120, 114, 6)]


def test_the_same_seed_gives_the_same_rows_and_the_same_map(db: Connection, server_url: str, tmp_path: Path) -> None:
    db.execute(TABLE)
    url = url_of(db, server_url)
    maps = []
    for seed in (1, 1, 2):
        _, page = write(url, "thing", tmp_path, column_name="f", sample=30, seed=seed, seconds=0)
        maps.append(held(page)["map"])
    assert len(maps[0]["x"]) == 30
    assert maps[0] == maps[1] != maps[2]


def test_every_column_has_a_page(db: Connection, server_url: str, tmp_path: Path) -> None:
    db.execute(ODD)
    url = url_of(db, server_url)
    pages = {table: write(url, table, tmp_path, seconds=2) for table in ("empty", "one", "alike", "zero", "mixed")}
    assert {table: made.sampled for table, (made, _) in pages.items()} == {"empty": 0, "one": 1, "alike": 60, "zero": 8, "mixed": 3}
    for table in ("empty", "one"):
        assert "There are too few vectors for a map." in pages[table][1]
        assert held(pages[table][1])["map"] is None
    assert "the rows do not differ" in pages["alike"][1]
    assert "a map would be one point" in pages["alike"][1]
    assert held(pages["alike"][1])["map"] is None
    # a plot of no rows says nothing
    assert "freshness" not in held(write(url, "empty", tmp_path, seconds=0)[1])["plots"]
    assert "have other dimensions than most" in pages["mixed"][1]
    assert "no vector index" in pages["zero"][1]


def test_codes_and_chunks_have_a_page(db: Connection, server_url: str, tmp_path: Path) -> None:
    db.execute(TABLE)
    db.execute("SELECT pgembed.train_codec('bits', 'thing', 'sign', column_name => 'e')")
    db.execute("SELECT pgembed.add_code('thing', 'bits')")
    db.execute("CALL pgembed.fill_code('thing', 'bits')")
    db.execute("SELECT pgembed.use_code('thing', 'bits')")
    db.execute("CREATE TABLE manual (id int PRIMARY KEY, body text)")
    db.execute("INSERT INTO manual SELECT n, repeat('some words about thing number ' || n || '. ', 30) FROM generate_series(1, 3) AS n")
    db.execute("SELECT pgembed.add_embedding('manual', 'body', chunk_tokens => 64)")
    db.execute("CALL pgembed.refresh('manual')")
    url = url_of(db, server_url)
    _, page = write(url, "thing", tmp_path, column_name="e")
    figures = held(page)["plots"]
    assert [trace["name"] for trace in figures["codecs"]["data"]] == ["bits, 1 B a row"]
    scanned = [trace for trace in figures["curves"]["data"] if trace["name"].endswith("scan of codes of bits")]
    assert scanned
    assert scanned[0]["y"] == sorted(scanned[0]["y"])
    # codes have a byte a row, and vectors of 8 numbers 40; the index is measured where it is used
    widths = {trace["name"]: set(trace["x"]) for trace in figures["footprints"]["data"]}
    assert widths["codes, 20 rescored"] == {1}
    assert widths["every row compared"] == {40}
    assert min(widths["HNSW, plain SQL"]) > 40
    made, page = write(url, "manual", tmp_path)
    assert made.sampled > 3
    assert f"{made.sampled} chunks by principal axes" in page
    assert {trace["name"] for trace in held(page)["plots"]["curves"]["data"]} == {"every row compared", "pgembed.search"}


def test_what_a_role_may_not_read_is_left_out(db: Connection, server_url: str, tmp_path: Path, make_role: MakeRole) -> None:
    db.execute(TABLE)
    reader = make_role("reader", "LOGIN PASSWORD 'x'")
    url = url_of(db, server_url, user=reader, password="x")
    db.execute(f"GRANT SELECT (id, title, kind) ON thing TO {reader}")
    made, page = write(url, "thing", tmp_path, column_name="e")
    assert (made.sampled, made.rows) == (0, None)
    assert "cannot be read" in made.left_out[0]
    assert "permission denied" in page
    db.execute(f"GRANT SELECT (e) ON thing TO {reader}")
    made, page = write(url, "thing", tmp_path, column_name="e")
    assert made.sampled == 114
    assert {one["name"] for one in held(page)["map"]["colourings"]} >= {"kind"}
    assert not {one["name"] for one in held(page)["map"]["colourings"]} & {"price", "made"}
    db.execute(
        f"GRANT SELECT ON thing TO {reader}; ALTER TABLE thing ENABLE ROW LEVEL SECURITY; CREATE POLICY few ON thing USING (id < 21)"
    )
    made, page = write(url, "thing", tmp_path, column_name="e")
    # rows that a policy hides are neither shown nor counted
    assert (made.sampled, made.rows) == (19, None)
    assert "120" not in re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    assert db.execute("SELECT count(*) FROM pgembed.freshness_log").fetchone() == (0,)


def test_queries_of_a_table_are_asked(db: Connection, server_url: str, tmp_path: Path) -> None:
    db.execute(TABLE)
    db.execute("CREATE TABLE asked (id int, v vector(8)); INSERT INTO asked SELECT id, e FROM thing WHERE e IS NOT NULL LIMIT 12")
    url = url_of(db, server_url)
    _, page = write(url, "thing", tmp_path, column_name="e", queries="public.asked", queries_column="v")
    assert "12 queries of public.asked" in page


def test_arguments_are_checked(db: Connection, server_url: str, tmp_path: Path) -> None:
    db.execute(TABLE)
    url = url_of(db, server_url)
    for error, target, options in (
        (errors.InvalidParameter, "thing", {"sample": 3}),
        (errors.InvalidParameter, "thing", {"seconds": -1}),
        (errors.UnknownTable, "nothing", {}),
        (errors.AmbiguousColumn, "thing", {}),
        (errors.UnknownObject, "thing", {"column_name": "title"}),
        (errors.UnknownColumn, "thing", {"column_name": "e", "color_by": "nothing"}),
        (errors.UnknownColumn, "thing", {"column_name": "e", "compare": "e"}),
    ):
        with pytest.raises(error) as caught:
            report.write(url, target, output=tmp_path / "page.html", **options)
        assert caught.value.hint
    assert not (tmp_path / "page.html").exists()
    with pytest.raises(errors.PgembedError, match="cannot be written"):
        report.write(url, "thing", column_name="f", output=tmp_path / "none" / "page.html", seconds=0)


def test_the_command_line(db: Connection, server_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    db.execute(TABLE)
    file = tmp_path / "out.html"
    assert cli.main(["report", url_of(db, server_url), "thing", "--column", "f", "-o", str(file), "--seconds", "1"]) == 0
    said = capsys.readouterr()
    assert said.out == f"{file}\n"
    assert "\r" not in said.err  # progress is for terminals
    assert file.stat().st_size < 4_000_000
    assert cli.main(["report", url_of(db, server_url), "thing", "--column", "g"]) == 1
    assert "Embedded columns of this table: e, f." in capsys.readouterr().err


# What a browser shows.


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("chromium and chromedriver are not installed: on Debian, apt-get install chromium chromium-driver")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for switch in (
        *("headless=new", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking"),
        *("disable-component-update", "disable-sync", "window-size=1200,900", f"user-data-dir={tmp_path_factory.mktemp('chromium')}"),
    ):
        options.add_argument(f"--{switch}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    opened = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield opened
    opened.quit()


@pytest.fixture(scope="module")
def made_once() -> dict[str, Path]:
    return {}


@pytest.fixture
def shown(browser: Any, made_once: dict[str, Path], request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The browser with the page of TABLE, freshly opened; the page is made once."""
    if "thing" not in made_once:
        db = request.getfixturevalue("db")
        db.execute(TABLE)
        folder = tmp_path_factory.mktemp("report")
        write(url_of(db, os.environ["PGEMBED_URL"]), "thing", folder, column_name="e", color_by="kind")
        made_once["thing"] = folder / "page.html"
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})
    for log in ("browser", "performance"):
        browser.get_log(log)
    browser.get(made_once["thing"].as_uri())
    until(lambda: browser.execute_script("return document.documentElement.dataset.ready") is not None)
    assert browser.execute_script("return document.documentElement.dataset.ready") == "yes", browser.get_log("browser")
    return browser


def until(condition: Any) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.05)


def test_a_browser_draws_it_and_asks_nobody(shown: Any) -> None:
    drawn = shown.execute_script(
        "return [...document.querySelectorAll('.canvas')].map(b => [b.id, b.querySelectorAll('svg.main-svg').length])"
    )
    assert {name for name, _ in drawn} >= {
        "plot-curves",
        "plot-sizes",
        "plot-filters",
        "plot-map",
        "plot-spectrum",
        "plot-lonely",
        "plot-overlap",
    }
    assert all(count >= 1 for _, count in drawn)
    assert shown.execute_script("return document.querySelectorAll('#plot-map .scatterlayer .point').length") == 114
    assert shown.execute_script("return window.hacked") is None
    asked = [json.loads(line["message"])["message"] for line in shown.get_log("performance")]
    urls = {one["params"]["request"]["url"] for one in asked if one["method"] == "Network.requestWillBeSent"}
    assert {url.split(":")[0] for url in urls} <= {"file", "data", "blob"}
    assert sum(url.startswith("file:") for url in urls) == 1
    assert shown.get_log("browser") == []
    # all of it is there as text, too
    assert shown.execute_script("return [...document.querySelectorAll('figure')].filter(f => !f.querySelector('table')).length") == 0


def test_a_row_is_read_by_pointing_at_it(shown: Any) -> None:
    from selenium.webdriver import ActionChains

    point = "return document.querySelectorAll('#plot-map .scatterlayer .trace .point')[arguments[0]]"
    shown.execute_script("document.getElementById('plot-map').scrollIntoView({block: 'center'})")
    seen = []
    for number in (0, 45, 80):
        ActionChains(shown).move_to_element(shown.execute_script(point, number)).perform()
        until(lambda: shown.execute_script("return document.querySelectorAll('#plot-map .hoverlayer .hovertext').length") == 1)
        seen.append(shown.execute_script("return document.querySelector('#plot-map .hoverlayer .hovertext').textContent"))
        ActionChains(shown).move_to_element(shown.find_element("css selector", "label[for=colour]")).perform()
    assert all("kind: " in text for text in seen)
    assert len(set(seen)) == 3
    # a text with tags in it is seen as it stands in the row
    shown.execute_script("""
        const hover = document.getElementById('plot-map');
        const trace = hover.data.findIndex(t => t.text.some(x => x.includes('/script')));
        Plotly.Fx.hover(hover, [{curveNumber: trace, pointNumber: hover.data[trace].text.findIndex(x => x.includes('/script'))}]);
    """)
    read = "return document.querySelector('#plot-map .hoverlayer .hovertext').textContent"
    until(lambda: "</script><script>window.hacked" in str(shown.execute_script(read)))
    assert shown.execute_script("return window.hacked") is None


def test_rows_are_coloured_by_a_column(shown: Any) -> None:
    from selenium.webdriver.support.ui import Select

    legend = "return [...document.querySelectorAll('#plot-map .legendtext')].map(one => one.textContent)"
    assert shown.execute_script(legend) == ["one (38)", "<i>%{x}</i> (38)", "NULL (38)"]
    colours = "return new Set([...document.querySelectorAll('#plot-map .scatterlayer .point')].map(p => getComputedStyle(p).fill)).size"
    select = Select(shown.find_element("id", "colour"))
    names = [one.text for one in select.options]
    assert names[0] == "kind"
    assert {"price", "made"} <= set(names)
    select.select_by_visible_text("price")
    until(lambda: shown.execute_script("return document.querySelectorAll('#plot-map .colorbar').length") == 1)
    until(lambda: shown.execute_script(colours) > 20)
    # NaN and NULL have no colour, and the others one that is seen in both modes
    assert shown.execute_script(legend)[0].startswith("NULL or not finite (")
    for scheme in ("light", "dark"):
        shown.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
        assert shown.execute_script(_COLOURS)[2] >= 3
    select.select_by_visible_text("kind")
    until(lambda: shown.execute_script("return document.querySelectorAll('#plot-map .colorbar').length") == 0)
    assert shown.execute_script(legend)[0] == "one (38)"


def test_a_value_is_no_template(shown: Any) -> None:
    hover = "Plotly.Fx.hover(document.getElementById('plot-map'), [{curveNumber: 1, pointNumber: 0}])"
    read = "return document.querySelector('#plot-map .hoverlayer .hovertext').textContent"
    shown.execute_script(hover)
    until(lambda: "kind: <i>%{x}</i>" in str(shown.execute_script(read)))


# Of each plot: the height of its place, and how far it and what it says stand out of the page.
_PLACES = """
    return [...document.querySelectorAll('.canvas')].map((box) => {
        const inside = box.getBoundingClientRect();
        const drawn = [...box.querySelectorAll('svg.main-svg, text')].filter((one) => one.getBoundingClientRect().width > 0);
        const beside = drawn.map((one) => one.getBoundingClientRect()).map((one) =>
            Math.max(one.right - inside.right, inside.left - one.left, one.bottom - inside.bottom));
        return [box.id, inside.height, Math.max(...beside)];
    });
"""


_FITS = "[...document.querySelectorAll('.canvas')].every((box) => Math.abs(box._fullLayout.width - box.clientWidth) <= 1)"


def test_plots_keep_their_place_when_the_window_changes(shown: Any) -> None:
    before = shown.execute_script(_PLACES)
    assert all(height > 150 for _, height, _ in before)
    size = shown.get_window_size()
    try:
        for width in (700, 400, 1000):
            fits = f"return innerWidth === {width} && {_FITS}"
            shown.execute_cdp_cmd(
                "Emulation.setDeviceMetricsOverride", {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
            )
            until(lambda wanted=fits: shown.execute_script(wanted))
            after = shown.execute_script(_PLACES)
            assert [(name, height) for name, height, _ in after] == [(name, height) for name, height, _ in before]
            assert max(beside for _, _, beside in after) <= 1, after
            # what is too wide scrolls in its own place
            assert shown.execute_script("return document.documentElement.scrollWidth") <= width
    finally:
        shown.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        shown.set_window_size(size["width"], size["height"])


def test_it_is_used_by_keyboard(shown: Any) -> None:
    from selenium.webdriver import ActionChains, Keys

    focused = "const a = document.activeElement; return a.id || a.className || a.tagName"

    def press(*keys: str) -> str:
        ActionChains(shown).send_keys(*keys).perform()
        return str(shown.execute_script(focused))

    assert press(Keys.TAB) == "skip"
    assert press(Keys.ENTER) == "main"
    shown.execute_script("document.activeElement.blur(); window.getSelection().removeAllRanges(); document.body.focus(); scrollTo(0, 0)")
    shown.refresh()
    until(lambda: shown.execute_script("return document.documentElement.dataset.ready") == "yes")
    order: list[str] = []
    for _ in range(150):
        order.append(press(Keys.TAB))
        if order[-1] == "BODY":
            break
    # from the first to the last, and out of the page again: nothing keeps the focus
    assert order[-1] == "BODY"
    assert order[:2] == ["skip", "theme"]
    plots = [one for one in order if one.startswith("plot-")]
    assert plots == shown.execute_script("return [...document.querySelectorAll('.canvas')].map(one => one.id)")
    assert "colour" in order
    assert order.count("SUMMARY") == shown.execute_script("return document.querySelectorAll('summary').length")
    # arrows go through a plot's points, and a screen reader is told
    shown.execute_script("document.getElementById('plot-map').focus()")
    said = "return document.getElementById('said-map').textContent"
    press(Keys.ARROW_RIGHT)
    until(lambda: "kind: " in str(shown.execute_script(said)))
    first = shown.execute_script(said)
    press(Keys.ARROW_RIGHT)
    until(lambda: shown.execute_script(said) not in ("", first))
    press(Keys.ESCAPE)
    assert shown.execute_script(said) == ""
    # Enter opens a table, and the button
    shown.execute_script("document.querySelector('summary').focus()")
    press(Keys.ENTER)
    assert shown.execute_script("return document.querySelector('details').open")
    shown.execute_script("document.getElementById('theme').focus()")
    press(Keys.ENTER)
    assert shown.execute_script("return document.documentElement.dataset.theme") == "dark"
    assert shown.find_element("id", "theme").get_attribute("aria-pressed") == "true"


_COLOURS = """
    const luminance = (c) => { const [r, g, b] = c.match(/[\\d.]+/g).slice(0, 3).map((v) => { v /= 255; return v <= 0.03928 ? v / 12.92 :
        ((v + 0.055) / 1.055) ** 2.4; }); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
    const ratio = (a, b) => { if (!/\\d/.test(a) || !/\\d/.test(b)) throw new Error(`no colour: ${a} ${b}`);
        const [x, y] = [luminance(a), luminance(b)].sort((m, n) => n - m); return (x + 0.05) / (y + 0.05); };
    const back = getComputedStyle(document.body).backgroundColor;
    const panel = getComputedStyle(document.querySelector('.canvas')).backgroundColor;
    const texts = [...document.querySelectorAll('.js-plotly-plot text')].map((t) => ratio(getComputedStyle(t).fill, panel));
    const points = [...document.querySelectorAll('#plot-curves .point, #plot-map .point')].map((p) => getComputedStyle(p).fill === 'none' ?
         getComputedStyle(p).stroke : getComputedStyle(p).fill).map((c) => ratio(c, panel));
    const page = [...document.querySelectorAll('p, dd, dt, td, th, a, summary, figcaption, h1, h2')].map((e) =>
        ratio(getComputedStyle(e).color, back));
    return [luminance(back), Math.min(...texts), Math.min(...points), Math.min(...page)];
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_light_and_dark_are_readable(shown: Any, scheme: str) -> None:
    shown.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
    back, texts, points, page = shown.execute_script(_COLOURS)
    assert back > 0.9 if scheme == "light" else back < 0.05
    # of WCAG 2.1: 4.5 for text, 3 for what is drawn
    assert texts >= 4.5
    assert page >= 4.5
    assert points >= 3
    assert shown.find_element("id", "theme").get_attribute("aria-pressed") == str(scheme == "dark").lower()


def test_it_can_be_printed(shown: Any) -> None:
    shown.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print", "features": [{"name": "prefers-color-scheme", "value": "dark"}]})
    back, texts, _, page = shown.execute_script(_COLOURS)
    assert back == 1
    assert min(texts, page) >= 4.5
    assert shown.execute_script("return getComputedStyle(document.querySelector('nav')).display") == "none"
    shown.execute_script("dispatchEvent(new Event('beforeprint'))")
    closed = "return [...document.querySelectorAll('details:not([open])')].every((one) => 'long' in one.dataset)"
    assert shown.execute_script(closed)
    shown.execute_script("dispatchEvent(new Event('afterprint'))")


def test_nothing_else_is_written(db: Connection, server_url: str, tmp_path: Path) -> None:
    db.execute(TABLE)
    before = db.execute("SELECT sum(n_tup_ins + n_tup_upd + n_tup_del) FROM pg_stat_user_tables").fetchone()
    write(url_of(db, server_url), "thing", tmp_path, column_name="f", seconds=1)
    time.sleep(0.2)
    after = db.execute("SELECT sum(n_tup_ins + n_tup_upd + n_tup_del) FROM pg_stat_user_tables").fetchone()
    assert before is not None
    assert after is not None
    assert after[0] - before[0] <= 1
