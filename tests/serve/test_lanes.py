"""Lanes: who is next, and what a caller that leaves costs."""

from __future__ import annotations

import asyncio

from glia.serve.lanes import BACKGROUND_TURN, Lanes


def test_those_who_wait_are_served_in_their_order() -> None:
    assert served(["a", "b", "c"], []) == ["a", "b", "c"]


def test_interactive_requests_go_before_those_of_batches() -> None:
    assert served(["a", "b"], ["x", "y"]) == ["a", "b", "x", "y"]


def test_the_background_is_slowed_and_never_starved() -> None:
    order = served([f"a{i}" for i in range(3 * BACKGROUND_TURN)], ["x", "y"])
    assert order.index("x") == BACKGROUND_TURN - 1
    assert order.index("y") == 2 * BACKGROUND_TURN - 1


def served(interactive: list[str], background: list[str]) -> list[str]:
    """Names in the order in which they got a place; those of the background were there first."""
    order: list[str] = []

    async def body() -> None:
        lanes = Lanes(1)
        places = lanes.count + lanes.ahead
        for _ in range(places):
            await lanes.take()

        async def ask(name: str, background: bool) -> None:
            await lanes.take(background)
            order.append(name)
            lanes.free()

        asked = [asyncio.create_task(ask(name, True)) for name in background]
        await asyncio.sleep(0)
        asked += [asyncio.create_task(ask(name, False)) for name in interactive]
        await asyncio.sleep(0)
        assert lanes.waiting == len(asked)
        for _ in range(places):
            lanes.free()
        await asyncio.gather(*asked)
        assert lanes.waiting == 0

    asyncio.run(body())
    return order


def test_a_caller_that_leaves_takes_no_lane_with_it() -> None:
    async def body() -> None:
        lanes = Lanes(1)
        await lanes.take()
        await lanes.take()
        early, late = asyncio.create_task(lanes.take()), asyncio.create_task(lanes.take())
        await asyncio.sleep(0)
        early.cancel()
        await asyncio.sleep(0)
        assert lanes.waiting == 1
        lanes.free()
        late.cancel()  # it was given the lane a moment ago
        await asyncio.gather(early, late, return_exceptions=True)
        await asyncio.wait_for(lanes.take(), 5)

    asyncio.run(body())


def test_the_background_takes_a_lane_and_no_place_ahead_of_one() -> None:
    async def body() -> None:
        lanes = Lanes(2)
        assert [lanes.take_at_once(background=True) for _ in range(3)] == [True, True, False]
        assert [lanes.take_at_once() for _ in range(3)] == [True, True, False]
        waiting = asyncio.create_task(lanes.take(background=True))
        await asyncio.sleep(0)
        lanes.free()
        lanes.free()
        await asyncio.sleep(0)
        assert not waiting.done()  # both lanes are still taken
        lanes.free()
        await asyncio.wait_for(waiting, 5)

    asyncio.run(body())
