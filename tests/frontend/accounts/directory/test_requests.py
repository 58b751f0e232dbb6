"""Requests for keys from people without an account."""

import pytest

from frontend.accounts.callers import Callers
from frontend.accounts.directory.actor import OPERATOR
from frontend.accounts.directory.directory import Directory
from frontend.accounts.directory.keys import NewKey
from frontend.accounts.directory.requests import Approval, Form
from frontend.accounts.directory.users import NewUser
from frontend.errors import Conflict, InvalidRequest, NotFound, RateLimited
from frontend.store.records import Range
from tests.support.accounts import add, find

ADA = Form("ada", "ada@example.org", "for my thesis")


async def test_a_key_works_once_its_request_is_approved(
    directory: Directory, callers: Callers
) -> None:
    request, text = await directory.requests.submit(ADA, "192.0.2.1")
    assert await find(callers, text) is None
    assert (await directory.requests.status(request.id, text.encode())).status == "pending"
    with pytest.raises(NotFound):
        await directory.requests.status(request.id, b"tt-guessed")
    user = NewUser("ada", "student", None, "", request.email)
    approval = Approval(user, NewKey(models=["small*"]))
    decided = await directory.requests.approve(OPERATOR, request.id, approval)
    await callers.check()
    caller = await find(callers, text)
    assert caller is not None
    assert (caller.user, caller.scope.models) == (decided.user_id, ("small*",))
    assert (await directory.requests.status(request.id, text.encode())).status == "approved"
    with pytest.raises(Conflict, match="already approved"):
        await directory.requests.refuse(OPERATOR, request.id, "")


async def test_a_refused_request_makes_nothing(directory: Directory, callers: Callers) -> None:
    request, text = await directory.requests.submit(ADA, "192.0.2.1")
    await directory.requests.refuse(OPERATOR, request.id, "ask your institute")
    assert await find(callers, text) is None
    assert (await directory.requests.status(request.id, text.encode())).note == "ask your institute"
    assert await directory.users.page(Range(10)) == []


async def test_an_account_that_cannot_be_made_leaves_the_request_pending(
    directory: Directory,
) -> None:
    await add(directory, "ada")
    request, _ = await directory.requests.submit(ADA, "192.0.2.1")
    for approval, problem in (
        (Approval(NewUser("ada"), NewKey()), Conflict),
        (Approval(NewUser("ada2", "owner"), NewKey()), InvalidRequest),
        (Approval(NewUser("ada2"), NewKey(networks=["no"])), InvalidRequest),
    ):
        with pytest.raises(problem):
            await directory.requests.approve(OPERATOR, request.id, approval)
    assert [user.name for user in await directory.users.page(Range(10))] == ["ada"]
    assert (await directory.requests.get(request.id)).status == "pending"


async def test_one_address_cannot_fill_the_list(on_sqlite: Directory) -> None:
    for _ in range(5):
        await on_sqlite.requests.submit(ADA, "192.0.2.1")
    with pytest.raises(RateLimited):
        await on_sqlite.requests.submit(ADA, "192.0.2.1")
    await on_sqlite.requests.submit(ADA, "192.0.2.2")
    assert len(await on_sqlite.requests.page(Range(10), status="pending")) == 6


@pytest.mark.parametrize(
    ("form", "field"),
    [
        (Form("a b", "a@b.c", ""), "name"),
        (Form("a", "no", ""), "email"),
        (Form("a", "a@b.c", "x" * 1001), "reason"),
        (Form("a", "a@b.c", "x\x00"), "reason"),
    ],
)
async def test_a_wrong_form_is_refused(on_sqlite: Directory, form: Form, field: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        await on_sqlite.requests.submit(form, "192.0.2.1")
    assert refused.value.param == field
