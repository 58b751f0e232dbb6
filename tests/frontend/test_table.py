"""The table says for every path, with a route or without one, which dialect its errors have."""

from pathlib import Path

from frontend.http.routing import Routes
from frontend.table import AREAS
from tests.support.routes import address, routes


def test_every_route_has_the_dialect_of_its_area(tmp_path: Path) -> None:
    every = routes(tmp_path)
    areas = Routes(every, AREAS)
    assert {one.dialect for one in every} == {area.dialect for area in AREAS} | {
        areas.dialect_of("/other")
    }
    for one in every:
        assert areas.dialect_of(address(one)) is one.dialect, one.path
