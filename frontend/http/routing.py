"""Finds the entry of the route table that a request is for.

Paths without parameters are found in a dictionary; only the few others are matched by pattern.
"""

import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any

from starlette.routing import compile_path

from frontend.domain.identity import Permission
from frontend.domain.request import Dialect, Request
from frontend.errors import MethodNotAllowed, NotFound
from frontend.http.client import Client
from frontend.http.unserved import check_served

Handler = Callable[[Request, Client], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Route:
    """One method of one path. `local`: callers on this machine need no key. `page`: a browser that
    may not see it is sent to the form to sign in."""

    method: str
    path: str
    dialect: Dialect
    permission: Permission
    handler: Handler
    local: bool = False
    page: bool = False


@dataclass(frozen=True, slots=True)
class Area:
    """A path and all paths below it, which belong to one dialect."""

    path: str
    dialect: Dialect


class Routes:
    """All routes, by what a request's line says. Paths outside of `areas` are OpenAI's."""

    def __init__(self, routes: Iterable[Route], areas: Iterable[Area]) -> None:
        self.all, self._areas = tuple(routes), tuple(areas)
        self.pages = frozenset(route.path for route in self.all if route.page)
        self._plain: dict[str, dict[str, Route]] = {}
        self._patterns: list[tuple[re.Pattern[str], dict[str, Route]]] = []
        # in the order of the table, which decides between patterns
        for path in dict.fromkeys(route.path for route in self.all):
            methods = {route.method: route for route in self.all if route.path == path}
            if "GET" in methods:
                # RFC 9110 (section 9.1): GET and HEAD are the methods that a server must support
                methods.setdefault("HEAD", methods["GET"])
            if "{" in path:
                self._patterns.append((compile_path(path)[0], methods))
            else:
                self._plain[path] = methods

    def find(self, method: str, path: str) -> tuple[Route, dict[str, Any]]:
        """The route and the path's parameters. Raises NotFound if no route has the path, and
        MethodNotAllowed if one has it with other methods."""
        methods, parameters = self._methods(path)
        if (route := methods.get(method)) is None:
            if methods:
                raise MethodNotAllowed(sorted(methods))
            check_served(path)
            raise NotFound("this route does not exist; GET /v1/models lists the models")
        return route, parameters

    def _methods(self, path: str) -> tuple[dict[str, Route], dict[str, str]]:
        """Every method of a path; a path that several patterns match has the methods of all."""
        if (methods := self._plain.get(path)) is not None:
            return methods, {}
        # `/a/{b}` and `/{c}/d` may have different methods
        methods_of_all: dict[str, Route] = {}
        parameters: dict[str, str] = {}
        for pattern, methods in self._patterns:
            if match := pattern.match(path):
                # the methods of the earlier pattern win, as in the order of the table
                methods_of_all = {**methods, **methods_of_all}
                parameters = match.groupdict() | parameters
        return methods_of_all, parameters

    def dialect_of(self, path: str) -> Dialect:
        """The dialect of errors where no method or no route matches a path: that of its area."""
        inside = (area.dialect for area in self._areas if f"{path}/".startswith(f"{area.path}/"))
        return next(inside, Dialect.OPENAI)
