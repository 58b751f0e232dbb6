"""What a call is expected to use before anything was counted."""

from dataclasses import replace

from frontend.domain.generation import Generation, Passage
from frontend.generation.charge import Charge, Tariff
from frontend.scheduling.policy import FairShare
from frontend.scheduling.queue import Queue
from tests.support.events import MODEL
from tests.support.upstream import request


def test_an_image_is_expected_to_have_the_tokens_that_the_operator_sets() -> None:
    wide = replace(MODEL, context_length=None)
    plain = Generation(Passage("what is it"))
    seen = replace(plain, images=(b"one", b"two"))

    def expected(tokens: int) -> tuple[float, float]:
        charge = Charge(Queue(FairShare(1)), Tariff(image_tokens=tokens), request())
        return charge.generation(wide, plain).prompt, charge.generation(wide, seen).prompt

    for tokens in (0, 1000):
        without, with_images = expected(tokens)
        assert with_images - without == 2 * tokens
