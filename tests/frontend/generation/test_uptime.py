"""Uptime: minutes that were not checked are down, and a short history is not made longer."""

from frontend.generation.uptime import DAYS, Uptime, days_of
from frontend.store.database import Database
from frontend.store.uptime import HOUR_US, KEPT_HOURS, MINUTE_US, Hour, UptimeStore

DAY_US = 24 * HOUR_US
NOON_US = 20_000 * DAY_US + 12 * HOUR_US
ALL = 2**60 - 1


def test_days_without_history_are_not_known_and_gaps_are_down() -> None:
    assert days_of([], NOON_US) == []
    today_us = NOON_US - 12 * HOUR_US
    hours = [Hour(today_us - 6 * HOUR_US + n * HOUR_US, ALL, ALL) for n in range(12)]
    hours += [Hour(today_us + n * HOUR_US, ALL, 0) for n in range(6, 9)]
    days = days_of(hours, NOON_US)
    assert len(days) == DAYS
    assert {day.share for day in days[:-2]} == {None}
    # yesterday counts from its first check; today three hours were down, and three not checked
    assert [day.share for day in days[-2:]] == [1.0, 0.5]
    late = days_of([Hour(NOON_US, 0b1000, 0b1000)], NOON_US + 5 * MINUTE_US)
    assert late[-1].share == 0.5


async def test_gateways_share_the_minutes_and_old_hours_go(database: Database) -> None:
    now_us, ready = [NOON_US - KEPT_HOURS * HOUR_US - HOUR_US], [True]
    store = UptimeStore(database)
    uptimes = [
        Uptime(store, lambda up=up: up or ready[0], lambda: now_us[0]) for up in (False, True)
    ]
    await uptimes[0].check()
    for minute in range(4):
        now_us[0], ready[0] = NOON_US + minute * MINUTE_US, minute == 0
        for uptime in uptimes[: 1 + minute % 2]:
            await uptime.check()
    assert await store.read() == [Hour(NOON_US, 0b1111, 0b1011)]
    now_us[0] += MINUTE_US
    assert (await uptimes[0].days())[-1].share == 0.75
    now_us[0] += DAY_US
    assert (await uptimes[0].days())[-1].share == 0.75, "not read again within a minute"
