"""Who a request comes from, and what that caller may do."""

from pathlib import Path

import pytest

from frontend.accounts.authorize import Authorizer, secret_of
from frontend.accounts.keyfile import add_key
from frontend.accounts.keys import Keys
from frontend.accounts.roles import ADMIN, USER, allows
from frontend.domain.identity import ANONYMOUS, Permission
from frontend.errors import Forbidden, Unauthorized


def bearer(secret: str) -> list[tuple[bytes, bytes]]:
    return [(b"accept", b"*/*"), (b"authorization", f"Bearer {secret}".encode())]


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


def test_a_key_is_required(keyed: tuple[Keys, str, str]) -> None:
    keys, user, admin = keyed
    closed = Authorizer(keys, open=False)
    assert closed.authorize(bearer(user), Permission.INFER).name == "ada"
    assert closed.authorize(bearer(admin), Permission.LOAD).name == "ops"
    for headers in ([], bearer("tk-other"), bearer("")):
        with pytest.raises(Unauthorized):
            closed.authorize(headers, Permission.INFER)
        assert closed.authorize(headers, Permission.PUBLIC) is ANONYMOUS
    for permission in (Permission.LOAD, Permission.OBSERVE):
        with pytest.raises(Forbidden):
            closed.authorize(bearer(user), permission)


def test_an_open_gateway_still_knows_its_admins(keyed: tuple[Keys, str, str]) -> None:
    keys, _, admin = keyed
    opened = Authorizer(keys, open=True)
    assert opened.authorize(bearer("made-up"), Permission.INFER) is ANONYMOUS
    assert opened.authorize(bearer(admin), Permission.LOAD).name == "ops"
    with pytest.raises(Forbidden):
        opened.authorize([], Permission.LOAD)


def test_without_a_key_file_everybody_is_anonymous() -> None:
    without = Authorizer(None, open=False)
    assert without.authorize(bearer("any"), Permission.INFER) is ANONYMOUS
    with pytest.raises(Forbidden):
        without.authorize([], Permission.LOAD)


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
