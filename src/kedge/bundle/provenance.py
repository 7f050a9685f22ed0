"""lineage/provenance.json: where a bundle came from, in the words of SLSA provenance v1 and in-toto.

It is the predicate of a statement that whoever built the bundle may sign (`kedge bundle attest --provenance`). It is
free of timestamps, so that equal inputs give equal bundles.

Source: slsa.dev/spec/v1.0/provenance (field names); in-toto attestation v1, ResourceDescriptor and DigestSet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal

from pydantic import ConfigDict, Field, model_serializer, model_validator
from pydantic.alias_generators import to_camel

from kedge.bundle.manifest import Label, Model, Sha256, Text

if TYPE_CHECKING:
    from pydantic import SerializerFunctionWrapHandler

PREDICATE_TYPE: Final = "https://slsa.dev/provenance/v1"
BUILD_TYPE: Final = "urn:kedge:bundle-build:1"
"""How the fields are to be read: external parameters are the spec, dependencies the files and bundles it names."""
BUILDER_ID: Final = "urn:kedge:builder"
BUNDLE_URN: Final = "urn:kedge:bundle:"

Uri = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9+.-]*:\S+$", max_length=2048)]
"""An absolute URI, as types and builders are named."""


class _Slsa(Model):
    """Base: the standard's spelling, and what is empty is left out, as its JSON does."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, serialize_by_alias=True)

    always: ClassVar[frozenset[str]] = frozenset()
    """Fields that the standard requires."""

    @model_serializer(mode="wrap")
    def _without_empty(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {
            name: value
            for name, value in handler(self).items()
            if name in self.always or value not in (None, "", {}, [], ())
        }


class DigestSet(_Slsa):
    """Digests of one thing: lower-case hex."""

    sha256: Sha256 | None = None
    git_commit: Annotated[str, Field(pattern=r"^([0-9a-f]{40}|[0-9a-f]{64})$")] | None = None


class ResourceDescriptor(_Slsa):
    """Something the build used.

    Attributes:
        name: what it was used as: ``model``, ``pipeline``, ``environment``, ``code``, ``parent``, or the role of data.
        uri: where it stood, as the spec says it.
        digest: its identity.
    """

    name: Label
    uri: Text = ""
    digest: DigestSet = DigestSet()

    @model_validator(mode="after")
    def _identified(self) -> ResourceDescriptor:
        if not self.uri and self.digest == DigestSet():
            raise ValueError("a dependency needs a uri or a digest")
        return self


class ExternalParameters(_Slsa):
    """What the one who asked for the build could choose.

    Attributes:
        spec: the whole spec, as it was read.
        training_run: id of the run that trained the model.
        code_commit: of the training code.
    """

    spec: dict[str, Any] = Field(default={})
    training_run: Text = ""
    code_commit: Text = ""


class BuildDefinition(_Slsa):
    """What was asked for, and what it resolved to."""

    always = frozenset({"externalParameters"})

    build_type: Uri
    external_parameters: ExternalParameters = ExternalParameters()
    resolved_dependencies: tuple[ResourceDescriptor, ...] = ()


class Builder(_Slsa):
    """Who built it, with the versions of what measured."""

    id: Uri
    version: dict[Label, Text] = Field(default={})


class RunDetails(_Slsa):
    """How the build ran."""

    builder: Builder


class Provenance(_Slsa):
    """The predicate."""

    build_definition: BuildDefinition
    run_details: RunDetails

    @property
    def parent(self) -> str | None:
        """Id of the bundle that this one was made from."""
        return self._digest("parent")

    @property
    def environment_sha256(self) -> str | None:
        """Digest of the file that pins the environment of the training."""
        return self._digest("environment")

    @property
    def code_commit(self) -> str:
        """Commit of the training code; empty if nobody said."""
        return self.build_definition.external_parameters.code_commit

    @property
    def training_run(self) -> str:
        """Id of the run that trained the model; empty if nobody said."""
        return self.build_definition.external_parameters.training_run

    @property
    def packages(self) -> dict[str, str]:
        """Versions of what measured, Kedge's own among them."""
        return dict(self.run_details.builder.version)

    @property
    def dependencies(self) -> tuple[ResourceDescriptor, ...]:
        """Everything the build used."""
        return self.build_definition.resolved_dependencies

    def _digest(self, name: Literal["parent", "environment"]) -> str | None:
        found = (one.digest.sha256 for one in self.dependencies if one.name == name)
        return next(found, None)
