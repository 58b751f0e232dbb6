"""Keys of answers: the same for what has the same answer, and another one for anything else."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frontend.cache.answers import is_determined
from frontend.cache.key import key_of, owner_of
from frontend.domain.generation import Conversation, Generation, Passage, Reply, TokenIds
from frontend.domain.identity import ANONYMOUS, Caller, Role
from frontend.domain.images import ImageRequest
from frontend.domain.messages import Image, Message, Text
from frontend.domain.sampling import Sampling
from frontend.domain.structure import Expected, SchemaUse, Structure, Validation
from frontend.domain.tools import Function, Tools
from frontend.domain.vectors import Embedding, Pairs
from frontend.generation.sizes import bytes_of

TALK = Generation(
    Conversation((Message("user", "hi"),)), Sampling(temperature=0, max_tokens=8), Reply()
)
TOOL = Function("f", {"properties": {"a": {}, "b": {}}})


def key(work: Any, owner: str = "user:u", model: str = "m") -> bytes:
    return key_of(owner, model, work)


@pytest.mark.parametrize(
    "other",
    [
        replace(TALK, prompt=Conversation((Message("user", "ho"),))),
        replace(TALK, prompt=Conversation((Message("system", "hi"),))),
        replace(TALK, prompt=Conversation((Message("user", "hi"),), {"enable_thinking": False})),
        replace(TALK, prompt=Conversation((Message("user", "hi"),), continued=True)),
        replace(TALK, prompt=Passage("hi")),
        replace(TALK, prompt=TokenIds([1])),
        replace(TALK, sampling=replace(TALK.sampling, max_tokens=9)),
        replace(TALK, sampling=replace(TALK.sampling, seed=1)),
        replace(TALK, sampling=replace(TALK.sampling, n=2)),
        replace(TALK, sampling=replace(TALK.sampling, extras={"ignore_eos": True})),
        replace(TALK, reply=None),
        replace(TALK, reply=Reply(prompt_token_ids=True)),
        replace(TALK, tools=Tools((TOOL,), (TOOL,))),
        replace(TALK, tools=Tools((TOOL,), (TOOL,), "required")),
        replace(TALK, structure=Structure("json", {"type": "object"}, "response_format")),
        replace(TALK, images=(b"png",)),
        replace(TALK, images=(b"pn", b"g")),
        replace(TALK, context_length=64),
    ],
)
def test_all_that_changes_an_answer_changes_its_key(other: Generation) -> None:
    assert key(other) != key(TALK)


def test_what_does_not_change_an_answer_shares_its_key() -> None:
    use = SchemaUse("response_format", {}, None)
    checked = Validation((Expected(use, b"{}", "2020"),), "caller", 2, [])
    assert key(replace(TALK, param="prompt", cache_salt="x", session="s")) == key(TALK)
    # 0 and 0.0; a stream, which is never generated again, and a whole answer
    assert key(replace(TALK, sampling=Sampling(temperature=0.0, max_tokens=8))) == key(TALK)
    whole = replace(TALK, validation=checked)
    stream = replace(TALK, validation=replace(checked, retries=0, caller="other", warnings=["w"]))
    assert key(whole) == key(stream) != key(TALK)


def test_the_order_of_a_tools_fields_reaches_the_prompt_and_the_key() -> None:
    swapped = replace(TOOL, parameters={"properties": {"b": {}, "a": {}}})
    one, two = (replace(TALK, tools=Tools((tool,), (tool,))) for tool in (TOOL, swapped))
    assert key(one) != key(two)


@given(st.text(), st.text(), st.text(), st.text())
def test_owners_models_and_texts_never_run_together(a: str, b: str, c: str, d: str) -> None:
    pairs = {(a, b): key_of(a, b, Embedding([c])), (c, d): key_of(c, d, Embedding([c]))}
    assert len(set(pairs.values())) == len(pairs)


def test_texts_ids_and_pairs_are_different_work() -> None:
    works = [
        Embedding(["a", "b"]), Embedding(["ab"]), Embedding(["a", "b"], truncate=True),
        Embedding.of_ids([[1, 2]], truncate=False), Embedding.of_ids([[1], [2]], truncate=False),
        Pairs(["a"], ["b"]), Pairs(["b"], ["a"]),
    ]  # fmt: skip
    assert len({key(one) for one in works}) == len(works)
    assert key(Pairs(["a"], ["b"], params=("text_1", "text_2"))) == key(Pairs(["a"], ["b"]))


def test_images_in_messages_are_told_from_texts() -> None:
    messages = [(Message("user", (Text("a"), Image())),), (Message("user", (Image(), Text("a"))),)]
    one, two = (replace(TALK, prompt=Conversation(each)) for each in messages)
    assert key(one) != key(two)


def test_an_image_is_determined_by_its_seed_and_all_its_fields_count() -> None:
    image = ImageRequest("a cat", seed=7)
    others = [
        replace(image, prompt="a dog"), replace(image, seed=8), replace(image, count=2),
        replace(image, steps=3), replace(image, stop_after=1), replace(image, width=64),
    ]  # fmt: skip
    assert len({key(one) for one in (image, *others)}) == 1 + len(others)
    assert is_determined(image)
    assert not is_determined(replace(image, seed=None))


def test_an_owner_is_named_with_its_kind_and_may_be_missing() -> None:
    caller = Caller("x", "name", Role("student", 1, frozenset()), key="x", group="g")
    assert len({owner_of(caller, "user"), owner_of(caller, "key"), owner_of(caller, "group")}) == 3
    assert owner_of(caller, "organisation") == ""
    assert owner_of(ANONYMOUS, "user") == "user:anonymous"


def test_only_a_temperature_of_0_or_a_seed_determines_an_answer() -> None:
    assert is_determined(TALK)
    assert is_determined(Embedding(["a"]))
    assert is_determined(replace(TALK, sampling=Sampling(temperature=1, seed=0)))
    for sampling in (Sampling(), Sampling(temperature=0.1), Sampling(top_k=1)):
        assert not is_determined(replace(TALK, sampling=sampling))


def test_the_key_does_not_depend_on_whether_the_size_was_measured() -> None:
    new = replace(TALK)
    before = key(new)
    assert bytes_of(new) == bytes_of(new) == new.known_bytes
    assert key(new) == before == key(replace(TALK))
