"""The spec a bundle is built from: a YAML file in which only name, version and model are a must."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    PrivateAttr,
    ValidationError,
    model_validator,
)

from kedge import strict_yaml
from kedge.bundle.manifest import Batching, Confidence, Execution, MonitorConfig, Name, Owners, Sha256, ValidRange
from kedge.complaints import first_complaint
from kedge.errors import SpecError
from kedge.rollout import plan as plans
from kedge.rollout.plan import PlanError

if TYPE_CHECKING:
    from pathlib import Path

SPEC_BYTES: Final = 1024 * 1024
"""A spec is a page of text; a larger file is something else."""

GATE: Final = re.compile(
    r"(?P<metric>[a-z][a-z0-9_]*)\s*(?P<op>>=|<=)\s*(?P<bound>[-+]?[0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?)"
)


class Section(BaseModel):
    """Base: frozen, closed, NaN and infinity refused, and numbers are not read out of text."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=(), strict=False)


def _text(value: Any) -> Any:
    """YAML reads ``version: 1.0`` as a number; a version is text."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _gate(value: Any) -> Any:
    match = GATE.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError("must be a metric, >= or <=, and a number, such as 'auc >= 0.8'")
    return match.groupdict()


class GateSpec(Section):
    """A bound the evaluation must meet, written ``metric >= bound``."""

    metric: str
    op: Literal[">=", "<="]
    bound: float


class DataSpec(Section):
    """The data the bundle is measured on; every path is relative to the spec."""

    reference: str
    label: str | None = None
    calibration: str | None = None
    evaluation: str | None = None
    time: str | None = None


def _missing(value: Any) -> Any:
    """``nan``, ``none`` or a plain sentinel; a mapping is needed only for a sentinel that reads like the first two."""
    if value is None or isinstance(value, dict):
        return value
    if value in ("nan", "none"):
        return {"kind": value}
    return {"kind": "sentinel", "value": value}


class MissingSpec(Section):
    """What stands for a missing value of one feature."""

    kind: Literal["nan", "sentinel", "none"]
    value: int | float | str | None = None


class FeatureSpec(Section):
    """What is said of one feature; the rest is inferred.

    Attributes:
        kind: numeric or categorical (a wide tensor is summarised without being asked).
        data: column of the data that carries it; its own name by default.
        tensor: model input that carries it; by default the only input, or the one of its name.
        column: column of a [N, F] input; by default its place in the list.
        valid: inclusive valid range.
        vocabulary: categories; by default those of the reference, most frequent first.
        missing: ``nan``, ``none``, or a sentinel value; a mapping ``{kind: sentinel, value: none}`` where that is one.
    """

    kind: Literal["numeric", "categorical"] | None = None
    data: str | None = None
    tensor: str | None = None
    column: int | None = Field(default=None, ge=0)
    valid: ValidRange = ValidRange()
    vocabulary: tuple[str, ...] | tuple[int, ...] = ()
    missing: Annotated[MissingSpec | None, BeforeValidator(_missing)] = None


class PredictionSpec(Section):
    """Which output is the prediction, and what it means."""

    output: str | None = None
    kind: Literal["probabilities", "logits", "label", "value"] | None = None
    classes: tuple[Annotated[str, BeforeValidator(_text)], ...] = ()
    label_output: str | None = None
    sigma_output: str | None = None
    lower_output: str | None = None
    upper_output: str | None = None


def _slice(value: Any) -> Any:
    """A plain name: a categorical feature."""
    return {"feature": value} if isinstance(value, str) else value


class SliceSpec(Section):
    """A feature by whose values figures are told apart; a numeric one is cut at `edges`."""

    feature: str
    edges: tuple[float, ...] = ()


class ServingSpec(Section):
    """How the bundle asks to be served."""

    batching: Batching = Batching()
    execution: Execution = Execution()


class OutcomesSpec(Section):
    """How labels come back after predictions."""

    collect: bool = True
    maturity_seconds: int = Field(default=86400, ge=0, le=30 * 86400)
    selective: bool = False


class LineageSpec(Section):
    """Where the model came from.

    Attributes:
        code_commit: by default the commit checked out where the spec stands, if it stands in a git work tree.
        training_run: free text such as a run's id.
        environment: file (such as a lock file) whose SHA-256 is recorded.
    """

    code_commit: str | None = None
    training_run: str = ""
    environment: str | None = None


def _named(value: Any) -> Any:
    """A plain list of feature names means: these, in this order, everything else inferred."""
    return {name: {} for name in value} if isinstance(value, list) else value


class Spec(Section):
    """A whole spec. ``features`` as a list says which and in what order; as a mapping it refines what is inferred."""

    _listed: bool = PrivateAttr(default=False)

    name: Name
    version: Annotated[Name, BeforeValidator(_text)]
    model: str
    pipeline: str | None = None
    data: DataSpec | None = None
    task: Literal["classification", "regression"] | None = None
    features: Annotated[dict[str, FeatureSpec | None], BeforeValidator(_named)] = Field(default={})
    prediction: PredictionSpec = PredictionSpec()
    serving: ServingSpec = ServingSpec()
    monitor: MonitorConfig = MonitorConfig()
    rollout: dict[str, Any] | None = None
    confidence: Confidence = Confidence()
    outcomes: OutcomesSpec = OutcomesSpec()
    gates: tuple[Annotated[GateSpec, BeforeValidator(_gate)], ...] = ()
    slices: tuple[Annotated[SliceSpec, BeforeValidator(_slice)], ...] = ()
    purpose: str = ""
    risk_class: Literal["minimal", "limited", "high", "unclassified"] = "unclassified"
    owners: Owners = Owners()
    lineage: LineageSpec = LineageSpec()
    card: str | None = None
    parent: Sha256 | None = None

    @model_validator(mode="wrap")
    @classmethod
    def _remember_list(cls, value: Any, handler: ModelWrapValidatorHandler[Spec]) -> Spec:
        spec = handler(value)
        spec._listed = isinstance(value, dict) and isinstance(value.get("features"), list)
        return spec

    @property
    def listed(self) -> tuple[str, ...] | None:
        """The features in the spec's own order, or None where they are to be inferred."""
        return tuple(self.features) if self._listed else None

    def feature(self, name: str) -> FeatureSpec:
        """What the spec says of a feature; nothing said is an empty `FeatureSpec`."""
        return self.features.get(name) or FeatureSpec()


def read(path: Path) -> Spec:
    """Read and check a spec.

    Raises:
        SpecError: the file cannot be read, is not YAML, or says something that is not allowed: one line with the place
            in the YAML, what was found and what is allowed.
    """
    value = strict_yaml.read(path, "spec", SPEC_BYTES, SpecError)
    if not isinstance(value, dict):
        raise SpecError(f"spec '{path}': must be a mapping with at least name, version and model")
    try:
        spec = Spec.model_validate(value)
        plan = None if spec.rollout is None else plans.read(spec.rollout)
    except PlanError as error:
        raise SpecError(f"spec '{path}': {error}") from error
    except ValidationError as error:
        raise SpecError(f"spec '{path}': {first_complaint(error, Spec, 'the spec')}") from error
    # As read, so that the bundle holds plain JSON however the YAML wrote it.
    return (
        spec if plan is None else spec.model_copy(update={"rollout": plan.model_dump(mode="json", exclude_unset=True)})
    )
