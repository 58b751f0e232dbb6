"""Downloads over a line that breaks, stalls and lies: resumed, checked, never half there."""

import hashlib
import http.client
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.support.processes import wait_for
from tests.support.web import Web
from toolkit import download
from toolkit.addresses import check_url
from toolkit.download import Remote, download_all
from toolkit.errors import SourceError

BODY = os.urandom(3_000_000)
SHA256 = hashlib.sha256(BODY).hexdigest()


class Counter:
    """A step that adds up."""

    def __init__(self) -> None:
        self.done = 0.0

    def advance(self, amount: float = 1) -> None:
        self.done += amount

    def total(self, amount: float) -> None: ...

    def note(self, text: str) -> None: ...


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "_FIRST_WAIT_S", 0.001)


def fetch(place: Path, remote: Remote) -> float:
    step = Counter()
    download_all({place: remote}, step)
    return step.done


def test_a_file_comes_whole_and_once(web: Web, tmp_path: Path) -> None:
    web.files["/a"] = BODY
    place = tmp_path / "deep" / "a"
    remote = Remote(f"{web.url}/a", size=len(BODY), sha256=SHA256)
    assert fetch(place, remote) == len(BODY)
    assert place.read_bytes() == BODY
    assert os.listdir(place.parent) == ["a"]
    assert fetch(place, remote) == len(BODY)
    assert web.asked("/a") == [None]


def test_a_broken_line_is_taken_up_where_it_broke(web: Web, tmp_path: Path) -> None:
    web.files["/a"] = BODY
    web.cuts = [1_000_000, 0, 500_000]
    assert fetch(tmp_path / "a", Remote(f"{web.url}/a", sha256=SHA256)) == len(BODY)
    assert (tmp_path / "a").read_bytes() == BODY
    assert web.asked("/a") == [None, "bytes=1000000-", "bytes=1000000-", "bytes=1500000-"]


def test_a_server_without_ranges_starts_again(web: Web, tmp_path: Path) -> None:
    web.files["/a"] = BODY
    web.ranges, web.cuts = False, [1_000_000]
    assert fetch(tmp_path / "a", Remote(f"{web.url}/a", sha256=SHA256)) == len(BODY)
    assert (tmp_path / "a").read_bytes() == BODY


def test_a_part_of_another_file_is_thrown_away(web: Web, tmp_path: Path) -> None:
    web.files["/a"] = BODY
    (tmp_path / ".a.part").write_bytes(b"x" * (len(BODY) + 5))
    assert fetch(tmp_path / "a", Remote(f"{web.url}/a", sha256=SHA256)) == len(BODY)
    assert (tmp_path / "a").read_bytes() == BODY


def test_corrupted_bytes_are_refused_and_forgotten(web: Web, tmp_path: Path) -> None:
    web.files["/a"] = BODY[:-1] + bytes([BODY[-1] ^ 1])
    with pytest.raises(SourceError, match=f"SHA-256 digest .* expected {SHA256}") as caught:
        fetch(tmp_path / "a", Remote(f"{web.url}/a", sha256=SHA256))
    assert "do not trust" in (caught.value.hint or "")
    assert os.listdir(tmp_path) == []
    web.files["/a"] = BODY
    fetch(tmp_path / "a", Remote(f"{web.url}/a", sha256=SHA256))


def test_small_files_are_checked_as_git_names_them(web: Web, tmp_path: Path) -> None:
    web.files["/a"] = b"hello\n"
    name = "ce013625030ba8dba906f756967f9e9ca394464a"  # git hash-object
    fetch(tmp_path / "a", Remote(f"{web.url}/a", git_sha1=name))
    web.files["/a"] = b"hullo\n"
    with pytest.raises(SourceError, match="git digest"):
        fetch(tmp_path / "b", Remote(f"{web.url}/a", git_sha1=name))


@pytest.mark.parametrize("size", [len(BODY) - 1, len(BODY) + 1])
def test_another_size_is_another_file(web: Web, tmp_path: Path, size: int) -> None:
    web.files["/a"] = BODY
    with pytest.raises(SourceError, match="has 3000000 bytes, expected"):
        fetch(tmp_path / "a", Remote(f"{web.url}/a", size=size))
    assert not (tmp_path / "a").exists()


def test_trouble_that_may_pass_is_waited_out(web: Web, tmp_path: Path) -> None:
    web.files["/a"] = BODY
    web.statuses["/a"] = [503, 429, 500]
    fetch(tmp_path / "a", Remote(f"{web.url}/a", sha256=SHA256))
    web.statuses["/a"] = [503] * 9
    with pytest.raises(SourceError, match="answers 503"):
        fetch(tmp_path / "b", Remote(f"{web.url}/a"))
    assert len(web.statuses["/a"]) == 4


@pytest.mark.parametrize(("status", "hint"), [(404, "revision"), (401, "HF_TOKEN"), (403, "terms")])
def test_what_will_not_pass_is_told_at_once(
    web: Web, tmp_path: Path, status: int, hint: str
) -> None:
    web.files["/a"] = BODY
    web.statuses["/a"] = [status, status]
    with pytest.raises(SourceError, match=f"answers {status}") as caught:
        fetch(tmp_path / "a", Remote(f"{web.url}/a?signature=secret"))
    assert hint in (caught.value.hint or "")
    assert "secret" not in str(caught.value)
    assert len(web.requests) == 1


def test_files_come_side_by_side(web: Web, tmp_path: Path) -> None:
    web.files |= {f"/{number}": BODY for number in range(3)}
    web.hold_after = 1000
    files = {tmp_path / str(number): Remote(f"{web.url}/{number}") for number in range(3)}
    counter = Counter()
    loading = threading.Thread(target=download_all, args=(files, counter))
    loading.start()
    wait_for(lambda: counter.done == 3000, what="a bit of each file")
    web.go_on.set()
    loading.join()
    assert counter.done == 3 * len(BODY)


def test_the_first_failure_stops_all(web: Web, tmp_path: Path) -> None:
    web.files |= {f"/{number}": BODY for number in range(8)}
    web.statuses["/0"] = [404]
    files = {tmp_path / str(number): Remote(f"{web.url}/{number}") for number in range(8)}
    with pytest.raises(SourceError, match="answers 404"):
        download_all(files, Counter())
    assert len(web.requests) < 8
    download_all(files, Counter())
    assert sorted(os.listdir(tmp_path)) == [str(number) for number in range(8)]


def test_credentials_stay_with_their_host(web: Web, tmp_path: Path) -> None:
    web.files |= {"/a": BODY, "/b": BODY}
    web.redirects = {"/far": f"http://localhost:{web.port}/a", "/near": "/b"}
    secret = {"Authorization": "Bearer secret"}
    fetch(tmp_path / "a", Remote(f"{web.url}/far", headers=secret))
    fetch(tmp_path / "b", Remote(f"{web.url}/near", headers=secret))
    told = {path: headers.get("Authorization") for path, headers in web.requests}
    assert told == {
        "/far": "Bearer secret",
        "/near": "Bearer secret",
        "/a": None,
        "/b": "Bearer secret",
    }


def test_only_https_and_this_machine(web: Web, tmp_path: Path) -> None:
    check_url("https://example.org/model")
    for wrong in ("http://example.org/model", "file:///etc/passwd", "ftp://x/y", "https:///x", "x"):
        with pytest.raises(SourceError, match="is not https"):
            check_url(wrong)
    web.redirects["/a"] = "http://10.0.0.1/metadata"
    with pytest.raises(SourceError, match=r"10\.0\.0\.1.* is not https"):
        fetch(tmp_path / "a", Remote(f"{web.url}/a"))


def test_two_versions_without_a_digest_are_not_joined(web: Web, tmp_path: Path) -> None:
    web.files["/a"], web.headers["/a"] = b"old" * 1000, {"ETag": '"1"'}
    web.cuts = [900] + [0] * 5
    with pytest.raises(SourceError, match="cannot be fetched"):
        fetch(tmp_path / "a", Remote(f"{web.url}/a"))
    assert (tmp_path / ".a.part").stat().st_size == 900
    web.cuts.clear()  # fewer were needed
    # this server ignores If-Range, as some do
    web.files["/a"], web.headers["/a"] = b"new" * 1000, {"ETag": '"2"'}
    fetch(tmp_path / "a", Remote(f"{web.url}/a"))
    assert (tmp_path / "a").read_bytes() == b"new" * 1000
    assert web.requests[-2][1]["If-Range"] == '"1"'
    assert os.listdir(tmp_path) == ["a"]


def test_the_same_version_without_a_digest_is_resumed(web: Web, tmp_path: Path) -> None:
    web.files["/a"], web.headers["/a"] = BODY, {"ETag": '"1"'}
    web.cuts = [1_000_000]
    fetch(tmp_path / "a", Remote(f"{web.url}/a"))
    assert web.asked("/a") == [None, "bytes=1000000-"]
    assert (tmp_path / "a").read_bytes() == BODY


def test_bytes_of_unknown_version_are_not_resumed(web: Web, tmp_path: Path) -> None:
    web.files["/a"], web.headers["/a"] = b"new" * 1000, {"ETag": 'W/"1"'}
    (tmp_path / ".a.part").write_bytes(b"old" * 300)
    web.cuts = [600]
    assert fetch(tmp_path / "a", Remote(f"{web.url}/a", size=3000)) == 3000
    assert web.asked("/a") == [None, None]
    assert (tmp_path / "a").read_bytes() == b"new" * 1000
    web.cuts = [600] * 9
    with pytest.raises(SourceError, match="cannot be fetched"):
        fetch(tmp_path / "b", Remote(f"{web.url}/a"))


def test_a_bad_address_is_reported_before_anything_is_fetched(web: Web, tmp_path: Path) -> None:
    web.files["/a"] = BODY
    files = {tmp_path / "a": Remote(f"{web.url}/a"), tmp_path / "b": Remote("http://x.test/b")}
    with pytest.raises(SourceError, match="is not https"):
        download_all(files, Counter())
    assert web.requests == []


KILLED = """
import sys
import threading
from pathlib import Path
from toolkit.download import Remote, download_all
from tests.toolkit.test_download import Counter
download_all({Path(sys.argv[1]): Remote(sys.argv[2])}, Counter())
"""


def test_a_killed_download_goes_on_from_its_bytes(web: Web, tmp_path: Path) -> None:
    web.files["/a"] = BODY
    web.hold_after = 2_000_000
    with subprocess.Popen([sys.executable, "-c", KILLED, tmp_path / "a", f"{web.url}/a"]) as half:
        assert web.holding.wait(30)
        part = tmp_path / ".a.part"
        while not part.exists() or part.stat().st_size < 1_000_000:
            assert half.poll() is None
        half.send_signal(signal.SIGKILL)
    have = part.stat().st_size
    web.hold_after = None
    fetch(tmp_path / "a", Remote(f"{web.url}/a", sha256=SHA256))
    assert web.asked("/a") == [None, f"bytes={have}-"]
    assert (tmp_path / "a").read_bytes() == BODY
    assert os.listdir(tmp_path) == ["a"]


def test_an_answer_with_another_range_is_not_appended() -> None:
    class Answer:
        status = 206
        headers = {"Content-Range": "bytes 5-9/10"}  # noqa: RUF012

    with pytest.raises(http.client.HTTPException, match="different range"):
        download._total(Answer(), 3)


def test_a_full_disk_is_not_the_networks_fault(web: Web, tmp_path: Path) -> None:
    web.files["/weights"] = b"0" * 100
    (tmp_path / ".weights.part").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left") as caught:
        fetch(tmp_path / "weights", Remote(f"{web.url}/weights"))
    assert caught.value.filename == str(tmp_path)
    assert len(web.requests) == 1  # waiting frees no space
