"""The toolkit and the gateway choose the same alias for a name."""

from hypothesis import given
from hypothesis import strategies as st

from frontend.upstreams.patterns import Patterns
from toolkit.names import close_models, match_alias

TEXT = st.text("ab-", max_size=4)
ALIASES = st.sets(st.one_of(TEXT, st.builds("{}*{}".format, TEXT, TEXT)), max_size=12)


@given(ALIASES, st.text("ab-", max_size=8))
def test_the_same_alias_as_in_the_gateway(aliases: set[str], name: str) -> None:
    gateway = name if name in aliases else Patterns({each: each for each in aliases}).find(name)
    assert match_alias(name, aliases) == gateway


def test_a_family_is_meant_by_its_beginning() -> None:
    known = ["smollm3-3b", "smollm2-135m-instruct", "smollm2-360m-instruct", "qwen3-8b"]
    assert close_models("smolm2", known) == known[1:3]
    assert close_models("SmolLM2", [*known, "smollm2"], 1) == ["smollm2"]
    assert close_models("qwen3-8", known) == ["qwen3-8b"]
    assert close_models("moon", known) == []
    assert close_models("x" * 5000, known) == []
