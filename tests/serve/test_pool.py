"""Replicas under everything that happens to them: native crashes, kills, deadlines, leaving callers, full queues."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from glia.core.card import Card
from glia.core.errors import DeadlineExceeded, GliaError, Overloaded, ReplicaDied, StoreError
from glia.core.settings import Settings
from glia.runtime.directory import Directory, Resolved
from glia.serve.memory import read_memory
from glia.serve.pool import Pool
from house import is_running, until


async def eventually(condition: Callable[[], Any], seconds: float = 20) -> Any:
    """Like `until`, without holding the event loop."""
    return await asyncio.to_thread(until, condition, seconds)


def with_pool(settings: Settings, body: Callable[[Pool, Directory], Coroutine[Any, Any, None]]) -> None:
    """Run a coroutine on a pool that is stopped whatever happens; afterwards no replica is left."""

    async def run() -> None:
        pool = Pool(settings)
        try:
            await body(pool, Directory(settings))
        finally:
            pids = [facts["pid"] for facts in pool.facts()]
            await pool.stop()
        assert not [pid for pid in pids if is_running(pid)]

    asyncio.run(run())


async def ask(pool: Pool, resolved: Resolved, deadline_s: float = 20, **fields: Any) -> Any:
    """The end frame's value."""
    request = resolved.contract.request(fields)
    values = [frame.body.get("value") async for frame in pool.predict(resolved, request, deadline_s)]
    return values[-1]


def hold(pool: Pool, trouble: Resolved, path: Path) -> asyncio.Task[Any]:
    """A request that stays in a lane until `path` exists."""
    return asyncio.create_task(ask(pool, trouble, order=f"wait:{path}"))


def started(path: Path) -> Callable[[], bool]:
    return Path(f"{path}.started").exists


def test_items_come_before_the_end(settings: Settings) -> None:
    async def body(pool: Pool, directory: Directory) -> None:
        resolved = directory.resolve("counting")
        request = resolved.contract.request({"upto": 3})
        frames = [(frame.kind, frame.body["value"]) async for frame in pool.predict(resolved, request, 20)]
        assert frames == [("item", 1), ("item", 2), ("item", 3), ("end", [1, 2, 3])]

    with_pool(settings, body)


@pytest.mark.parametrize("order", ["die", "crash"])
def test_a_crash_in_native_code_costs_that_request_only(settings: Settings, order: str) -> None:
    async def body(pool: Pool, directory: Directory) -> None:
        trouble = directory.resolve("trouble")
        with pytest.raises(ReplicaDied, match="ended while this request was in it"):
            await ask(pool, trouble, order=order)
        assert await ask(pool, trouble, order="say:again") == "again"

    with_pool(settings, body)


def test_a_request_that_only_waited_survives_the_crash_of_its_replica(settings: Settings, tmp_path: Path) -> None:
    async def body(pool: Pool, directory: Directory) -> None:
        trouble = directory.resolve("trouble")
        held = [hold(pool, trouble, tmp_path / name) for name in ("a", "b")]
        await eventually(lambda: started(tmp_path / "a")() and started(tmp_path / "b")())
        waiting = asyncio.create_task(ask(pool, trouble, order="say:patient"))
        replica = await pool.replica(trouble)
        await eventually(lambda: replica.waiting == 1)
        os.kill(replica.pid, signal.SIGKILL)
        for lost in held:
            with pytest.raises(ReplicaDied):
                await lost
        assert await waiting == "patient"

    with_pool(settings, body)


def test_a_replica_that_died_idle_costs_no_request(settings: Settings) -> None:
    async def body(pool: Pool, directory: Directory) -> None:
        trouble = directory.resolve("trouble")
        assert await ask(pool, trouble, order="say:first") == "first"
        replica = await pool.replica(trouble)
        os.kill(replica.pid, signal.SIGKILL)
        # Without a turn of the event loop: the front has not heard of it when the request comes.
        until(lambda: replica._process.poll() is not None)
        assert replica.serves
        assert await ask(pool, trouble, order="say:second") == "second"
        assert pool.watch.deaths.total() == 1

    with_pool(settings, body)


def test_two_lanes_work_at_once(settings: Settings, tmp_path: Path) -> None:
    async def body(pool: Pool, directory: Directory) -> None:
        trouble = directory.resolve("trouble")
        first, second = hold(pool, trouble, tmp_path / "a"), hold(pool, trouble, tmp_path / "b")
        await eventually(lambda: started(tmp_path / "a")() and started(tmp_path / "b")())
        (tmp_path / "a").touch()
        (tmp_path / "b").touch()
        assert [await first, await second] == [str(tmp_path / "a"), str(tmp_path / "b")]

    with_pool(settings, body)


def test_a_full_queue_says_so_at_once(home: Path, settings: Settings, tmp_path: Path) -> None:
    narrow = Settings({**settings, "lanes": 1, "queue": 1})

    async def body(pool: Pool, directory: Directory) -> None:
        trouble = directory.resolve("trouble")
        held = hold(pool, trouble, tmp_path / "a")
        await eventually(started(tmp_path / "a"))
        waiting = asyncio.create_task(ask(pool, trouble, order="say:next"))
        replica = await pool.replica(trouble)
        await eventually(lambda: replica.waiting == 1)
        with pytest.raises(Overloaded, match="1 requests wait"):
            await ask(pool, trouble, order="say:too much")
        (tmp_path / "a").touch()
        assert await waiting == "next"
        await held

    with_pool(narrow, body)


def test_a_deadline_holds_in_the_queue_and_in_the_lane(settings: Settings, tmp_path: Path) -> None:
    narrow = Settings({**settings, "lanes": 1})

    async def body(pool: Pool, directory: Directory) -> None:
        trouble = directory.resolve("trouble")
        await ask(pool, trouble, order="say:warm")
        with pytest.raises(DeadlineExceeded):
            await ask(pool, trouble, deadline_s=0.2, order=f"wait:{tmp_path / 'a'}")
        with pytest.raises(DeadlineExceeded):
            await ask(pool, trouble, deadline_s=0.2, order="say:never begun")
        (tmp_path / "a").touch()
        assert await ask(pool, trouble, order="say:free again") == "free again"

    with_pool(narrow, body)


def test_a_caller_that_leaves_frees_its_place(settings: Settings, tmp_path: Path) -> None:
    narrow = Settings({**settings, "lanes": 1})

    async def body(pool: Pool, directory: Directory) -> None:
        trouble = directory.resolve("trouble")
        held = hold(pool, trouble, tmp_path / "a")
        await eventually(started(tmp_path / "a"))
        replica = await pool.replica(trouble)
        queued = asyncio.create_task(ask(pool, trouble, order="say:left"))
        await eventually(lambda: replica.waiting == 1)
        queued.cancel()
        held.cancel()
        await asyncio.gather(queued, held, return_exceptions=True)
        assert replica.waiting == 0
        (tmp_path / "a").touch()
        assert await ask(pool, trouble, order="say:free") == "free"
        assert not replica.busy

    with_pool(narrow, body)


def test_those_who_ask_together_wait_for_one_start(settings: Settings) -> None:
    async def body(pool: Pool, directory: Directory) -> None:
        trouble = directory.resolve("trouble")
        answers = await asyncio.gather(*(ask(pool, trouble, order=f"say:{i}") for i in range(8)))
        assert answers == [str(i) for i in range(8)]
        assert len(pool.facts()) == 1

    with_pool(settings, body)


def test_a_stopped_replica_gives_its_memory_back(settings: Settings, colours: Card) -> None:
    async def body(pool: Pool, directory: Directory) -> None:
        replica = await pool.replica(directory.resolve("objects"))
        assert read_memory(replica.pid).used > 10 << 20
        await pool.stop()
        assert read_memory(replica.pid).used == 0
        assert not is_running(replica.pid)
        assert not Path(f"/proc/{replica.pid}").exists()  # no zombie either

    with_pool(settings, body)


def test_over_the_budget_the_longest_idle_is_evicted_and_a_busy_one_never(settings: Settings, tmp_path: Path) -> None:
    async def body(pool: Pool, directory: Directory) -> None:
        trouble, brightness = directory.resolve("trouble"), directory.resolve("image-brightness")
        held = hold(pool, trouble, tmp_path / "a")
        await eventually(started(tmp_path / "a"))
        idle = await pool.replica(directory.resolve("counting"))
        pool.budget_bytes = pool.used_bytes() + (40 << 20)
        new = await pool.replica(brightness)
        assert {facts["pid"] for facts in pool.facts()} == {(await pool.replica(trouble)).pid, new.pid}
        assert not is_running(idle.pid)
        (tmp_path / "a").touch()
        await held

    with_pool(settings, body)


def test_a_start_waits_for_room_and_says_who_takes_it(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body(pool: Pool, directory: Directory) -> None:
        trouble, counting = directory.resolve("trouble"), directory.resolve("counting")
        held = hold(pool, trouble, tmp_path / "a")
        await eventually(started(tmp_path / "a"))
        pool.budget_bytes = pool.used_bytes() + (1 << 20)
        monkeypatch.setattr("glia.serve.pool.ROOM_LIMIT_S", 0.1)
        with pytest.raises(Overloaded, match=r"needs about 48 MB, and the models that are busy \(trouble\)"):
            await ask(pool, counting, upto=1)
        assert len(pool.facts()) == 1
        monkeypatch.setattr("glia.serve.pool.ROOM_LIMIT_S", 20)
        waiting = asyncio.create_task(ask(pool, counting, upto=1))
        await eventually(lambda: pool.state(counting) == "loading")
        (tmp_path / "a").touch()
        assert await waiting == [1]
        await held
        assert [facts["task"] for facts in pool.facts()] == ["counting"]

    with_pool(settings, body)


def test_a_damaged_graph_is_an_error_in_words_and_leaves_no_process(
    settings: Settings, colours: Card, home: Path
) -> None:
    graph = home / "models" / "colours" / "1" / "graph.onnx"
    graph.write_bytes(graph.read_bytes()[:-3])

    async def body(pool: Pool, directory: Directory) -> None:
        resolved = directory.resolve("objects")
        with pytest.raises(StoreError, match="damaged"):
            await pool.replica(resolved)
        assert pool.state(resolved) == "failed"
        assert "damaged" in pool.failures[resolved.key]
        assert pool.facts() == []

    with_pool(settings, body)


def test_a_bug_is_told_by_its_kind_and_the_replica_goes_on(settings: Settings) -> None:
    async def body(pool: Pool, directory: Directory) -> None:
        trouble = directory.resolve("trouble")
        with pytest.raises(GliaError, match="RuntimeError") as error:
            await ask(pool, trouble, order="bug")
        assert "secret" not in error.value.message
        before = (await pool.replica(trouble)).pid
        assert await ask(pool, trouble, order="say:fine") == "fine"
        assert (await pool.replica(trouble)).pid == before

    with_pool(settings, body)


def test_stopping_while_a_replica_loads_leaves_nothing(settings: Settings) -> None:
    async def body(pool: Pool, directory: Directory) -> None:
        starting: Awaitable[Any] = asyncio.ensure_future(pool.replica(directory.resolve("counting")))
        await asyncio.sleep(0)
        await pool.stop()
        with pytest.raises(asyncio.CancelledError):
            await starting

    with_pool(settings, body)
