"""The dashboard in a real browser: what a person does there, with mouse, keyboard, phone and in the dark."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import (
    Browser,
    ConsoleMessage,
    Error,
    Page,
    Request,
    expect,
    sync_playwright,
)

from tests.redis.server import RedisServer
from tests.server.conftest import registered
from tests.server.flows import HOSTILE, LONGEST
from tests.server.house import House

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no chromium on this machine's PATH")

ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
PAGES = ("/", "/ui/flow/each", "/ui/runs", "/ui/dead", "/ui/workers")

#: what a busy machine may take to show what was clicked
expect.set_options(timeout=20_000)

#: what of axe's rules the dark scheme can break
COLOURS = {"runOnly": ["color-contrast"]}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


class Watched:
    """A page, and whatever it did that it must not: errors, dialogs, requests to others."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.wrongs: list[str] = []
        page.on("console", self._said)
        page.on("pageerror", self._failed)
        page.on("request", self._asked)

    def _said(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.wrongs.append(message.text)

    def _failed(self, error: Error) -> None:
        self.wrongs.append(str(error))

    def _asked(self, request: Request) -> None:
        if not request.url.startswith(self.url):
            self.wrongs.append(request.url)


#: what is central is done on both stores
on_both = pytest.mark.parametrize("served", ["house", "redis_house"], indirect=True)


@pytest.fixture
def served(request: pytest.FixtureRequest) -> House:
    """A server without a secret: the one over the local store unless a test says otherwise."""
    found: House = request.getfixturevalue(getattr(request, "param", "house"))
    return found


@pytest.fixture
def http(served: House) -> Iterator[httpx.Client]:
    """A client of that server."""
    with served.client() as client:
        yield client


@pytest.fixture
def page(browser: Browser, served: House) -> Iterator[Page]:
    """A page of that server, on which nothing may go wrong."""
    context = browser.new_context(base_url=served.url)
    context.set_default_timeout(15_000)
    watched = Watched(context.new_page(), served.url)
    yield watched.page
    context.close()
    assert watched.wrongs == []


def run(http: httpx.Client, flow: str, body: bytes = b"", wait: int = 20) -> str:
    """A run of the flow, ended unless `wait` is 0; its id."""
    name = f"b-{uuid.uuid4().hex[:12]}"
    http.post(f"/flow/{flow}?wait={wait}", content=body, headers={"x-request-id": name})
    return name


@on_both
def test_a_run_is_started_watched_and_seen_to_end(page: Page, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    page.goto("/")
    page.get_by_role("link", name="gated").first.click()
    page.get_by_label("Payload").fill(str(gate))
    page.get_by_role("button", name="Start").click()
    page.wait_for_url("**/ui/run/*")
    expect(page.locator("#graph rect.box.running")).to_have_count(1)
    expect(page.locator("#logs")).not_to_contain_text("after")
    page.evaluate("window.untouched = true")
    gate.touch()
    expect(page.locator("#summary .state")).to_contain_text("succeeded")
    expect(page.locator("#graph rect.box.succeeded")).to_have_count(2)
    expect(page.locator("#payloads")).to_contain_text(str(gate))
    assert page.evaluate("window.untouched"), "the page was loaded anew"
    expect(page.get_by_role("button", name="Pause")).to_have_count(0)


@on_both
def test_a_run_is_paused_resumed_and_stopped_by_buttons(
    page: Page, http: httpx.Client, tmp_path: Path
) -> None:
    name = run(http, "gated", str(tmp_path / "never").encode(), wait=0)
    page.goto(f"/ui/run/{name}")
    page.get_by_role("button", name="Pause").click()
    expect(page.locator("#summary .state")).to_contain_text("paused")
    page.get_by_role("button", name="Resume").click()
    expect(page.locator("#summary .state")).to_contain_text("running")
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("#summary .state")).to_contain_text("stopped")


@on_both
def test_a_failure_is_read_and_the_run_retried(page: Page, http: httpx.Client) -> None:
    name = run(http, "failing")
    page.goto(f"/ui/run/{name}")
    expect(page.locator("#summary [role=alert]")).to_contain_text(
        "second: ValueError: no <b>good</b>"
    )
    page.get_by_role("link", name="second: failed").click()
    node = page.locator("#node")
    node.get_by_text("Traceback").click()
    expect(node.locator("details pre")).to_contain_text("raise ValueError")
    expect(page.locator("#logs pre")).to_contain_text("about to fail")
    page.get_by_role("button", name="Retry", exact=True).click()
    expect(page.locator("#summary .facts")).to_contain_text("Round")
    expect(node.locator("table")).to_contain_text("round 2")


def test_one_item_of_a_foreach_is_found(page: Page, http: httpx.Client) -> None:
    name = run(http, "each", b"150")
    page.goto(f"/ui/run/{name}")
    expect(page.locator("#nodes tbody tr")).to_have_count(5)
    page.locator("#nodes").get_by_role("link", name="each[]/square").click()
    page.get_by_role("link", name="each[42]/square").click()
    expect(page.locator("#node")).to_contain_text("1764")


def test_the_items_of_a_foreach_come_by_pages_and_are_found_by_key(
    page: Page, http: httpx.Client
) -> None:
    name = run(http, "each", b"150")
    page.goto(f"/ui/run/{name}?under=each[]/square")
    nodes = page.locator("#nodes")
    expect(nodes.locator("tbody tr")).to_have_count(100)
    nodes.get_by_role("link", name="More").click()
    expect(nodes.locator("tbody tr")).to_have_count(50)
    expect(nodes).to_contain_text("101 to 150 of 150")
    nodes.get_by_role("link", name="each[149]/square").click()
    expect(page.locator("#node")).to_contain_text("22201")
    expect(nodes.locator("tbody tr")).to_have_count(50)
    nodes.get_by_label("Path has").fill("[77]")
    page.keyboard.press("Enter")
    expect(nodes.locator("tbody tr")).to_have_count(1)


def test_a_node_opens_and_closes_by_keyboard_without_loading_the_page_anew(
    page: Page, http: httpx.Client
) -> None:
    name = run(http, "failing")
    page.goto(f"/ui/run/{name}")
    page.evaluate("window.untouched = true")
    link = page.locator("#nodes").get_by_role("link", name="second")
    link.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Node second")).to_be_focused()
    assert page.url.endswith("?node=second#node")
    page.keyboard.press("Escape")
    expect(page.locator("#node h2")).to_have_count(0)
    expect(link).to_be_focused()
    page.go_back()
    expect(page.get_by_role("heading", name="Node second")).to_be_visible()
    assert page.evaluate("window.untouched")


def test_the_time_line_marks_the_critical_path(page: Page, http: httpx.Client) -> None:
    name = run(http, "each", b"3")
    page.goto(f"/ui/run/{name}")
    row = page.locator("#nodes tr", has=page.get_by_role("link", name="kind[small]/fine"))
    expect(row.get_by_label("on the critical path")).to_have_count(1)
    expect(row.locator("svg.bar rect.ran.succeeded")).to_have_count(1)
    expect(page.locator("#nodes")).to_contain_text("3 of 3")


@on_both
def test_the_time_line_shows_earlier_attempts_and_nodes_in_their_order(
    page: Page, http: httpx.Client
) -> None:
    name = run(http, "wavering", b"hallo")
    page.goto(f"/ui/run/{name}")
    rows = page.locator("#nodes tbody tr")
    expect(rows.locator("td:first-child")).to_have_text(["inner", "wavers◆", "adds-up◆"])
    wavering = rows.nth(1)
    expect(wavering.locator("svg.bar rect.earlier.failed")).to_have_count(1)
    expect(wavering.locator("svg.bar rect.ran.succeeded")).to_have_count(1)
    expect(wavering.locator("td").last).to_have_text("2")
    expect(page.locator("#logs pre")).to_contain_text("done")
    expect(page.locator("#logs pre")).not_to_contain_text("10 %")


def test_a_run_is_run_again_with_its_input_and_query(page: Page, http: httpx.Client) -> None:
    name = f"b-{uuid.uuid4().hex[:12]}"
    body, headers = b"\x00\xff", {"x-request-id": name}
    http.post("/flow/asked?colour=red&colour=blue", content=body, headers=headers)
    page.goto(f"/ui/run/{name}")
    page.get_by_role("button", name="Run again").click()
    page.wait_for_url(lambda url: "/ui/run/" in url and name not in url)
    expect(page.locator("#payloads")).to_contain_text("00 ff")
    expect(page.locator("#payloads")).to_contain_text("blue")
    page.goto("/")
    page.get_by_role("link", name="Start a run of asked").click()
    page.wait_for_url("**/ui/flow/asked#start")


def test_a_dead_letter_is_retried_and_dropped(page: Page, http: httpx.Client) -> None:
    name = run(http, "failing")
    page.goto("/ui/dead")
    row = page.locator("#dead tr", has=page.get_by_role("link", name=name))
    expect(row).to_contain_text("second")
    row.get_by_role("button", name="Retry").click()
    at = f"/flow/failing/request/{name}"
    http.get(f"{at}/result?wait=20")
    assert http.get(at).json()["round"] == 2
    page.reload()
    page.once("dialog", lambda dialog: dialog.accept())
    row.get_by_role("button", name="Drop").click()
    expect(row).to_have_count(0)
    assert http.get(at).status_code == 404


def test_runs_come_by_pages_and_one_is_found_by_its_id(page: Page, http: httpx.Client) -> None:
    newest = [
        http.get("/flow/echo", headers={"x-async": "true"}).headers["x-request-id"]
        for _ in range(101)
    ]
    page.goto("/ui/runs?flow=echo")
    expect(page.locator("#runs tbody tr")).to_have_count(100)
    page.get_by_role("link", name="More").click()
    expect(page.locator("#runs")).to_contain_text("101 to")
    expect(page.locator("#runs")).to_contain_text(newest[0])
    assert page.url.endswith("&page=2")
    page.get_by_role("link", name="Newest").click()
    expect(page.locator("#runs")).to_contain_text("1 to 100")
    assert page.url.endswith("/ui/runs?flow=echo")
    page.get_by_label("Run id").fill(newest[5])
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/ui/run/{newest[5]}")


def test_a_long_error_leaves_room_for_the_rest_and_scrolls_by_keyboard(
    page: Page, http: httpx.Client
) -> None:
    name = run(http, "wordy")
    page.set_viewport_size({"width": 390, "height": 844})
    for path, within in ((f"/ui/run/{name}", "#summary"), (f"/ui/run/{name}?node=fail", "#node")):
        page.goto(path)
        error = page.locator(f"{within} p.error")
        box = error.bounding_box()
        assert box is not None
        assert box["height"] < 300
        error.focus()
        page.keyboard.press("End")
        expect(error).not_to_have_js_property("scrollTop", 0)


def test_a_page_that_there_is_not_is_told_as_a_page(browser: Browser, served: House) -> None:
    with browser.new_context(base_url=served.url) as context:
        page = context.new_page()
        answer = page.goto("/ui/nosuch/page")
        assert answer is not None
        assert answer.status == 404
        expect(page.locator("main")).to_contain_text("there is no page at '/ui/nosuch/page'")
        expect(page.get_by_role("link", name="All runs")).to_be_visible()


def test_hostile_text_stays_text(page: Page, http: httpx.Client) -> None:
    name = run(http, "hostile", HOSTILE.encode())
    for path in (f"/ui/run/{name}", f"/ui/run/{name}?node=fail", "/ui/runs", "/"):
        page.goto(path)
        expect(page.locator("main")).to_contain_text("<script>alert(2)</script>")
        assert page.locator("main script, main img").count() == 0
    page.goto(f"/ui/run/{name}?under=each[]/pass")
    page.locator("#nodes tbody a").click()
    expect(page.locator("#node")).to_contain_text("<script>alert(2)</script>")


def test_everything_can_be_done_by_keyboard(page: Page) -> None:
    page.goto("/")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to content"
    page.keyboard.press("Enter")
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent") == "echo":
            break
    page.keyboard.press("Enter")
    page.wait_for_url("**/ui/flow/echo")
    while page.evaluate("document.activeElement.id") != "payload":
        page.keyboard.press("Tab")
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        inner = page.evaluate(
            "getComputedStyle(document.activeElement.querySelector('rect') || document.body).strokeWidth"
        )
        assert outline != "none" or inner == "3px"
    page.keyboard.type("by hand")
    for _ in range(4):
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_url("**/ui/run/*")
    expect(page.locator("#payloads")).to_contain_text("by hand")


def test_filters_live_in_the_url(page: Page, http: httpx.Client) -> None:
    run(http, "failing")
    page.goto("/ui/runs")
    page.get_by_label("State").select_option("failed")
    page.wait_for_url("**state=failed*")
    assert set(page.locator("tbody .state").all_inner_texts()) == {"✗ failed"}
    page.go_back()
    expect(page.get_by_label("State")).to_have_value("")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(browser: Browser, http: httpx.Client, house: House, scheme: str) -> None:
    failed, fine = run(http, "failing"), run(http, "each", b"4")
    context = browser.new_context(base_url=house.url, color_scheme=scheme)  # type: ignore[arg-type]
    page = context.new_page()
    for path in (*PAGES, f"/ui/run/{failed}?node=second", f"/ui/run/{fine}", "/ui/run/none"):
        page.goto(path)
        found = Axe().run(page, options=None if scheme == "light" else COLOURS)
        assert found.violations_count == 0, f"{path}: {found.generate_report()}"
    context.close()


def test_a_phone_scrolls_down_only(browser: Browser, http: httpx.Client, house: House) -> None:
    name = run(http, "hostile")
    run(http, LONGEST)
    context = browser.new_context(base_url=house.url, viewport={"width": 360, "height": 740})
    page = context.new_page()
    for path in (*PAGES, f"/ui/run/{name}?node=fail"):
        page.goto(path)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, path
        cut = "[...document.querySelectorAll('.scroll:has(table)')].filter(e => e.scrollWidth > e.clientWidth)"
        assert page.evaluate(f"{cut}.length") == 0, f"a list of {path} is cut"
    context.close()


@pytest.mark.parametrize("width", [1024, 1280, 1920])
def test_a_desktop_gives_the_error_of_a_node_the_room_there_is(
    browser: Browser, http: httpx.Client, house: House, width: int
) -> None:
    name = run(http, "hostile")
    context = browser.new_context(base_url=house.url, viewport={"width": width, "height": 800})
    page = context.new_page()
    page.goto(f"/ui/run/{name}")
    shown = page.evaluate("document.querySelector('.nodes .cut.error').clientWidth")
    assert shown >= (400 if width > 1200 else 250)
    for path in (f"/ui/run/{name}", f"/ui/run/{name}?node=fail"):
        page.goto(path)
        page.evaluate(
            "document.querySelectorAll('.nodes td:nth-child(n+4)').forEach(e => { e.textContent = '12.34 s' })"
        )
        cut = "[...document.querySelectorAll('.scroll:has(.nodes)')].filter(e => e.scrollWidth > e.clientWidth)"
        assert page.evaluate(f"{cut}.length") == 0, f"the nodes of {path} are cut"
    context.close()


def test_long_names_and_errors_leave_a_desktop_its_width(
    browser: Browser, http: httpx.Client, house: House
) -> None:
    run(http, LONGEST)
    context = browser.new_context(base_url=house.url, viewport={"width": 1024, "height": 800})
    page = context.new_page()
    for path in ("/", "/ui/runs", f"/ui/flow/{LONGEST}", "/ui/dead"):
        page.goto(path)
        assert page.evaluate("document.documentElement.scrollWidth") <= 1024, path
        cut = "[...document.querySelectorAll('.scroll:has(table)')].filter(e => e.scrollWidth > e.clientWidth)"
        assert page.evaluate(f"{cut}.length") == 0, f"a list of {path} is cut"
    context.close()


def test_pages_say_that_the_store_is_away_and_go_on_once_it_is_back(
    browser: Browser, tmp_path: Path
) -> None:
    with RedisServer("--appendonly", "yes", "--appendfsync", "always") as store:
        house = House(tmp_path / "away").setting("GOFLOW_BACKEND", store.url)
        with house, house.client() as http:
            registered(http)
            name = run(http, "gated", str(tmp_path / "never").encode(), wait=0)
            context = browser.new_context(base_url=house.url)
            context.set_default_timeout(15_000)
            one, every, late = (context.new_page() for _ in range(3))
            one.goto(f"/ui/run/{name}")
            expect(one.locator("#summary .state")).to_contain_text("running")
            every.goto("/ui/runs")
            store.kill()
            for page in (one, every):
                expect(page.get_by_role("status")).to_contain_text("What is shown may be old")
            late.goto("/ui/runs")
            expect(late.get_by_role("main")).to_contain_text("loaded again as soon as")
            one.wait_for_timeout(4_000)  # the page's stream of events comes back meanwhile, in vain
            store.start()
            for page in (one, every):
                expect(page.get_by_role("status")).not_to_contain_text("may be old")
            expect(late.get_by_role("heading", name="Runs")).to_be_visible()
            one.once("dialog", lambda dialog: dialog.accept())
            one.get_by_role("button", name="Stop").click()
            expect(one.locator("#summary .state")).to_contain_text("stopped")
            context.close()


def test_a_browser_logs_in_and_out(browser: Browser, tmp_path: Path) -> None:
    house = House(tmp_path / "locked").setting("GOFLOW_SERVE_SECRET", "s3cret")
    with house, house.client(authorization="Bearer s3cret") as http:
        registered(http)
        context = browser.new_context(base_url=house.url)
        page = context.new_page()
        page.goto("/ui/workers")
        page.get_by_label("Secret").fill("wrong")
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_contain_text("not this server's secret")
        page.get_by_label("Secret").fill("s3cret")
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name="Workers")).to_be_visible()  # what was asked for
        link = f'<a href="{house.url}/ui/runs">runs</a>'
        page.route(
            "http://mail.example/", lambda route: route.fulfill(body=link, content_type="text/html")
        )
        page.goto("http://mail.example/")
        page.get_by_role("link", name="runs").click()
        expect(page.get_by_role("heading", name="Runs")).to_be_visible()  # not the login again
        page.get_by_role("link", name="Flows", exact=True).click()
        page.get_by_role("link", name="echo", exact=True).click()
        page.get_by_role("button", name="Start").click()
        expect(page.locator("#summary .state")).to_contain_text("succeeded")
        page.get_by_role("button", name="Log out").click()
        expect(page.get_by_label("Secret")).to_be_visible()
        context.close()


def test_all_files_of_a_page_are_small() -> None:
    import goflow.server

    folder = Path(goflow.server.__file__).parent / "static"
    assert sum(file.stat().st_size for file in folder.iterdir()) < 100_000  # 700 KB is the limit
