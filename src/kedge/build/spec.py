"""The spec a bundle is built from: a YAML file in which only name, version and model are a must."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import yaml
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

from kedge.build.complaints import first_complaint
from kedge.bundle.manifest import Batching, Execution, MonitorConfig, Name, Owners, Sha256, ValidRange
from kedge.errors import SpecError

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


class ServingSpec(Section):
    """How the bundle asks to be served."""

    batching: Batching = Batching()
    execution: Execution = Execution()


class OutcomesSpec(Section):
    """How labels come back after predictions."""

    collect: bool = True
    maturity_seconds: int = Field(default=86400, ge=0)
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
    outcomes: OutcomesSpec = OutcomesSpec()
    gates: tuple[Annotated[GateSpec, BeforeValidator(_gate)], ...] = ()
    slices: tuple[str, ...] = ()
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


class _Loader(yaml.SafeLoader):
    """YAML without the ways one document can mean two things: duplicate keys, and aliases that grow without bound."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for index, key in enumerate(keys):
            if key in keys[:index]:
                raise yaml.constructor.ConstructorError(None, None, f"key '{key}' appears twice", node.start_mark)
        return super().construct_mapping(node, deep)

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            mark = self.get_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(None, None, "aliases (*name) are not used in specs", mark)
        return super().compose_node(parent, index)


def read(path: Path) -> Spec:
    """Read and check a spec.

    Raises:
        SpecError: the file cannot be read, is not YAML, or says something that is not allowed: one line with the place
            in the YAML, what was found and what is allowed.
    """
    try:
        with path.open("rb") as file:
            data = file.read(SPEC_BYTES + 1)
    except OSError as error:
        raise SpecError(f"cannot read spec '{path}': {error.strerror}") from error
    if len(data) > SPEC_BYTES:
        raise SpecError(f"spec '{path}': over {SPEC_BYTES} bytes; a spec is a page of YAML")
    try:
        value = yaml.load(data.decode("utf-8"), _Loader)  # noqa: S506 - a SafeLoader, stricter
    except UnicodeDecodeError as error:
        raise SpecError(f"spec '{path}': not UTF-8 at byte {error.start}") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise SpecError(f"spec '{path}': not valid YAML{where}: {error.problem or error.context}") from error
    except (yaml.YAMLError, ValueError, RecursionError, TypeError) as error:
        raise SpecError(f"spec '{path}': not valid YAML: {str(error).partition(chr(10))[0]}") from error
    if not isinstance(value, dict):
        raise SpecError(f"spec '{path}': must be a mapping with at least name, version and model")
    try:
        return Spec.model_validate(value)
    except ValidationError as error:
        raise SpecError(f"spec '{path}': {first_complaint(error, Spec)}") from error
