"""The portable data plane's facade: thread-safe methods around one serving thread."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import math
import threading
import time
from concurrent.futures import CancelledError
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

from kedge.bundle.contents import Bundle
from kedge.errors import BundleError, ModelLoadError, PlaneError
from kedge.plane import cells
from kedge.plane.contract import CallStatus, Limits, PublishReport
from kedge.plane.portable import model as models
from kedge.plane.portable import route, seal
from kedge.plane.portable.cold_calls import ColdCalls
from kedge.plane.portable.pipeline import Pipeline
from kedge.plane.portable.server import Methods, Server
from kedge.plane.routes import handles
from kedge.plane.text import quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence

    from numpy.typing import NDArray

    from kedge.kernel.contract import Kernel
    from kedge.plane.contract import ColdCallback, Handle, LoadOptions, RouteTable, Tls, Tokens
    from kedge.plane.portable.model import Model
    from kedge.plane.portable.shadow import Sent

_T = TypeVar("_T")
_DRAINING: Final = CallStatus(14, "the server is draining; ask another one")


class PortablePlane:
    """`kedge.plane.contract.DataPlane` on grpc.aio and the onnxruntime package.

    Args:
        kernel: counts what is served.
        clock: seconds since 1970, for the periods of sticky keys.
    """

    name: Literal["native", "portable"] = "portable"

    def __init__(self, kernel: Kernel, *, clock: Callable[[], float] = time.time) -> None:
        self._lock = threading.RLock()
        self._drain_lock = threading.Lock()
        self._counting = threading.Lock()
        self._models: dict[int, Model] = {}
        self._loading: list[tuple[str, str]] = []
        self._unrouted: tuple[tuple[str, str], ...] = ()
        self._limits = Limits()
        self._tls: Tls | None = None
        self._callback: ColdCallback | None = None
        self._cold: ColdCalls | None = None
        self._server: Server | None = None
        self._drained: bool | None = None
        self._stopped = False
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(_ignore_poller_race)
        self._thread = threading.Thread(target=self._serve, name="kedge-serve", daemon=True)
        self._thread.start()
        self._pipeline = self._call(self._make_pipeline(kernel, clock))

    def configure(self, *, tls: Tls | None = None, limits: Limits | None = None, tokens: Tokens | None = None) -> None:
        """See `DataPlane.configure`. Raises `PlaneError` for limits given while serving."""
        with self._lock:
            if limits is not None:
                if self._server is not None:
                    raise PlaneError("limits are set before the plane starts")
                self._limits = limits
            if tokens is not None:
                seal.check(tokens)
                self._call(self._seal(tokens))
            if tls is not None:
                if self._server is not None and self._tls is None:
                    raise PlaneError("the plane serves without TLS; give certificates before it starts")
                self._tls = tls
                if self._server is not None:
                    self._server.replace_tls(tls)

    def on_cold(self, callback: ColdCallback) -> None:
        """See `DataPlane.on_cold`."""
        with self._lock:
            if self._server is not None:
                raise PlaneError("who answers cold calls is set before the plane starts")
            self._callback = callback

    def start(self, address: str) -> str:
        """See `DataPlane.start`. Raises `PlaneError` where the address cannot be listened on."""
        with self._lock:
            if self._stopped or self._server is not None:
                raise PlaneError("the plane was stopped" if self._stopped else "the plane is started already")
            return self._call(self._start(address))

    def load(self, directory: Path, options: LoadOptions) -> Handle:
        """See `DataPlane.load`."""
        try:
            manifest = Bundle.read(directory).manifest
        except BundleError as error:
            raise ModelLoadError(f"cannot load '{directory.name}': {error}") from error
        name = (manifest.name, manifest.version)
        with self._lock:
            self._loading.append(name)
            self._list_unrouted()
        try:
            model = models.load(directory, options)
            with self._lock:
                if self._stopped:
                    model.close()
                    raise ModelLoadError("the plane was stopped")
                self._models[model.handle.key] = model
        finally:
            with self._lock:
                self._loading.remove(name)
                self._list_unrouted()
        return model.handle

    def run(self, handle: Handle, tensors: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """See `DataPlane.run`. Raises `PlaneError` where inputs do not fit, or the model fails on them."""
        return self._model(handle).run(tensors)

    def publish(self, table: RouteTable) -> PublishReport:
        """See `DataPlane.publish`."""
        with self._lock:
            built = route.build(table, self._models, self._pipeline.table)
            nanoseconds = self._call(self._publish(built))
            with self._counting:
                open_cells = {shadow.cell for shadow in built.shadows()}
                self._pipeline.observer.shadows.fold(open_cells, self._call(self._sent()))
            for entry in built.entries.values():
                for target in entry.versions.values():
                    target.model.published = True
            self._list_unrouted()
        return PublishReport(nanoseconds, 1)

    def retire(self, handle: Handle, grace: float) -> int:
        """See `DataPlane.retire`."""
        with self._lock:
            model = self._models.get(handle.key)
            if model is None:
                return 0
            for entry in self._pipeline.table.entries.values():
                if handle in handles(entry.route):
                    raise PlaneError(
                        f"version {quoted(handle.version)} of model {quoted(handle.model)} is still in the route table"
                    )
        end = time.monotonic() + grace
        while not model.idle:
            if time.monotonic() >= end:
                raise PlaneError(
                    f"version {quoted(handle.version)} of model {quoted(handle.model)} still runs requests"
                )
            time.sleep(0.001)
        with self._lock:
            if self._models.pop(handle.key, None) is None:
                return 0
            self._list_unrouted()
        before = _resident_bytes()
        self._call(self._forget(model))
        model.close()
        del model
        gc.collect()
        _trim()
        return max(0, before - _resident_bytes())

    def snapshot(self) -> bytes:
        """See `DataPlane.snapshot`."""
        with self._counting:
            counts, sent = self._call(self._counts())
            return cells.encode(counts | self._pipeline.observer.shadows.snapshot(sent))

    def confide(self, handle: Handle, threshold: float) -> None:
        """See `DataPlane.confide`."""
        model = self._model(handle)
        if model.calibration is None:
            raise PlaneError(
                f"version {quoted(handle.version)} of model {quoted(handle.model)} has no calibration scores"
            )
        if math.isnan(threshold):
            raise PlaneError("a conformal threshold is a number; it may be infinite, not NaN")
        model.calibration.threshold = threshold

    def suspects(self, handle: Handle) -> Sequence[Mapping[str, NDArray[Any]]]:
        """See `DataPlane.suspects`."""
        model = self._model(handle)
        self._call(self._flush())
        return model.suspects.rows()

    def reservoir(self, handle: Handle) -> Sequence[Mapping[str, NDArray[Any]]]:
        """See `DataPlane.reservoir`."""
        model = self._model(handle)
        self._call(self._flush())
        return model.reservoir.rows()

    def reply(self, call: int, payload: bytes | None, last: bool, status: CallStatus | None = None) -> None:
        """See `DataPlane.reply`."""
        if self._cold is not None and not self._stopped:
            self._cold.reply(call, payload, last, status)

    def drain(self, timeout: float, grace: float = 0.0) -> bool:
        """See `DataPlane.drain`."""
        with self._drain_lock:  # not the other one: `stop` must be able to cut a drain short
            if self._drained is None:
                try:
                    self._drained = self._call(self._drain(timeout, grace))
                except (PlaneError, CancelledError):
                    self._drained = False
            return self._drained

    def stop(self) -> None:
        """See `DataPlane.stop`."""
        with self._lock:
            if self._stopped:
                return
            self._stopped = True
            if self._server is not None:
                self._call(self._server.stop(None))
            if self._cold is not None:
                self._cold.stop()
            self._call(self._end_tasks())
            self._pipeline.observer.shadows.join()
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()
            for model in self._models.values():
                model.close()
            self._models.clear()

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def _call(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Run on the serving thread and wait."""
        if self._loop.is_closed():
            work.close()
            raise PlaneError("the plane was stopped")
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _make_pipeline(self, kernel: Kernel, clock: Callable[[], float]) -> Pipeline:
        return Pipeline(kernel, clock, lambda: self._unrouted)

    def _list_unrouted(self) -> None:
        """Note what is loading, or loaded and never routed to, where the serving thread finds it without a lock."""
        loaded = ((model.handle.model, model.handle.version) for model in self._models.values() if not model.published)
        self._unrouted = (*self._loading, *loaded)

    async def _start(self, address: str) -> str:
        self._pipeline.max_queue = self._limits.max_queue
        cold = ColdCalls(self._callback)
        server = Server(Methods(self._pipeline, cold), self._limits)
        try:
            bound = await server.start(address, self._tls)
        except PlaneError:
            cold.stop()
            await server.stop(None)
            raise
        self._cold, self._server = cold, server
        return bound

    async def _publish(self, table: route.Table) -> int:
        return self._pipeline.publish(table)

    async def _forget(self, model: Model) -> None:
        self._pipeline.forget(model)

    async def _counts(self) -> tuple[dict[cells.CellKey, cells.Cell], Sent]:
        return self._pipeline.observer.snapshot(), self._pipeline.observer.shadows.sent()

    async def _sent(self) -> Sent:
        return self._pipeline.observer.shadows.sent()

    async def _seal(self, tokens: Tokens) -> None:
        self._pipeline.sealing.use(tokens)

    async def _flush(self) -> None:
        self._pipeline.observer.flush()

    async def _drain(self, timeout: float, grace: float) -> bool:
        pipeline, server, cold = self._pipeline, self._server, self._cold
        pipeline.leaving = True
        if server is None or cold is None:
            return True
        await asyncio.sleep(grace)
        pipeline.drain()
        end = self._loop.time() + timeout
        stopping = asyncio.ensure_future(server.stop(timeout))
        while (pipeline.active or pipeline.streams) and self._loop.time() < end:
            await asyncio.sleep(0.002)
        finished = not (pipeline.active or pipeline.streams)
        cold.end_all(_DRAINING)
        await stopping
        return finished

    async def _end_tasks(self) -> None:
        self._pipeline.observer.shadows.route(())
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _model(self, handle: Handle) -> Model:
        with self._lock:
            model = self._models.get(handle.key)
        if model is None or model.handle != handle:
            raise PlaneError(
                f"version {quoted(handle.version)} of model {quoted(handle.model)} is not loaded, or was retired"
            )
        return model


def _ignore_poller_race(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Other grpc.aio loops of this process read from the same wake-up socket; whoever comes second finds it empty."""
    if not isinstance(context.get("exception"), BlockingIOError):
        loop.default_exception_handler(context)


def _resident_bytes() -> int:
    """Resident memory of this process; 0 where the system does not say."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def _trim() -> None:
    """Give freed memory back to the system, where the C library can."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
