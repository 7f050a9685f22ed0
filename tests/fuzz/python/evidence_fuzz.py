"""What is read of an audit log: signed notes, checkpoints, the second file, records, the database, evidence packs.

The first byte says what the others are. Of a pack they are either the archive, or one of its files in a pack whose
digests fit.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import sys
import zipfile
from typing import TYPE_CHECKING

import harness

from kedge.audit import canonical, checkpoint, files, note, second, standalone
from kedge.audit.export import export
from kedge.audit.reader import Reader
from kedge.audit.record import SYSTEM, Draft
from kedge.audit.verify import verify

if TYPE_CHECKING:
    from pathlib import Path

ROOM = harness.room()


def database(data: bytes) -> None:
    """It does not verify by the key of this run, or its records are those that were signed."""
    path = ROOM / "damaged.db"
    path.write_bytes(data)
    with Reader(path) as log:
        if verify(log, pinned=(note.Verifier.parse(VKEY),)).ok:
            with Reader(ROOM / "state" / files.DATABASE) as sound:
                assert list(log.records()) == list(sound.records()), "another log verifies"


def pack(data: bytes) -> None:
    """The verifier says no, or the records are those that were signed: its key is pinned."""
    path = ROOM / "given.zip"
    path.write_bytes(data)
    said = io.StringIO()
    sys.argv = ["verify.py", str(path), "--key", VKEY]
    with contextlib.redirect_stdout(said):
        status = standalone.main()
    assert status in {0, 1, 2}
    if status == 0:
        with zipfile.ZipFile(path) as archive:
            assert archive.read("records.jsonl") == RECORDS, "other records verify"


def member(data: bytes) -> None:
    """A pack with one file replaced and its index made to fit."""
    content = {**CONTENT, NAMES[data[0] % len(NAMES)]: data[1:]} if data else CONTENT
    index = json.loads(CONTENT["pack.json"])
    index["files"] = {name: hashlib.sha256(value).hexdigest() for name, value in content.items() if name != "pack.json"}
    if NAMES[data[0] % len(NAMES)] != "pack.json" if data else True:
        content["pack.json"] = canonical.encode(index)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, value in content.items():
            archive.writestr(name, value)
    pack(out.getvalue())


READERS = (
    lambda data: note.Note.parse(data).to_bytes(),
    lambda data: checkpoint.Checkpoint.parse(data).text(),
    second.parse_line,
    lambda data: note.Verifier.parse(data.decode("utf-8", "surrogateescape")).vkey,
    lambda data: canonical.decode_record(data, "record"),
    database,
    pack,
    member,
)


def one(data: bytes) -> None:
    if data:
        READERS[data[0] % len(READERS)](data[1:])


def log() -> Path:
    """A log of a few records and a pack of it."""
    state = ROOM / "state"
    state.mkdir(mode=0o700)
    connection = files.connect(state)
    opened = files.open_log(state, connection, software="fuzz")
    for number in range(3):
        opened.append(Draft(action="model.noted", actor=SYSTEM, model="flights", details={"number": number}))
    files.rotate(state, opened)
    opened.append(Draft(action="model.noted", actor=SYSTEM, bundle="ab" * 32))
    connection.close()
    with Reader(state / files.DATABASE) as reader:
        lines = second.SecondFile(state / files.CHECKPOINTS).lines
        export(reader, verify(reader, lines()), ROOM / "pack.zip", store=state / "store", second=lines())
    return ROOM / "pack.zip"


PACK = log()
with zipfile.ZipFile(PACK) as _archive:
    CONTENT = {name: _archive.read(name) for name in _archive.namelist() if name not in {"verify.py", "README.txt"}}
NAMES = tuple(sorted(CONTENT))
RECORDS = CONTENT["records.jsonl"]
VKEY = json.loads(CONTENT["keys.json"])[0]["key"]
_NOTE = json.loads(CONTENT["checkpoints.jsonl"].splitlines()[-1])["note"].encode()
SEEDS = (
    b"\x00" + _NOTE,
    b"\x01" + note.Note.parse(_NOTE).text,
    b"\x02" + CONTENT["second.jsonl"].splitlines()[0],
    b"\x03" + VKEY.encode(),
    b"\x04" + RECORDS.splitlines()[1],
    b"\x05" + (ROOM / "state" / files.DATABASE).read_bytes(),
    b"\x06" + PACK.read_bytes(),
    *(b"\x07" + bytes([number]) + CONTENT[name] for number, name in enumerate(NAMES)),
)

if __name__ == "__main__":
    harness.main(one, SEEDS)
