"""Work that keeps a model busy for long makes others wait; nobody takes it for a dead one."""

from tests.attack.conftest import EMBEDDING, Bystander, Target

LONG = "word " * 240
TEXTS = 700
"""More than half a minute of work for one embedding model on two cores."""


def test_a_busy_encoder_is_no_dead_one(target: Target) -> None:
    before = target._processes()
    body = {"model": EMBEDDING, "input": [f"{number} {LONG}" for number in range(TEXTS)]}
    answer = target.post("/v1/embeddings", body, timeout_s=500)
    assert answer.status_code == 200, answer.text[:500]
    assert len(answer.json()["data"]) == TEXTS
    assert Bystander(target.service, target.ada, target._gateway()).chat().status_code == 200
    assert target._processes() == before
    said = target.service.log.read_text()
    assert "starting it again" not in said
    assert "restarting" not in said
