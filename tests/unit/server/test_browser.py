"""What users of such pages do, in a real browser: headless Chromium, one for all tests, and one server."""

import shutil
import time
from dataclasses import replace
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from benchmarking.errors import ExitStatus
from benchmarking.results import documents
from benchmarking.results.documents import Document
from benchmarking.results.model import NET_DELAY, Verdict
from benchmarking.server.ingest import ingest
from benchmarking.server.pages.reading import reader_of
from benchmarking.server.pages.report import report_html
from benchmarking.server.store import open_store, sqlite_url
from benchmarking.server.triage.search import search, stale
from tests.support import http_server
from tests.support import sample_results as samples
from tests.support.made_up_results import History, sha
from tests.support.results_server import serving
from tests.support.sample_results import having

selenium = pytest.importorskip("selenium.webdriver")
from selenium.webdriver.chrome.service import Service  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import Select, WebDriverWait  # noqa: E402

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = [
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="there is no chromium with a chromedriver"),
    pytest.mark.xdist_group("chromium"),
]
WAIT_S = 60
COMMITS = 60
MADE_UP = History(
    nets=3,
    backends=("default", "mkl"),
    devices=2,
    commits=COMMITS,
    operators=2,
    samples=8,
    steps=0,
    failed=0,
    scatter=0.002,
)
CULPRIT = 30
"""squeezenet is slower from this commit on, and only that of the backend mkl."""
HOSTILE = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"


def results():
    for one in MADE_UP:
        number = one.provenance.position
        is_slow = one.test.net == "squeezenet" and one.test.backend == "mkl" and number >= CULPRIT
        yield slower(one, number == CULPRIT) if is_slow and one.failure is None else one


def slower(result, is_culprit):
    """By 20 %; at the culprit its A/B run says so, and fresh pairs confirm it."""
    net = scaled(result.net, 1.2)
    if is_culprit:
        decision = replace(net.decision, verdict=Verdict.REGRESSED)
        comparison = replace(
            net.comparison,
            ratio=1.2,
            ratio_interval=replace(net.comparison.ratio_interval, low=1.19, high=1.21),
        )
        net = replace(
            net, decision=replace(decision, comparison=comparison), comparison=comparison, regressed=True
        )
    return replace(result, types=(net, *result.types[1:]))


def scaled(one, factor):
    summary = replace(
        one.summary,
        p50=one.summary.p50 * factor,
        median_interval=one.summary.median_interval
        and replace(
            one.summary.median_interval,
            low=one.summary.median_interval.low * factor,
            high=one.summary.median_interval.high * factor,
        ),
    )
    return replace(one, summary=summary)


def of_a_branch(one):
    """The newest commit again, on a branch on which mobilenet_v2 is faster."""
    is_faster = one.test.net == "mobilenet_v2"
    types = (scaled(one.net, 0.5), *one.types[1:]) if is_faster and one.failure is None else one.types
    origin = replace(
        one.provenance,
        commit="b" * 40,
        position=COMMITS,
        branch="faster",
        subject="Fuse the convolutions",
        uid=f"b{one.provenance.uid[1:]}",
        run_uid=f"b{one.provenance.run_uid[1:]}",
        commit_time=one.provenance.commit_time + 3600,
        control_commit=None,
        control_commit_time=None,
        control_position=None,
    )
    kept = tuple(
        replace(t, comparison=None, decision=None, control_summary=None, control_values=()) for t in types
    )
    return replace(one, provenance=origin, types=kept)


def hostile():
    return having(
        samples.PASSED,
        uid="hostile",
        run_uid="hostile-run",
        net=HOSTILE,
        name=HOSTILE,
        commit=sha(0),
        commit_time=1_740_000_000,
        tainted=(HOSTILE,),
        warnings=(HOSTILE,),
        types=(samples.delays(NET_DELAY, 1000.0), samples.delays(HOSTILE, 10.0)),
    )


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    store = open_store(sqlite_url(tmp_path_factory.mktemp("browser") / "results.db"))
    given = list(results())
    newest = [of_a_branch(one) for one in given if one.provenance.position == COMMITS - 1]
    only_main = [one for one in newest if one.test.net != "resnet50"]
    ingest(store, [*given, *only_main, hostile()])
    with store.reading() as connection:
        searched = stale(connection, 1000)
    for one in searched:
        search(store, one, int(time.time()))
    yield store
    store.close()


@pytest.fixture(scope="module")
def address(store):
    with serving(store) as found:
        yield found


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    options = selenium.ChromeOptions()
    options.binary_location = CHROMIUM
    for one in (
        "headless",
        "no-sandbox",
        "disable-gpu",
        "disable-quic",
        "no-first-run",
        "disable-background-networking",
        "disable-component-update",
        "disable-sync",
        "disable-dev-shm-usage",
        "window-size=1280,900",
        f"user-data-dir={tmp_path_factory.mktemp('chromium')}",
    ):
        options.add_argument(f"--{one}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = selenium.Chrome(options, Service(DRIVER))
    driver.set_page_load_timeout(WAIT_S)
    driver.set_script_timeout(WAIT_S)
    yield driver
    driver.quit()


class Page:
    """A page as its user sees it."""

    def __init__(self, driver, address):
        self.driver, self.address = driver, address

    def open(self, path):
        self.driver.get(self.address + path)
        return self

    def all(self, selector):
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector):
        return WebDriverWait(self.driver, WAIT_S).until(
            lambda driver: driver.find_element(By.CSS_SELECTOR, selector), selector
        )

    def text(self, selector="main"):
        return self.one(selector).text

    def texts(self, selector):
        return self.driver.execute_script(
            "return [...document.querySelectorAll(arguments[0])].map(one => one.innerText.trim())", selector
        )

    def follow(self, name, within="main"):
        """Clicks the link with this text and waits for its page."""
        link = next(one for one in self.all(f"{within} a") if one.text.strip() == name)
        self.leave(link.click)

    def leave(self, action):
        before = self.one("html")
        action()
        WebDriverWait(self.driver, WAIT_S).until(lambda driver: is_gone(before))
        self.wait(lambda: self.driver.execute_script("return document.readyState") == "complete")

    def wait(self, condition):
        WebDriverWait(self.driver, WAIT_S).until(lambda _: condition())

    def keys(self, *keys):
        self.driver.switch_to.active_element.send_keys(*keys)

    @property
    def path(self):
        return urlsplit(self.driver.current_url).path

    @property
    def query(self):
        return parse_qs(urlsplit(self.driver.current_url).query)


def is_gone(element):
    try:
        element.is_enabled()
    except selenium.remote.errorhandler.StaleElementReferenceException:
        return True
    return False


@pytest.fixture
def page(chromium, address):
    yield Page(chromium, address)
    problems = [one for one in chromium.get_log("browser") if one["level"] == "SEVERE"]
    assert problems == []


def size(page, width, height, *, is_dark=False):
    page.driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600},
    )
    page.driver.execute_cdp_cmd(
        "Emulation.setEmulatedMedia",
        {"features": [{"name": "prefers-color-scheme", "value": "dark" if is_dark else "light"}]},
    )


# --- the ten tasks ------------------------------------------------------------------------------------------


def test_what_is_red_and_since_when(page):
    page.open("/")
    assert "1 open\nregression" in page.text(".cards")
    (row,) = page.texts("#regressions tbody tr")
    assert f"change number {CULPRIT} of the convolutions" in row
    assert "▲" in row
    assert sha(CULPRIT)[:12] in row
    day = time.strftime("%Y-%m-%d", time.gmtime(1_740_000_000 + CULPRIT * 3600))
    assert day in row


def test_one_regression_for_each_commit(page):
    page.open("/regressions")
    rows = [one for one in page.texts("#regressions tbody tr") if f"change number {CULPRIT} " in one]
    assert len(rows) == 1
    page.follow(f"change number {CULPRIT} of the convolutions")
    assert page.text().count("squeezenet") >= 2  # on both devices


def test_two_branches_compared_by_significance_and_only_what_both_have(page):
    page.open("/compare")
    page.one("[name=a]").send_keys("branch:main")
    page.one("[name=b]").send_keys("branch:faster")
    page.leave(page.one("form.choose button").click)
    assert page.query["a"] == ["branch:main"]
    findings = page.texts("#compared tbody tr td:nth-last-child(2)")
    changed = [one for one in findings if one in ("slower", "faster")]
    assert changed == ["faster"] * len(changed)
    assert len(changed) >= 1
    assert findings[: len(changed)] == changed
    models = page.texts("#compared tbody td:first-child")
    assert models[0] == "mobilenet_v2"
    assert "resnet50" not in models
    assert "Left out, because only one side has them: 4 of A, 0 of B." in page.text()
    assert "geometric mean of 8 in both" in page.text(".cards")
    page.leave(lambda: Select(page.one("[name=sort]")).select_by_visible_text("model"))
    sorted_models = page.texts("#compared tbody td:first-child")
    assert sorted_models == sorted(sorted_models)


def test_from_a_comparison_to_the_history_in_one_click(page):
    page.open(f"/compare?a={sha(CULPRIT - 1)}&b={sha(CULPRIT)}")
    assert "slower" in page.text("#compared tbody tr")
    page.follow("squeezenet")
    assert page.path.startswith("/series/")
    assert page.one(".graph canvas").is_displayed()
    assert sha(CULPRIT)[:12] in page.text("#changes")


def test_the_command_that_repeats_a_point(page):
    page.open("/matrix?model=squeezenet&columns=device")
    page.leave(page.all("#matrix td a")[0].click)
    page.leave(page.all("#points td.number a")[0].click)
    assert page.path.startswith("/run/")
    assert page.text("#command").startswith("harness.py --benchmark_file squeezenet.json --backend ")
    button = page.one("[data-copy]")
    button.click()
    page.wait(lambda: button.text in ("copied", "selected"))


def test_a_model_on_all_devices(page):
    page.open("/")
    page.keys("/")
    page.keys("mobilenet_v2", Keys.ENTER)
    page.wait(lambda: page.path == "/search")
    assert page.query["q"] == ["mobilenet_v2"]
    page.leave(next(one for one in page.all("main a") if "mobilenet_v2" in one.text).click)
    page.open("/matrix?columns=device&model=mobilenet_v2")
    assert page.texts("#matrix thead th")[1:] == ["Board-0", "Board-1"]
    assert len(page.all("#matrix td[class*=slower-]")) >= 1


def test_a_regression_is_ignored_with_a_reason(page):
    page.open("/regressions")
    page.follow(f"change number {CULPRIT} of the convolutions")
    where = page.path
    page.one("[name=reason]").send_keys("the <b>old</b> device")
    page.leave(page.one("button[value=ignored]").click)
    assert page.path == where
    assert "ignored" in page.text()
    assert "the <b>old</b> device" in page.text()
    page.open("/")
    assert f"change number {CULPRIT}" not in "".join(page.texts("#regressions"))


# --- the graph, the keys, and pages without a script --------------------------------------------------------


def slow_series(page):
    page.open(f"/compare?a={sha(CULPRIT - 1)}&b={sha(CULPRIT)}")
    page.follow("squeezenet")
    page.one(".graph canvas")


def test_the_zoom_of_a_graph_is_in_the_address_and_comes_back(page):
    slow_series(page)
    graph = page.one(".graph")
    graph.send_keys("+")
    page.wait(lambda: "from" in page.query)
    zoom = page.query
    assert int(zoom["to"][0]) - int(zoom["from"][0]) < COMMITS / 2 + 1
    page.driver.refresh()
    page.one(".graph canvas")
    assert page.query == zoom
    assert page.one("[name=from]").get_attribute("value") == zoom["from"][0]
    assert len(page.all("#points tbody tr")) < COMMITS
    page.leave(page.one("form.choose a.button").click)
    assert page.query == {}


def test_a_graph_without_points_says_so_once(page):
    slow_series(page)
    page.open(f"{page.path}?from={COMMITS + 1000}")
    page.wait(lambda: "There are no points here." in page.text())
    page.driver.execute_async_script("requestAnimationFrame(arguments[0])")  # the script has run
    assert page.text().count("There are no points here.") == 1


def test_the_arrow_keys_read_a_graph_and_enter_opens_the_run(page):
    slow_series(page)
    graph = page.one(".graph")
    graph.send_keys(Keys.ARROW_LEFT)
    page.wait(lambda: page.text(".graph-read"))
    assert "b" * 12 in page.text(".graph-read")
    graph.send_keys(Keys.ARROW_LEFT)
    page.wait(lambda: "b" * 12 not in page.text(".graph-read"))
    assert "against the control" in page.text(".graph-read")
    page.leave(lambda: graph.send_keys(Keys.ENTER))
    assert page.path.startswith("/run/")


def test_an_open_page_shows_what_is_sent_meanwhile(page):
    slow_series(page)
    key = page.path.rsplit("/", 1)[1]
    with_key = page.driver.execute_script("return document.querySelector('h1 small').innerText")
    template = next(
        one
        for one in MADE_UP
        if one.provenance.position == COMMITS - 1
        and one.test.net == "squeezenet"
        and f" {one.test.backend} " in with_key
        and one.device.name in with_key
    )
    origin = replace(
        of_a_branch(template).provenance,
        commit="c" * 40,
        position=COMMITS + 1,
        uid="sent",
        run_uid="sent-run",
        branch="main",
    )
    new = replace(of_a_branch(template), provenance=origin)
    body = documents.dumps(documents.document_json(Document((new,), ExitStatus.OK, 1.0, (), ())))
    answer = requests.post(f"{page.address}/api/v1/results", data=body.encode(), timeout=60)
    assert answer.json() == {"accepted": 1, "known": 0}
    page.wait(lambda: "c" * 12 in page.texts("#points tbody tr")[0])
    assert page.path == f"/series/{key}"
    page.wait(lambda: len(page.all(".graph canvas")) == 1)
    page.one(".graph").send_keys(Keys.ARROW_LEFT)
    page.wait(lambda: "c" * 12 in page.text(".graph-read"))
    page.one(".graph").send_keys(Keys.ARROW_LEFT)
    page.wait(lambda: "b" * 12 in page.text(".graph-read"))  # one step for each key


def test_without_a_clipboard_the_command_is_selected(page):
    slow_series(page)
    page.leave(page.one("#points tbody td a[href*='/run/']").click)
    page.driver.execute_script("Object.defineProperty(navigator, 'clipboard', { value: undefined })")
    page.one("[data-copy]").click()
    page.wait(lambda: page.text("[data-copy]") == "selected")
    assert page.driver.execute_script("return getSelection().toString()") == page.text("#command")


def test_a_graph_in_a_frame_leads_out_of_it(page):
    slow_series(page)
    frame = f'<iframe src="{page.address}/embed{page.path}" width="900" height="600"></iframe>'
    text = f'<!DOCTYPE html><link rel="icon" href="data:,">{frame}'
    with http_server.running() as other:
        page.driver.get(other.on("/", http_server.content(text.encode())))
        page.driver.switch_to.frame(page.one("iframe"))
        page.one(".graph canvas")
        page.one(".graph").send_keys("g", "m")  # a frame has no pages to go to
        page.one(".graph").send_keys(Keys.ARROW_LEFT, Keys.ENTER)
        page.driver.switch_to.default_content()
        page.wait(lambda: page.path.startswith("/run/"))


def test_another_series_is_drawn_with_it(page):
    slow_series(page)
    page.leave(lambda: Select(page.one("[name=overlay]")).select_by_index(1))
    assert len(page.query["overlay"]) == 1
    page.one(".graph canvas")
    assert len(page.all(".graph-key li")) >= 3


def test_the_keys_walk_through_rows_and_pages(page):
    page.open("/matrix")
    page.keys("j")
    page.keys("j")
    assert (
        page.driver.switch_to.active_element.find_element(By.XPATH, "ancestor::tr").get_attribute("rowIndex")
        == "2"
    )
    page.keys("?")
    assert page.one("#keys").is_displayed()
    page.keys(Keys.ESCAPE)
    page.leave(lambda: page.keys("g", "c"))
    assert page.path == "/compare"


def test_more_rows_come_in_place(page):
    slow_series(page)
    assert len(page.all("#points td.number a")) == 50
    where = page.driver.current_url
    page.one("#points .more a").click()
    page.wait(lambda: not page.all("#points .more"))
    assert len(page.all("#points td.number a")) > COMMITS - 5
    assert page.driver.current_url == where


PATHS = (
    "/",
    "/matrix",
    "/compare?a=device:1&b=device:2",
    "/regressions",
    "/devices",
    "/search?q=net",
    "/reference",
    "/webhooks",
)


def test_pages_without_a_script_show_the_same(page):
    page.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        page.open("/matrix?model=squeezenet")
        key = page.one("#matrix td a").get_attribute("href")
        page.driver.get(key)
        assert page.one("noscript svg polyline")
        assert not page.one(".graph").is_displayed()
        assert len(page.all("#points tbody tr")) == 51
        page.leave(page.one("#points .more a").click)
        assert 5 <= len(page.all("#points tbody tr")) <= 11
        for path in PATHS:
            page.open(path)
            assert page.text()
    finally:
        page.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


@pytest.mark.parametrize("is_dark", [False, True])
@pytest.mark.parametrize("width", [390, 1280])
def test_no_page_is_wider_than_the_screen_and_every_text_can_be_read(page, width, is_dark):
    slow_series(page)
    series = page.path
    size(page, width, 844, is_dark=is_dark)
    try:
        for path in (*PATHS, series, f"/commit/{sha(CULPRIT)}", "/run/hostile"):
            page.open(path)
            wide, shown = page.driver.execute_script(
                "return [document.documentElement.scrollWidth, innerWidth]"
            )
            assert wide <= shown, path
            assert page.driver.execute_script(CONTRASTS) == [], path
    finally:
        size(page, 1280, 900)


CONTRASTS = """
const rgb = text => (text.match(/[\\d.]+/g) || []).map(Number);
const light = ([r, g, b]) => [r, g, b].map(one => (one /= 255) <= .03928 ? one / 12.92 : ((one + .055) / 1.055) ** 2.4)
  .reduce((sum, one, i) => sum + one * [.2126, .7152, .0722][i], 0);
function background(element) {
  for (let one = element; one; one = one.parentElement) {
    const colour = rgb(getComputedStyle(one).backgroundColor);
    if (colour.length === 3 || colour[3] === 1) return colour;
  }
  return [255, 255, 255];
}
const found = new Set();
for (const element of document.querySelectorAll('body *')) {
  const own = [...element.childNodes].some(one => one.nodeType === 3 && one.data.trim());
  if (!own || !element.checkVisibility() || element.closest('svg, noscript, script')) continue;
  const [a, b] = [light(rgb(getComputedStyle(element).color)), light(background(element))].sort((x, y) => y - x);
  if ((a + .05) / (b + .05) < 4.5) found.add(`${element.tagName}.${element.className}: ${element.innerText.slice(0, 30)}`);
}
return [...found];
"""


def test_hostile_names_run_nothing(page):
    page.open("/run/hostile")
    assert HOSTILE in page.text("h1")
    page.leave(page.one("#whole td a").click)
    page.one(".graph canvas")
    assert HOSTILE in page.text("h1")
    for path in (
        "/",
        "/matrix",
        "/devices",
        "/search?q=img",
        f"/commit/{sha(0)}",
        "/compare?a=device:1&b=device:3",
    ):
        page.open(path)
        assert page.driver.title != "owned"
        assert page.all("main img, main script:not([type])") == []


def test_the_report_is_one_file(page, store, tmp_path):
    with store.reading() as connection:
        text = report_html(reader_of(connection), HOSTILE)
    file = tmp_path / "report.html"
    file.write_text(text, encoding="utf-8")
    page.driver.get(file.as_uri())
    assert page.driver.title != "owned"
    page.wait(lambda: page.texts("#all td:first-child a").count("squeezenet") == 4)
    page.all("#all td:first-child a")[-1].click()
    page.one("#chosen .graph canvas")
    assert len(page.all("#chosen tbody tr")) >= COMMITS - 3
    assert not page.one("#whole").is_displayed()
    page.driver.execute_script("document.querySelector('.skip').click()")
    page.keys("g", "m")  # the file has no other pages
    page.driver.execute_script("return new Promise(done => setTimeout(done, 100))")
    assert page.driver.current_url.startswith(file.as_uri())
    assert not page.one("#whole").is_displayed()
    page.driver.back()
    page.driver.back()
    page.wait(lambda: page.one("#whole").is_displayed())
    page.driver.get(f"{file.as_uri()}#series-nonesuch")
    assert page.one("#whole").is_displayed()


def send(page, uid):
    template = next(one for one in MADE_UP if one.failure is None)
    new = replace(template, provenance=replace(template.provenance, uid=uid, run_uid=f"{uid}-run"))
    body = documents.dumps(documents.document_json(Document((new,), ExitStatus.OK, 1.0, (), ())))
    requests.post(f"{page.address}/api/v1/results", data=body.encode(), timeout=60).raise_for_status()


def test_details_that_are_open_remain_so(page):
    page.open("/devices")
    page.wait(lambda: page.driver.execute_script(CONNECTED))
    page.one("details summary").click()
    send(page, "opened")
    page.wait(lambda: page.driver.execute_script("return window.swaps"))
    page.wait(lambda: [one.get_attribute("open") for one in page.all("details")][:2] == ["true", None])


CONNECTED = """
  window.swaps = 0;
  document.addEventListener('htmx:after:swap', () => { window.swaps += 1; });
  const stream = new EventSource(document.querySelector('meta[name=live]').content);
  return new Promise(done => { stream.onopen = () => done(true); });
"""
WATCHED = """
  window.events = 0; window.choices = [];
  const choice = document.querySelector('[name=device]');
  htmx.ajax = async () => { window.choices.push(choice.selectedIndex); };
  const stream = new EventSource(document.querySelector('meta[name=live]').content);
  stream.addEventListener('results', () => { window.events += 1; });
  return new Promise(done => { stream.onopen = done; });
"""


def test_what_somebody_begins_to_choose_is_not_replaced(page):
    page.open("/compare")
    page.driver.execute_script(WATCHED)
    choice = page.one("[name=device]")
    Select(choice).select_by_index(1)
    send(page, "chosen")
    page.wait(lambda: page.driver.execute_script("return window.events"))
    Select(choice).select_by_index(0)
    page.one("[name=a]").click()
    page.driver.execute_script("document.activeElement.blur()")
    page.wait(lambda: page.driver.execute_script("return window.choices.length"))
    assert set(page.driver.execute_script("return window.choices")) == {0}
