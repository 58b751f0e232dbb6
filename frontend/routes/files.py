"""OpenAI's files: what batches read and write. Everybody sees only their own."""

import asyncio
import os
from dataclasses import dataclass

from frontend.dialects.openai.files import (
    MAX_LISTED,
    check_form,
    make_upload,
    read_order,
    read_page,
    read_purpose,
    render_deleted,
    render_file,
    render_files,
)
from frontend.domain.batches import Upload, new_id
from frontend.domain.request import Request
from frontend.errors import InvalidRequest, NotFound, Overloaded
from frontend.http.client import Client
from frontend.http.multipart import read_form
from frontend.http.query import query_of
from frontend.store.batches import BatchStore
from frontend.store.uploads import UploadStore, too_many_bytes
from frontend.turns import Turns

_PIECE = 256 * 1024


@dataclass(frozen=True, slots=True)
class FileRoutes:
    """`turns` bound how many files are received at once."""

    uploads: UploadStore
    batches: BatchStore
    max_file_bytes: int
    turns: Turns

    async def create(self, request: Request, client: Client) -> None:
        """POST /v1/files"""
        owner, store = request.user, self.uploads
        if await store.used_bytes(owner) >= store.max_bytes:
            raise too_many_bytes(store.max_bytes)
        file_id, kept = new_id("file-"), False
        async with self.turns.taken(owner):
            try:
                file = await asyncio.to_thread(store.receive, file_id)
                try:
                    form = await read_form(client, file, self.max_file_bytes)
                finally:
                    os.close(file)
                ttl_s = check_form(form.fields, form.filename)
                if not form.size_bytes:
                    raise InvalidRequest("the file is empty", param="file", code="empty_file")
                name = form.filename or "file"
                upload = make_upload(file_id, owner, name, form.size_bytes, ttl_s)
                await asyncio.to_thread(store.finish, file_id)
                await store.add(upload)
                kept = True
            except OSError as error:
                raise Overloaded(
                    "the file cannot be stored now; try again later", code="storage_error"
                ) from error
            finally:
                if not kept:
                    await asyncio.to_thread(store.forget, file_id)
        await client.respond(render_file(upload))

    async def list(self, request: Request, client: Client) -> None:
        """GET /v1/files"""
        query = query_of(client)
        limit, after = read_page(query, MAX_LISTED, MAX_LISTED)
        purpose, ascending = read_purpose(query), read_order(query)
        found = await self.uploads.list(
            request.user, purpose, after, limit + 1, ascending=ascending
        )
        await client.respond(render_files(found[:limit], more=len(found) > limit))

    async def retrieve(self, request: Request, client: Client) -> None:
        """GET /v1/files/{id}"""
        await client.respond(render_file(await self._find(request, client)))

    async def content(self, request: Request, client: Client) -> None:
        """GET /v1/files/{id}/content"""
        upload = await self._find(request, client)
        try:
            file = await asyncio.to_thread(self.uploads.path(upload.id).open, "rb")
        except FileNotFoundError:
            raise _unknown(upload.id) from None
        headers = [
            (b"content-type", b"application/octet-stream"),
            (b"content-length", b"%d" % upload.size_bytes),
            (b"x-content-type-options", b"nosniff"),
        ]
        with file, client.watched():
            await client.send({"type": "http.response.start", "status": 200, "headers": headers})
            while piece := await asyncio.to_thread(file.read, _PIECE):
                await client.send({"type": "http.response.body", "body": piece, "more_body": True})
            await client.send({"type": "http.response.body", "body": b""})

    async def delete(self, request: Request, client: Client) -> None:
        """DELETE /v1/files/{id}"""
        upload = await self._find(request, client)
        if (batch := await self.batches.user_of(upload.id)) is not None:
            raise InvalidRequest(
                f"the batch '{batch}' still reads this file; cancel it first",
                param="id",
                code="file_in_use",
            )
        await self.uploads.delete(request.user, upload.id)
        await client.respond(render_deleted(upload.id))

    async def _find(self, request: Request, client: Client) -> Upload:
        file_id = client.scope["path_params"]["id"]
        if (upload := await self.uploads.get(request.user, file_id)) is None:
            raise _unknown(file_id)
        return upload


def _unknown(file_id: str) -> NotFound:
    return NotFound(
        f"there is no file '{file_id[:100]}', or it has expired", param="id", code="file_not_found"
    )
