"""The door: default-deny, signatures, logins, hosts, origins, binds."""

from __future__ import annotations

import json
import re
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.routing import Mount, Route

from goflow.config import Config, Serve
from goflow.server import app
from goflow.server.errors import HttpError
from goflow.server.security import OPEN, OPEN_BELOW, Hosts
from tests.server.conftest import SECRET
from tests.server.house import House


@pytest.fixture
def stranger(locked: House) -> Iterator[httpx.Client]:
    """A client that does not know the secret."""
    with locked.client() as client:
        yield client


def every_route() -> list[tuple[str, str]]:
    """Every method and path that the application has."""
    application = app("local", Config())
    found = []
    for route in application.routes:
        if isinstance(route, Mount):
            found.append(("GET", f"{route.path}/x"))
            continue
        assert isinstance(route, Route)
        path = route.path.replace("{flow}", "echo").replace("{id}", "some-run")
        path = path.replace("{name}", "goflow.css").replace("{path:path}", "x")
        found += [(method, path) for method in sorted(route.methods or ())]
    return found


METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE")


def test_without_the_secret_every_route_is_closed_to_every_method_but_those_on_the_list(
    locked: House, stranger: httpx.Client
) -> None:
    with locked.client(authorization=f"Bearer {SECRET}") as http:
        http.post("/flow/echo", headers={"x-request-id": "some-run"})
    paths = {path for _, path in every_route()}
    assert len(paths) > 25
    streams = {"accept": "text/event-stream", "last-event-id": "1"}
    for method in METHODS:
        for path in sorted(paths):
            answer = stranger.request(method, path, headers=streams)
            if path == "/login":
                assert answer.status_code in (401, 405), method
            elif path in OPEN or path.startswith(OPEN_BELOW):
                assert answer.status_code != 401, (method, path)
            else:
                assert answer.status_code == 401, (method, path)
                assert answer.headers["www-authenticate"].startswith("Bearer")


def test_another_sites_page_changes_nothing_on_any_route_with_and_without_a_secret(
    locked: House, house: House
) -> None:
    changing = [(method, path) for method, path in every_route() if method not in ("GET", "HEAD")]
    changing.append(("GET", "/flow/echo"))
    assert len(changing) >= 8
    foreign = [{"origin": "https://evil.example"}, {"sec-fetch-site": "cross-site"}]
    with house.client() as free, locked.client(authorization=f"Bearer {SECRET}") as knowing:
        for http in (free, knowing):
            for method, path in changing:
                for headers in foreign:
                    answer = http.request(method, path, headers=headers)
                    assert answer.status_code == 403, (method, path, headers)
                    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
@pytest.mark.parametrize(
    "path", ["/", "/nothing", "/flow/echo", "//healthz", "/healthz/x", "/static"]
)
def test_without_the_secret_what_does_not_exist_is_closed_too(
    stranger: httpx.Client, method: str, path: str
) -> None:
    assert stranger.request(method, path).status_code == 401


@pytest.mark.parametrize(
    "given", ["", "Bearer", "Bearer wrong", f"Basic {SECRET}", SECRET, f"Bearer {SECRET}x"]
)
def test_a_wrong_bearer_is_refused(stranger: httpx.Client, given: str) -> None:
    answer = stranger.get("/flows", headers={"authorization": given})
    assert answer.status_code == 401
    assert SECRET not in answer.text


def test_user_code_does_not_see_the_secret(locked: House) -> None:
    with locked.client(authorization=f"Bearer {SECRET}") as http:
        assert http.post("/flow/asked").json()["secret"] is None


def test_the_bearer_opens_reads_starts_and_streams(stranger: httpx.Client) -> None:
    headers = {"authorization": f"Bearer {SECRET}"}
    started = stranger.post("/flow/echo", content=b"hi", headers=headers)
    assert (started.status_code, started.content) == (200, b"hi")
    events = f"/flow/echo/request/{started.headers['x-request-id']}/events"
    assert stranger.get(events).status_code == 401
    assert stranger.get(events, headers=headers).status_code == 200
    assert stranger.get("/metrics", headers=headers).status_code == 200


# -- signatures, computed by openssl and not by us ----------------------------------------------------


def openssl(*arguments: str, data: bytes) -> str:
    """What openssl prints first."""
    done = subprocess.run(["openssl", *arguments], input=data, capture_output=True, check=True)
    return done.stdout.decode().split()[0]


def signed(
    method: str,
    path: str,
    query: str = "",
    body: bytes = b"",
    *,
    timestamp: str | None = None,
    nonce: str | None = None,
    secret: str = SECRET,
) -> dict[str, str]:
    """The three headers, as SPEC 5 describes them."""
    timestamp = timestamp or str(int(time.time()))
    nonce = nonce or secrets.token_hex(12)
    digest = openssl("dgst", "-sha256", "-r", data=body)
    text = "\n".join([timestamp, nonce, method, path, query, digest])
    mac = openssl("dgst", "-sha256", "-hmac", secret, "-r", data=text.encode())
    return {
        "X-Goflow-Timestamp": timestamp,
        "X-Goflow-Nonce": nonce,
        "X-Goflow-Signature": f"v1={mac}",
    }


#: signed by openssl alone: tests/server/signatures.sh says how
VECTORS = json.loads(Path(__file__).with_name("signatures.json").read_text())


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["nonce"])
def test_our_signature_is_that_of_openssl(vector: dict[str, str]) -> None:
    from goflow.signature import signature

    given: dict[str, Any] = vector | {"body": bytes.fromhex(vector["body"])}
    theirs = given.pop("signature")
    assert signature(**given) == theirs


def test_a_signed_request_is_let_in_once(stranger: httpx.Client) -> None:
    headers = signed("POST", "/flow/echo", "q=%20a", b"body")
    first = stranger.post("/flow/echo?q=%20a", content=b"body", headers=headers)
    assert (first.status_code, first.content) == (200, b"body")
    again = stranger.post("/flow/echo?q=%20a", content=b"body", headers=headers)
    assert (again.status_code, again.json()["error"]["code"]) == (401, "replayed")


def test_a_replay_is_refused_by_every_server_of_the_store(
    locked: House, tmp_path: Path, stranger: httpx.Client
) -> None:
    headers = signed("GET", "/flows")
    assert stranger.get("/flows", headers=headers).status_code == 200
    second = House(tmp_path / "second", "--no-worker", files=False)
    second.setting("GOFLOW_SERVE_SECRET", SECRET)
    second.setting("GOFLOW_LOCAL_PATH", str(locked.folder / "store"))
    with second, second.client() as other:
        answer = other.get("/flows", headers=headers)
        assert answer.json()["error"]["code"] == "replayed"
        assert other.get("/flows", headers=signed("GET", "/flows")).status_code == 200


@pytest.mark.parametrize(
    "change",
    [
        {"method": "GET"},
        {"path": "/flow/each"},
        {"query": "q=2"},
        {"body": b"other"},
        {"secret": "wrong"},
    ],
)
def test_what_was_signed_is_what_must_be_sent(
    stranger: httpx.Client, change: dict[str, str]
) -> None:
    told = {"method": "POST", "path": "/flow/echo", "query": "q=1", "body": b"body"} | change
    headers = signed(**told)  # type: ignore[arg-type]
    answer = stranger.post("/flow/echo?q=1", content=b"body", headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "bad_signature")


@pytest.mark.parametrize("off", [-310, 310])
def test_a_signature_out_of_time_is_refused(stranger: httpx.Client, off: int) -> None:
    headers = signed("GET", "/flows", timestamp=str(int(time.time()) + off))
    assert stranger.get("/flows", headers=headers).status_code == 401


@pytest.mark.parametrize(
    "broken",
    [
        {"X-Goflow-Nonce": "short"},
        {"X-Goflow-Nonce": "n" * 129},
        {"X-Goflow-Timestamp": "now"},
        {"X-Goflow-Timestamp": "-1"},
        {"X-Goflow-Signature": "v1=00"},
        {"X-Goflow-Signature": "v2=" + "0" * 64},
    ],
)
def test_malformed_signature_headers_are_refused(
    stranger: httpx.Client, broken: dict[str, str]
) -> None:
    assert stranger.get("/flows", headers=signed("GET", "/flows") | broken).status_code == 401


# -- logging in ---------------------------------------------------------------------------------------


def test_the_login_cookie_lets_a_browser_in_until_it_leaves(stranger: httpx.Client) -> None:
    page = stranger.get("/", headers={"accept": "text/html"})
    assert (page.status_code, 'action="/login"' in page.text) == (401, True)
    answer = stranger.post("/login", data={"secret": SECRET})
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert SECRET not in cookie
    assert stranger.get("/flows").status_code == 200
    stranger.post("/logout")
    assert stranger.get("/flows").status_code == 401


#: pages that people send each other
PAGES = [
    "/ui/run/r1",
    "/ui/run/r1?node=each%5Balice%5D%2Fverify&round=2",
    "/ui/flow/caf%C3%A9",
    "/ui/runs?flow=order&state=failed&before=2026-01-01T00:00:00",
    "/?x=1",
]


@pytest.mark.parametrize("page", PAGES)
def test_a_login_leads_to_the_page_that_was_asked_for_after_a_mistyped_secret_too(
    stranger: httpx.Client, page: str
) -> None:
    shown = stranger.get(page, headers={"accept": "text/html"})
    assert shown.status_code == 401
    for secret, status in (("mistyped", 401), (SECRET, 303)):
        to = unescape(re.findall(r'name="to" value="([^"]*)"', shown.text)[0])
        assert to == page
        shown = stranger.post("/login", data={"secret": secret, "to": to})
        assert shown.status_code == status
    assert shown.headers["location"] == page


@pytest.mark.parametrize(
    ("path", "site", "again"),
    [
        *(("/ui/runs", "cross-site", True), ("/", "same-site", True)),
        *(("/ui/runs", "same-origin", False), ("/ui/runs", "none", False)),
        *(("/flow/echo", "cross-site", False), ("/ui/%2e%2e/flow/echo", "cross-site", False)),
    ],
)
def test_a_link_from_elsewhere_to_a_page_is_asked_again_from_here_once(
    stranger: httpx.Client, path: str, site: str, again: bool
) -> None:
    """Browsers keep the cookie back when another site's link is followed."""
    shown = stranger.get(path, headers={"accept": "text/html", "sec-fetch-site": site})
    assert (shown.status_code, "refresh" in shown.headers) == (401, again)


@pytest.mark.parametrize(
    "elsewhere",
    [
        *(
            "//evil.example",
            "//evil.example/ui/run/r1",
            "///evil.example",
            "https://evil.example/ui/",
            "/\\evil.example",
        ),
        *(
            "\\\\evil.example",
            "javascript:alert(1)",
            "evil.example",
            "/ui\\..\\..\\evil.example",
            "/\t/evil.example",
            " //evil.example",
        ),
        *(
            "/ui/../flow/echo",
            "/ui/%2e%2e/flow/echo",
            "/ui/.%2E/flow/echo",
            "/ui/run/..//evil.example",
            "/ui/..",
            "/ui/x/..%2f",
        ),
        *("/flow/echo", "/flow/echo?wait=1", "/flows", "/logout", "/login", "/uix", "/ui"),
        *(
            "/ui/run/r1\r\nSet-Cookie: a=b",
            "/ui/run/r1\n",
            "/ui/run/caf\u00e9",
            "/ui/run/" + "r" * 1501,
            '/ui/"><script>',
        ),
    ],
)
def test_a_login_leads_nowhere_but_to_a_page_of_the_dashboard(
    stranger: httpx.Client, elsewhere: str
) -> None:
    shown = stranger.post("/login", data={"secret": "mistyped", "to": elsewhere})
    assert (shown.status_code, 'name="to"' in shown.text) == (401, False)
    answer = stranger.post("/login", data={"secret": SECRET, "to": elsewhere})
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert answer.headers.get_list("set-cookie") == [answer.headers["set-cookie"]]


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/ui/run/r1"), ("GET", "/flow/echo"), ("GET", "//evil.example/ui/run/r1")],
)
def test_a_refused_request_that_asks_for_no_page_leads_home(
    stranger: httpx.Client, method: str, path: str
) -> None:
    url = stranger.base_url.copy_with(raw_path=path.encode())
    shown = stranger.request(method, url, headers={"accept": "text/html"})
    assert (shown.status_code, 'action="/login"' in shown.text) == (401, True)
    assert 'name="to"' not in shown.text


def test_a_wrong_secret_gives_no_cookie(stranger: httpx.Client) -> None:
    answer = stranger.post("/login", data={"secret": "guess"})
    assert answer.status_code == 401
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("value", ["x", "9999999999.", "9999999999." + "0" * 64, "1.2.3", '"'])
def test_a_forged_cookie_is_refused(stranger: httpx.Client, value: str) -> None:
    answer = stranger.get("/flows", headers={"cookie": f"goflow_login={value}"})
    assert answer.status_code == 401


def test_a_cookie_holds_for_its_time_and_its_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    from goflow.server import login

    cookie = f"{login.COOKIE}={login.make(SECRET)}"
    assert login.holds(SECRET, f"a=b; {cookie}")
    assert not login.holds("another", cookie)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + login.LIFE + 1)
    assert not login.holds(SECRET, cookie)


# -- where a request comes from -----------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:1"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_another_sites_page_starts_nothing(
    http: httpx.Client, method: str, headers: dict[str, str]
) -> None:
    named = headers | {"x-request-id": f"foreign-{secrets.token_hex(8)}"}
    answer = http.request(method, "/flow/echo", headers=named)
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "foreign_origin")
    assert http.get(f"/flow/echo/request/{named['x-request-id']}").status_code == 404
    assert http.post("/flow/echo/request/x/stop", headers=headers).status_code == 403


def test_the_secret_does_not_excuse_another_site(stranger: httpx.Client) -> None:
    headers = {"authorization": f"Bearer {SECRET}", "sec-fetch-site": "cross-site"}
    assert stranger.get("/flow/echo", headers=headers).status_code == 403
    assert stranger.get("/flows", headers=headers).status_code == 200


def test_our_own_pages_and_plain_programs_may(http: httpx.Client, house: House) -> None:
    own = {"origin": house.url, "sec-fetch-site": "same-origin"}
    assert http.post("/flow/echo", headers=own).status_code == 200
    assert http.post("/flow/echo", headers={"sec-fetch-site": "none"}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "user@127.0.0.1", "", "10.0.0.1", "[::2]"]
)
def test_a_foreign_host_is_misdirected(http: httpx.Client, host: str) -> None:
    answer = http.get("/healthz", headers={"host": host})
    assert (answer.status_code, answer.json()["error"]["code"]) == (421, "misdirected")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:80", "127.0.0.1:9", "[::1]:8080"])
def test_loopback_names_are_ours(http: httpx.Client, host: str) -> None:
    assert http.get("/healthz", headers={"host": host}).status_code == 200


def test_listed_hosts_are_ours_and_addresses_where_the_bind_is_public() -> None:
    public = Hosts("0.0.0.0", ["flows.example.com", "*.corp.example"])
    for host in ("flows.example.com", "a.corp.example:443", "192.168.1.4:8080", "localhost"):
        public.check(host)
    for host in ("corp.example", "xcorp.example", "example.com"):
        with pytest.raises(HttpError):
            public.check(host)


# -- binding ------------------------------------------------------------------------------------------


def goflow(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "goflow_cli.main", *arguments]
    (folder / "goflow.toml").write_text("")
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=30, check=False
    )


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_a_public_bind_without_a_secret_is_refused(tmp_path: Path, host: str) -> None:
    done = goflow(tmp_path, "serve", "--host", host, "--port", "0")
    assert done.returncode == 2
    assert "without a secret" in done.stderr
    assert "GOFLOW_SERVE_SECRET" in done.stderr


def test_the_secret_is_in_no_representation() -> None:
    assert SECRET not in repr(Serve(secret=SECRET))
