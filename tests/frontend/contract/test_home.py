"""The page at /, Ollama's greeting there, the version, and routes that are known and not served."""

import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import httpx2
import pytest

from frontend.http.unserved import REASONS
from tests.support.echo import EchoTriton
from tests.support.gateway import run_gateway

BROWSER_PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser")
BROWSER = {"accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


class Links(HTMLParser):
    """What a page refers to."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert not [name for name, _ in attrs if name.startswith("on") or name == "style"]
        self.found += [value or "" for name, value in attrs if name in ("href", "src")]


@pytest.mark.parametrize(
    "accept", [None, "*/*", "application/json", "text/html;q=0", "text/htmlx, text/plain"]
)
def test_clients_are_greeted_as_ollama_does(raw: httpx2.Client, accept: str | None) -> None:
    answer = raw.get("/", headers={} if accept is None else {"accept": accept})
    assert (answer.status_code, answer.text) == (200, "Ollama is running")
    assert answer.headers["vary"] == "accept"


def test_a_browser_gets_a_page_that_loads_nothing_from_elsewhere(raw: httpx2.Client) -> None:
    answer = raw.get("/", headers=BROWSER)
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    for path in Links(answer.text).found:
        assert path.startswith(("/", "#")), path
        assert raw.get(path.partition("#")[0] or "/", headers=BROWSER).status_code in (200, 303), (
            path
        )


def test_it_shows_the_models_and_calls_that_work(raw: httpx2.Client) -> None:
    page = raw.get("/", headers=BROWSER).text
    for cell in ("echo", "llm", "ready", "4,096 tokens", "echo-embedding", "256 tokens"):
        assert re.search(rf"<t[dh][^>]*>(<code>)?{cell}(</code>)?</t[dh]>", page), cell
    assert re.search(r"\d+ requests? runs? and \d+ waits?\. A new request (starts|waits)", page)
    base = str(raw.base_url).rstrip("/")
    assert page.count(f"{base}/v1") >= 4
    assert "Authorization: Bearer YOUR_KEY" not in page


def test_the_page_shows_what_its_api_gives(raw: httpx2.Client) -> None:
    given = raw.get("/status").json()
    page = raw.get("/", headers=BROWSER).text
    assert given["object"] == "status"
    assert (given["ready"], given["draining"]) == (True, False)
    wait = "starts at once" if not given["expected_wait_s"] else "waits about"
    assert f"A new request {wait}" in page
    cells = [
        re.sub(r"<[^>]*>", " ", one).split() for one in re.findall(r"<tr>.*?</tr>", page, re.S)
    ]
    rows = {row[0]: row for row in cells if row and row[0] != "Name"}
    assert given["models"]
    for model in given["models"]:
        row = rows[model["name"]]
        assert {model["kind"], *model["state"].split()} <= {*row, ""}
        if model["context"] is not None:
            assert f"{model['context']:,}" in row
    assert rows.keys() >= {one["name"] for one in given["models"]}
    known = [day for day in given["days"] if day["share"] is not None]
    assert (given["uptime"] is None) is not bool(known)
    for day in known:
        assert f"{day['share'] * 100:.2f} %" in page


def test_a_public_url_stands_in_its_calls_and_names_can_be_secret(
    echo_triton: EchoTriton, tmp_path: Path
) -> None:
    keys = tmp_path / "keys"
    keys.write_text("")
    flags = ["--keys-file", str(keys), "--public-url", "https://llm.example/<&>"]
    with run_gateway(echo_triton.grpc_address, tmp_path / "log", *flags) as gateway:
        page = httpx2.get(gateway.url, headers=BROWSER).text
        assert "<td>" not in page
        assert "echo" not in page
        assert httpx2.get(f"{gateway.url}/status").json()["models"] is None
        assert "https://llm.example/&lt;&amp;&gt;/v1/models" in page
        assert page.count("YOUR_KEY") >= 4
        assert httpx2.get(f"{gateway.url}/version").status_code == 401


def test_the_version_has_the_shape_of_vllm(raw: httpx2.Client) -> None:
    answer = raw.get("/version").json()
    assert re.fullmatch(r"\d+\.\d+.*", answer["version"])
    assert answer["server"] == "triton-toolkit"


@pytest.mark.parametrize("path", REASONS)
def test_what_is_not_served_is_refused_by_name(raw: httpx2.Client, path: str) -> None:
    for method, asked in (("POST", path), ("GET", f"{path}/some/thing"), ("DELETE", f"{path}/x")):
        answer = raw.request(method, asked, json={"input": "x"})
        error = answer.json()["error"]
        assert answer.status_code == 404
        assert path in error["message"] if isinstance(error, dict) else path in str(error)
    assert raw.get(f"{path}x").json()["error"]["message"].startswith("this route does not exist")


@pytest.mark.parametrize("path", ["/tokenize", "/detokenize"])
def test_a_model_without_a_tokenizer_says_so(raw: httpx2.Client, path: str) -> None:
    answer = raw.post(path, json={"tokens": [1]} if path == "/detokenize" else {"prompt": "a"})
    assert answer.status_code == 400
    assert (answer.json()["error"]["param"], answer.json()["error"]["code"]) == (
        "model",
        "model_not_supported",
    )


@pytest.mark.skipif(BROWSER_PROGRAM is None, reason="chromium is not installed")
@pytest.mark.parametrize("path", ["/", "/docs/swagger"])
def test_a_real_browser_shows_the_pages_and_their_policies_allow_it(
    raw: httpx2.Client, tmp_path: Path, path: str
) -> None:
    assert BROWSER_PROGRAM is not None
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"]
    flags += [f"--user-data-dir={tmp_path}", "--virtual-time-budget=5000", "--dump-dom"]
    url = f"{str(raw.base_url).rstrip('/')}{path}"
    done = subprocess.run(
        [BROWSER_PROGRAM, *flags, url], check=False, capture_output=True, text=True, timeout=90
    )
    assert "CONSOLE" not in done.stderr, done.stderr
    ran = '<button type="button">Copy</button>' if path == "/" else "/v1/chat/completions"
    assert ran in done.stdout, "its script did not run"
