"""The native data plane's facade: reads bundles, checks tables, and hands the rest to `kedge._dataplane`."""

from __future__ import annotations

import contextlib
import itertools
import math
import os
import threading
from typing import TYPE_CHECKING, Any, Final, Literal

from kedge._dataplane import ControlError, LoadError, Plane
from kedge.bundle.contents import Bundle
from kedge.dtypes import DTYPES
from kedge.errors import KedgeError, KernelError, ModelLoadError, PlaneError
from kedge.kernel.snapshot import Counts
from kedge.plane import cells
from kedge.plane.contract import Arm, Handle, Limits, PublishReport, RouteTable
from kedge.plane.evidence import Evidence
from kedge.plane.native import routes, settings
from kedge.plane.native.cold_thread import ColdThread
from kedge.plane.native.isolate import probe
from kedge.plane.native.runtime import find_runtime
from kedge.plane.native.tensors import pack, unpack
from kedge.plane.replay import replay
from kedge.plane.routes import check, handles
from kedge.plane.text import one_line, quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from kedge.kernel.contract import Kernel, Layout
    from kedge.plane.contract import CallStatus, ColdCallback, LoadOptions, Tls, Tokens
    from kedge.plane.native.tensors import Packed

_numbers: Final = itertools.count(1)


def default_shards() -> int:
    """Half the processors this process may use, at least one: clients and executors need the rest."""
    return max(1, len(os.sched_getaffinity(0)) // 2)


class NativePlane:
    """`kedge.plane.contract.DataPlane` in C++.

    Args:
        kernel: must be the native one; this plane counts with the same code.
        shards: threads that serve connections; None takes `default_shards`.
        isolate: load every bundle in a child process first, so that one that crashes the runtime never reaches this.

    Raises:
        KernelError: another kernel was asked for by name.
        PlaneError: ONNX Runtime's library is missing or unusable.
    """

    name: Literal["native", "portable"] = "native"

    def __init__(self, kernel: Kernel, *, shards: int | None = None, isolate: bool = True) -> None:
        if kernel.name != "native":
            raise KernelError(
                f"the native plane counts with the native kernel, not with '{kernel.name}'; drop --kernel"
            )
        library = find_runtime()
        try:
            self._plane = Plane(
                str(library.path), library.version, shards or default_shards(), len(os.sched_getaffinity(0))
            )
        except LoadError as error:
            raise PlaneError(one_line(str(error))) from None
        self.shards = shards or default_shards()
        self._isolate = isolate
        self._lock = threading.RLock()
        self._publish_lock = threading.Lock()
        self._models: dict[Handle, Bundle] = {}
        self._layouts: dict[str, Layout] = {}
        self._unwanted: set[str] = set()
        self._table = RouteTable()
        self._tls: Tls | None = None
        self._listening = False
        self._stopped = False
        self._drained: bool | None = None
        self._drain_lock = threading.Lock()
        self._cold = ColdThread(self._plane)

    def configure(self, *, tls: Tls | None = None, limits: Limits | None = None, tokens: Tokens | None = None) -> None:
        """See `DataPlane.configure`. Raises `PlaneError` for limits given while serving."""
        with self._lock:
            if limits is not None:
                if self._listening:
                    raise PlaneError("limits are set before the plane starts")
                self._plane.configure_limits(
                    limits.max_message_bytes, limits.max_queue, limits.max_connections, limits.max_concurrent_streams
                )
            if tokens is not None:
                self._seal(tokens)
            if tls is not None:
                if self._listening and self._tls is None:
                    raise PlaneError("the plane serves without TLS; give certificates before it starts")
                self._tls = tls
                if self._listening:
                    self._use_tls(tls)

    def _seal(self, tokens: Tokens) -> None:
        try:
            self._plane.configure_tokens(tokens.key.id, tokens.key.secret, tokens.boot)
        except (TypeError, ValueError) as error:
            raise PlaneError(
                "a token key has an id in [0, 255] and a secret of 16 bytes, and a boot is 64 bits"
            ) from error

    def _use_tls(self, tls: Tls) -> None:
        try:
            self._plane.configure_tls(tls.certificate, tls.key, tls.client_ca or b"")
        except ControlError as error:
            raise PlaneError(one_line(str(error))) from None

    def on_cold(self, callback: ColdCallback) -> None:
        """See `DataPlane.on_cold`."""
        with self._lock:
            if self._listening:
                raise PlaneError("who answers cold calls is set before the plane starts")
            self._cold.callback = callback

    def start(self, address: str) -> str:
        """See `DataPlane.start`. Raises `PlaneError` where the address cannot be listened on."""
        with self._lock:
            if self._stopped or self._listening:
                raise PlaneError("the plane was stopped" if self._stopped else "the plane is started already")
            try:
                if self._tls is not None:
                    self._use_tls(self._tls)
                bound = self._plane.start(address)
            except (PlaneError, RuntimeError) as error:
                raise PlaneError(f"cannot listen on {address}: {one_line(str(error))}") from None
            self._listening = True
            return bound

    def load(self, directory: Path, options: LoadOptions) -> Handle:
        """See `DataPlane.load`."""
        try:
            bundle = Bundle.read(directory)
        except KedgeError as error:
            raise ModelLoadError(f"cannot load '{directory.name}': {error}") from error
        self._plane.announce(bundle.name, bundle.version)
        try:
            return self._load(bundle, options)
        finally:
            self._plane.withdraw(bundle.name, bundle.version)

    def _load(self, bundle: Bundle, options: LoadOptions) -> Handle:
        if self._isolate:
            probe(bundle.directory, options)
        handle = Handle(bundle.id, bundle.name, bundle.version, next(_numbers))
        try:
            given = settings.load_settings(bundle, options, handle.key)
            self._plane.load(given, settings.sample(bundle), options.warm_up)
        except KedgeError as error:
            raise ModelLoadError(f"cannot load '{bundle.directory.name}': {error}") from error
        except (LoadError, ControlError) as error:
            raise ModelLoadError(
                f"model {quoted(bundle.name)} cannot be loaded by ONNX Runtime: {one_line(str(error))}"
            ) from None
        try:
            if options.golden:
                replay(bundle, lambda tensors: self._run(handle, bundle, tensors))
            with self._lock:
                if self._stopped:
                    raise ModelLoadError("the plane was stopped")
                self._models[handle] = bundle
                self._layouts[bundle.id] = given["layout"]
                self._unwanted.discard(bundle.id)
        except KedgeError:
            self._plane.retire(handle.key, 0.0)
            raise
        return handle

    def run(self, handle: Handle, tensors: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """See `DataPlane.run`. Raises `PlaneError` where inputs do not fit, or the model fails on them."""
        return self._run(handle, self._bundle(handle), tensors)

    def _run(self, handle: Handle, bundle: Bundle, tensors: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        specs = bundle.manifest.inputs
        of_model = f"model {quoted(handle.model)}"
        if set(tensors) != {spec.name for spec in specs}:
            raise PlaneError(f"{of_model} takes inputs {', '.join(quoted(spec.name) for spec in specs)}")
        try:
            packed = [pack(DTYPES[spec.dtype], tensors[spec.name]) for spec in specs]
            outputs = self._plane.run(handle.key, packed)
        except (ValueError, TypeError) as error:
            raise PlaneError(f"{of_model} failed on these rows: {one_line(str(error))}") from None
        except ControlError as error:
            raise PlaneError(one_line(str(error))) from None
        return {name: unpack(onnx, shape, data) for name, onnx, shape, data in outputs}

    def publish(self, table: RouteTable) -> PublishReport:
        """See `DataPlane.publish`."""
        with self._publish_lock:
            with self._lock:
                if self._stopped:
                    raise PlaneError("the plane was stopped")
                check(table, self._models, self._table)
                self._table = table
            nanoseconds = self._plane.publish(routes.settings(table))
        return PublishReport(nanoseconds, self.shards)

    def retire(self, handle: Handle, grace: float) -> int:
        """See `DataPlane.retire`."""
        with self._publish_lock, self._lock:
            if handle not in self._models:
                return 0
            if any(handle in handles(route) for route in self._table.routes):
                raise PlaneError(
                    f"version {quoted(handle.version)} of model {quoted(handle.model)} is still in the route table"
                )
            bundle = self._models.pop(handle)
        try:
            freed = self._plane.retire(handle.key, grace)
        except ControlError as error:
            with self._lock:
                self._models[handle] = bundle
            raise PlaneError(one_line(str(error))) from None
        with self._lock:
            self._drop()
        return freed

    def snapshot(self) -> bytes:
        """See `DataPlane.snapshot`."""
        with self._lock:
            if self._stopped:
                raise PlaneError("the plane was stopped")
            merged: dict[cells.CellKey, cells.Cell] = {}
            for bundle, arm, epoch, counts, evidence in self._plane.snapshot():
                key, cell = (bundle, Arm(arm), epoch), cells.Cell(counts, evidence)
                merged[key] = _sum(merged[key], cell, self._layouts[bundle]) if key in merged else cell
            return cells.encode(merged)

    def forget(self, bundle: str) -> None:
        """See `DataPlane.forget`."""
        with self._lock:
            self._unwanted.add(bundle)
            self._drop()

    def _drop(self) -> None:
        if self._stopped:
            return
        for bundle in tuple(self._unwanted):
            with contextlib.suppress(ControlError):  # it is loaded; `retire` comes here again
                self._plane.forget(bundle)
                self._layouts.pop(bundle, None)
                self._unwanted.remove(bundle)

    def suspects(self, handle: Handle) -> Sequence[Mapping[str, NDArray[Any]]]:
        """See `DataPlane.suspects`."""
        return self._rows(handle, self._plane.suspects)

    def confide(self, handle: Handle, threshold: float) -> None:
        """See `DataPlane.confide`."""
        bundle = self._bundle(handle)
        if bundle.distributions is None or bundle.distributions.conformal is None:
            raise PlaneError(
                f"version {quoted(handle.version)} of model {quoted(handle.model)} has no calibration scores"
            )
        if math.isnan(threshold):
            raise PlaneError("a conformal threshold is a number; it may be infinite, not NaN")
        try:
            self._plane.confide(handle.key, threshold)
        except ControlError as error:
            raise PlaneError(one_line(str(error))) from None

    def reservoir(self, handle: Handle) -> Sequence[Mapping[str, NDArray[Any]]]:
        """See `DataPlane.reservoir`."""
        return self._rows(handle, self._plane.reservoir)

    def _rows(self, handle: Handle, ask: Callable[[int], list[list[Packed]]]) -> tuple[dict[str, NDArray[Any]], ...]:
        names = [spec.name for spec in self._bundle(handle).manifest.inputs]
        try:
            rows = ask(handle.key)
        except ControlError as error:  # retired, or the plane was stopped, since then
            raise PlaneError(one_line(str(error))) from None
        return tuple({name: unpack(*tensor) for name, tensor in zip(names, row, strict=True)} for row in rows)

    def reply(self, call: int, payload: bytes | None, last: bool, status: CallStatus | None = None) -> None:
        """See `DataPlane.reply`."""
        code, text = (status.code, one_line(status.message)) if status is not None else (0, "")
        self._cold.reply(call, payload, last, code, text)

    def drain(self, timeout: float, grace: float = 0.0) -> bool:
        """See `DataPlane.drain`."""
        with self._drain_lock:  # not the other one: `stop` must be able to cut a drain short
            if self._drained is None:
                self._drained = self._plane.drain(timeout, grace)
            return self._drained

    def stop(self) -> None:
        """See `DataPlane.stop`."""
        with self._lock:
            if self._stopped:
                return
            self._stopped = True
        self._plane.stop()
        self._cold.join()
        with self._lock:
            self._models.clear()

    def _bundle(self, handle: Handle) -> Bundle:
        with self._lock:
            bundle = self._models.get(handle)
        if bundle is None:
            raise PlaneError(
                f"version {quoted(handle.version)} of model {quoted(handle.model)} is not loaded, or was retired"
            )
        return bundle


def _sum(one: cells.Cell, other: cells.Cell, layout: Layout) -> cells.Cell:
    """A cell that two threads counted in."""
    counts = Counts.parse(one.counts, layout) + Counts.parse(other.counts, layout)
    evidence = b""
    if one.evidence or other.evidence:
        evidence = (Evidence.parse(one.evidence) + Evidence.parse(other.evidence)).to_bytes()
    return cells.Cell(counts.to_bytes(), evidence)
