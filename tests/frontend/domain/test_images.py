"""An image has as many tokens as begun patches."""

from frontend.domain.images import ImageRequest, patches


def test_tokens_are_patches() -> None:
    assert patches(ImageRequest("a", count=2, width=64, height=24)) == 2 * 4 * 2
    assert patches(ImageRequest("a")) == 0
