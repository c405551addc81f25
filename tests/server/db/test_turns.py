"""Turns by key: a few callers of each key at once, in order, and nothing is left of a key that nobody uses."""

from __future__ import annotations

import asyncio

import pytest

from relumine_server.db.turns import TurnsByKey
from relumine_server.errors import Busy


class Callers:
    """Callers that hold their turns until they are let go."""

    def __init__(self, turns):
        self.turns = turns
        self.holding = []
        self.go = {}

    def call(self, key, name):
        self.go[name] = asyncio.Event()
        return asyncio.create_task(self._hold(key, name))

    async def _hold(self, key, name):
        async with self.turns.turn(key):
            self.holding.append(name)
            await self.go[name].wait()
            self.holding.remove(name)

    async def settle(self):
        for _ in range(10):
            await asyncio.sleep(0)


def test_at_most_two_callers_of_a_key_have_a_turn_and_others_are_not_held_up():
    async def check():
        callers = Callers(TurnsByKey(2, wait_s=60))
        tasks = [callers.call("a", f"a{number}") for number in range(6)]
        tasks.append(callers.call("b", "b0"))
        await callers.settle()
        assert callers.holding == ["a0", "a1", "b0"]
        for number in range(6):
            callers.go[f"a{number}"].set()
            await callers.settle()
            expected = [f"a{later}" for later in range(number + 1, min(number + 3, 6))]
            assert [name for name in callers.holding if name != "b0"] == expected
        callers.go["b0"].set()
        await asyncio.gather(*tasks)
        assert len(callers.turns) == 0

    asyncio.run(check())


def test_a_caller_that_waits_too_long_is_refused():
    async def check():
        callers = Callers(TurnsByKey(1, wait_s=0.01))
        first = callers.call("a", "a0")
        await callers.settle()
        with pytest.raises(Busy):
            await callers.call("a", "a1")
        callers.go["a0"].set()
        await first
        assert len(callers.turns) == 0

    asyncio.run(check())


@pytest.mark.parametrize("cancelled", [0, 1, 2])
def test_a_cancelled_caller_takes_no_turn_with_it(cancelled):
    async def check():
        callers = Callers(TurnsByKey(1, wait_s=60))
        tasks = [callers.call("a", name) for name in range(4)]
        await callers.settle()
        tasks[cancelled].cancel()
        for event in callers.go.values():
            event.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(result) for result in results].count(asyncio.CancelledError) == 1
        assert len(callers.turns) == 0

    asyncio.run(check())


def test_a_turn_that_is_handed_to_a_caller_as_it_is_cancelled_goes_on():
    async def check():
        callers = Callers(TurnsByKey(1, wait_s=60))
        tasks = [callers.call("a", name) for name in range(3)]
        await callers.settle()
        callers.go[0].set()
        await asyncio.sleep(0)  # 0 ends, and hands its turn to 1
        tasks[1].cancel()
        for event in callers.go.values():
            event.set()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert tasks[2].exception() is None
        assert len(callers.turns) == 0

    asyncio.run(check())
