"""`glia serve`: the HTTP server with its page."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Callable
from types import FrameType

import click
import uvicorn

from glia.api.cli.options import with_settings
from glia.api.http.app import build_app
from glia.api.http.head import protocol
from glia.core.errors import SettingError
from glia.core.log import start_log
from glia.core.settings import Settings
from glia.serve.memory import keep_large_buffers_apart

log = logging.getLogger("glia.serve")


class Server(uvicorn.Server):
    """Says when it is ready; on SIGTERM stays up, refusing new requests, until the running ones are answered."""

    def __init__(self, config: uvicorn.Config, drain_s: float, write_log: Callable[[], None] = lambda: None) -> None:
        """`drain_s`: how long stopping may take. `write_log`: called every now and then, and at the end."""
        super().__init__(config)
        self._write_log = write_log
        self.drain_s = drain_s
        self._draining: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then say so in one line on stdout."""
        await super().startup(sockets)
        if self.started and sockets:
            self._loop = asyncio.get_running_loop()
            host, port = sockets[0].getsockname()[:2]
            shown = f"[{host}]" if ":" in host else host
            print(f"ready http://{shown}:{port}", flush=True)  # noqa: T201  promised to whoever started us

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second, says uvicorn; the log is written at every third."""
        if counter % 3 == 0:
            self._write_log()
        return await super().on_tick(counter)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """First signal drains, the second stops at once."""
        if self._draining is not None or not self.started:
            self.should_exit = self.force_exit = True
            return
        self.config.app.state.draining = True  # type: ignore[union-attr]
        self._draining = self._loop.create_task(self._drain())

    async def _drain(self) -> None:
        state = self.config.app.state  # type: ignore[union-attr]
        try:
            async with asyncio.timeout(self.drain_s):
                await state.idle.wait()
        except TimeoutError:
            log.warning("stopping with %d requests unanswered", state.in_flight)
            await state.door.pool.stop()  # they get a problem that says so, while the connections are still there
        self.should_exit = True


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises SettingError in words when the port is taken or the address is not ours."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named because asyncio turns Nagle's delay off (40 ms an answer) only where it reads TCP here.
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
        sock.listen(2048)
    except (OSError, OverflowError) as error:
        sock.close()
        number = error.errno if isinstance(error, OSError) else None
        if number == errno.EADDRINUSE:
            raise SettingError(
                f"Port {port} on {host} is in use by another program. "
                f"Stop it, or choose another: glia serve --port {port + 1}"
            ) from error
        raise SettingError(f"Cannot listen on {host}:{port}: {error}. Choose another --host or --port.") from error
    return sock


@click.command("serve")
@with_settings(
    "host",
    "port",
    "root_path",
    "memory",
    "idle_s",
    "lanes",
    "precision",
    "queue",
    "deadline_s",
    "log_format",
    "log_level",
)
def serve_command(settings: Settings) -> None:
    """Serve every service: HTTP API and web page. Prints `ready http://HOST:PORT` when it answers."""
    write_log = start_log(settings["log_level"], settings["log_format"], gathered=True)
    keep_large_buffers_apart(1 << 20)
    with listen(settings["host"], settings["port"]) as sock:
        if settings["host"] not in ("127.0.0.1", "::1", "localhost") and not settings["api_key"]:
            log.warning("listening on %s without GLIA_API_KEY: whoever reaches this port can use it", settings["host"])
        root_path = settings["root_path"].strip("/")
        config = uvicorn.Config(
            build_app(settings),
            root_path=f"/{root_path}" if root_path else "",
            log_config=None,
            access_log=False,
            http=protocol(settings["deadline_s"]),
            lifespan="on",
            server_header=False,
            timeout_graceful_shutdown=2,
            timeout_keep_alive=30,
        )
        Server(config, settings["drain_s"], write_log).run([sock])
