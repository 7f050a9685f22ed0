"""Whatever was done to a log is found, and called by its name."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from kedge.audit import files, schema
from kedge.audit.checkpoint import Checkpoint
from kedge.audit.findings import Kind
from kedge.audit.frontier import Frontier
from kedge.audit.merkle import leaf_hash
from kedge.audit.reader import Reader
from kedge.audit.record import KEY_ROTATED, SYSTEM, Draft
from kedge.audit.verify import verify

if TYPE_CHECKING:
    from kedge.audit.log import AuditLog
    from kedge.audit.note import Signer

Tamper = Callable[..., None]
TRIGGERS = [name for name in schema.STATEMENTS if name.count("_") == 2]


@pytest.fixture
def log(state, draft) -> AuditLog:
    """Ten records."""
    made = state.open()
    for epoch in range(1, 10):
        made.append(draft.model_copy(update={"epoch": epoch}))
    return made


@pytest.fixture
def tamper(state, log) -> Tamper:
    """Run statements as somebody does who is in the way of no trigger, and put the triggers back."""

    def run(*statements: str | tuple[str, tuple[object, ...]]) -> None:
        state.close()
        database = sqlite3.connect(state.database, isolation_level=None)
        for name in TRIGGERS:
            database.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            database.execute(*([statement] if isinstance(statement, str) else statement))
        for name in TRIGGERS:
            database.execute(schema.STATEMENTS[name])
        database.close()

    return run


def found(state, **options: bool) -> list[tuple[Kind, str]]:
    return [(one.kind, one.message) for one in state.verify(**options).findings]


def record(state, sequence: int) -> bytes:
    with Reader(state.database) as reader:
        return reader.record(sequence)


def test_a_whole_log_has_no_findings(state, log) -> None:
    report = state.verify()
    assert (report.findings, report.remarks) == ((), ())
    assert (report.size, report.checkpoints, report.seen) == (10, 10, 10)
    assert report.root == log.checkpoint.root
    assert report.origin == log.signer.name


def test_a_changed_record_is_named(state, tamper: Tamper) -> None:
    changed = record(state, 6).replace(b'"epoch":6', b'"epoch":7')
    tamper(("UPDATE audit_record SET record = ? WHERE seq = 6", (changed,)))
    assert found(state) == [(Kind.RECORD_CHANGED, "record 6 is not what checkpoint 6 (of 7 records) signed")]


def test_a_record_that_is_no_json_any_more_is_named(state, tamper: Tamper) -> None:
    tamper("UPDATE audit_record SET record = substr(record, 2) WHERE seq = 6")
    kinds = found(state)
    assert kinds[0][0] is Kind.RECORD_MALFORMED
    assert kinds[0][1].startswith("record 6: not canonical JSON")
    assert kinds[1][0] is Kind.RECORD_CHANGED


def test_a_deleted_record_is_named(state, tamper: Tamper) -> None:
    tamper("DELETE FROM audit_record WHERE seq = 4")
    assert found(state)[0] == (Kind.RECORD_MISSING, "record 4 is missing")


def test_several_deleted_records_are_named(state, tamper: Tamper) -> None:
    tamper("DELETE FROM audit_record WHERE seq BETWEEN 3 AND 5")
    assert found(state)[0] == (Kind.RECORD_MISSING, "records 3 to 5 are missing")


def test_a_deleted_record_is_named_though_the_rows_were_renumbered(state, tamper: Tamper) -> None:
    tamper(
        "DELETE FROM audit_record WHERE seq = 4",
        "UPDATE audit_record SET seq = seq + 100 WHERE seq > 4",
        "UPDATE audit_record SET seq = seq - 101 WHERE seq > 100",
    )
    kind, message = found(state)[0]
    assert kind is Kind.RECORD_MISSING
    assert message == "record 4 is missing: in its place is one that says it is 5"


def test_reordered_records_are_named(state, tamper: Tamper) -> None:
    tamper(
        "UPDATE audit_record SET seq = 100 WHERE seq = 3",
        "UPDATE audit_record SET seq = 3 WHERE seq = 7",
        "UPDATE audit_record SET seq = 7 WHERE seq = 100",
    )
    assert found(state) == [(Kind.RECORDS_REORDERED, "records 3, 7 changed places: record 7 is at 3")]


def test_a_record_put_in_twice_is_named(state, tamper: Tamper) -> None:
    tamper(("UPDATE audit_record SET record = ? WHERE seq = 5", (record(state, 4),)))
    assert found(state)[0] == (
        Kind.RECORD_MISSING,
        "record 5 is missing: in its place is one that says it is 4",
    )


def test_a_record_beyond_the_limit_is_named(state, tamper: Tamper) -> None:
    tamper("UPDATE audit_record SET record = zeroblob(70000) WHERE seq = 5")
    assert found(state)[0] == (Kind.RECORD_MALFORMED, "record 5: 70000 bytes, limit 65536")


def test_an_emptied_log_is_not_a_whole_one(state, tamper: Tamper) -> None:
    tamper("DELETE FROM audit_record", "DELETE FROM audit_checkpoint")
    expected = (Kind.RECORD_MISSING, "record 0, which creates the log and names its key, is missing or unreadable")
    assert found(state) == found(state, second=False) == [expected]


def resign(state, signer: Signer, first: int) -> list[tuple[str, tuple[object, ...]]]:
    """Statements that make every checkpoint of a changed log fit again, signed by `signer`."""
    frontier, statements = Frontier(), []
    with Reader(state.database) as reader:
        for sequence, stored in reader.records():
            data = stored
            if sequence == first:
                data = stored.replace(b'"rationale":"all gates passed"', b'"rationale":"nobody looked it over"')
                statements.append(("UPDATE audit_record SET record = ? WHERE seq = ?", (data, sequence)))
            frontier.append(leaf_hash(data))
            head = Checkpoint(signer.name, frontier.size, frontier.root())
            if frontier.size > first:
                row = (head.sign(signer).to_bytes(), frontier.hashes, frontier.size)
                statements.append(("UPDATE audit_checkpoint SET note = ?, frontier = ? WHERE size = ?", row))
    return statements


def test_a_record_resigned_with_another_key_is_named(state, log, tamper: Tamper, make_signer) -> None:
    thief = make_signer(log.signer.name, 9)
    tamper(*resign(state, thief, 5))
    kind, message = found(state)[0]
    assert kind is Kind.CHECKPOINT_FORGED
    assert message.startswith("checkpoint 5 (of 6 records): not signed by ")
    assert message.endswith(f"but by {thief.verifier.key_id.hex()}")


def test_a_record_resigned_with_the_logs_own_key_is_found_in_the_second_file(state, log, tamper: Tamper) -> None:
    tamper(*resign(state, log.signer, 5))
    assert found(state, second=False) == []
    assert found(state)[0] == (Kind.REWRITTEN, "the second file saw another tree of 6 records")


def test_a_log_under_a_key_of_its_own_is_not_the_expected_one(state, log, make_signer) -> None:
    with Reader(state.database) as reader:
        report = verify(reader, state.second.lines(), pinned=[make_signer(log.signer.name, 9).verifier])
        assert [one.kind for one in report.findings] == [Kind.KEY_UNEXPECTED]
        report = verify(reader)
    assert report.ok
    assert len(report.remarks) == 2


def test_a_truncated_tail_is_named(state, tamper: Tamper) -> None:
    tamper("DELETE FROM audit_record WHERE seq >= 8")
    assert (
        Kind.TAIL_TRUNCATED,
        "records 8 to 9 are missing at the end: a checkpoint covers 10 records",
    ) in found(state)


def test_a_tail_cut_with_its_checkpoints_is_found_in_the_second_file(state, tamper: Tamper) -> None:
    tamper("DELETE FROM audit_record WHERE seq >= 8", "DELETE FROM audit_checkpoint WHERE size > 8")
    assert found(state, second=False) == []
    ((kind, message),) = found(state)
    assert kind is Kind.ROLLED_BACK
    assert message.startswith("the log ends at 8 records and the second file saw 10")


def test_an_older_copy_of_the_database_is_named(state, log, draft) -> None:
    state.close()
    old = state.database.read_bytes()
    state.open().append(draft)
    state.close()
    state.database.write_bytes(old)
    ((kind, _),) = found(state)
    assert kind is Kind.ROLLED_BACK


@pytest.mark.parametrize(
    ("statement", "kind", "words"),
    [
        ("DELETE FROM audit_checkpoint WHERE size = 4", Kind.CHECKPOINT_MISSING, "checkpoint 3 is missing"),
        ("DELETE FROM audit_checkpoint WHERE size = 10", Kind.CHECKPOINT_MISSING, "record 9 is not covered"),
        ("UPDATE audit_checkpoint SET size = 5 WHERE id = 3", Kind.CHECKPOINT_MALFORMED, "its note says 4 records"),
        ("UPDATE audit_checkpoint SET frontier = x'00' WHERE id = 3", Kind.CHECKPOINT_MALFORMED, "subtree roots"),
        ("UPDATE audit_checkpoint SET note = x'00' WHERE id = 3", Kind.CHECKPOINT_MALFORMED, "checkpoint 3"),
        ("UPDATE audit_record SET record = x'' WHERE seq = 0", Kind.RECORD_MALFORMED, "record 0"),
    ],
)
def test_what_is_wrong_with_a_checkpoint_is_named(
    state, tamper: Tamper, statement: str, kind: Kind, words: str
) -> None:
    tamper(statement)
    findings = found(state)
    assert any(one == kind and words in message for one, message in findings), findings


def test_a_flipped_bit_of_a_signature_is_named(state, log, tamper: Tamper) -> None:
    with Reader(state.database) as reader:
        note = next(row[2] for row in reader.checkpoints() if row[1] == 4)
    at = note.rindex(b" ") + 30
    other = b"B" if note[at : at + 1] == b"A" else b"A"
    tamper(("UPDATE audit_checkpoint SET note = ? WHERE size = 4", (note[:at] + other + note[at + 1 :],)))
    kind, message = found(state)[0]
    assert kind is Kind.CHECKPOINT_FORGED
    assert message.startswith("checkpoint 3 (of 4 records): the signature of ")


@pytest.mark.parametrize("name", TRIGGERS)
def test_a_missing_guard_is_named(state, log, name: str) -> None:
    log.database.execute(f"DROP TRIGGER {name}")
    ((kind, message),) = found(state)
    assert kind is Kind.SCHEMA_CHANGED
    assert message.startswith(f"'{name}'")
    log.database.execute(f"CREATE TRIGGER {name} BEFORE DELETE ON audit_record BEGIN SELECT 1; END")
    assert "is not as Kedge made it" in found(state)[0][1]


def test_what_was_added_to_the_logs_tables_is_named(state, log) -> None:
    log.database.execute("CREATE TABLE audit_extra (x)")
    assert found(state) == [(Kind.SCHEMA_CHANGED, "'audit_extra' was added to the log's tables")]


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (lambda lines: [lines[1], lines[0], *lines[2:]], Kind.SECOND_FILE_DAMAGED),
        (lambda lines: [b"{}", *lines], Kind.SECOND_FILE_DAMAGED),
        (lambda lines: [lines[0].replace(b"note", b"nose"), *lines[1:]], Kind.SECOND_FILE_DAMAGED),
        (lambda lines: [lines[0].replace(b"kedge.log", b"other.log"), *lines[1:]], Kind.CHECKPOINT_FORGED),
    ],
    ids=["swapped", "no note", "renamed", "another log"],
)
def test_damage_of_the_second_file_is_named(state, log, change, kind: Kind) -> None:
    lines = list(state.second.lines())
    with Reader(state.database) as reader:
        report = verify(reader, change(lines), pinned=files.known_keys(state.directory))
    assert report.findings[0].kind is kind
    assert report.findings[0].message.startswith("second file, line ")


def test_fewer_lines_in_the_second_file_are_no_fault(state, log) -> None:
    lines = list(state.second.lines())
    with Reader(state.database) as reader:
        assert verify(reader, lines[::3]).ok
        empty = verify(reader, [])
    assert empty.ok
    assert any("empty" in remark for remark in empty.remarks)


def test_an_intruders_rotation_does_not_make_his_key_the_logs(state, log, tamper: Tamper, make_signer) -> None:
    thief = make_signer(log.signer.name, 9)
    value = json.loads(record(state, 9))
    value |= {
        "action": "log.key_rotated",
        "details": {"key": thief.verifier.vkey, "previous": log.signer.verifier.vkey},
    }
    data = json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
    frontier = Frontier()
    for sequence in range(9):
        frontier.append(leaf_hash(record(state, sequence)))
    frontier.append(leaf_hash(data))
    note = Checkpoint(log.signer.name, 10, frontier.root()).sign(thief)
    tamper(
        ("UPDATE audit_record SET record = ? WHERE seq = 9", (data,)),
        ("UPDATE audit_checkpoint SET note = ?, frontier = ? WHERE size = 10", (note.to_bytes(), frontier.hashes)),
    )
    kind, message = found(state)[0]
    assert kind is Kind.CHECKPOINT_FORGED
    assert log.signer.verifier.key_id.hex() in message


def test_two_rotations_before_one_checkpoint_do_not_make_an_intruders_keys_the_logs(
    state, log, tamper: Tamper, make_signer
) -> None:
    thieves = [make_signer(log.signer.name, seed) for seed in (9, 10)]
    value = json.loads(record(state, 9))
    frontier = Frontier()
    for sequence in range(10):
        frontier.append(leaf_hash(record(state, sequence)))
    statements = []
    for sequence, previous, key in ((10, log.signer, thieves[0]), (11, *thieves)):
        details = {"key": key.verifier.vkey, "previous": previous.verifier.vkey}
        value |= {"action": "log.key_rotated", "details": details, "sequence": sequence}
        data = json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
        frontier.append(leaf_hash(data))
        statements.append((schema.ADD_RECORD, (sequence, data)))
    note = Checkpoint(log.signer.name, 12, frontier.root()).sign(*thieves)
    tamper(*statements, (schema.ADD_CHECKPOINT, (12, note.to_bytes(), frontier.hashes)))
    (finding,) = found(state)
    assert finding[0] is Kind.CHECKPOINT_FORGED
    assert f"not signed by '{log.signer.name}' ({log.signer.verifier.key_id.hex()})" in finding[1]


def test_two_rotations_before_one_checkpoint_hold_with_all_three_signatures(state, log, make_signer) -> None:
    successors = [make_signer(log.signer.name, seed) for seed in (9, 10)]
    with log.transaction() as work:
        work.signers = (log.signer, *successors)
        for previous, key in pairwise(work.signers):
            details = {"key": key.verifier.vkey, "previous": previous.verifier.vkey}
            work.append(Draft(action=KEY_ROTATED, actor=SYSTEM, details=details))
    report = state.verify()
    assert report.ok, report.findings
    assert [(one.first, one.last) for one in report.keys] == [(1, 12), (11, 12), (12, None)]
