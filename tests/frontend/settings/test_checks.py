"""The checks of settings: those that several groups share, and that each of them runs."""

from collections import Counter

import pytest
from pydantic import ValidationError

from frontend.settings import Settings


@pytest.mark.parametrize("name", ["backend_networks", "image_networks", "trusted_proxies"])
def test_networks_are_checked_and_the_wrong_one_is_named(name: str) -> None:
    assert getattr(Settings(**{name: "10.0.0.0/8, fd00::/8"}), name)
    with pytest.raises(ValidationError, match=r"'10\.0\.0\.300' is not a network such as '10\."):
        Settings(**{name: "10.0.0.0/8,10.0.0.300"})


def test_no_group_replaces_the_check_of_another() -> None:
    # pydantic keeps one check for each name of a method over all groups
    names = Counter(
        name
        for group in Settings.__bases__
        for checks in (
            group.__pydantic_decorators__.field_validators,
            group.__pydantic_decorators__.model_validators,
        )
        for name in checks
    )
    assert len(names) > 20
    assert [name for name, count in names.items() if count > 1] == []
