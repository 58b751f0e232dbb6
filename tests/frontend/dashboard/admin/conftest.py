"""One gateway with accounts for all pages of administrators: each test has objects of its own."""

from collections.abc import Iterator

import pytest

from tests.support.databases import Databases
from tests.support.echo import EchoTriton
from tests.support.site import Site, run_site

PEOPLE = {
    "root": "admin",
    "second": "admin",
    "third": "admin",
    "sue": "student",
    "reviewer": "reviewer",
    "watcher": "watcher",
    "onlooker": "watcher",
    "target": "admin",
    "leaver": "admin",
    "changed": "student",
    "mallory": "student",
    "quitter": "student",
    "victim": "student",
}


@pytest.fixture(scope="package")
def site(
    echo_triton: EchoTriton, databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    log = tmp_path_factory.mktemp("site") / "log"
    location = databases.sqlite()
    roles = {"reviewer": ["infer", "self", "audit"], "watcher": ["self", "observe"]}
    flags = ("--audit", "full", "--backend-networks", "127.0.0.0/8", "--cache", "asked")
    with run_site(echo_triton.grpc_address, log, location, PEOPLE, roles, *flags) as running:
        yield running
