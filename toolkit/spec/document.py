"""Parses YAML text to plain data with the line of every key and item, for error messages.

Errors of the text itself (syntax, duplicate keys, keys that are not strings) become findings, and
the rest is read. It does not know about models.
"""

from dataclasses import dataclass, field

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from toolkit.finding import Finding, Place, Severity

Path = tuple[str | int, ...]

MAX_NODES = 100_000
"""More values than this (aliases count each time) are an alias bomb."""


@dataclass
class Document:
    """The content of a YAML file; `lines` maps paths such as ("models", "a", 0) to lines."""

    file: str
    data: object = None
    lines: dict[Path, int] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def line(self, path: Path) -> int:
        """The line of `path`, or of its nearest parent in the file."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)

    def finding(self, path: Path, text: str, fix: str | None = None) -> Finding:
        """A finding at `path`'s line."""
        return finding(self.file, self.line(path), path, text, fix)


def finding(file: str, line: int, path: Path, text: str, fix: str | None = None) -> Finding:
    """An error in a YAML file."""
    place = Place(file, line, field=dotted(path))
    return Finding(Severity.ERROR, place, text, fix)


def dotted(path: Path) -> str:
    """`models.minilm.aliases[0]` for ("models", "minilm", "aliases", 0)."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.lstrip(".")


def read(file: str, text: str) -> Document:
    """Parses `text`; `file` is only the name that findings carry. Never raises."""
    document = Document(file)
    try:
        # compose, not load: nodes know their lines, and duplicate keys are still there
        node = YAML(typ="safe", pure=True).compose(text)
    except MarkedYAMLError as error:
        # some of ruamel's errors have only one of the two
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        problem = " ".join(filter(None, (error.context, error.problem)))
        document.findings.append(
            finding(file, line, (), f"not valid YAML: {problem}", "check indentation and quotes")
        )
        return document
    except YAMLError as error:
        first = str(error).strip().splitlines()[0]
        hint = "it must be a text file that begins with `version: 1`"
        document.findings.append(finding(file, 1, (), f"not valid YAML: {first}", hint))
        return document
    except RecursionError:
        return _too_deep(file)
    if node is not None:
        try:
            document.data = _Reader(document).value(node, ())
        except RecursionError:
            return _too_deep(file)
    return document


def _too_deep(file: str) -> Document:
    text = "lists and mappings are nested too deeply"
    return Document(
        file, findings=[finding(file, 1, (), text, "check that the file is a models.yaml")]
    )


class _Reader:
    """Walks composed nodes; a node that an alias repeats is read again at its new path."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._scalars = YAML(typ="safe", pure=True)
        self._open: set[int] = set()
        self._count = 0

    def value(self, node: Node, path: Path) -> object:
        # the key's line wins, which was set before its value is read
        self._document.lines.setdefault(path, node.start_mark.line + 1)
        self._count += 1
        # YAML allows an anchor inside itself
        if id(node) in self._open:
            self._refuse(path, "an alias that contains itself")
            return None
        if self._count > MAX_NODES:
            # once; all further values are dropped without a finding
            if self._count == MAX_NODES + 1:
                self._refuse((), f"more than {MAX_NODES} values")
            return None
        if isinstance(node, ScalarNode):
            return self._scalar(node, path)
        self._open.add(id(node))
        try:
            if isinstance(node, MappingNode):
                return self._mapping(node, path)
            assert isinstance(node, SequenceNode)
            return [self.value(item, (*path, index)) for index, item in enumerate(node.value)]
        finally:
            self._open.discard(id(node))

    def _mapping(self, node: MappingNode, path: Path) -> dict[str, object]:
        result: dict[str, object] = {}
        merged: list[Node] = []
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            key = key_node.value if isinstance(key_node, ScalarNode) else None
            if key is not None and key_node.tag == "tag:yaml.org,2002:merge":
                merged.append(value_node)
                continue
            # `true:` and `1:` are a boolean and a number in YAML
            if key is None or key_node.tag != "tag:yaml.org,2002:str":
                self._add(line, path, f"key '{key}' is not text", "put it in quotes")
                continue
            here = (*path, key)
            if key in result:
                first = self._document.lines[here]
                self._add(line, here, f"the key appears twice; first on line {first}", "keep one")
                continue
            self._document.lines.setdefault(here, line)
            result[key] = self.value(value_node, here)
        # after all own keys, as those win (yaml.org/type/merge.html)
        for each in merged:
            self._merge(each, path, result)
        return result

    def _merge(self, node: Node, path: Path, into: dict[str, object]) -> None:
        """`<<: *name` or `<<: [*one, *two]`: keys that are already there win."""
        parts = node.value if isinstance(node, SequenceNode) else [node]
        for part in parts:
            if not isinstance(part, MappingNode):
                line = part.start_mark.line + 1
                self._add(line, path, "`<<` does not name a mapping", "write `<<: *ANCHOR`")
                continue
            values = self.value(part, path)
            for key, value in values.items() if isinstance(values, dict) else ():
                into.setdefault(key, value)

    def _scalar(self, node: ScalarNode, path: Path) -> object:
        try:
            return self._scalars.constructor.construct_object(node, deep=True)
        # a tag such as !!int before a text raises any of these
        except (YAMLError, ValueError, AttributeError) as error:
            self._refuse(path, f"cannot read this value: {str(error).splitlines()[0]}")
            return None

    def _refuse(self, path: Path, problem: str) -> None:
        self._add(self._document.line(path), path, problem, None)

    def _add(self, line: int, path: Path, problem: str, hint: str | None) -> None:
        self._document.findings.append(finding(self._document.file, line, path, problem, hint))
