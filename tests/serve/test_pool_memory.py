"""Memory and life of replicas: unload, idle, back-off, what is bound no more, and plans."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path

import pytest

from glia.core.card import Card
from glia.core.errors import GliaError, ReplicaDied
from glia.core.settings import Settings
from glia.runtime.directory import Directory
from glia.runtime.plan import Measured, Plan, Plans, plan_for, write_plans
from glia.serve import pool as pool_module
from glia.serve.memory import read_memory
from glia.serve.pool import Pool
from house import is_running, picture
from serve.test_pool import ask, eventually, hold, started, with_pool


def test_unloading_answers_what_executes_and_gives_the_memory_back(settings: Settings, tmp_path: Path) -> None:
    async def body(pool: Pool, directory: Directory) -> None:
        trouble = directory.resolve("trouble")
        held = hold(pool, trouble, tmp_path / "a")
        await eventually(started(tmp_path / "a"))
        old = await pool.replica(trouble)
        leaving = asyncio.create_task(pool.unload(trouble))
        await eventually(lambda: pool.state(trouble) == "unloading")
        late = asyncio.create_task(ask(pool, trouble, order="say:late"))  # waits, so that it is never loaded twice
        (tmp_path / "a").touch()
        assert await held == str(tmp_path / "a")
        assert await leaving
        assert not is_running(old.pid)
        assert read_memory(old.pid).used == 0
        assert await late == "late"
        assert (await pool.replica(trouble)).pid != old.pid

    with_pool(settings, body)


def test_unloading_what_is_not_up_does_nothing(settings: Settings) -> None:
    async def body(pool: Pool, directory: Directory) -> None:
        assert not await pool.unload(directory.resolve("counting"))
        assert pool.facts() == []

    with_pool(settings, body)


def test_an_idle_replica_is_unloaded_and_a_busy_one_is_not(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "TEND_S", 0.05)

    async def body(pool: Pool, directory: Directory) -> None:
        held = hold(pool, directory.resolve("trouble"), tmp_path / "a")
        await eventually(started(tmp_path / "a"))
        counting = directory.resolve("counting")
        idle = await pool.replica(counting)
        await eventually(lambda: not is_running(idle.pid))
        assert [facts["task"] for facts in pool.facts()] == ["trouble"]
        await eventually(lambda: pool.state(counting) == "idle")
        (tmp_path / "a").touch()
        await held
        await eventually(lambda: pool.facts() == [])

    with_pool(Settings({**settings, "idle_s": 1}), body)


def test_what_nothing_is_served_by_any_more_is_unloaded(settings: Settings) -> None:
    async def body(pool: Pool, directory: Directory) -> None:
        counting, comparison = directory.resolve("counting"), directory.resolve("image-comparison")
        gone, kept = await pool.replica(counting), await pool.replica(comparison)
        await pool.retain({comparison.key})
        assert not is_running(gone.pid)
        assert is_running(kept.pid)

    with_pool(settings, body)


def test_a_replica_in_a_crash_loop_is_backed_off_and_the_others_are_not(settings: Settings) -> None:
    async def body(pool: Pool, directory: Directory) -> None:
        trouble = directory.resolve("trouble")
        for _ in range(3):
            with pytest.raises(ReplicaDied, match="ended while this request was in it"):
                await ask(pool, trouble, order="die")
            dead = pool._replicas[trouble.key]
            await eventually(lambda dead=dead: not Path(f"/proc/{dead.pid}").exists())
        await eventually(lambda: pool.state(trouble) == "failed")
        with pytest.raises(ReplicaDied, match=r"ended 3 times .* because: its process ended with") as error:
            await ask(pool, trouble, order="say:too early")
        assert error.value.retry_after_s
        assert await ask(pool, directory.resolve("counting"), upto=1) == [1]
        await pool.load(trouble)  # by hand: at once
        assert await ask(pool, trouble, order="say:back") == "back"
        assert pool.state(trouble) == "ready"

    with_pool(settings, body)


def test_a_death_under_load_is_counted_and_logged(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    async def body(pool: Pool, directory: Directory) -> None:
        trouble = directory.resolve("trouble")
        with pytest.raises(ReplicaDied):
            await ask(pool, trouble, order="die")
        assert await ask(pool, trouble, order="say:next") == "next"  # at once: the dead one is not yet waited for
        assert pool.watch.deaths[trouble.key] == 1
        assert [record.message for record in caplog.records] == ["replica ended"]

    with caplog.at_level("ERROR", "glia.serve"):
        with_pool(settings, body)


def test_a_model_that_was_tuned_anew_is_loaded_anew(settings: Settings, colours: Card) -> None:
    async def body(pool: Pool, directory: Directory) -> None:
        objects = directory.resolve("objects")
        old = await pool.replica(objects)
        await pool.retain({objects.key})
        assert is_running(old.pid)
        tuned(settings, colours, Plan(batch=4, lanes=2))
        await pool.retain({objects.key})
        assert not is_running(old.pid)

    with_pool(settings, body)


def test_requests_of_people_go_before_those_of_batches(settings: Settings, tmp_path: Path) -> None:
    order: list[str] = []

    async def body(pool: Pool, directory: Directory) -> None:
        trouble = directory.resolve("trouble")

        async def say(word: str, background: bool) -> None:
            request = trouble.contract.request({"order": f"say:{word}"})
            frames = pool.predict(trouble, request, 20, background)
            order.extend([frame.body["value"] async for frame in frames])

        held = hold(pool, trouble, tmp_path / "a")
        await eventually(started(tmp_path / "a"))
        replica = await pool.replica(trouble)
        batch = [asyncio.create_task(say(f"batch {i}", True)) for i in range(3)]
        await eventually(lambda: replica.waiting == 3)
        people = [asyncio.create_task(say(f"person {i}", False)) for i in range(3)]
        await eventually(lambda: replica.waiting == 6)
        (tmp_path / "a").touch()
        await asyncio.gather(held, *batch, *people)
        assert order == [*(f"person {i}" for i in range(3)), *(f"batch {i}" for i in range(3))]

    with_pool(Settings({**settings, "lanes": 1}), body)


def tuned(settings: Settings, card: Card, plan: Plan) -> None:
    """Make a plan the one that the model is run with on this machine."""
    write_plans(settings.home, card, Plans(measured=(Measured(plan=plan, per_second=1.0),)))


PLANS = (
    Plan(lanes=4),
    Plan(lanes=8, batch=4, delay_ms=5),
    Plan(runtime="openvino", lanes=2),
    Plan(runtime="openvino", lanes=8, batch=8, delay_ms=5),
)


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: plan.name)
def test_answers_do_not_depend_on_who_else_asks(settings: Settings, colours: Card, plan: Plan) -> None:
    """Different pictures at once, in every way to run a network: each its own answer, the same as alone."""
    if plan.runtime == "openvino":
        pytest.importorskip("openvino")
    settings = Settings({**settings, "lanes": 0})
    tuned(settings, colours, plan)
    shades = [(i * 7 % 256, i * 29 % 256, i * 83 % 256) for i in range(48)]

    def scores(shade: tuple[int, int, int]) -> dict[str, float]:
        logits = [10 * value / 255 for value in shade]
        powers = [math.exp(value - max(logits)) for value in logits]
        return {name: power / sum(powers) for name, power in zip(("red", "green", "blue"), powers, strict=True)}

    async def body(pool: Pool, directory: Directory) -> None:
        objects = directory.resolve("objects")
        found = await asyncio.gather(*(ask(pool, objects, image=picture(shade)) for shade in shades))
        for shade, answer in zip(shades, found, strict=True):
            assert {row["label"]: row["score"] for row in answer} == pytest.approx(scores(shade), abs=1e-5)
        (facts,) = pool.facts()
        assert facts["lanes"] == plan.lanes
        assert facts["sessions"]["model"]["runtime"].startswith(plan.runtime)
        assert facts["sessions"]["model"].get("batch", 1) == plan.batch

    with_pool(settings, body)


def test_a_plan_that_cannot_be_followed_any_more_is_run_in_fp32(settings: Settings, colours: Card) -> None:
    tuned(settings, colours, Plan(precision="int8", lanes=2))  # its graph was removed

    async def body(pool: Pool, directory: Directory) -> None:
        assert (await ask(pool, directory.resolve("objects"), image=picture()))[0]["label"] == "red"
        assert pool.facts()[0]["sessions"]["model"]["provider"] == "cpu-fp32"

    with_pool(settings, body)


def test_fp32_can_be_asked_for(settings: Settings, colours: Card) -> None:
    fast, exact = Plan(runtime="openvino", precision="bf16", lanes=2), Plan(runtime="openvino", lanes=2)
    measured = (Measured(plan=fast, per_second=9.0), Measured(plan=exact, per_second=5.0))
    rejected = Measured(plan=Plan(precision="int8"), per_second=99.0, passed=False)
    write_plans(settings.home, colours, Plans(measured=(rejected, *measured)))
    assert plan_for(colours, settings).provider == "cpu-bf16"
    assert plan_for(colours, Settings({**settings, "precision": "fp32"})) == exact


def test_a_plan_of_another_machine_is_not_used(
    settings: Settings, colours: Card, monkeypatch: pytest.MonkeyPatch
) -> None:
    tuned(settings, colours, Plan(runtime="openvino", lanes=7))
    monkeypatch.setattr("glia.runtime.plan.machine_id", lambda: "another")
    assert plan_for(colours, settings) == Plan(lanes=2)


def test_a_start_that_keeps_failing_is_not_tried_by_every_request(
    settings: Settings, colours: Card, home: Path
) -> None:
    graph = home / "models" / "colours" / "1" / "graph.onnx"
    graph.write_bytes(graph.read_bytes()[:-3])

    async def body(pool: Pool, directory: Directory) -> None:
        objects = directory.resolve("objects")
        for _ in range(3):
            with pytest.raises(GliaError, match="damaged"):
                await pool.replica(objects)
        with pytest.raises(ReplicaDied, match=r"because: .*damaged") as error:
            await pool.replica(objects)
        assert error.value.retry_after_s

    with_pool(settings, body)
