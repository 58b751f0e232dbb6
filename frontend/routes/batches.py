"""OpenAI's batches: made, listed and cancelled here; `frontend.batches` runs them."""

from dataclasses import dataclass

from frontend.accounts.scopes import allows_endpoint
from frontend.batches.callers import write_caller
from frontend.batches.runner import Runner
from frontend.batches.work import stamped
from frontend.dialects.openai.batches import parse_batch, render_batch, render_batches
from frontend.dialects.openai.files import read_page
from frontend.domain.batches import BATCH, FINISHED, Batch
from frontend.domain.request import Request
from frontend.errors import Forbidden, InvalidRequest, NotFound, RateLimited
from frontend.http.bounds import Bounds
from frontend.http.client import Client
from frontend.http.query import query_of

_MAX_LISTED, _LISTED = 100, 20
_MAX_UNFINISHED = 100


@dataclass(frozen=True, slots=True)
class BatchRoutes:
    """Batches of the caller."""

    runner: Runner
    bounds: Bounds

    async def create(self, request: Request, client: Client) -> None:
        """POST /v1/batches"""
        body = await client.read_json(self.bounds.body)
        caller = write_caller(request.caller)
        batch = self.bounds.parse(request, parse_batch, body, request.user, caller)
        if not allows_endpoint(request.caller.scope, batch.endpoint):
            raise Forbidden(f"your key may not use '{batch.endpoint}'", param="endpoint")
        means = self.runner.means
        upload = await means.uploads.get(request.user, batch.input)
        if upload is None or upload.purpose != BATCH:
            raise InvalidRequest(
                f"there is no file '{batch.input[:100]}' with the purpose '{BATCH}'; upload one"
                " with POST /v1/files",
                param="input_file_id",
                code="file_not_found",
            )
        if await means.batches.count_unfinished(request.user) >= _MAX_UNFINISHED:
            raise RateLimited(
                f"{_MAX_UNFINISHED} of your batches have not finished yet, which is the maximum;"
                " wait until one has, or cancel one"
            )
        await means.uploads.keep(upload.id)
        await means.batches.add(batch)
        self.runner.changed(batch)
        await client.respond(render_batch(batch))

    async def retrieve(self, request: Request, client: Client) -> None:
        """GET /v1/batches/{id}"""
        await client.respond(render_batch(await self._find(request, client)))

    async def list(self, request: Request, client: Client) -> None:
        """GET /v1/batches"""
        limit, after = read_page(query_of(client), _MAX_LISTED, _LISTED)
        found = await self.runner.means.batches.list(request.user, after, limit + 1)
        await client.respond(render_batches(found[:limit], more=len(found) > limit))

    async def cancel(self, request: Request, client: Client) -> None:
        """POST /v1/batches/{id}/cancel"""
        await client.discard(self.bounds.body.size_bytes)
        while (batch := await self._find(request, client)).status != "cancelling":
            if batch.status in FINISHED or batch.status == "finalizing":
                raise InvalidRequest(
                    f"the batch cannot be cancelled: its status is '{batch.status}'",
                    param="id",
                    code="invalid_status",
                )
            cancelled = stamped(batch, "cancelling")
            if await self.runner.means.batches.save(cancelled, batch.status):
                self.runner.changed(cancelled)
                batch = cancelled
                break
        await client.respond(render_batch(batch))

    async def _find(self, request: Request, client: Client) -> Batch:
        batch_id = client.scope["path_params"]["id"]
        batch = await self.runner.means.batches.get(request.user, batch_id)
        if batch is None:
            raise NotFound(
                f"there is no batch '{batch_id[:100]}'", param="id", code="batch_not_found"
            )
        return batch
