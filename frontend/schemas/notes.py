"""Collects the parts of a schema that its grammar omits, by the caller's own paths."""

from dataclasses import dataclass, field

from frontend.schemas.keywords import refusal
from frontend.schemas.merge import Node

_MAX_NOTES = 50


@dataclass(slots=True)
class Notes:
    """Knows where the caller wrote each schema, by `id()`.

    `enforced`: a schema without a valid value is refused. `path` is the root's.
    """

    path: str
    enforced: bool
    paths: dict[int, str]
    guesses: int = 0
    """Above 0 while alternatives are tried: a contradiction is not the caller's mistake then."""
    _left_out: dict[str, None] = field(default_factory=dict)
    _alive: list[Node] = field(default_factory=list)

    @property
    def left_out(self) -> tuple[str, ...]:
        """The paths of the keywords that the grammar lacks."""
        return tuple(self._left_out)

    def note(self, node: Node, keyword: str) -> None:
        """The keyword is left to the check of the finished answer."""
        if len(self._left_out) < _MAX_NOTES:
            self._left_out[f"{self._path_of(node)}.{keyword}"] = None

    def contradict(self, node: Node, keyword: str, problem: str) -> None:
        """No value matches. Raises InvalidRequest where that must be the caller's mistake."""
        if self.enforced and not self.guesses:
            raise refusal(f"{self._path_of(node)}.{keyword}", problem)

    def copy_path(self, node: Node, source: Node) -> None:
        """A schema that was derived from another has the other's path."""
        self._alive.append(node)  # a freed object's `id()` could be reused
        self.paths[id(node)] = self._path_of(source)

    def _path_of(self, node: Node) -> str:
        return self.paths.get(id(node), self.path)
