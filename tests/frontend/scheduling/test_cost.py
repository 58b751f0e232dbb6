"""What requests cost in the scheduler: counted and expected tokens by kind."""

from frontend.domain.usage import Usage
from frontend.scheduling.cost import UNKNOWN_OUTPUT, CostWeights, Outputs


def test_tokens_cost_by_their_kind() -> None:
    weights = CostWeights()
    assert weights.of(Usage(100, 0, 50)) == 100 + 2 * 50
    assert weights.of(Usage(100, 40, 50)) == 60 + 4 + 100
    assert weights.of(Usage(100)) == 100  # of embeddings
    assert CostWeights(prompt=3, cached=1, output=5).of(Usage(10, 4, 2)) == 18 + 4 + 10
    # more cached tokens than there are is an upstream's mistake, and no refund
    assert weights.of(Usage(10, 40, 0)) == 4
    assert weights.estimate(0) == 1


def test_an_answer_is_expected_to_be_as_long_as_the_users_last_ones() -> None:
    outputs = Outputs()
    assert outputs.expected("ada", "m", None) == UNKNOWN_OUTPUT
    assert outputs.expected("ada", "m", 10) == 10
    for _ in range(40):
        outputs.add("ada", "m", 1000)
    assert outputs.expected("ada", "m", None) == 1000
    # of another user of the model until its first answer, and of no other model
    assert outputs.expected("bob", "m", None) == 1000
    assert outputs.expected("ada", "other", None) == UNKNOWN_OUTPUT
    outputs.add("bob", "m", 20)
    assert outputs.expected("bob", "m", None) == 20
    outputs.add("ada", "m", 500)
    assert outputs.expected("ada", "m", None) == 900
    assert outputs.expected("ada", "m", 64) == 64
