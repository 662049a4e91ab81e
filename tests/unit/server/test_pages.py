"""The pages, their JSON and their CSV, of made-up results, on both databases."""

import csv
import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient

from benchmarking.reporters.exports import FORMATS, content, of_results
from benchmarking.results.model import NET_DELAY, Program
from benchmarking.server.app import make_app
from benchmarking.server.ingest import ingest
from benchmarking.server.pages.rendering import HEADERS
from benchmarking.server.store import open_store, sqlite_url
from tests.support import sample_results as samples
from tests.support.histories import result
from tests.support.made_up_results import History, sha
from tests.support.sample_results import having

MADE_UP = History(
    nets=2, backends=("default", "mkl"), devices=2, commits=60, operators=1, samples=8, steps=0.05
)
RESULTS = list(MADE_UP)
NEWEST = sha(MADE_UP.commits - 1)
HOSTILE = "<script>alert(1)</script>\" onmouseover='x' {{ 7*7 }}"
FORMULA = "=HYPERLINK(1)"
HTML = {"Accept": "text/html"}


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def client(request, tmp_path_factory):
    if request.param == "sqlite":
        url = sqlite_url(tmp_path_factory.mktemp("pages") / "results.db")
    else:
        url = request.getfixturevalue("postgres").database()
    store = open_store(url)
    ingest(store, RESULTS)
    ingest(store, hostile_results())
    yield client_of(store)
    store.close()


def client_of(store):
    return TestClient(make_app(store), base_url="http://localhost")


def hostile_results():
    """Two results whose every text wants to be more than a text."""
    return [
        having(
            samples.PASSED,
            uid=f"hostile-{number}",
            run_uid=f"hostile-run-{number}",
            net=HOSTILE,
            identifier=FORMULA,
            backend=HOSTILE,
            name=HOSTILE,
            commit=f"{number:040x}",
            commit_time=1_600_000_000 + number,
            subject=HOSTILE,
            author=FORMULA,
            branch="javascript:alert(1)",
            provenance=replace(samples.PASSED.provenance, command=("harness.py", HOSTILE)),
            tainted=(HOSTILE,),
            program=Program(HOSTILE, {"engine": HOSTILE, "engine_version": f"{HOSTILE}{number}"}),
            warnings=(HOSTILE,),
            types=(samples.delays(NET_DELAY, 1000.0 + number), samples.delays(HOSTILE, 10.0)),
        )
        for number in (1, 2)
    ]


def read(client, address, status=200):
    answer = client.get(address, headers=HTML)
    assert answer.status_code == status, answer.text[:500]
    return answer


def data(client, address):
    answer = client.get(address)
    assert answer.status_code == 200
    return answer.json()


class Elements(HTMLParser):
    """What a browser would run or load."""

    def __init__(self):
        super().__init__()
        self.active = []

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        if tag == "style" or (
            tag == "script" and "src" not in given and given.get("type") != "application/json"
        ):
            self.active.append(tag)
        for name, value in attrs:
            is_address = name in ("href", "src", "action", "hx-get") and (value or "").strip()[:1] not in (
                "/",
                "#",
            )
            if name.startswith("on") or name == "style" or (is_address and value != "data:,"):
                self.active.append((tag, name, value))


def active(text):
    parser = Elements()
    parser.feed(text)
    return parser.active


def rows(client, address):
    return list(csv.DictReader(io.StringIO(read(client, address).text)))


def any_series(client):
    return data(client, "/matrix.json?model=squeezenet&columns=device")["rows"][0]["cells"][0]["key"]


def hostile_series(client):
    found = [one for one in rows(client, f"/commit/{2:040x}.csv") if one["name_model"].startswith("<script>")]
    return found[0]["name_key"]


# --- what they show -----------------------------------------------------------------------------------------


def test_the_overview_counts_what_was_measured(client):
    view = data(client, "/overview.json")
    assert view["series"] == 2 * 2 * 2 + 1
    assert view["newest"]["sha"] == NEWEST
    assert [one["commit"]["sha"] for one in view["strip"]][-3:] == [sha(57), sha(58), NEWEST]
    changed = {one["commit"]["sha"]: (one["slower"], one["faster"]) for one in view["strip"]}
    for number in range(40, 60):
        regressed = [
            one for one in RESULTS if one.provenance.commit == sha(number) and one.verdict == "regressed"
        ]
        assert changed[sha(number)][0] == len(regressed)
    page = read(client, "/").text
    assert "Newest 60 commits" in page
    assert NEWEST[:12] in page


def test_a_series_has_its_points_in_order_and_their_table(client):
    key = any_series(client)
    view = data(client, f"/series/{key}.json")
    positions = [one["commit"]["position"] for one in view["line"]["points"]]
    assert positions == sorted(positions)
    name = view["line"]["name"]
    own = [
        one
        for one in RESULTS
        if one.failure is None
        and (one.test.net, one.test.backend, one.device.name)
        == (name["model"], name["backend"], name["device"])
    ]
    assert len(positions) == len(own)
    assert view["line"]["points"][-1]["value"] == own[-1].net.summary.p50
    page = read(client, f"/series/{key}").text
    assert page.count('href="/run/') == 50
    rest = read(client, re.search(r'href="([^"]*before=[^"]*)"', page).group(1).replace("&amp;", "&")).text
    assert rest.count('href="/run/') == len(own) - 50


def test_the_zoom_is_in_the_address(client):
    key = any_series(client)
    view = data(client, f"/series/{key}.json?from=10&to=19")
    assert {one["commit"]["position"] for one in view["line"]["points"]} <= set(range(10, 20))
    assert 'value="19"' in read(client, f"/series/{key}?from=10&to=19").text


def test_a_zoom_may_be_open_at_one_end(client):
    key = any_series(client)
    whole = data(client, f"/series/{key}.json")["line"]["points"]
    some = data(client, f"/series/{key}.json?from=40")
    assert some["zoom"] == [40, None]
    assert some["line"]["points"] == [one for one in whole if one["commit"]["position"] >= 40]
    page = read(client, f"/series/{key}?from=40").text
    last = whole[-1]["commit"]["position"]
    assert f'"range":[40,{last}]' in page
    assert re.search(r'name="from"[^>]*value="40"', page)
    assert re.search(r'name="to"[^>]*value=""', page)


def test_the_tables_of_a_zoom_are_those_of_its_page(client):
    key = any_series(client)
    other = data(client, "/matrix.json?model=squeezenet&columns=device")["rows"][0]["cells"][1]["key"]
    page = read(client, f"/series/{key}?from=10&to=19&scale=relative&overlay={other}").text
    as_csv, as_json, whole = (
        re.search(rf'href="([^"]*)">{ending}</a>', page).group(1).replace("&amp;", "&")
        for ending in ("CSV", "JSON", "newest commits")
    )
    assert {int(one["commit_position"]) for one in rows(client, as_csv)} <= set(range(10, 20))
    view = data(client, as_json)
    assert (view["relative"], view["zoom"], len(view["overlays"])) == (True, [10, 19], 1)
    assert whole == f"/series/{key}?overlay={other}&scale=relative"


def test_where_commits_have_no_positions_a_zoom_means_what_was_drawn(store, monkeypatch):
    from benchmarking.server.pages import series

    monkeypatch.setattr(series, "DRAWN_POINTS", 4)
    own = list(History(nets=1, backends=("default",), devices=1, commits=8, tainted=0, failed=0))
    ingest(store, [having(one, position=None) if number == 6 else one for number, one in enumerate(own)])
    client = client_of(store)
    key = data(client, f"/commit/{sha(1)}.json")["rows"][0]["name"]["key"]
    drawn = data(client, f"/series/{key}.json")["line"]
    assert [one["commit"]["position"] for one in drawn["points"]] == [0, 1, 2, 3]
    assert data(client, f"/series/{key}.json?from=1&to=2")["line"] == drawn


def test_each_point_may_have_a_document_of_its_own(store, monkeypatch):
    from benchmarking.server.pages import series

    monkeypatch.setattr(series, "DRAWN_POINTS", 3)
    own = History(nets=1, backends=("default",), devices=1, commits=8, tainted=0, failed=0)
    updated = [
        having(
            one, program=replace(one.program, facts={**one.program.facts, "engine_version": f"2.{number}"})
        )
        for number, one in enumerate(own)
    ]
    ingest(store, updated)
    client = client_of(store)
    key = data(client, f"/commit/{sha(1)}.json")["rows"][0]["name"]["key"]
    assert len(data(client, f"/series/{key}.json?from=0&to=7")["breaks"]) == 7


def test_a_series_of_one_branch(store):
    own = list(History(nets=1, backends=("default",), devices=1, commits=6, tainted=0, failed=0))
    of_branch = [
        replace(one, provenance=replace(one.provenance, branch="faster <1>" if number % 2 else "main"))
        for number, one in enumerate(own)
    ]
    ingest(store, of_branch)
    client = client_of(store)
    key = data(client, f"/commit/{sha(1)}.json")["rows"][0]["name"]["key"]
    page = read(client, f"/series/{key}?branch=faster+%3C1%3E").text
    assert "<option selected>faster &lt;1&gt;</option>" in page
    assert f"/series/{key}.csv?branch=faster+%3C1%3E" in page
    for branch, expected in (("", 6), ("main", 3), ("faster <1>", 3), ("none", 0)):
        points = data(client, f"/series/{key}.json?branch={quote(branch)}")["line"]["points"]
        assert [one["commit"]["branch"] for one in points] == [
            branch or one["commit"]["branch"] for one in points
        ]
        assert len(points) == expected
    read(client, f"/series/{key}?branch=none")


def test_a_series_is_drawn_with_others(client):
    keys = [one["key"] for one in data(client, "/matrix.json?model=squeezenet")["rows"][0]["cells"]]
    view = data(client, f"/series/{keys[0]}.json?overlay={keys[1]}&overlay=nonesuch&scale=relative")
    assert [one["name"]["key"] for one in view["overlays"]] == [keys[1]]
    assert view["relative"]


def test_the_matrix_relates_the_newest_values(client):
    view = data(client, "/matrix.json?columns=backend&against=default&device=1")
    assert view["columns"][:2] == ["default", "mkl"]
    (row,) = [one for one in view["rows"] if one["model"] == "squeezenet"]
    default, mkl = row["cells"]
    assert mkl["ratio"] == pytest.approx(mkl["value"] / default["value"])
    assert default["ratio"] == 1
    assert {one["column"] for one in rows(client, "/matrix.csv?columns=device")} >= {"Board-0", "Board-1"}


def test_tables_for_programs_say_where_the_next_page_begins(store, monkeypatch):
    from benchmarking.server.pages import matrix

    monkeypatch.setattr(matrix, "MODELS_PER_PAGE", 2)
    ingest(store, [result(1, 100, net=name) for name in ("a", "b & c", "d")])
    client = client_of(store)
    first = data(client, "/matrix.json?columns=device")
    assert (len(first["rows"]), first["after"]) == (2, "b & c")
    assert data(client, f"/matrix.json?columns=device&after={quote(first['after'])}")["after"] is None
    answer = client.get("/matrix.csv?columns=device")
    assert answer.headers["Link"] == '</matrix.csv?columns=device&after=b+%26+c>; rel="next"'
    following = client.get("/p/default/matrix.csv?columns=device").links["next"]["url"]
    assert following.startswith("/p/default/")
    (last,) = rows(client, answer.links["next"]["url"])
    assert last["model"] == "d"
    assert "Link" not in client.get(answer.links["next"]["url"]).headers


def test_a_commit_lists_what_was_measured_and_the_commit_before(client):
    view = data(client, f"/commit/{NEWEST[:39]}.json") if NEWEST[:39].isalnum() else None
    assert view["before"] == sha(MADE_UP.commits - 2)
    measured = [one for one in RESULTS if one.provenance.commit == NEWEST and one.failure is None]
    assert len(view["rows"]) == len(measured)
    assert f"a={view['before']}" in read(client, f"/commit/{NEWEST}").text


def test_a_result_has_its_conditions_operators_and_command(client):
    result = next(one for one in RESULTS if one.failure is None)
    page = read(client, f"/run/{result.provenance.uid}").text
    assert "harness.py --benchmark_file squeezenet.json --backend default" in page
    assert "temperature_celsius" in page
    assert "ID_0_Conv_conv0" in page
    assert "jit:avx2" in page
    view = data(client, f"/run/{result.provenance.uid}.json")
    assert [one["name"] for one in view["operators"]] == [one.type for one in result.operators]
    assert view["whole"][0]["series"]
    assert sum(one["share"] for one in view["operators"]) == pytest.approx(1)


def test_a_failed_result_shows_why(client):
    failed = having(samples.FAILED, uid="failed", run_uid="failed-run")
    ingest(client.app.state.store, [failed])
    page = read(client, "/run/failed").text
    assert failed.failure.error in page


# --- compare ------------------------------------------------------------------------------------------------


def compared(client, a, b):
    return data(client, f"/compare.json?a={a}&b={b}")


def test_two_commits_are_judged_by_their_verdict_first(client):
    number = next(
        int(one.provenance.position)
        for one in RESULTS
        if one.verdict == "regressed" and one.provenance.position > 20
    )
    view = compared(client, sha(number - 1), sha(number))
    slower = [one for one in view["rows"] if one["finding"] == "slower"]
    assert slower
    assert {one["evidence"] for one in slower} == {"A/B"}
    ranks = [one["finding"] in ("slower", "faster") for one in view["rows"]]
    assert ranks == sorted(ranks, reverse=True)
    reverse = compared(client, sha(number), sha(number - 1))
    assert {one["name"]["key"] for one in reverse["rows"] if one["finding"] == "faster"} == {
        one["name"]["key"] for one in slower
    }
    assert view["geometric_mean"] == pytest.approx(1 / reverse["geometric_mean"], rel=0.02)


def test_what_is_shown_in_the_formats_of_other_programs(client):
    query = f"a={sha(3)}&b={NEWEST}"
    rows = compared(client, sha(3), NEWEST)["rows"]
    for kind in FORMATS:
        of_run = client.get(f"/run/{RESULTS[-1].provenance.uid}/export/{kind}")
        assert of_run.content == content(kind, of_results([RESULTS[-1]]))
        assert f"run.{kind}." in of_run.headers["Content-Disposition"]
        links = re.findall(rf'href="(/compare/export/{kind}[^"]*)"', read(client, f"/compare?{query}").text)
        (link,) = (one.replace("&amp;", "&") for one in links)
        assert client.get(link).status_code == 200
    values = data(client, f"/compare/export/github_action_benchmark?{query}")
    assert sorted(one["value"] for one in values) == sorted(one["head"] for one in rows)
    assert client.get(f"/compare/export/xml?{query}").status_code == 404


@pytest.mark.parametrize("sort", ["change", "model"])
def test_a_comparison_has_the_same_order_for_programs(client, sort):
    query = f"a={sha(3)}&b={NEWEST}&sort={sort}"
    keys = [one["name"]["key"] for one in data(client, f"/compare.json?{query}")["rows"]]
    table = list(csv.DictReader(io.StringIO(read(client, f"/compare.csv?{query}").text)))
    assert keys == [one["name_key"] for one in table]
    assert keys != [one["name"]["key"] for one in compared(client, sha(3), NEWEST)["rows"]]


def test_only_what_both_have_is_compared(client):
    view = compared(client, f"{1:040x}", NEWEST)
    assert (view["rows"], view["only_base"]) == ([], 1)
    assert view["only_head"] == len(data(client, f"/commit/{NEWEST}.json")["rows"])
    page = read(client, f"/compare?a={1:040x}&b={NEWEST}").text
    assert "They have nothing in common" in page


@pytest.mark.parametrize(
    ("a", "b", "kind"),
    [
        ("device:1", "device:2", "device"),
        ("Board-0", "Board-1", "device"),
        ("backend:default", "mkl", "backend"),
        (sha(3), "branch:main", "commit"),
        (sha(3), "main", "commit"),
    ],
)
def test_things_of_any_kind_are_compared(client, a, b, kind):
    view = compared(client, a, b)
    assert view["head"]["kind"] == kind
    assert len(view["rows"]) >= 4
    assert read(client, f"/compare?a={a}&b={b}").text.count("<tr>") >= 4


def test_two_runs_are_compared(client):
    first, last = (RESULTS[place].provenance.run_uid for place in (0, -1))
    assert len(compared(client, first, RESULTS[24].provenance.run_uid)["rows"]) > 0
    view = compared(client, first, last)
    assert (view["base"]["kind"], view["only_base"]) == ("run", 4)  # of another device


@pytest.mark.parametrize(("a", "b"), [("nonesuch", "main"), ("device:1", "mkl"), ("commit:", "x")])
def test_what_cannot_be_compared_is_said(client, a, b):
    page = read(client, f"/compare?a={a}&b={b}", 404).text
    assert 'role="alert"' in page
    assert client.get(f"/compare.json?a={a}&b={b}").status_code == 404


# --- hostile ------------------------------------------------------------------------------------------------


def test_names_are_text_everywhere(client):
    key = hostile_series(client)
    addresses = [
        "/",
        "/matrix",
        "/matrix?columns=device",
        f"/series/{key}",
        f"/series/{key}?scale=relative&overlay={key}",
        f"/embed/series/{key}",
        f"/commit/{2:040x}",
        f"/compare?a={1:040x}&b={2:040x}",
        "/run/hostile-2",
    ]
    for address in addresses:
        text = read(client, address).text
        assert "<script>alert" not in text, address
        assert ">49<" not in text, address
        assert not active(text), address


def test_no_cell_of_a_table_is_a_formula(client):
    for address in (f"/commit/{2:040x}.csv", f"/series/{hostile_series(client)}.csv", "/run/hostile-2.csv"):
        for row in rows(client, address):
            for value in row.values():
                assert not value.startswith(("=", "@", "+")), address
                assert not value.startswith("-") or float(value) < 0, address


@pytest.mark.parametrize(
    "address",
    [
        "/series/nonesuch",
        "/series/..%2F..%2Fetc%2Fpasswd",
        "/run/nonesuch",
        "/commit/nonesuch",
        "/commit/0000",
        "/nonesuch",
        "/static/../../routes.py",
        "/static/%2e%2e/pages/routes.py",
    ],
)
def test_what_is_not_there_is_a_page_that_says_so(client, address):
    page = read(client, address, 404).text
    assert "Back to the overview" in page or page == "Not Found"
    assert client.get(address).headers["content-type"].startswith(("application/json", "text/plain"))


@pytest.mark.parametrize(
    "address",
    [
        "/matrix?model=%00",
        f"/matrix?model={'x' * 300}",
        "/commit/%00",
        "/matrix?after=%1b",
        "/compare?a=%F0%90&b=%00",
        "/series/x?overlay=%00&overlay=y",
        "/regressions?commit=%00&commit=y",
        "/matrix?columns=<b>",
    ],
)
def test_addresses_that_no_database_takes_are_refused(client, address):
    read(client, address, 400)


@pytest.mark.parametrize("after", ["-1", "x", str(2**64)])
def test_numbers_are_checked(client, after):
    read(client, f"/compare?a=main&b=main&after={after}", 422)


def test_odd_queries_show_the_default(client):
    for address in ("/matrix?device=1e9", "/matrix?device=99999999999999999"):
        read(client, address)
    key = any_series(client)
    read(client, f"/series/{key}?from=x&to=9999999999999999999&before=nonesuch&overlay=")


def test_pages_allow_no_script_but_our_own(client):
    answer = read(client, "/")
    policy = answer.headers["Content-Security-Policy"]
    assert policy == HEADERS["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert not active(answer.text)
    embedded = read(client, f"/embed/series/{any_series(client)}").headers["Content-Security-Policy"]
    assert embedded == policy.replace("frame-ancestors 'none'", "frame-ancestors *")


# --- others -------------------------------------------------------------------------------------------------


def test_without_results_the_pages_say_how_to_begin(store):
    client = client_of(store)
    assert "No results yet" in read(client, "/").text
    for address in ("/matrix", "/compare", "/reference"):
        read(client, address)


def test_commits_without_positions_are_in_the_order_of_their_times(store):
    ingest(store, [replaced(one, position=None, control_position=None) for one in RESULTS[:120]])
    client = client_of(store)
    points = data(client, f"/series/{any_series(client)}.json")["line"]["points"]
    assert [one["commit"]["position"] for one in points] == list(range(len(points)))
    assert [one["commit"]["time"] for one in points] == sorted(one["commit"]["time"] for one in points)


def replaced(result, **changes):
    return replace(result, provenance=replace(result.provenance, **changes))


def test_a_change_of_the_libraries_is_marked(store):
    ingest(
        store,
        [
            replace(one, program=replace(one.program, facts={**one.program.facts, "engine_version": version}))
            for one, version in zip(RESULTS[:160], ["2.12.0"] * 80 + ["2.13.0"] * 80, strict=True)
        ],
    )
    client = client_of(store)
    key = any_series(client)
    (found,) = data(client, f"/series/{key}.json")["breaks"]
    assert found["what"] == "engine_version 2.12.0 → 2.13.0"
    assert "engine_version 2.12.0 → 2.13.0" in read(client, f"/series/{key}").text


def test_the_reference_lists_every_table(client):
    page = read(client, "/reference").text
    for path in ("/overview.json", "/matrix.csv", "/compare.json", "/series/{key}.csv", "/run/{uid}.json"):
        assert f"<code>{path}</code>" in page
    # Docstrings of several lines are one line there, without marks of code.
    assert "`commit` may be" not in page
    assert "commit may be given several times" in page


def test_links_lead_through_a_proxy(client):
    client = TestClient(client.app, base_url="http://localhost", root_path="/benchmarks")
    page = client.get("/benchmarks/", headers=HTML).text
    assert not re.search(r'(href|src|action)="/(?!benchmarks)', page)
    assert 'href="/benchmarks/matrix"' in page
