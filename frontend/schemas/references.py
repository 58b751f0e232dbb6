"""Resolves the references within one schema. A reference to another document is refused.

`$id` and anchors follow RFC 3986 and JSON Schema 2020-12, §8.2, as does `id` of older drafts. A
`$dynamicRef` refers to the outermost anchor of its name, which is the root's if it has one.
"""

from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote, urldefrag, urljoin

from frontend.schemas.keywords import REFERENCE_ALONE, Schema, parts, refusal, shorten

Located = tuple[Schema, str]
"""A schema, and the path to where the caller wrote it."""
REFERRING = ("$ref", "$dynamicRef", "$recursiveRef")


class References:
    """An index of everything that can be referred to within one schema."""

    def __init__(self, root: dict[str, Any], path: str, draft: str) -> None:
        self._root = root
        self._path = path
        self._bases: dict[int, str] = {}
        self._resources: dict[str, Located] = {"": (root, path)}
        self._anchors: dict[tuple[str, str], Located] = {}
        self._dynamic: dict[str, list[Located]] = {}
        self._id = "id" if draft == "Draft4Validator" else "$id"
        self._alone = draft in REFERENCE_ALONE
        self._recursive: list[Located] = []
        for node, where, base in self._nodes(root, path, ""):
            self._index(node, where, base)

    def _index(self, node: dict[str, Any], where: str, base: str) -> None:
        self._bases[id(node)] = base
        # of two schemas with one URI the outermost counts
        self._resources.setdefault(base, (node, where))
        for keyword in ("$anchor", "$dynamicAnchor"):
            name = node.get(keyword)
            if isinstance(name, str):
                self._anchors.setdefault((base, name), (node, where))
                if keyword == "$dynamicAnchor":
                    self._dynamic.setdefault(name, []).append((node, where))
        if node.get("$recursiveAnchor") is True:
            self._recursive.append((node, where))
        name = node.get(self._id)
        if isinstance(name, str) and name.startswith("#"):  # an anchor until draft 7
            self._anchors.setdefault((base, name[1:]), (node, where))

    def target(self, node: dict[str, Any], keyword: str, path: str) -> Located:
        """The schema that `node[keyword]` refers to. Raises InvalidRequest if it is not in this
        schema."""
        reference, where = node[keyword], f"{path}.{keyword}"
        if not isinstance(reference, str):
            raise refusal(where, "must be a string")
        target = self._resolve(reference, self._bases.get(id(node), ""))
        if target is None and reference.startswith(("#/", "/")):  # some libraries leave out the '#'
            pointer = unquote(reference.removeprefix("#"))
            target = self._follow((self._root, self._path), pointer)
        if target is None:
            raise refusal(
                where,
                f"is {shorten(reference)!r}, which is not in this schema; refer to a part of it,"
                " such as '#/$defs/name', because schemas are never fetched",
            )
        if keyword == "$dynamicRef":
            name = urldefrag(reference).fragment
            if isinstance(target[0], dict) and target[0].get("$dynamicAnchor") == name:
                return self._outermost(self._dynamic[name], where)
        if keyword == "$recursiveRef" and any(target[0] is one for one, _ in self._recursive):
            return self._outermost(self._recursive, where)
        return target

    def _outermost(self, anchors: list[Located], where: str) -> Located:
        """Of several anchors of a name the root's is always the outermost."""
        if len(anchors) > 1 and anchors[0][0] is not self._root:
            raise refusal(where, f"can mean {len(anchors)} schemas; use '$ref'")
        return anchors[0]

    def _resolve(self, reference: str, base: str) -> Located | None:
        uri, _, fragment = reference.partition("#")
        if uri:
            try:
                base = urljoin(base, uri)
            except ValueError:
                return None
        resource = self._resources.get(base)
        if resource is None or not fragment:
            return resource
        if fragment.startswith("/"):
            return self._follow(resource, unquote(fragment))
        return self._anchors.get((base, unquote(fragment)))

    def _follow(self, start: Located, pointer: str) -> Located | None:
        """Follows a JSON pointer (RFC 6901)."""
        value: Any = start[0]
        where, base = start[1], self._bases.get(id(start[0]), "")
        for part in pointer[1:].split("/"):
            key = part.replace("~1", "/").replace("~0", "~")
            if isinstance(value, dict) and key in value:
                value, where = value[key], f"{where}.{shorten(key)}"
            elif isinstance(value, list) and key.isdecimal() and int(key[:9]) < len(value):
                value, where = value[int(key[:9])], f"{where}[{key}]"
            else:
                return None
            if isinstance(value, dict):
                # a pointer may lead to an entry of an unknown keyword, which was not indexed as a
                # schema
                base = self._bases.setdefault(id(value), base)
        return (value, where) if isinstance(value, dict | bool) else None

    def _nodes(
        self, schema: Schema, path: str, base: str
    ) -> Iterator[tuple[dict[str, Any], str, str]]:
        """Every schema with its path and its base URI, the outermost first."""
        if not isinstance(schema, dict):
            return
        # until draft 7 an `$id` beside a `$ref` is ignored, as everything there
        given = None if self._alone and "$ref" in schema else schema.get(self._id)
        if isinstance(given, str) and not given.startswith("#"):
            try:
                base = urldefrag(urljoin(base, given)).url
            except ValueError:
                raise refusal(f"{path}.{self._id}", "is not a valid URI") from None
        yield schema, path, base
        for place, part in parts(schema, definitions=True):
            yield from self._nodes(part, path + place.path, base)
