"""Secrets in the database: encrypted, bound to their user, and readable while keys are replaced."""

import base64
from pathlib import Path

import pytest
from pydantic import ValidationError

from frontend.accounts.seal import Seal
from frontend.errors import StoreUnavailable
from frontend.settings.store import StoreSettings
from frontend.store.database import Database
from frontend.store.factors import add_factor, read_secrets
from tests.support.accounts import add, opened

OLD, NEW = b"o" * 32, b"n" * 32
SECRET = b"twenty bytes, random"


async def stored(database: Database) -> dict[str, bytes]:
    async with database.connect() as rows:
        return dict(await read_secrets(rows))


async def test_a_secret_is_not_in_the_database_and_belongs_to_its_user(database: Database) -> None:
    seal = Seal(database)
    sealed = await seal.close("ada", SECRET)
    assert SECRET not in sealed
    assert await seal.close("ada", SECRET) != sealed, "a nonce of its own"
    assert await Seal(database).open("ada", sealed) == SECRET, "in another process"
    for owner, changed in (("bob", sealed), ("ada", sealed[:-1] + bytes([sealed[-1] ^ 1]))):
        with pytest.raises(StoreUnavailable):
            await seal.open(owner, changed)


async def test_rows_of_an_older_release_and_of_older_keys_are_renewed(database: Database) -> None:
    directory = await opened(database)
    people = [(await add(directory, name))[0].id for name in ("ada", "bob", "cat")]
    forms = [SECRET, await Seal(database).close(people[1], SECRET)]
    forms.append(await Seal(database, (OLD,)).close(people[2], SECRET))
    async with database.begin() as rows:
        for user, form in zip(people, forms, strict=True):
            await add_factor(rows, user, form, 1)
    assert await Seal(database, (NEW, OLD)).renew() == 3
    assert await Seal(database, (NEW, OLD)).renew() == 0
    alone = Seal(database, (NEW,))
    for user, form in (await stored(database)).items():
        assert await alone.open(user, form) == SECRET
    # a key that is gone: nothing is lost, and nothing is read
    before = await stored(database)
    lost = Seal(database, (OLD,))
    assert await lost.renew() == 0
    assert await stored(database) == before
    with pytest.raises(StoreUnavailable):
        await lost.open(people[0], before[people[0]])


@pytest.mark.parametrize("text", ["", "short", "!!!", "A" * 44, "QUJD"])
def test_a_file_without_keys_is_refused_and_not_shown(tmp_path: Path, text: str) -> None:
    file = tmp_path / "keys"
    file.write_text(text)
    with pytest.raises(ValidationError, match="secrets_key_file") as error:
        StoreSettings(secrets_key_file=file)
    assert not text or text not in str(error.value).replace(str(file), "")


def test_a_file_has_a_key_on_each_line(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_bytes(base64.b64encode(NEW) + b"\n" + base64.b64encode(OLD) + b"\n")
    assert StoreSettings(secrets_key_file=file).secret_keys == (NEW, OLD)
    with pytest.raises(ValidationError, match="No such file"):
        StoreSettings(secrets_key_file=tmp_path / "none")
