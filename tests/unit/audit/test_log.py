"""The log only grows, takes state and record together or not at all, and survives being killed."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kedge.audit import files, schema
from kedge.audit.errors import AuditError, KeyFileError, RecordError
from kedge.audit.reader import Reader, RecordNotFoundError
from kedge.audit.record import KEY_ROTATED, LOG_CREATED, Draft, Record

if TYPE_CHECKING:
    from collections.abc import Callable

    from kedge.audit.log import Transaction
    from kedge.audit.note import Signer

SRC = Path(__file__).resolve().parents[3] / "src"


def rows(path: Path) -> list[tuple[int, bytes]]:
    with Reader(path) as log:
        return list(log.records())


def test_a_new_log_begins_with_its_origin_and_key(state, draft) -> None:
    log = state.open()
    first = Record.parse(rows(state.database)[0][1])
    assert first.action == LOG_CREATED
    assert first.details == {"origin": log.signer.name, "key": log.signer.verifier.vkey}
    assert (log.size, log.checkpoint.size) == (1, 1)
    assert [key.vkey for key in files.known_keys(state.directory)] == [log.signer.verifier.vkey]
    assert log.append(draft).sequence == 1
    assert state.verify().findings == ()


def test_appending_goes_on_after_a_restart(state, draft) -> None:
    for expected in range(1, 12):
        log = state.open()
        assert log.append(draft).sequence == expected
        state.close()
    report = state.verify()
    assert (report.ok, report.size, report.checkpoints, report.seen) == (True, 12, 12, 12)


def test_state_and_record_are_one_transaction(state, draft) -> None:
    log = state.open()
    log.database.execute("CREATE TABLE live (model TEXT, epoch INTEGER) STRICT")
    with log.transaction() as work:
        work.execute("INSERT INTO live VALUES (?, ?)", ("flights", 1))
        work.append(draft)
        work.append(draft)
    assert (log.size, log.checkpoint.size) == (3, 3)

    class BoomError(Exception):
        pass

    def doomed(then: Callable[[Transaction], object]) -> None:
        with log.transaction() as work:
            work.execute("UPDATE live SET epoch = 2")
            work.append(draft)
            then(work)

    def fail(_: Transaction) -> None:
        raise BoomError

    with pytest.raises(BoomError):
        doomed(fail)
    with pytest.raises(AuditError, match="did not take"):
        doomed(lambda work: work.execute("INSERT INTO live VALUES ('flights', 'not a number')"))
    with pytest.raises(RecordError):
        doomed(lambda work: work.append(draft.model_copy(update={"details": {"x": "y" * 70_000}})))
    assert log.database.execute("SELECT * FROM live").fetchall() == [("flights", 1)]
    assert log.size == 3
    assert log.append(draft).sequence == 3
    report = state.verify()
    assert (report.ok, report.size, report.checkpoints) == (True, 4, 3)


def test_a_transaction_without_records_leaves_no_checkpoint(state) -> None:
    log = state.open()
    with log.transaction() as work:
        work.execute("CREATE TABLE live (model TEXT) STRICT")
    assert state.verify().checkpoints == 1


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE audit_record SET record = x'00' WHERE seq = 1",
        "DELETE FROM audit_record WHERE seq = 1",
        "DELETE FROM audit_record",
        "INSERT OR REPLACE INTO audit_record VALUES (1, x'00')",
        "INSERT INTO audit_record VALUES (9, x'00')",
        "INSERT INTO audit_record VALUES (NULL, x'00')",
        "INSERT INTO audit_record VALUES (1, x'00') ON CONFLICT (seq) DO UPDATE SET record = x'00'",
        "UPDATE audit_checkpoint SET size = 1",
        "DELETE FROM audit_checkpoint",
        "INSERT OR REPLACE INTO audit_checkpoint VALUES (1, 1, x'00', x'00')",
    ],
)
def test_the_database_refuses_to_change_what_is_in_the_log(state, draft, sql: str) -> None:
    log = state.open()
    log.append(draft)
    before = rows(state.database)
    with pytest.raises(sqlite3.IntegrityError, match="audit log"):
        log.database.execute(sql)
    assert rows(state.database) == before


def test_every_commit_is_synced(state) -> None:
    log = state.open()
    assert log.database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert log.database.execute("PRAGMA synchronous").fetchone() == (2,)


def test_a_key_is_rotated_on_record_and_with_both_signatures(state, draft) -> None:
    log = state.open()
    first = log.signer
    log.append(draft)
    second = files.rotate(state.directory, log)
    log.append(draft)
    assert log.signer.verifier == second.verifier != first.verifier
    record = Record.parse(rows(state.database)[2][1])
    assert (record.action, record.details) == (
        KEY_ROTATED,
        {"key": second.verifier.vkey, "previous": first.verifier.vkey},
    )
    state.close()
    log = state.open()
    assert log.signer.verifier == second.verifier
    report = state.verify()
    assert report.ok
    assert [(key.verifier, key.first, key.last) for key in report.keys] == [
        (first.verifier, 1, 3),
        (second.verifier, 3, None),
    ]


def test_a_successor_must_be_another_key_of_the_same_log(state, make_signer: Callable[[str, int], Signer]) -> None:
    log = state.open()
    for successor in (log.signer, make_signer("another.log", 5)):
        with pytest.raises(AuditError, match="successor"):
            log.rotate(successor)


def test_the_logs_key_must_be_private(state) -> None:
    state.open()
    state.close()
    (key,) = (state.directory / files.KEYS).glob("*.key")
    assert key.stat().st_mode & 0o777 == 0o600
    key.chmod(0o644)
    with pytest.raises(KeyFileError, match="chmod 600"):
        state.open()
    key.unlink()
    with pytest.raises(KeyFileError, match="cannot read key"):
        state.open()


def test_a_database_older_than_the_second_file_is_refused(state, draft) -> None:
    log = state.open()
    log.append(draft)
    state.close()
    old = state.database.read_bytes()
    state.open().append(draft)
    state.close()
    state.database.write_bytes(old)
    with pytest.raises(AuditError, match="rolled back"):
        state.open()
    state.database.unlink()
    with pytest.raises(AuditError, match="the database has none"):
        state.open()


def test_a_rewritten_database_is_refused(state, draft) -> None:
    log = state.open()
    log.append(draft)
    state.close()
    kept = state.second.path.read_bytes()
    state.database.unlink()
    state.second.path.unlink()
    log = state.open()
    log.append(draft.model_copy(update={"rationale": "another"}))
    log.append(draft)
    state.close()
    state.second.path.write_bytes(kept)
    with pytest.raises(AuditError, match="it was rewritten"):
        state.open()


def test_a_torn_or_missing_last_line_of_the_second_file_is_mended(state, draft) -> None:
    log = state.open()
    log.append(draft)
    state.close()
    whole = state.second.path.read_bytes()
    for torn in (whole[:-40], whole[: whole.index(b"\n") + 1]):
        state.second.path.write_bytes(torn)
        state.open()
        state.close()
        assert state.second.path.read_bytes() == whole
    state.second.path.write_bytes(whole + b'{"note')
    state.open().append(draft)
    assert state.verify().ok


def test_a_second_file_that_cannot_be_written_does_not_undo_what_is_committed(state, draft, caplog) -> None:
    log = state.open()
    moved = state.second.path.with_name("moved")
    state.second.path.rename(moved)
    state.second.path.mkdir()
    assert log.append(draft).sequence == 1
    assert log.append(draft).sequence == 2
    assert log.behind is not None
    assert [record.message for record in caplog.records] == [
        "checkpoints do not reach the second file; they are written again with the next record"
    ]
    state.second.path.rmdir()
    moved.rename(state.second.path)
    log.append(draft)
    assert log.behind is None
    report = state.verify()
    assert (report.ok, report.seen) == (True, 2)


def test_a_witness_cosigns_the_second_file(state, draft, make_signer: Callable[[str, int], Signer]) -> None:
    witness = make_signer("example.com/witness", 6)
    state.open(witness).append(draft)
    assert state.verify(witnesses=(witness.witness,)).ok
    other = make_signer("example.com/witness", 7)
    findings = state.verify(witnesses=(other.witness,)).findings
    assert "not signed by 'example.com/witness'" in findings[0].message


def test_the_reader_sees_one_view_and_writes_nothing(state, draft) -> None:
    log = state.open()
    log.append(draft)
    with Reader(state.database) as reader:
        assert reader.size() == 2
        log.append(draft)
        assert reader.size() == 2
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            reader._database.execute("CREATE TABLE x (y)")
    state.close()
    before = {path.name: path.read_bytes() for path in state.directory.iterdir() if path.is_file()}
    state.verify()
    with Reader(state.database) as reader, pytest.raises(RecordNotFoundError, match="no record 3"):
        reader.record(3)
    assert {path.name: path.read_bytes() for path in state.directory.iterdir() if path.is_file()} == before


def test_a_database_without_a_log_is_named(tmp_path: Path) -> None:
    with pytest.raises(AuditError, match="no database"):
        Reader(tmp_path / "kedge.db")
    sqlite3.connect(tmp_path / "kedge.db").execute("CREATE TABLE live (x)").connection.close()
    with pytest.raises(AuditError, match="holds no audit log"):
        Reader(tmp_path / "kedge.db")
    (tmp_path / "text.db").write_text("hello" * 1000)
    with pytest.raises(AuditError, match="cannot read"):
        Reader(tmp_path / "text.db")


def test_a_log_without_its_checkpoint_is_not_gone_on_with(state, draft) -> None:
    log = state.open()
    log.append(draft)
    log.database.execute("DROP TRIGGER audit_checkpoint_delete")
    log.database.execute("DELETE FROM audit_checkpoint WHERE size = 2")
    log.database.execute(schema.STATEMENTS["audit_checkpoint_delete"])
    state.close()
    with pytest.raises(AuditError, match="no checkpoint over them"):
        state.open()


WRITER = """
import sys
from pathlib import Path
from kedge.audit import files
from kedge.audit.record import SYSTEM, Draft
directory = Path(sys.argv[1])
log = files.open_log(directory, files.connect(directory), software="kedge test")
log.database.execute("CREATE TABLE IF NOT EXISTS live (epoch INTEGER) STRICT")
while True:
    with log.transaction() as work:
        record = work.append(Draft(action="test.appended", actor=SYSTEM, epoch=log.size))
        work.execute("INSERT INTO live VALUES (?)", (record.sequence,))
    print(record.sequence, flush=True)
"""


def test_a_writer_that_is_killed_loses_nothing_it_has_acknowledged(state) -> None:
    size = 0
    for lines in (1, 5, 12):
        environment = {**os.environ, "PYTHONPATH": str(SRC)}
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(state.directory)], stdout=subprocess.PIPE, text=True, env=environment
        )
        assert writer.stdout is not None
        acknowledged = [int(writer.stdout.readline()) for _ in range(lines)][-1]
        writer.send_signal(signal.SIGKILL)
        rest = writer.stdout.read().split("\n")[:-1]
        writer.stdout.close()
        writer.wait()
        acknowledged = int(rest[-1]) if rest else acknowledged
        log = state.open()
        assert log.size > acknowledged >= size
        assert log.database.execute("SELECT COUNT(*) FROM live").fetchone() == (log.size - 1,)
        size = log.size
        state.close()
        assert state.verify().findings == ()


def test_drafts_are_checked_before_the_log_sees_them(state, draft: Draft) -> None:
    log = state.open()
    with pytest.raises(AuditError):
        log.append(draft.model_copy(update={"rationale": "\ud800"}))
    assert log.append(draft).sequence == 1
