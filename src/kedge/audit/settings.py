"""The section ``audit`` of a server's settings, and opening the log as it says.

::

    audit:
      pseudonyms: true                  # people enter the log by pseudonym; the secret is keys/pseudonyms.key
      given: {alice: operator-1}        # optional: pseudonyms chosen by hand
      checkpoints: /mnt/other/kedge.checkpoints   # the second file; best on another disk
      witness: {key: witness.key, name: example.com/witness}   # optional: who cosigns there
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel, ConfigDict, ValidationError

import kedge
from kedge.audit import files, keys
from kedge.audit.clock import system_clock
from kedge.audit.note import Signer, check_name
from kedge.audit.record import Pseudonyms
from kedge.errors import ConfigError

if TYPE_CHECKING:
    import sqlite3

    from kedge.audit.clock import Clock
    from kedge.audit.log import AuditLog

SECRET: Final = "pseudonyms.key"  # noqa: S105 - the name of a file
CODE: Final = (".py", ".so", ".binpb")
"""What of an installation decides what it does."""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class WitnessSettings(_Section):
    """Who cosigns the second file: a private key (0600) and the name it goes by."""

    key: Path
    name: str


class AuditSettings(_Section):
    """How the log of a server is kept."""

    pseudonyms: bool = False
    given: dict[str, str] = {}
    checkpoints: Path | None = None
    witness: WitnessSettings | None = None


def parse(section: Any, where: str) -> AuditSettings:
    """Read the section.

    Args:
        section: as YAML gave it; None where there is none.
        where: the file and the section, for messages.

    Raises:
        ConfigError: naming the place and what is wrong.
    """
    try:
        found = AuditSettings.model_validate({} if section is None else section)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise ConfigError(f"{where}{'.' if place else ''}{place}: {first['msg']}") from error
    if found.given and not found.pseudonyms:
        raise ConfigError(f"{where}.given: pseudonyms are given and not used; set pseudonyms: true")
    return found


def open_log(
    directory: Path,
    database: sqlite3.Connection,
    settings: AuditSettings,
    clock: Clock = system_clock,
) -> AuditLog:
    """Open the log of a state directory as the settings say; created, with its key, where there is none.

    Args:
        directory: the state directory, locked by this process.
        database: its database, as `kedge.audit.files.connect` gives it.
        settings: of the log.
        clock: for records.

    Raises:
        AuditError: the log is damaged, signed by another key, or rolled back.
        KeyFileError: a key is missing or open to others.
    """
    witness = None
    if settings.witness is not None:
        check_name(settings.witness.name)
        witness = Signer(settings.witness.name, keys.load_private(settings.witness.key))
    return files.open_log(
        directory,
        database,
        software=software(),
        checkpoints=settings.checkpoints,
        witness=witness,
        clock=clock,
        pseudonyms=pseudonyms(directory, settings),
    )


def pseudonyms(directory: Path, settings: AuditSettings) -> Pseudonyms | None:
    """Under which names people enter the log of a state directory, or None where they do so under their own.

    Raises:
        KeyFileError: the secret is open to others, or cannot be written.
    """
    if not settings.pseudonyms:
        return None
    folder = directory / files.KEYS
    folder.mkdir(mode=0o700, exist_ok=True)
    return Pseudonyms(keys.secret(folder / SECRET), settings.given)


def software() -> str:
    """What writes records: the version, and a digest of every file of code that is installed."""
    root = Path(kedge.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(path for path in root.rglob("*") if path.suffix in CODE):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{path.relative_to(root).as_posix()} {content}\n".encode())
    return f"kedge {kedge.__version__} sha256:{digest.hexdigest()}"
