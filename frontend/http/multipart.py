"""Reads `multipart/form-data` as it arrives: small fields into memory, one file to a descriptor.

Boundary, headers, parts, fields and the whole body have bounds. Parsing and writing run in a
thread: a body can be made of pieces that take the parser long, and disks can be slow.
"""

import asyncio
import os
from dataclasses import dataclass, field

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from frontend.errors import InvalidRequest, TooLarge, UnsupportedMedia
from frontend.http.client import Client

_MAX_PARTS = 16
_MAX_HEADERS = 8
_MAX_HEADER_BYTES = 2048
_MAX_FIELD_BYTES = 1024
_MAX_BOUNDARY = 70  # RFC 2046, section 5.1.1
_PIECE = 256 * 1024
"""Bytes that are parsed in one go."""


@dataclass(slots=True)
class Form:
    """The parts of a form: `fields` by name, and the name and the size of the file in `file`."""

    fields: dict[str, str] = field(default_factory=dict)
    filename: str | None = None
    size_bytes: int = 0


async def read_form(client: Client, descriptor: int, max_file_bytes: int) -> Form:
    """Reads a body whose part `file` goes to the descriptor. Raises GatewayError if the form is not
    valid or too large, and OSError if the file cannot be written."""
    boundary = _boundary(client)
    reader = _Reader(boundary, descriptor, max_file_bytes)
    waiting = bytearray()
    overhead = _MAX_PARTS * (_MAX_HEADERS * _MAX_HEADER_BYTES + _MAX_FIELD_BYTES)
    async for part in client.read_parts(max_file_bytes + overhead):
        waiting += part
        if len(waiting) >= _PIECE:
            await asyncio.to_thread(reader.take, bytes(waiting))
            waiting.clear()
    await asyncio.to_thread(reader.take, bytes(waiting))
    return reader.end()


def _boundary(client: Client) -> bytes:
    kinds = [value for name, value in client.scope["headers"] if name == b"content-type"]
    kind, options = parse_options_header(kinds[0] if len(kinds) == 1 else b"")
    if kind != b"multipart/form-data":
        raise UnsupportedMedia("send the file as 'multipart/form-data'", param="content-type")
    boundary = options.get(b"boundary", b"")
    if not 1 <= len(boundary) <= _MAX_BOUNDARY:
        raise InvalidRequest(
            f"the boundary of the form must have 1 to {_MAX_BOUNDARY} characters",
            param="content-type",
        )
    return boundary


class _Reader:
    """Runs in threads, one call at a time."""

    def __init__(self, boundary: bytes, descriptor: int, max_file_bytes: int) -> None:
        self.form = Form()
        self._descriptor = descriptor
        self._max_file_bytes = max_file_bytes
        self._parts = 0
        self._ended = False
        self._header: tuple[bytes, bytes] = (b"", b"")
        self._name: str | None = None
        self._value = bytearray()
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": self._header_name,
                "on_header_value": self._header_value,
                "on_header_end": self._header_end,
                "on_headers_finished": self._named,
                "on_part_data": self._data,
                "on_part_end": self._part_end,
                "on_end": self._end,
            },
            max_header_count=_MAX_HEADERS,
            max_header_size=_MAX_HEADER_BYTES,
        )

    def take(self, data: bytes) -> None:
        if not data:
            return
        try:
            self._parser.write(data)
        except FormParserError as error:
            raise InvalidRequest(f"the form is not valid: {error}", param="body") from None

    def end(self) -> Form:
        if not self._ended:
            raise InvalidRequest("the form ends before its last boundary", param="body")
        return self.form

    def _begin(self) -> None:
        self._parts += 1
        if self._parts > _MAX_PARTS:
            raise InvalidRequest(f"the form has more than {_MAX_PARTS} parts", param="body")
        self._name, self._value = None, bytearray()

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._header = (self._header[0] + data[start:end], self._header[1])

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._header = (self._header[0], self._header[1] + data[start:end])

    def _header_end(self) -> None:
        name, value = self._header
        self._header = (b"", b"")
        if name.lower() == b"content-disposition":
            kind, options = parse_options_header(value)
            if kind == b"form-data" and b"name" in options:
                self._name = options[b"name"].decode("utf-8", "replace")
                if self._name == "file":
                    self._start_file(options.get(b"filename", b"").decode("utf-8", "replace"))
        elif name.lower() == b"content-transfer-encoding" and value.lower() not in (
            b"binary", b"8bit", b"7bit",
        ):  # fmt: skip
            raise InvalidRequest("the parts of the form must not be encoded", param="body")

    def _start_file(self, filename: str) -> None:
        if self.form.filename is not None:
            raise InvalidRequest("the form has more than one 'file'", param="file")
        self.form.filename = filename

    def _named(self) -> None:
        if self._name is None:
            raise InvalidRequest("a part of the form has no name", param="body")
        if self._name in self.form.fields:
            shown = self._name[:60]
            raise InvalidRequest(f"'{shown}' is in the form more than once", param=shown)

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._name == "file":
            self.form.size_bytes += end - start
            if self.form.size_bytes > self._max_file_bytes:
                raise TooLarge(
                    f"the file is larger than {self._max_file_bytes} bytes", param="file"
                )
            view = memoryview(data)[start:end]
            while view:
                view = view[os.write(self._descriptor, view) :]
            return
        self._value += data[start:end]
        if len(self._value) > _MAX_FIELD_BYTES:
            shown = (self._name or "")[:60]
            raise InvalidRequest(f"'{shown}' is longer than {_MAX_FIELD_BYTES} bytes", param=shown)

    def _part_end(self) -> None:
        if self._name != "file":
            self.form.fields[self._name or ""] = self._value.decode("utf-8", "replace")

    def _end(self) -> None:
        self._ended = True
