"""Spec to bundle: everything a bundle says about itself is measured here, on the model that will run."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from kedge.build import destination, goldens, lineage, measure, merge
from kedge.build import spec as specs
from kedge.build.graph import inputs as graph_inputs
from kedge.build.graph import outputs as graph_outputs
from kedge.build.graph import parse
from kedge.build.session import Session
from kedge.bundle import archive, canonical, card, consistency, golden, limits, onnx_check
from kedge.bundle.contents import MODEL, MODEL_FOLDER, PATHS, PIPELINE, Bundle
from kedge.bundle.manifest import FileEntry, Role, Snapshots, TensorSpec
from kedge.errors import BundleError, KernelError, SpecError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray
    from pydantic import BaseModel

    from kedge.build.measure import Measured
    from kedge.build.spec import Spec
    from kedge.bundle.manifest import Feature, Gate, Metric, Prediction

STAGES: Final = 5
"""How many stages `build` tells its progress of."""


@dataclass(frozen=True)
class BuildResult:
    """What was built, and what was inferred on the way.

    Attributes:
        id: the bundle id; None where a gate failed and nothing was written.
        path: the archive, or None.
        name, version, task, prediction: of the bundle.
        inputs, outputs: of the model that runs, pipeline included.
        features: with their inferred kinds and vocabularies; empty where there is no data.
        rows: of the reference, calibration and evaluation data.
        batchable: rows may share a run.
        metrics, gates: measured on the evaluation data.
        notes: what a person should know that is no error.
    """

    id: str | None
    path: Path | None
    name: str
    version: str
    task: str
    prediction: Prediction | None
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    features: tuple[Feature, ...]
    rows: dict[str, int]
    batchable: bool
    metrics: tuple[Metric, ...]
    gates: tuple[Gate, ...]
    notes: tuple[str, ...]


def build(
    spec_path: Path,
    out: Path,
    *,
    progress: Callable[[str], None] = lambda _: None,
    allow_failed_gates: bool = False,
) -> BuildResult:
    """Build a bundle from a spec.

    The same inputs, pinned packages and kind of CPU give the same bytes.

    Args:
        spec_path: the YAML file; paths in it are relative to it.
        out: the archive to write; replaced as a whole, and none of the files it is made from.
        progress: told what begins, `STAGES` times.
        allow_failed_gates: write the bundle, its failed gates recorded, where it would be refused.

    Raises:
        SpecError: the spec, or the model or data it names, cannot be built, or not to `out`; nothing was written.
    """
    spec = specs.read(spec_path)
    destination.check(out, spec_path, spec)
    try:
        # Beside the archive: there is room for the bundle there, or the build fails anyway.
        with tempfile.TemporaryDirectory(prefix=".kedge-build-", dir=out.parent) as staging:
            return _Build(spec, spec_path.parent, Path(staging), progress).run(
                out, allow_failed_gates=allow_failed_gates
            )
    except ValidationError as error:
        raise SpecError(f"spec '{spec_path}': {archive.first_error(error)}") from error
    except (BundleError, KernelError) as error:
        raise SpecError(str(error)) from error
    except OSError as error:
        raise SpecError(f"cannot write '{out}': {error.strerror or error}") from error


@dataclass
class _Build:
    """One build under way in its staging directory."""

    spec: Spec
    folder: Path
    staging: Path
    progress: Callable[[str], None]

    def run(self, out: Path, *, allow_failed_gates: bool) -> BuildResult:
        self.progress("reading the model")
        inputs, outputs = self._place_model()
        session = Session(self.staging / MODEL, inputs, outputs)
        self.progress("reading the data")
        measured = measure.measure(self.spec, self.folder, session, self.progress)
        rows, answers = measured.golden_rows, measured.golden_answers
        self._check_parts(rows, answers)
        self.progress("writing the bundle")
        batchable = bool(rows) and goldens.is_batchable(session, rows, answers, (*inputs, *measured.outputs))
        self._write_files(measured, inputs, batchable=batchable)
        manifest = measure.manifest(self.spec, inputs, measured.outputs, self._entries(), batchable=batchable)
        (self.staging / archive.MANIFEST).write_bytes(canonical.encode(manifest))
        consistency.check(Bundle.read(self.staging))
        gates = measured.gates.gates
        refused = not allow_failed_gates and not all(gate.passed for gate in gates)
        identity = None if refused else archive.write(self.staging, out)
        return BuildResult(
            id=identity,
            path=None if refused else out,
            name=self.spec.name,
            version=self.spec.version,
            task=measured.metrics.task,
            prediction=measured.serving.prediction,
            inputs=inputs,
            outputs=measured.outputs,
            features=measured.schema.features,
            rows={snapshot.role: snapshot.rows for snapshot in measured.snapshots},
            batchable=batchable,
            metrics=measured.metrics.metrics,
            gates=gates,
            notes=measured.notes,
        )

    def _place_model(self) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
        spec = self.spec
        path = self.staging / MODEL
        path.parent.mkdir()
        model = merge.place(self.folder / spec.model, spec.model, path.parent)
        if spec.pipeline is not None:
            pipeline = parse(self.folder / spec.pipeline, spec.pipeline)
            (self.staging / PIPELINE).parent.mkdir()
            shutil.copyfile(self.folder / spec.pipeline, self.staging / PIPELINE)
            path.rename(path.with_name("part.onnx"))
            model = merge.merge(pipeline, model, spec.pipeline, spec.model)
            merge.write(model, path)
        inputs, outputs = graph_inputs(model, spec.model), graph_outputs(model, spec.model)
        try:
            onnx_check.check_graph(path, MODEL, self._external())
        except BundleError as error:
            raise SpecError(str(error).replace(MODEL, f"model '{spec.model}'", 1)) from error
        return inputs, outputs

    def _external(self) -> dict[str, int]:
        own = {"model.onnx", "part.onnx"}
        files = sorted(path for path in (self.staging / MODEL_FOLDER).iterdir() if path.name not in own)
        return {f"{MODEL_FOLDER}/{path.name}": path.stat().st_size for path in files}

    def _check_parts(self, rows: Mapping[str, NDArray[Any]], answers: Mapping[str, NDArray[Any]]) -> None:
        """What runs must answer as pipeline and model one after the other do; then the parts have served their turn."""
        part = self.staging / MODEL_FOLDER / "part.onnx"
        if not part.exists():
            return
        if rows:
            first, second = parse(self.staging / PIPELINE, "pipeline"), parse(part, "model")
            taken, given = graph_inputs(first, "pipeline"), graph_outputs(first, "pipeline")
            middle = Session(self.staging / PIPELINE, taken, given).run({item.name: rows[item.name] for item in taken})
            wanted = graph_inputs(second, "model")
            if len(wanted) == len(given) == 1:
                middle = {wanted[0].name: middle[given[0].name]}
            feeds = {item.name: middle[item.name] if item.name in middle else rows[item.name] for item in wanted}
            apart = Session(part, wanted, graph_outputs(second, "model")).run(feeds)
            for name, array in apart.items():
                if (reason := golden.differs(array, answers[name], goldens.RTOL, goldens.ATOL)) is not None:
                    raise SpecError(
                        f"output '{name}' of pipeline and model merged is not what they give one after the other "
                        f"({reason}); export both with the same operator sets"
                    )
        part.unlink()

    def _write_files(self, measured: Measured, inputs: tuple[TensorSpec, ...], *, batchable: bool) -> None:
        self._json("schema", measured.schema)
        self._json("serving", measured.serving)
        self._json("snapshots", Snapshots(snapshots=measured.snapshots))
        self._json("metrics", measured.metrics)
        self._json("gates", measured.gates)
        provenance = lineage.provenance(self.spec, self.folder, measured.snapshots)
        self._json("provenance", provenance)
        if measured.distributions is not None:
            self._json("distributions", measured.distributions)
        if measured.golden_rows:
            rows, answers = measured.golden_rows, measured.golden_answers
            self._json("golden", goldens.record(inputs, measured.outputs, rows, answers))
        if self.spec.card is not None:
            self._card(self.spec.card)
        else:
            said = card.Described(
                manifest=measure.manifest(self.spec, inputs, measured.outputs, (measure.NO_FILE,), batchable=batchable),
                schema=measured.schema,
                distributions=measured.distributions,
                serving=measured.serving,
                metrics=measured.metrics,
                gates=measured.gates.gates,
                snapshots=measured.snapshots,
                provenance=provenance,
            )
            self._target("card").write_text(card.render(said), encoding="utf-8")

    def _card(self, uri: str) -> None:
        target = self._target("card")
        try:
            text = (self.folder / uri).read_bytes()
            text.decode("utf-8")
        except OSError as error:
            raise SpecError(f"card: cannot read '{uri}': {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise SpecError(f"card: '{uri}' is not UTF-8 text (byte {error.start})") from error
        if len(text) > limits.CARD_BYTES:
            raise SpecError(f"card: '{uri}' has {len(text)} bytes, limit {limits.CARD_BYTES}")
        target.write_bytes(text)

    def _json(self, role: Role, value: BaseModel) -> None:
        self._target(role).write_bytes(canonical.encode(value))

    def _target(self, role: Role) -> Path:
        path = self.staging / PATHS[role]
        path.parent.mkdir(exist_ok=True)
        return path

    def _entries(self) -> tuple[FileEntry, ...]:
        roles: dict[str, Role] = {path: role for role, path in PATHS.items()}
        entries = []
        for path in self.staging.rglob("*"):
            if path.is_file():
                name = path.relative_to(self.staging).as_posix()
                digest = hashlib.sha256()
                with path.open("rb") as file:
                    while chunk := file.read(limits.COPY_BYTES):
                        digest.update(chunk)
                entries.append(
                    FileEntry(
                        path=name,
                        size=path.stat().st_size,
                        sha256=digest.hexdigest(),
                        role=roles.get(name, "external-data"),
                    )
                )
        return tuple(sorted(entries, key=lambda entry: entry.path))
