"""Restarts are counted within a window that moves."""

from toolkit.serve.restarts import WINDOW_S, Restarts


def test_only_restarts_of_the_window_count() -> None:
    now = [0.0]
    restarts = Restarts(lambda: WINDOW_S * now[0])
    counts = []
    for now[0] in (0, 0.4, 0.9, 1, 2.5):
        counts.append(restarts.add())
    assert counts == [1, 2, 3, 3, 1]
