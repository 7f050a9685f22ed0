"""The portable data plane's facade: thread-safe methods around one serving thread."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from concurrent.futures import CancelledError
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal

from kedge.bundle.contents import Bundle
from kedge.errors import BundleError, ModelLoadError, PlaneError
from kedge.plane import cells
from kedge.plane.contract import CallStatus, Limits, PublishReport
from kedge.plane.portable import memory, route, seal
from kedge.plane.portable import model as models
from kedge.plane.portable.cold_calls import ColdCalls
from kedge.plane.portable.pipeline import Pipeline
from kedge.plane.portable.server import Methods, Server
from kedge.plane.portable.serving import ServingThread
from kedge.plane.routes import handles
from kedge.plane.text import quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from kedge.kernel.contract import Kernel
    from kedge.plane.contract import ColdCallback, Handle, LoadOptions, RouteTable, Tls, Tokens
    from kedge.plane.portable.model import Model
    from kedge.plane.portable.shadow import Shadows

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
        self._unwanted: set[str] = set()
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
        self._serving = ServingThread()
        # made there: it takes the running loop for its own
        self._pipeline = self._serving.do(lambda: Pipeline(kernel, clock, lambda: self._unrouted))

    def configure(self, *, tls: Tls | None = None, limits: Limits | None = None, tokens: Tokens | None = None) -> None:
        """See `DataPlane.configure`. Raises `PlaneError` for limits given while serving."""
        with self._lock:
            if limits is not None:
                if self._server is not None:
                    raise PlaneError("limits are set before the plane starts")
                self._limits = limits
            if tokens is not None:
                seal.check(tokens)
                self._serving.do(partial(self._pipeline.sealing.use, tokens))
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
            return self._serving.call(self._start(address))

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
                self._unwanted.discard(model.handle.bundle)
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
            nanoseconds = self._serving.do(partial(self._pipeline.publish, built))
            with self._counting:
                open_cells = {shadow.cell for shadow in built.shadows()}
                self._shadows.fold(open_cells, self._serving.do(self._shadows.sent))
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
        before = memory.resident_bytes()
        self._serving.do(partial(self._pipeline.forget, model))
        model.close()
        del model
        self._drop()
        memory.give_back()
        return max(0, before - memory.resident_bytes())

    def snapshot(self) -> bytes:
        """See `DataPlane.snapshot`."""
        with self._counting:
            counts, sent = self._serving.do(lambda: (self._pipeline.observer.snapshot(), self._shadows.sent()))
            return cells.encode(counts | self._shadows.snapshot(sent))

    def forget(self, bundle: str) -> None:
        """See `DataPlane.forget`."""
        with self._lock:
            self._unwanted.add(bundle)
        self._drop()

    def _drop(self) -> None:
        """Drop the counts of bundles that were forgotten and are loaded no more."""
        with self._lock:
            gone = set() if self._stopped else self._unwanted - {one.handle.bundle for one in self._models.values()}
            self._unwanted -= gone
            for bundle in gone:
                self._serving.do(partial(self._pipeline.observer.forget, bundle))
                with self._counting:
                    self._shadows.forget(bundle, self._serving.do(self._shadows.sent))

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
        self._serving.do(self._pipeline.observer.flush)
        return model.suspects.take()

    def reservoir(self, handle: Handle) -> Sequence[Mapping[str, NDArray[Any]]]:
        """See `DataPlane.reservoir`."""
        model = self._model(handle)
        self._serving.do(self._pipeline.observer.flush)
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
                    self._drained = self._serving.call(self._drain(timeout, grace))
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
                self._serving.call(self._server.stop(None))
            if self._cold is not None:
                self._cold.stop()
            self._serving.call(self._end_tasks())
            self._shadows.join()
            self._serving.stop()
            for model in self._models.values():
                model.close()
            self._models.clear()

    @property
    def _shadows(self) -> Shadows:
        return self._pipeline.observer.shadows

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

    async def _drain(self, timeout: float, grace: float) -> bool:
        pipeline, server, cold = self._pipeline, self._server, self._cold
        pipeline.leaving = True
        if server is None or cold is None:
            return True
        await asyncio.sleep(grace)
        pipeline.drain()
        end = time.monotonic() + timeout
        # Cuts nothing by itself: what it had cut would no longer be under way, and the drain would seem complete.
        stopping = asyncio.ensure_future(server.stop(math.inf))
        while (pipeline.active or pipeline.streams) and time.monotonic() < end:
            await asyncio.sleep(0.002)
        finished = not (pipeline.active or pipeline.streams or self._stopped)
        cold.end_all(_DRAINING)
        await server.stop(None)
        await stopping
        return finished

    async def _end_tasks(self) -> None:
        self._shadows.route(())
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
