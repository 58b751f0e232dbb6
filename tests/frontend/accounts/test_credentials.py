"""The text of a key: what it contains, and which other texts are keys."""

import re

from hypothesis import given
from hypothesis import strategies as st

from frontend.accounts.credentials import (
    derive_key,
    digest_of,
    is_same,
    new_key,
    new_public_id,
    parse_key,
    public_id_of,
)


def test_a_key_has_its_public_id_and_256_random_bits() -> None:
    public_id = new_public_id()
    made = {new_key(public_id) for _ in range(100)}
    assert len(made) == 100
    for text in made:
        assert re.fullmatch(rf"tt-{public_id}-[0-9A-Za-z]{{43}}", text)
        parsed = parse_key(text.encode())
        assert parsed is not None
        assert (parsed.public_id, parsed.digest) == (public_id, digest_of(text.encode()))


@given(st.binary(max_size=600))
def test_any_other_text_is_looked_up_by_its_digest(secret: bytes) -> None:
    parsed = parse_key(secret)
    if not secret or len(secret) > 512:
        assert parsed is None
    else:
        assert parsed is not None
        assert parsed.public_id == public_id_of(parsed.digest)
        assert re.fullmatch("f[0-9a-f]{15}", parsed.public_id)


@given(st.binary(min_size=1, max_size=80), st.binary(max_size=40))
def test_a_derived_key_follows_from_both_parts_alone(presented: bytes, nonce: bytes) -> None:
    public_id = "a" * 16
    made = derive_key(public_id, presented, nonce)
    assert made == derive_key(public_id, presented, nonce)
    others = {
        derive_key(public_id, presented + b"x", nonce),
        derive_key(public_id, presented, nonce + b"x"),
        derive_key("b" * 16, presented, nonce),
    }
    assert made not in others
    assert parse_key(made.encode()) is not None


def test_digests_are_compared() -> None:
    assert is_same(digest_of(b"a"), digest_of(b"a"))
    assert not is_same(digest_of(b"a"), digest_of(b"b"))
    assert not is_same(digest_of(b"a"), None)
