"""A replica's process from both sides: what it answers, how it ends, and what it does not let slip."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from glia.core.card import Card
from glia.core.errors import DeadlineExceeded, Draining, InputError, ReplicaDied, Unavailable
from glia.core.session import Tensors
from glia.core.settings import Settings
from glia.runtime.directory import Directory, Resolved
from glia.serve import process
from glia.serve.arrays import pack, unpack
from glia.serve.frames import Frame, receive_frame, send_frame
from glia.serve.pool import Pool
from glia.serve.tensors import Inference
from glia.store.store import Store
from house import EXTRA_TASKS, is_running, picture, sum_card, sum_network, until


async def eventually(condition: Callable[[], Any]) -> Any:
    return await asyncio.to_thread(until, condition)


def with_pool(settings: Settings, body: Callable[[Pool, Directory], Coroutine[Any, Any, None]]) -> None:
    """Run a coroutine on a pool; whatever happens no process is left, and the event loop has nothing to complain of."""
    complaints: list[dict[str, Any]] = []
    pids: list[int] = []

    async def run() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
        pool = Pool(settings)
        try:
            await body(pool, Directory(settings))
        finally:
            pids.extend(facts["pid"] for facts in pool.facts())
            await pool.stop()
        gc.collect()
        await asyncio.to_thread(gc.collect)

    asyncio.run(run())
    assert not complaints
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]


async def ask(pool: Pool, resolved: Resolved, deadline_s: float = 20, **fields: Any) -> Any:
    request = resolved.contract.request(fields)
    return [frame.body.get("value") async for frame in pool.predict(resolved, request, deadline_s)][-1]


async def infer(pool: Pool, resolved: Resolved, role: str, tensors: Tensors) -> Tensors:
    """Arrays through one graph."""
    outputs, steps = await pool.infer(resolved, Inference(pack(tensors), role), 20)
    assert steps.keys() == {"queue", "preprocess", "run", "postprocess"}
    return unpack(outputs)


def children() -> set[int]:
    """Child processes of the test, living or not yet waited for."""
    return {int(pid) for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()}


def test_tensors_go_through_one_graph_past_the_task(settings: Settings, home: Path) -> None:
    Store(home).put(sum_card("one"), {"graph.onnx": sum_network()})
    Store(home).put(sum_card("half", "two-networks"), {"graph.onnx": sum_network()})

    async def body(pool: Pool, directory: Directory) -> None:
        rows = np.arange(6, dtype=np.float32).reshape(2, 3)
        answer = await infer(pool, directory.resolve("one"), "model", {"row": rows})
        np.testing.assert_array_equal(answer["sum"], [[4], [13]])
        large = np.ones((3, 1_000_000), np.float32)
        np.testing.assert_array_equal(
            (await infer(pool, directory.resolve("one"), "model", {"row": large}))["sum"], [[1_000_001]] * 3
        )
        with pytest.raises(InputError, match="'other'; there are model"):
            await infer(pool, directory.resolve("one"), "other", {"row": rows})
        with pytest.raises(InputError, match="The graph takes row float32"):
            await infer(pool, directory.resolve("one"), "model", {"line": rows})
        with pytest.raises(InputError, match="there are none"):
            await infer(pool, directory.resolve("counting"), "model", {"row": rows})
        directory.bindings.set("pair", {"first": "half", "second": "half"})
        pair = directory.resolve("pair")
        np.testing.assert_array_equal((await infer(pool, pair, "second", {"row": rows}))["sum"], [[4], [13]])
        assert await ask(pool, pair, value=1) == 3

    with_pool(settings, body)


def test_media_go_in_and_out_of_a_replica_as_bytes(settings: Settings, colours: Card) -> None:
    async def body(pool: Pool, directory: Directory) -> None:
        answer = await ask(pool, directory.resolve("objects"), image=picture((0, 255, 0)), top_k=1)
        assert answer[0]["label"] == "green"
        mirrored = directory.resolve("image-mirroring")
        request = mirrored.contract.request({"image": picture(size=(1500, 1500), format="bmp")})
        (frame,) = [frame async for frame in pool.predict(mirrored, request, 20)]
        assert frame.body["value"]["type"] == "image/png"
        assert bytes(frame.buffers[0]).startswith(b"\x89PNG")
        assert set(frame.body["steps"]) >= {"queue", "run"}

    with_pool(settings, body)


def test_many_large_bodies_at_once_arrive_whole(settings: Settings, colours: Card) -> None:
    async def body(pool: Pool, directory: Directory) -> None:
        objects = directory.resolve("objects")
        large = picture((0, 0, 255), (1200, 1200), "bmp")  # 4 MB each, more than the socket holds
        answers = await asyncio.gather(*(ask(pool, objects, image=large, top_k=1) for _ in range(8)))
        assert {answer[0]["label"] for answer in answers} == {"blue"}

    with_pool(settings, body)


def test_a_caller_that_stops_listening_cancels_what_is_left_of_the_stream(settings: Settings) -> None:
    async def body(pool: Pool, directory: Directory) -> None:
        counting = directory.resolve("counting")
        request = counting.contract.request({"upto": 1000})
        async with aclosing(pool.predict(counting, request, 20)) as frames:
            async for frame in frames:
                assert frame.body["value"] == 1
                break
        replica = await pool.replica(counting)
        await eventually(lambda: not replica.busy)
        assert await ask(pool, counting, upto=2) == [1, 2]
        assert (await pool.replica(counting)).pid == replica.pid

    with_pool(settings, body)


def test_a_deadline_never_cancels_what_the_caller_does_between_two_items(settings: Settings) -> None:
    async def body(pool: Pool, directory: Directory) -> None:
        counting = directory.resolve("counting")
        replica = await pool.replica(counting)
        request = counting.contract.request({"upto": 100})
        late, seen = time.monotonic() + 0.6, list[str]()
        async for frame in pool.predict(counting, request, 0.5):
            if not seen:  # a slow client; the replica was in time, so it gets the rest
                await eventually(lambda: time.monotonic() > late)
            seen.append(frame.kind)
        assert seen == ["item"] * 100 + ["end"]
        assert not replica.busy

    with_pool(settings, body)


def test_a_deadline_holds_while_the_replica_starts_and_the_start_goes_on(settings: Settings) -> None:
    async def body(pool: Pool, directory: Directory) -> None:
        counting = directory.resolve("counting")
        with pytest.raises(DeadlineExceeded):
            await ask(pool, counting, deadline_s=0.01, upto=1)
        assert pool.state(counting) == "loading"
        await eventually(lambda: pool.state(counting) == "ready")
        assert await ask(pool, counting, upto=1) == [1]

    with_pool(settings, body)


def test_a_request_that_hangs_past_its_deadline_has_its_replica_killed(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "HUNG_AFTER_S", 0.2)
    one = Settings({**settings, "lanes": 1})

    async def body(pool: Pool, directory: Directory) -> None:
        trouble = directory.resolve("trouble")
        hanging = await pool.replica(trouble)
        with pytest.raises(DeadlineExceeded):
            await ask(pool, trouble, deadline_s=0.2, order=f"wait:{tmp_path / 'never'}")
        assert await ask(pool, trouble, order="say:next") == "next"  # it was queued behind the one that hangs
        assert not is_running(hanging.pid)
        assert (await pool.replica(trouble)).pid != hanging.pid

    with_pool(one, body)


def test_a_request_in_time_after_one_that_was_left_keeps_its_replica(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "HUNG_AFTER_S", 0.0)

    async def body(pool: Pool, directory: Directory) -> None:
        trouble = directory.resolve("trouble")
        replica = await pool.replica(trouble)
        path = tmp_path / "go"
        held = asyncio.create_task(ask(pool, trouble, deadline_s=20, order=f"wait:{path}"))
        await eventually(Path(f"{path}.started").exists)
        held.cancel()  # the caller leaves long before its deadline: nothing hangs yet
        await asyncio.gather(held, return_exceptions=True)
        assert replica.busy
        path.touch()
        await eventually(lambda: not replica.busy)
        assert await ask(pool, trouble, order="say:here") == "here"
        assert (await pool.replica(trouble)).pid == replica.pid

    with_pool(settings, body)


def test_a_killed_replica_is_no_zombie_and_is_told_in_the_log(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    async def body(pool: Pool, directory: Directory) -> None:
        counting = directory.resolve("counting")
        replica = await pool.replica(counting)
        os.kill(replica.pid, signal.SIGKILL)
        await eventually(lambda: not Path(f"/proc/{replica.pid}").exists())
        assert pool.state(counting) == "idle"
        assert pool.facts() == []
        assert await ask(pool, counting, upto=1) == [1]

    with caplog.at_level(logging.ERROR, "glia.serve"):
        with_pool(settings, body)
    (record,) = caplog.records
    assert record.message == "replica ended"
    assert record.fields["status"] == -signal.SIGKILL  # type: ignore[attr-defined]


def test_a_replica_that_dies_while_it_loads_is_an_error_in_words(settings: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "tasks"
    folder.mkdir()
    (folder / "late.py").write_text(
        "import os, sys\n"
        "from glia.core.task import Request, Task\n"
        "if 'glia.serve.replica' in sys.orig_argv: os._exit(7)\n"
        "class Late(Task):\n"
        "    '''Die while loading.'''\n"
        "    name = 'late'\n"
        "    roles = ()\n"
        "    class Input(Request):\n"
        "        '''A number.'''\n"
        "        n: int\n"
        "    Output = int\n"
        "    def predict(self, x, sessions, card): return x.n\n"
    )
    before = children()

    async def body(pool: Pool, directory: Directory) -> None:
        late = directory.resolve("late")
        answers = await asyncio.gather(*(ask(pool, late, n=1) for _ in range(3)), return_exceptions=True)
        for answer in answers:
            assert isinstance(answer, ReplicaDied)
            assert answer.message == "The process that loads late ended before it was ready; the log has more."
        assert pool.state(late) == "failed"
        assert children() == before

    with_pool(Settings({**settings, "tasks_dir": str(folder)}), body)


def test_a_failed_start_that_nobody_waits_for_any_more_is_no_complaint(
    settings: Settings, colours: Card, home: Path
) -> None:
    (home / "models" / "colours" / "1" / "graph.onnx").write_bytes(b"damaged")

    async def body(pool: Pool, directory: Directory) -> None:
        objects = directory.resolve("objects")
        asking = asyncio.create_task(ask(pool, objects, image=picture()))
        await eventually(lambda: pool.state(objects) == "loading")
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        await eventually(lambda: pool.state(objects) == "failed")

    with_pool(settings, body)


def test_a_machine_without_room_for_a_process_says_so(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    async def body(pool: Pool, directory: Directory) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(subprocess, "Popen", refuse)
            with pytest.raises(Unavailable, match="refuses a process for counting"):
                await ask(pool, directory.resolve("counting"), upto=1)
        assert await ask(pool, directory.resolve("counting"), upto=1) == [1]

    with_pool(settings, body)


def test_a_stopped_pool_ends_what_executes_and_starts_no_more(settings: Settings, tmp_path: Path) -> None:
    async def body(pool: Pool, directory: Directory) -> None:
        trouble = directory.resolve("trouble")
        path = tmp_path / "never"
        held = asyncio.create_task(ask(pool, trouble, order=f"wait:{path}"))
        await eventually(Path(f"{path}.started").exists)
        (facts,) = pool.facts()
        await asyncio.gather(pool.stop(), pool.stop())
        with pytest.raises(Draining):
            await held
        assert not is_running(facts["pid"])
        with pytest.raises(Draining):
            await ask(pool, trouble, order="say:late")

    with_pool(settings, body)


def test_a_replica_that_sends_no_frame_is_ended(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    before = children()
    real = subprocess.Popen

    def babble(command: list[str], **options: Any) -> Any:
        program = "import os, sys, time; os.write(int(sys.argv[1]), b'\\0' * 64); time.sleep(60)"
        return real([sys.executable, "-c", program, command[-1]], **options)

    monkeypatch.setattr(process.subprocess, "Popen", babble)

    async def body(pool: Pool, directory: Directory) -> None:
        with pytest.raises(ReplicaDied, match="before it was ready"):
            await ask(pool, directory.resolve("counting"), upto=1)
        assert children() == before

    with_pool(settings, body)


def test_the_budget_ends_the_replica_that_was_idle_longest(settings: Settings) -> None:
    async def body(pool: Pool, directory: Directory) -> None:
        counting, comparison = directory.resolve("counting"), directory.resolve("image-comparison")
        oldest, kept = await pool.replica(comparison), await pool.replica(counting)
        kept = await pool.replica(counting)
        assert await ask(pool, counting, upto=1) == [1]
        pool.budget_bytes = pool.used_bytes() + (40 << 20)
        third = await pool.replica(directory.resolve("image-brightness"))
        assert {facts["pid"] for facts in pool.facts()} == {kept.pid, third.pid}
        assert not Path(f"/proc/{oldest.pid}").exists()
        assert pool.used_bytes() <= pool.budget_bytes
        pictures = [picture(), picture()]
        assert (await ask(pool, comparison, images=pictures))["same"]  # an evicted one comes back when it is asked

    with_pool(settings, body)


@contextmanager
def bare_replica() -> Iterator[tuple[subprocess.Popen[bytes], socket.socket]]:
    """A replica's process without a front."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        child = subprocess.Popen(
            [sys.executable, "-P", "-m", "glia.serve.replica", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stderr=subprocess.DEVNULL,
        )
        theirs.close()
        ours.settimeout(20)
        try:
            yield child, ours
        finally:
            child.kill()
            child.wait()


def load_frame(settings: Settings, service: str, lanes: int = 1) -> Frame:
    body = {
        "service": service,
        "models": {},
        "settings": {**settings, "home": str(settings.home)},
        "plan": {"lanes": lanes},
    }
    return Frame(1, "load", body)


def test_a_replica_ends_with_its_socket_and_not_with_the_signals_for_its_front(
    settings: Settings, tmp_path: Path
) -> None:
    with bare_replica() as (child, sock):
        send_frame(sock, load_frame(settings, "trouble"))
        assert receive_frame(sock).kind == "ready"
        child.send_signal(signal.SIGTERM)
        child.send_signal(signal.SIGINT)
        send_frame(sock, Frame(2, "predict", {"fields": {"order": "say:still here"}}))
        assert receive_frame(sock).body["value"] == "still here"
        path = tmp_path / "never"
        send_frame(sock, Frame(3, "predict", {"fields": {"order": f"wait:{path}"}}))
        until(Path(f"{path}.started").exists)
        sock.close()  # while a lane works
        assert child.wait(10) == 0


def test_a_canceled_request_is_not_begun_and_a_late_cancel_is_forgotten(settings: Settings, tmp_path: Path) -> None:
    with bare_replica() as (_, sock):
        send_frame(sock, load_frame(settings, "trouble"))
        assert receive_frame(sock).kind == "ready"
        path = tmp_path / "go"
        send_frame(sock, Frame(2, "predict", {"fields": {"order": f"wait:{path}"}}))
        send_frame(sock, Frame(3, "predict", {"fields": {"order": f"wait:{tmp_path / 'second'}"}}))
        until(Path(f"{path}.started").exists)
        send_frame(sock, Frame(3, "cancel"))
        send_frame(sock, Frame(99, "cancel"))
        send_frame(sock, Frame(98, "load"))  # nonsense, answered by the thread that reads: the cancel was read too
        assert (frame := receive_frame(sock)).kind == "error", frame
        path.touch()
        ended = [receive_frame(sock), receive_frame(sock)]
        assert [(frame.id, frame.kind) for frame in ended] == [(2, "end"), (3, "end")]
        assert not Path(f"{tmp_path / 'second'}.started").exists()
        send_frame(sock, Frame(2, "cancel"))
        send_frame(sock, Frame(4, "predict", {"fields": {"order": "say:on"}}))
        assert receive_frame(sock).body["value"] == "on"


def test_what_a_bug_says_stays_in_the_log(settings: Settings) -> None:
    with bare_replica() as (_, sock):
        send_frame(sock, load_frame(settings, "trouble"))
        assert receive_frame(sock).kind == "ready"
        send_frame(sock, Frame(2, "predict", {"fields": {"order": "bug"}}))
        frame = receive_frame(sock)
        assert frame.kind == "error"
        assert "secret" not in str(frame.body)
        assert "RuntimeError" in frame.body["problem"]["detail"]
        assert frame.body["problem"]["code"] == "internal"


def test_a_task_that_leaves_the_interpreter_does_not_take_a_lane_with_it(settings: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "tasks"
    folder.mkdir()
    text = (EXTRA_TASKS / "seams.py").read_text().replace('raise RuntimeError("a bug with a secret in it")', "exit(3)")
    (folder / "seams.py").write_text(text)
    with bare_replica() as (_, sock):
        send_frame(sock, load_frame(Settings({**settings, "tasks_dir": str(folder)}), "trouble"))
        assert receive_frame(sock).kind == "ready"
        send_frame(sock, Frame(2, "predict", {"fields": {"order": "bug"}}))
        assert "SystemExit" in receive_frame(sock).body["problem"]["detail"]
        send_frame(sock, Frame(3, "predict", {"fields": {"order": "say:on"}}))
        assert receive_frame(sock).body["value"] == "on"
