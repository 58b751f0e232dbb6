"""Codes against the vectors of RFC 6238, and what is refused."""

from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frontend.accounts.totp import (
    address_of,
    code_at,
    digest_of_recovery,
    draw,
    match_step,
    new_recovery_codes,
    new_secret,
)

SECRET = b"12345678901234567890"


@pytest.mark.parametrize(
    ("at_s", "code"),
    [
        (59, "287082"),
        (1111111109, "081804"),
        (1111111111, "050471"),
        (1234567890, "005924"),
        (2000000000, "279037"),
        (20000000000, "353130"),
    ],
)
def test_the_vectors_of_the_rfc(at_s: int, code: str) -> None:
    assert code_at(SECRET, at_s // 30) == code
    assert match_step(SECRET, f"{code[:3]} {code[3:]}", at_s, 0) == at_s // 30


@given(st.integers(10, 10**9), st.integers(-4, 4))
def test_a_code_works_one_step_around_and_not_after_a_later_one(step: int, off: int) -> None:
    now_s, code = step * 30 + 7, code_at(SECRET, step + off)
    found = match_step(SECRET, code, now_s, 0)
    # codes of other steps may be equal by chance
    assert (found is not None) >= (abs(off) <= 1)
    if found is not None:
        assert match_step(SECRET, code, now_s, found) != found


@pytest.mark.parametrize("text", ["", "12345", "1234567", "١٢٣٤٥٦", "abcdef", "28708a"])
def test_what_is_not_a_code_is_refused(text: str) -> None:
    assert match_step(SECRET, text, 59, 0) is None


def test_recovery_codes_are_found_however_they_are_typed() -> None:
    codes = new_recovery_codes()
    assert len(set(codes)) == 10
    digest = digest_of_recovery(codes[0])
    assert digest is not None
    assert digest_of_recovery(f" {codes[0].upper().replace('-', ' ')}") == digest
    assert digest_of_recovery("287082") is None


def test_the_qr_code_is_an_image_by_itself() -> None:
    address = address_of(new_secret(), "a&b@c", "Triton Toolkit")
    assert address.startswith("otpauth://totp/Triton%20Toolkit:a%26b%40c?secret=")
    assert draw(address).startswith("data:image/svg+xml")


def test_a_name_or_place_that_is_markup_stays_in_its_part_of_the_address() -> None:
    evil = '"><svg onload=alert(1)>&issuer=other\r\n:x/#?'
    address = address_of(new_secret(), evil, evil)
    assert not set(address) & set('<>"\r\n')
    parts = urlsplit(address)
    assert parse_qs(parts.query)["issuer"] == [evil]
    assert unquote(parts.path) == f"/{evil}:{evil}"
    assert parts.fragment == ""
