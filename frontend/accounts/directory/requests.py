"""Requests for keys from people without an account, which administrators approve or refuse.

The applicant gets the key with the answer to the form. It becomes valid when the request is
approved, so it is never shown to anyone else or sent later.
"""

from dataclasses import dataclass, field

from frontend.accounts.credentials import Credential, digest_of, is_same, new_key, new_public_id
from frontend.accounts.directory.actor import Actor
from frontend.accounts.directory.change import Changes
from frontend.accounts.directory.keys import NewKey, add_key, check_new
from frontend.accounts.directory.rules import (
    check_choice,
    check_email,
    check_name,
    check_text,
    exists,
)
from frontend.accounts.directory.users import NewUser, add_user
from frontend.accounts.throttle import Throttle, subject_of
from frontend.domain.accounts import KEY_REQUEST_STATUSES, KeyRequest
from frontend.domain.ids import new_id
from frontend.errors import Conflict, NotFound, Overloaded, RateLimited
from frontend.store import accounts as store
from frontend.store.records import Range, Rows
from frontend.store.turns import take_turn
from frontend.turns import Turns

MAX_PENDING, MAX_PENDING_PER_ADDRESS = 1000, 5
MAX_REASON = 1000
_KEPT_US = 30 * 24 * 3600 * 1_000_000


@dataclass(frozen=True, slots=True)
class Form:
    """The fields of the form."""

    name: str
    email: str
    reason: str


@dataclass(frozen=True, slots=True)
class Approval:
    """The granted account and key. `user.name` may differ from the requested name."""

    user: NewUser
    key: NewKey


@dataclass(frozen=True, slots=True)
class KeyRequests:
    """Takes requests for keys, and decides on them."""

    changes: Changes
    throttle: Throttle = field(default_factory=lambda: Throttle(5, 600.0))
    turns: Turns = field(default_factory=lambda: Turns(1, max_waiting=32))
    """A flood of requests has one connection to the database, and others have the rest."""

    async def submit(self, form: Form, address: str) -> tuple[KeyRequest, str]:
        """The request, and the key that works once it is approved.

        Raises InvalidRequest if a field is not valid, RateLimited after too many requests from the
        address, and Overloaded if too many requests wait for a decision.
        """
        check_name(form.name)
        check_email(form.email)
        check_text("reason", form.reason, MAX_REASON)
        subject = subject_of(address)
        if wait_s := self.throttle.fail([subject]):  # every request counts
            text = "too many requests for keys from your address; try again later"
            raise RateLimited(text, wait_us=int(wait_s * 1e6))
        now_us, request_id, key_id = self.changes.now_us(), new_id(), new_public_id()
        text = new_key(key_id)
        async with self.turns.taken(subject), self.changes.database.begin() as rows:
            # two gateways that count at the same moment would both find room for the last one
            await take_turn(rows, "key requests")
            # first, because old ones would count against the bounds below
            await store.drop_old_requests(rows, now_us)
            if await store.count_pending(rows, now_us, subject) >= MAX_PENDING_PER_ADDRESS:
                raise RateLimited(
                    "earlier requests from your address are still pending; try again after"
                    " the decision"
                )
            if await store.count_pending(rows, now_us) >= MAX_PENDING:
                raise Overloaded("too many requests wait for a decision; try again later")
            await store.KEY_REQUESTS.insert(
                rows,
                id=request_id,
                key_id=key_id,
                name=form.name,
                email=form.email,
                reason=form.reason,
                status="pending",
                claim_digest=digest_of(text.encode()),
                address=subject,
                created_at_us=now_us,
                expires_at_us=now_us + _KEPT_US,
            )
            return await _request(rows, request_id), text

    async def status(self, request_id: str, presented: bytes) -> KeyRequest:
        """The request, for the applicant with its key. Raises NotFound for any other key."""
        async with self.changes.database.connect() as rows:
            request = await _request(rows, request_id)
            digest = await store.digest_of_request(rows, request_id)
        if not is_same(digest, digest_of(presented)):
            raise NotFound(f"there is no request '{request_id[:64]}'", code="request_not_found")
        return request

    async def page(self, range_: Range, **filters: str) -> list[KeyRequest]:
        """One page, filtered by `status`. Raises InvalidRequest if the status is not known."""
        check_choice("status", filters.get("status"), KEY_REQUEST_STATUSES)
        async with self.changes.database.connect() as rows:
            return await store.KEY_REQUESTS.page(rows, range_, **filters)

    async def get(self, request_id: str) -> KeyRequest:
        """The request of an id. Raises NotFound if there is none."""
        async with self.changes.database.connect() as rows:
            return await _request(rows, request_id)

    async def approve(self, actor: Actor, request_id: str, approval: Approval) -> KeyRequest:
        """Makes the account and its key.

        Raises NotFound if the id does not exist, Conflict if the request has been decided or has
        expired, Forbidden if the actor lacks rights that the account would have, and InvalidRequest
        if a value is not valid.
        """
        approval.user.check()
        check_new(actor, approval.key, self.changes.now_us())
        async with self.changes.begin(actor, "key_requests.approve") as change:
            rows = change.connection
            if change.kept is not None:
                return await _request(rows, request_id)
            request = await _pending(rows, request_id, change.now_us)
            user_id = await add_user(change, actor, approval.user)
            digest = await store.digest_of_request(rows, request_id)
            credential = Credential(request.key_id, digest)
            await add_key(change, actor, user_id, approval.key, credential)
            await store.KEY_REQUESTS.update(
                rows,
                request_id,
                status="approved",
                user_id=user_id,
                decided_by=actor.id,
                decided_at_us=change.now_us,
            )
            change.note("key_request", request_id, user_id=user_id, role=approval.user.role)
            return await _request(rows, request_id)

    async def refuse(self, actor: Actor, request_id: str, note: str) -> KeyRequest:
        """Refuses a request; `note` is shown to the applicant. Raises NotFound if the id does not
        exist, Conflict if the request has been decided or has expired, and InvalidRequest if the
        note is too long.
        """
        check_text("note", note, MAX_REASON)
        async with self.changes.begin(actor, "key_requests.refuse") as change:
            rows = change.connection
            if change.kept is not None:
                return await _request(rows, request_id)
            await _pending(rows, request_id, change.now_us)
            await store.KEY_REQUESTS.update(
                rows,
                request_id,
                status="refused",
                note=note,
                decided_by=actor.id,
                decided_at_us=change.now_us,
            )
            change.note("key_request", request_id, note=note)
            return await _request(rows, request_id)


async def _pending(rows: Rows, request_id: str, now_us: int) -> KeyRequest:
    found = await store.KEY_REQUESTS.find(rows, request_id, locked=True)
    request = exists(found, "request", request_id)
    if request.status != "pending":
        raise Conflict(f"the request is already {request.status}")
    if request.expires_at_us <= now_us:
        raise Conflict("the request has expired; the applicant can send it again")
    return request


async def _request(rows: Rows, request_id: str) -> KeyRequest:
    return exists(await store.KEY_REQUESTS.find(rows, request_id), "request", request_id)
