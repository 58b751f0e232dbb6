"""Who a request comes from, and what that caller may do."""

from collections.abc import Callable
from pathlib import Path

import pytest

from frontend.accounts.authorize import Attempt, Authorizer, secret_of
from frontend.accounts.callers import Callers
from frontend.accounts.directory.actor import OPERATOR
from frontend.accounts.directory.keys import NewKey
from frontend.accounts.keyfile import add_key
from frontend.accounts.keys import Keys
from frontend.accounts.roles import ADMIN, USER, allows
from frontend.domain.identity import ANONYMOUS, Caller, Permission
from frontend.errors import Forbidden, RateLimited, Unauthorized
from frontend.store.database import Database
from tests.support.accounts import add, opened


def bearer(secret: str) -> list[tuple[bytes, bytes]]:
    return [(b"accept", b"*/*"), (b"authorization", f"Bearer {secret}".encode())]


def attempt(
    secret: str | None,
    permission: Permission = Permission.INFER,
    path: str = "/v1/models",
    source: str = "192.0.2.1",
    identified: Callable[[Caller], None] = lambda _: None,
) -> Attempt:
    headers = [] if secret is None else bearer(secret)
    return Attempt(headers, permission, path, lambda: source, identified)


@pytest.fixture
def keyed(tmp_path: Path) -> tuple[Keys, str, str]:
    """A key file, a user's key and an admin's key."""
    file = tmp_path / "keys"
    user, admin = add_key(file, "ada", "user"), add_key(file, "ops", "admin")
    return Keys(file), user, admin


@pytest.mark.parametrize("permission", Permission)
def test_an_admin_may_do_everything(permission: Permission) -> None:
    assert allows(ADMIN, permission)


def test_a_user_may_use_models_and_no_more() -> None:
    allowed = [one for one in Permission if allows(USER, one)]
    assert allowed == [Permission.PUBLIC, Permission.INFER]


async def test_a_key_is_required(keyed: tuple[Keys, str, str]) -> None:
    keys, user, admin = keyed
    closed = Authorizer(keys, None, open=False)
    assert (await closed.authorize(attempt(user))).name == "ada"
    assert (await closed.authorize(attempt(admin, Permission.LOAD))).name == "ops"
    for secret in (None, "tk-other", ""):
        with pytest.raises(Unauthorized):
            await closed.authorize(attempt(secret))
        assert await closed.authorize(attempt(secret, Permission.PUBLIC)) is ANONYMOUS
    refused = list[Caller]()
    with pytest.raises(Forbidden):
        await closed.authorize(attempt(user, Permission.LOAD, identified=refused.append))
    assert [one.name for one in refused] == ["ada"]
    for permission in (Permission.LOAD, Permission.OBSERVE, Permission.SELF, Permission.USERS):
        with pytest.raises(Forbidden):
            await closed.authorize(attempt(user, permission))


async def test_an_open_gateway_still_knows_its_admins(keyed: tuple[Keys, str, str]) -> None:
    keys, _, admin = keyed
    opened = Authorizer(keys, None, open=True)
    assert await opened.authorize(attempt("made-up")) is ANONYMOUS
    assert (await opened.authorize(attempt(admin, Permission.LOAD))).name == "ops"
    with pytest.raises(Forbidden):
        await opened.authorize(attempt(None, Permission.LOAD))


async def test_an_open_gateway_without_keys_knows_nobody() -> None:
    without = Authorizer(None, None, open=True)
    assert await without.authorize(attempt("any")) is ANONYMOUS
    with pytest.raises(Forbidden):
        await without.authorize(attempt(None, Permission.LOAD))


async def test_many_failures_hold_up_nobody_with_a_valid_key(
    keyed: tuple[Keys, str, str],
) -> None:
    keys, user, _ = keyed
    closed = Authorizer(keys, None, open=False)
    outcomes = []
    for number in range(30):
        with pytest.raises((Unauthorized, RateLimited)) as refused:
            await closed.authorize(attempt(f"tk-guess-{number}"))
        outcomes.append(refused.value.status)
    assert outcomes == [401] * 20 + [429] * 10
    assert refused.value.retry_after_s is not None
    assert 1 <= refused.value.retry_after_s <= 120
    assert (await closed.authorize(attempt(user))).name == "ada"
    with pytest.raises(Unauthorized):
        await closed.authorize(attempt("tk-guess", source="192.0.2.2"))
    with pytest.raises(Unauthorized, match="required"):
        await closed.authorize(attempt(None))


async def test_one_key_cannot_be_guessed_from_many_addresses(
    keyed: tuple[Keys, str, str],
) -> None:
    closed = Authorizer(keyed[0], None, open=False)
    for number in range(20):
        with pytest.raises(Unauthorized):
            await closed.authorize(attempt(f"tt-{'a' * 16}-{'b' * 43}", source=f"192.0.2.{number}"))
    with pytest.raises(RateLimited):
        await closed.authorize(attempt(f"tt-{'a' * 16}-{'c' * 43}", source="198.51.100.1"))


async def test_a_scope_is_checked_with_the_route(database: Database) -> None:
    directory, callers = await opened(database), Callers(database)
    user, _ = await add(directory, "ada", "admin")
    new = NewKey(endpoints=["/v1/*"], networks=["192.0.2.0/24"])
    made = await directory.keys.create(OPERATOR, user.id, new)
    assert made.text is not None
    closed = Authorizer(None, callers, open=False)
    assert (await closed.authorize(attempt(made.text))).user == user.id
    for path, source, code in (
        ("/admin/users", "192.0.2.1", "endpoint_not_allowed"),
        ("/v1/models", "198.51.100.1", "source_not_allowed"),
        ("/v1/models", "", "source_not_allowed"),
    ):
        with pytest.raises(Forbidden) as refused:
            await closed.authorize(attempt(made.text, Permission.USERS, path, source))
        assert refused.value.code == code


@pytest.mark.parametrize(
    ("headers", "secret"),
    [
        ([(b"authorization", b"Bearer  a ")], b"a"),
        ([(b"authorization", b"bearer a")], b"a"),
        ([(b"x-api-key", b" a ")], b"a"),
        ([(b"x-api-key", b"b"), (b"authorization", b"Bearer a")], b"a"),
        ([(b"authorization", b"Basic a")], b""),
        ([], b""),
    ],
)
def test_each_clients_way_to_send_a_key(headers: list[tuple[bytes, bytes]], secret: bytes) -> None:
    assert secret_of(headers) == secret
