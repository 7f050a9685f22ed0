"""The files of a bundle that are JSON, as validated models: what is in them and in which unit.

Every model refuses unknown fields: a bundle with a field this version does not know was made for another one.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from kedge.bundle import limits
from kedge.dtypes import DTYPES

FORMAT = "kedge.bundle/1"

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
"""Model names and versions: they appear in file names and URLs, so no separators and no leading dot."""
Member = Annotated[str, Field(pattern=r"^[a-z]+/[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=limits.PATH_BYTES)]
"""Path of a file in the archive: one lower-case folder, one plain file name."""
Text = Annotated[str, Field(pattern=r"^\P{Cc}*$", max_length=4096)]
"""Free text and names that tools print: no control characters, which a terminal would obey."""
Label = Annotated[str, Field(pattern=r"^\P{Cc}+$", max_length=256)]
"""Name of a tensor, feature, class or metric: printable as `Text` is, and not empty."""
DTypeName = Annotated[str, Field(pattern="^(" + "|".join(DTYPES) + ")$")]
Role = Literal[
    "model",
    "external-data",
    "pipeline",
    "schema",
    "snapshots",
    "distributions",
    "serving",
    "metrics",
    "gates",
    "provenance",
    "golden",
    "card",
]


class Model(BaseModel):
    """Base: frozen, closed, NaN and infinity refused (JSON has none)."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())


class TensorSpec(Model):
    """One input or output of the model. A dimension of -1 is dynamic; the first is the batch."""

    name: Label
    dtype: DTypeName
    shape: tuple[int, ...] = Field(max_length=limits.RANK)


class FileEntry(Model):
    """One archive member besides bundle.json."""

    path: Member
    size: int = Field(ge=0)
    sha256: Sha256
    role: Role


class Owners(Model):
    """Who is told, and who answers, for each kind of trouble: free text such as an e-mail address or a team."""

    data: Text = ""
    feature: Text = ""
    model: Text = ""
    platform: Text = ""
    compliance: Text = ""


class Manifest(Model):
    """bundle.json. Its canonical bytes' SHA-256 is the bundle id."""

    format: Literal["kedge.bundle/1"]
    name: Name
    version: Name
    parent: Sha256 | None = None
    purpose: Text = ""
    risk_class: Literal["minimal", "limited", "high", "unclassified"] = "unclassified"
    owners: Owners = Owners()
    inputs: tuple[TensorSpec, ...] = Field(min_length=1, max_length=4096)
    outputs: tuple[TensorSpec, ...] = Field(min_length=1, max_length=4096)
    batchable: bool
    """Every input and output has a dynamic first dimension, and golden rows one by one gave the batch's answer."""
    files: tuple[FileEntry, ...] = Field(min_length=1, max_length=limits.MEMBERS)
    """Every other file, sorted by path."""


class Source(Model):
    """Where a feature's value stands in a request: a tensor and, for a [N, F] tensor, its column.

    For a feature of kind ``summary`` the column says which summary of the row it is: 0 mean, 1 standard deviation,
    2 L2 norm, 3 minimum, 4 maximum (five features a wide tensor).
    """

    tensor: Label
    column: int = Field(default=0, ge=0)


class ValidRange(Model):
    """Inclusive bounds; None is unbounded."""

    min: float | None = None
    max: float | None = None


class MissingPolicy(Model):
    """What stands for a missing value."""

    kind: Literal["nan", "sentinel", "none"] = "nan"
    value: float | str | int | None = None


class Feature(Model):
    """One raw feature as clients send it."""

    name: Label
    dtype: DTypeName
    source: Source
    kind: Literal["numeric", "categorical", "summary"]
    valid: ValidRange = ValidRange()
    vocabulary: tuple[str, ...] | tuple[int, ...] = ()
    """Categories of the reference, most frequent first; the kernel keeps the first 60 apart."""
    missing: MissingPolicy = MissingPolicy()


class Slicing(Model):
    """A numeric feature and where it is cut into slices."""

    feature: Label
    edges: tuple[float, ...] = Field(min_length=1)
    """Increasing; a value equal to an edge belongs above it."""


class Schema(Model):
    """features/schema.json."""

    features: tuple[Feature, ...]
    label: Label | None = None
    time: Label | None = None
    slices: tuple[Label | Slicing, ...] = ()
    """Features by whose value the evaluation at build and the labels of production are reported apart: the name of a
    categorical one, or a numeric one with its edges. `kedge.bundle.slices` says how."""
    maturity_seconds: int = Field(default=86400, ge=0)
    """Age at which labels of a prediction are taken as complete."""
    selective: bool = False
    """Labels arrive for some predictions only, depending on the prediction."""


class NumericReference(Model):
    """Reference counts of a numeric feature; slots as in `kedge.kernel.contract`."""

    kind: Literal["numeric"] = "numeric"
    name: Label
    edges: tuple[float, ...]
    atoms: tuple[float, ...] = ()
    bin_means: tuple[float, ...] = ()
    """Mean of the reference values in each bin, for Wasserstein distance; one a bin."""
    center: float
    scale: float
    counts: tuple[int, ...]
    minimum: float | None = None
    maximum: float | None = None
    natural_variation: float = 0.0
    """99 % quantile of corrected PSI between the reference's own blocks in time and the whole; 0 if it has no time."""


class CategoricalReference(Model):
    """Reference counts of a categorical feature; the vocabulary is the schema's."""

    kind: Literal["categorical"] = "categorical"
    name: Label
    counts: tuple[int, ...]
    natural_variation: float = 0.0


class Reliability(Model):
    """Calibration of the top probability on the calibration data, by equal-frequency bin.

    The edges are the inner ones, as in `kedge.kernel.contract.Layout`; the others have one entry a bin.
    """

    edges: tuple[float, ...]
    n: tuple[int, ...]
    sum_p: tuple[float, ...]
    sum_y: tuple[int, ...]


class Conformal(Model):
    """Split-conformal scores of the calibration data, as a histogram: one edge more than counts, or none."""

    score: Literal["lac", "absolute", "scaled", "quantile"]
    """lac: 1 - probability of the true class; absolute: |y - prediction|; scaled: that over the model's own sigma;
    quantile: how far y lies outside the model's own bounds, below zero inside."""
    edges: tuple[float, ...]
    counts: tuple[int, ...]
    n: int = Field(ge=0)


class Distributions(Model):
    """reference/distributions.json: what traffic is compared with."""

    rows: int = Field(ge=0)
    features: tuple[Annotated[NumericReference | CategoricalReference, Field(discriminator="kind")], ...]
    classes: tuple[int, ...] = ()
    """One a class, and one for ids outside."""
    """Predicted-class counts on the reference."""
    scores: tuple[NumericReference, ...] = ()
    top: tuple[int, ...] = ()
    margin: tuple[int, ...] = ()
    entropy: tuple[int, ...] = ()
    reliability: Reliability | None = None
    conformal: Conformal | None = None


class Prediction(Model):
    """What of the outputs is the prediction."""

    output: Label
    kind: Literal["probabilities", "logits", "label", "value"]
    classes: tuple[Label, ...] = ()
    label_output: Label | None = None
    """Output with the chosen class itself, where the model has one beside its scores."""
    sigma_output: Label | None = None
    """Output with the standard deviation of the value, where the model gives one."""
    lower_output: Label | None = None
    upper_output: Label | None = None
    """Outputs with bounds of the value, where the model gives them; both or neither."""


class Batching(Model):
    """Natural batching: what waits together runs together."""

    max_batch: int = Field(default=256, ge=1, le=65536)
    max_queue_delay_us: int = Field(default=0, ge=0, le=1_000_000)
    max_queue: int = Field(default=4096, ge=1, le=1_000_000)


class Execution(Model):
    """How runs are scheduled."""

    mode: Literal["auto", "inline", "pool"] = "auto"
    instances: int = Field(default=1, ge=1, le=64)
    intra_op_threads: int = Field(default=1, ge=1, le=256)
    providers: tuple[Label, ...] = ("CPUExecutionProvider",)


class MonitorConfig(Model):
    """What the evaluator asks of the counts."""

    alarm_budget_per_day: float = Field(default=0.1, gt=0)
    psi_warn: float = Field(default=0.1, gt=0)
    psi_critical: float = Field(default=0.25, gt=0)


class Confidence(Model):
    """How sure an answer that is asked for its confidence claims to be."""

    alpha: float = Field(default=0.1, gt=0, lt=1)
    """Miss rate: intervals and sets hold the truth with probability 1 - alpha."""
    adaptive: bool = False
    """Outcomes move the rate in force, so that misses are alpha of them in the long run."""


class Serving(Model):
    """config/serving.json."""

    prediction: Prediction | None = None
    batching: Batching = Batching()
    execution: Execution = Execution()
    monitor: MonitorConfig = MonitorConfig()
    confidence: Confidence = Confidence()
    outcomes: bool = True
    rollout: dict[str, Any] | None = None
    """The plan it asks to be rolled out by; `kedge.rollout.plan` says what may stand in it."""


class DataSnapshot(Model):
    """One data file the bundle was measured on: identity, never content."""

    role: Literal["reference", "calibration", "evaluation", "training"]
    uri: Text
    sha256: Sha256
    rows: int = Field(ge=0)
    schema_sha256: Sha256
    time_min: Text | None = None
    time_max: Text | None = None
    held_out_of: Text | None = None
    """Role of the snapshot this one was split from, where no file of its own was given."""


class Snapshots(Model):
    """data/snapshots.json."""

    snapshots: tuple[DataSnapshot, ...]


class Metric(Model):
    """A figure measured at build on the evaluation data, with a 95 % interval where the method has one."""

    name: Label
    value: float
    low: float | None = None
    high: float | None = None
    n: int = Field(ge=0)
    slice: str | None = None
    """``feature=value``, or None for all rows."""


class Metrics(Model):
    """eval/metrics.json."""

    task: Literal["classification", "regression", "none"]
    metrics: tuple[Metric, ...]


class Gate(Model):
    """A bound that the evaluation had to meet, and whether it did."""

    metric: Label
    op: Literal[">=", "<="]
    bound: float
    value: float
    passed: bool


class Gates(Model):
    """eval/gates.json."""

    gates: tuple[Gate, ...]


class GoldenTensor(Model):
    """A tensor by value: raw form, little-endian, base64 (BYTES: 4-byte length before each element)."""

    name: Label
    dtype: DTypeName
    shape: tuple[int, ...] = Field(max_length=limits.RANK)
    raw: str


class Golden(Model):
    """golden/golden.json: rows in, rows out, and how far apart an answer may be."""

    inputs: tuple[GoldenTensor, ...]
    outputs: tuple[GoldenTensor, ...]
    rtol: float = Field(default=1e-4, ge=0)
    atol: float = Field(default=1e-5, ge=0)
