"""Failed attempts are counted with a virtual clock."""

from frontend.accounts.throttle import Throttle, subject_of


class Time:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_failures_beyond_the_limit_wait_and_recover() -> None:
    time = Time()
    throttle = Throttle(limit=3, interval_s=10, clock=time)
    assert [throttle.fail(["a"]) for _ in range(3)] == [0, 0, 0]
    assert throttle.is_over("a")
    assert throttle.fail(["a"]) == 10
    assert throttle.fail(["a"]) == 10, "attempts beyond the limit do not prolong the wait"
    assert throttle.fail(["b"]) == 0
    assert throttle.fail(["b", "a"]) == 10
    time.now_s += 10
    assert throttle.fail(["a"]) == 0
    assert throttle.fail(["a"]) == 10
    time.now_s += 1000
    assert not throttle.is_over("a")


def test_its_memory_is_bounded() -> None:
    throttle = Throttle()
    for number in range(20_000):
        throttle.fail([f"{number}"])
    assert len(throttle._due_s) == 16_384


def test_unknown_keys_can_be_looked_up_at_a_limited_rate() -> None:
    time = Time()
    throttle = Throttle(clock=time)
    assert sum(throttle.try_unknown("a") for _ in range(1000)) in (99, 100)
    time.now_s += 0.5
    assert sum(throttle.try_unknown("a") for _ in range(1000)) in (49, 50)


def test_an_ipv6_host_is_one_subject() -> None:
    assert subject_of("2001:db8::1") == subject_of("2001:db8::ffff")
    assert subject_of("2001:db8::1") != subject_of("2001:db8:0:1::1")
    assert subject_of("::ffff:192.0.2.1") == subject_of("192.0.2.1")
    assert subject_of("") == subject_of("unix") == "unknown"
