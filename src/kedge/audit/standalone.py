"""Verify a Kedge evidence pack: python3 -I verify.py PACK.zip [--key VKEY] [--witness VKEY].

One file, without Kedge: it needs Python 3.11 or later and the package `cryptography`. It shares no code with the server
whose log it judges. Exit status 0 if everything in the pack holds, 1 if something does not, 2 if it cannot be read.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import sys
import zipfile
from typing import Any, Iterator  # noqa: UP035 - older Pythons than Kedge's own

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

MAX_LINE = 1 << 20
MAX_FILE = 64 << 20  # of one read whole: a few bytes may unpack to more


class Wrong(Exception):  # noqa: N818 - it reads as what it says
    """Something in the pack does not hold; the message says what."""


def leaf(entry: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + entry).digest()


def node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


class Tree:
    """RFC 6962 tree that only grows: (height, root) of its complete subtrees."""

    def __init__(self) -> None:
        self.size = 0
        self.parts: list[tuple[int, bytes]] = []

    def add(self, value: bytes) -> None:
        height = 0
        while self.parts and self.parts[-1][0] == height:
            value, height = node(self.parts.pop()[1], value), height + 1
        self.parts.append((height, value))
        self.size += 1

    def root(self) -> bytes:
        value = self.parts[-1][1]
        for _, left in reversed(self.parts[:-1]):
            value = node(left, value)
        return value


def turns(at: int, last: int, count: int) -> list[bool] | None:
    """Which of a proof's hashes stand to the left, on the way up to the root; None if it is too long or short."""
    found = []
    for _ in range(count):
        if last == 0:
            return None
        left = at % 2 == 1 or at == last
        while left and at % 2 == 0 and at:
            at, last = at // 2, last // 2
        at, last = at // 2, last // 2
        found.append(left)
    return found if last == 0 else None


def included(value: bytes, index: int, size: int, proof: list[bytes], root: bytes) -> bool:
    """RFC 9162 2.1.3.2."""
    lefts = turns(index, size - 1, len(proof)) if 0 <= index < size else None
    if lefts is None:
        return False
    for sibling, left in zip(proof, lefts, strict=True):
        value = node(sibling, value) if left else node(value, sibling)
    return value == root


def consistent(first: int, second: int, one: bytes, two: bytes, proof: list[bytes]) -> bool:
    """RFC 9162 2.1.4.2, for 0 < first < second."""
    path = [one, *proof] if first & (first - 1) == 0 else proof
    if not 0 < first < second or not path:
        return False
    at, last = first - 1, second - 1
    while at % 2:
        at, last = at // 2, last // 2
    lefts = turns(at, last, len(path) - 1)
    if lefts is None:
        return False
    a = b = path[0]
    for sibling, left in zip(path[1:], lefts, strict=True):
        a, b = (node(sibling, a), node(sibling, b)) if left else (a, node(b, sibling))
    return a == one and b == two


class Key:
    """A verifier key in C2SP form: name+id+base64(kind and Ed25519 key)."""

    def __init__(self, vkey: str) -> None:
        self.vkey = vkey
        try:
            self.name, identity, material = vkey.split("+", 2)
            data = base64.b64decode(material, validate=True)
        except ValueError:
            raise Wrong(f"{vkey!a} is no verifier key") from None
        self.kind, self.public = data[:1], data[1:]
        self.id = hashlib.sha256(self.name.encode() + b"\n" + data).digest()[:4]
        if identity != self.id.hex() or len(self.public) != 32 or self.kind not in (b"\x01", b"\x04"):
            raise Wrong(f"{vkey!a} is no Ed25519 verifier key, or its id is not that of its key")

    def signed(self, text: bytes, lines: list[tuple[str, bytes]]) -> None:
        mine = [value[4:] for name, value in lines if name == self.name and value[:4] == self.id]
        if len(mine) != 1:
            raise Wrong(f"not signed by {self.name} ({self.id.hex()})")
        value = mine[0]
        if self.kind == b"\x04":
            text = b"cosignature/v1\ntime %d\n" % int.from_bytes(value[:8], "big") + text
            value = value[8:]
        if not good(Ed25519PublicKey.from_public_bytes(self.public), value, text):
            raise Wrong(f"the signature of {self.name} ({self.id.hex()}) does not fit")


def good(key: Ed25519PublicKey, signature: bytes, message: bytes) -> bool:
    try:
        return key.verify(signature, message) is None
    except InvalidSignature:
        return False


def note(data: bytes) -> tuple[bytes, list[tuple[str, bytes]]]:
    """Text and signature lines of a signed note."""
    at = data.rfind(b"\n\n")
    if at < 0 or not data.endswith(b"\n"):
        raise Wrong("not a signed note")
    lines = []
    for line in data[at + 2 : -1].decode().split("\n"):
        dash, name, value = [*line.split(" "), "", ""][:3]
        if dash != "\u2014" or line.count(" ") != 2:
            raise Wrong("not a signature line")
        lines.append((name, base64.b64decode(value, validate=True)))
    return data[: at + 1], lines


def head(text: bytes) -> tuple[str, int, bytes]:
    """Origin, size and root of a checkpoint."""
    origin, size, root, rest = (text.decode().split("\n") + [""] * 4)[:4]
    value = (origin, int(size), base64.b64decode(root, validate=True))
    if rest or text != f"{origin}\n{value[1]}\n{base64.b64encode(value[2]).decode()}\n".encode():
        raise Wrong("not a checkpoint")
    return value


def canonical(value: Any) -> bytes:
    """RFC 8785 for what records hold: no fractions, no key beyond U+FFFF."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


class Pack:
    """A pack, and what was found out about it."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self.archive = archive
        self.names = archive.namelist()
        if any(item.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) for item in archive.infolist()):
            raise Wrong("a file is not packed by deflate; nothing bounds what others unpack to")
        self.tree, self.leaves = Tree(), bytearray()
        self.keys, self.since = list[Key](), list[int]()
        self.first_use, self.roots = dict[int, int](), dict[int, bytes]()
        self.bundles = set[str]()
        self.cosigned = self.seen = 0

    def lines(self, name: str) -> Iterator[bytes]:
        with self.archive.open(name) as file:
            while line := file.readline(MAX_LINE):
                if not line.endswith(b"\n"):
                    raise Wrong(f"{name}: a line is cut or too long")
                yield line[:-1]

    def read(self, name: str) -> bytes:
        if self.archive.getinfo(name).file_size > MAX_FILE:
            raise Wrong(f"{name}: unpacks to more than {MAX_FILE} bytes")
        return self.archive.read(name)

    def json(self, name: str) -> Any:
        return json.loads(self.read(name))

    def listed(self) -> None:
        index = self.json("pack.json")
        if index.get("format") != "kedge.evidence/1":
            raise Wrong("pack.json: not a pack of a version this program knows")
        if sorted(self.names) != sorted([*index["files"], "pack.json"]):
            raise Wrong("pack.json: the pack holds other files than it lists")
        for name, digest in index["files"].items():
            with self.archive.open(name) as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]  # reads as any file
            if found != digest or (name.startswith("counts/") and name != f"counts/{found}"):
                raise Wrong(f"{name}: its SHA-256 is not the one in pack.json")

    def due(self, size: int) -> list[Key]:
        """Keys that must have signed a tree of this size: of those new to it each, and the one in force before."""
        first = last = max(i for i, since in enumerate(self.since) if since <= max(size, 1))
        while first and self.first_use.setdefault(first, size) == size:
            first -= 1
        return self.keys[first : last + 1]

    def history(self) -> list[dict[str, Any]]:
        """Every key, and the sizes of the first and last tree it signs."""
        last = self.first_use.get
        return [{"key": key.vkey, "first": self.since[i], "last": last(i + 1)} for i, key in enumerate(self.keys)]

    def record(self, position: int, data: bytes) -> None:
        value = json.loads(data)
        if canonical(value) != data:
            raise Wrong(f"record {position}: not in canonical form")
        if value.get("sequence") != position:
            raise Wrong(f"record {position}: says it is {value.get('sequence')!r}: one is missing or out of order")
        if value.get("bundle"):
            self.bundles.add(value["bundle"])
        action, details = value.get("action"), value.get("details", {})
        if (action == "log.created") != (position == 0):
            raise Wrong(f"record {position}: the log is created elsewhere than in its first record")
        if action in ("log.created", "log.key_rotated"):
            key = Key(details["key"])
            if position and (details["previous"] != self.keys[-1].vkey or key.name != self.keys[-1].name):
                raise Wrong(f"record {position}: a key is replaced that was not in force")
            self.keys.append(key)
            self.since.append(position + 1)
        value = leaf(data)
        self.tree.add(value)
        self.leaves += value

    def checkpoint(self, what: str, line: bytes) -> tuple[int, bytes, list[tuple[str, bytes]], bytes]:
        try:
            text, signatures = note(json.loads(line)["note"].encode())
            origin, size, root = head(text)
            if origin != self.keys[0].name:
                raise Wrong(f"it is of log {origin!a}")
            for key in self.due(size):
                key.signed(text, signatures)
        except (Wrong, ValueError, KeyError) as error:
            raise Wrong(f"{what}: {error}") from error
        return size, root, signatures, text

    def log(self) -> None:
        """Records and checkpoints in step."""
        heads = self.lines("checkpoints.jsonl")
        line = next(heads, None)
        number = 0
        for position, data in enumerate(self.lines("records.jsonl")):
            self.record(position, data)
            while line is not None and int(json.loads(line)["note"].split("\n")[1]) == self.tree.size:
                size, root, _, _ = self.checkpoint(f"checkpoint {number}", line)
                if root != self.tree.root():
                    raise Wrong(f"checkpoint {number}: the records up to {size - 1} are not the ones that were signed")
                self.roots[size] = root
                line, number = next(heads, None), number + 1
        if line is not None:
            raise Wrong(f"checkpoint {number}: it covers records that are missing, or is out of order")
        if self.tree.size not in self.roots:
            raise Wrong("the last records are not covered by a checkpoint")

    def second(self, witness: Key | None) -> None:
        for number, line in enumerate(self.lines("second.jsonl"), 1):
            size, root, signatures, text = self.checkpoint(f"second file, line {number}", line)
            if self.roots.get(size) != root:
                raise Wrong(f"second file, line {number}: it saw another tree of {size} records, or a longer log")
            if witness is not None:
                witness.signed(text, signatures)
                self.cosigned += 1
            self.seen += 1

    def proofs(self) -> int:
        count = 0
        for line in self.lines("proofs.jsonl"):
            value = json.loads(line)
            proof = [base64.b64decode(item, validate=True) for item in value["proof"]]
            sizes = [value["size"]] if value["kind"] == "inclusion" else [value["first"], value["second"]]
            if any(size not in self.roots for size in sizes):
                raise Wrong(f"proofs.jsonl: proof {count} is about a tree that no checkpoint in the pack signs")
            if value["kind"] == "inclusion":
                entry = bytes(self.leaves[32 * value["index"] : 32 * value["index"] + 32])
                fits = included(entry, value["index"], sizes[0], proof, self.roots[sizes[0]])
            else:
                fits = consistent(sizes[0], sizes[1], self.roots[sizes[0]], self.roots[sizes[1]], proof)
            if not fits:
                raise Wrong(f"proofs.jsonl: proof {count} does not hold")
            count += 1
        return count

    def manifests(self) -> set[str]:
        found = set()
        for name in (name for name in self.names if name.startswith("manifests/")):
            identity = name[len("manifests/") : -len(".json")]
            if hashlib.sha256(self.read(name)).hexdigest() != identity or identity not in self.bundles:
                raise Wrong(f"{name}: its SHA-256 is not the bundle's id, or no record names that bundle")
            found.add(identity)
        return found

    def attestations(self) -> tuple[list[str], list[str]]:
        """A line for each attestation by a key that policy.json pins for its role, and for each other one."""
        keys = self.json("policy.json")["keys"] if "policy.json" in self.names else []
        pinned = [((*key["roles"], "provenance"), load_pem_public_key(key["public"].encode())) for key in keys]
        told: tuple[list[str], list[str]] = ([], [])
        for name in (name for name in self.names if name.startswith("attestations/")):
            bundle, envelope = name.split("/")[1], self.json(name)
            payload = base64.b64decode(envelope["payload"], validate=True)
            statement = json.loads(payload)
            if statement["subject"][0]["digest"]["sha256"] != bundle:
                raise Wrong(f"{name}: it is about another bundle")
            role = str(statement["predicate"].get("role", "provenance"))  # SLSA provenance names no role
            kind = envelope["payloadType"].encode()
            message = b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)
            signatures = [base64.b64decode(one["sig"], validate=True) for one in envelope["signatures"]]
            ok = kind == b"application/vnd.in-toto+json" and any(
                role in roles and good(public, value, message)  # type: ignore[arg-type]
                for roles, public in pinned
                for value in signatures
            )
            dated = statement["predicate"].get("signedAt", "not at all")
            told[not ok].append(f"{role} of bundle {bundle[:12]}, dated {dated}")
        return told


def verify(pack: Pack, pin: Key | None, witness: Key | None) -> tuple[list[str], list[str]]:
    """What the pack proves, and what it does not."""
    pack.listed()
    pack.log()
    if pack.json("keys.json") != pack.history():
        raise Wrong("keys.json: not the keys that the records name, or not when they signed")
    if pin is not None and pin.vkey not in [key.vkey for key in pack.keys]:
        raise Wrong(f"the log is not signed by the key that was expected, but by {pack.keys[-1].vkey}")
    proves = [
        f"the {pack.tree.size} records are the ones that were signed, in their order, none missing before the last",
        f"each of {len(pack.roots)} checkpoints extends the one before: nothing was rewritten between them",
    ]
    if "second.jsonl" in pack.names:
        pack.second(witness)
        proves.append(f"{pack.seen} checkpoints kept outside the database agree with it")
    if witness is not None:
        if not pack.cosigned:
            raise Wrong("no checkpoint is cosigned by the witness")
        proves.append(f"each of them is cosigned by the witness {witness.name}, with its own time")
    proofs = pack.proofs()
    proves.append(f"{proofs} inclusion and consistency proofs hold, so that single records can be shown by themselves")
    manifests = pack.manifests()
    proves.append(f"{len(manifests)} bundle manifests are those of the bundles the records name")
    signed, unsigned = pack.attestations()
    proves += [f"signed by a key that policy.json pins for the role: {text}" for text in signed]
    lacks = [
        "that what the records say is true: they are the word of the server that wrote them",
        "that their times are right: they come from that server's clock"
        + ("" if witness is None else ", but a cosigned checkpoint existed at the witness's time"),
        "that no record was left out before it was ever written, or follows after the last one in this pack",
        "that bundles, models and data are what they should be: only their digests are here",
        "who held the keys when they signed; evidence is not admissibility, which a court decides",
    ]
    lacks += [f"signed by no key that policy.json pins for the role: {text}" for text in unsigned]
    if signed:
        lacks.append("that policy.json pins the right keys: it is the word of whoever made this pack")
    if pin is None:
        lacks.insert(0, "whose log this is: it vouches for its own key; compare the key below and use --key")
    if witness is None:
        lacks.append("that the holder of the key has not shown somebody else another log: no --witness was given")
    if missing := sorted(pack.bundles - manifests):
        lacks.append("what these bundles were, whose manifests are not here: " + ", ".join(one[:12] for one in missing))
    return proves, lacks


def say(status: int, *lines: str) -> int:
    """Print lines; what a pack says of itself must not steer a terminal or look like another line."""
    sys.stdout.write("".join("".join(c if c.isprintable() else "?" for c in line) + "\n" for line in lines))
    return status


def main() -> int:
    parser = argparse.ArgumentParser(description="Verify a Kedge evidence pack.")
    parser.add_argument("pack", help="the archive")
    parser.add_argument("--key", help="verifier key of the log, from somewhere else than the pack")
    parser.add_argument("--witness", help="verifier key of a witness whose cosignatures are due in the second file")
    given = parser.parse_args()
    try:
        with zipfile.ZipFile(given.pack) as archive:
            pack = Pack(archive)
            proves, lacks = verify(pack, given.key and Key(given.key), given.witness and Key(given.witness))
    except OSError as error:
        return say(2, f"cannot read {given.pack}: {error.strerror or error}")
    except Exception as error:  # noqa: BLE001 - whatever a damaged pack makes the parsers say, it is no evidence
        known = "" if isinstance(error, Wrong) else f"malformed pack: {type(error).__name__}: "
        return say(1, f"FAILED: {known}{error}")
    lines = [f"OK: log {pack.keys[0].name}, {pack.tree.size} records, root {pack.tree.root().hex()}"]
    for title, facts in ("proves", proves), ("does not prove", lacks):
        lines += ["", f"This {title}:", *(f"  - {fact}" for fact in facts)]
    return say(0, *lines, "", "Keys of the log:", *(f"  - {key.vkey}" for key in pack.keys))


if __name__ == "__main__":
    sys.exit(main())
