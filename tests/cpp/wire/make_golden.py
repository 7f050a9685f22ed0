"""Writes golden/*.txt: what Python's protobuf and the portable plane make of messages, keys and shares.

Run from the root of the repository: ``PYTHONPATH=src python tests/cpp/wire/make_golden.py``. The output is
deterministic; the C++ tests read it. Each line is fields separated by tabs, bytes in hex.
"""

from __future__ import annotations

import random
import struct
from pathlib import Path
from typing import Any

from kedge.dtypes import DTYPES
from kedge.plane.contract import Route
from kedge.plane.portable.route import keyed
from kedge.plane.siphash import siphash24
from kedge.proto import inference as pb

GOLDEN = Path(__file__).parent / "golden"
RANGES = {
    "bool_contents": (0, 1),
    "int64_contents": (-(2**63), 2**63 - 1),
    "uint64_contents": (0, 2**64 - 1),
}
NARROW = {"INT8": 7, "INT16": 15, "INT32": 31, "UINT8": 8, "UINT16": 16, "UINT32": 32}


def hexed(text: str | bytes) -> str:
    data = text.encode() if isinstance(text, str) else text
    return data.hex() or "-"


def value(rng: random.Random, dtype: str) -> Any:
    field = DTYPES[dtype].contents
    if dtype == "BYTES":
        return rng.randbytes(rng.randrange(5))
    if field in ("fp32_contents", "fp64_contents"):
        return struct.unpack("<f", struct.pack("<f", rng.uniform(-1e6, 1e6)))[0]
    if dtype in NARROW:
        bits = NARROW[dtype]
        return rng.randrange(-(2**bits) if dtype.startswith("INT") else 0, 2**bits)
    low, high = RANGES[str(field)]
    return rng.randint(low, high)


def raw(values: list[Any], dtype: str) -> bytes:
    if dtype == "BYTES":
        return b"".join(struct.pack("<I", len(v)) + v for v in values)
    if dtype in ("FP32", "FP64"):
        return struct.pack(f"<{len(values)}{'f' if dtype == 'FP32' else 'd'}", *values)
    size = DTYPES[dtype].size
    return b"".join(int(v).to_bytes(size, "little", signed=int(v) < 0) for v in values)


def shape_of(rng: random.Random) -> list[int]:
    return [rng.randrange(4) for _ in range(rng.randrange(1, 4))]


def product(shape: list[int]) -> int:
    count = 1
    for extent in shape:
        count *= extent
    return count


def tensors(rng: random.Random, typed: bool) -> list[tuple[str, str, list[int], list[Any]]]:
    names = [name for name, row in DTYPES.items() if row.contents is not None or not typed]
    names = [name for name in names if name not in ("FP16", "BF16")]
    made = []
    for index in range(rng.randrange(1, 4)):
        dtype, shape = rng.choice(names), shape_of(rng)
        made.append((f"t{index}", dtype, shape, [value(rng, dtype) for _ in range(product(shape))]))
    return made


def unpacked(request: pb.ModelInferRequest) -> bytes:
    """The same request with every packed field of its contents written unpacked, and unknown fields between."""
    out = bytearray()
    copy = pb.ModelInferRequest()
    copy.CopyFrom(request)
    del copy.inputs[:]
    out += copy.SerializeToString(deterministic=True)
    unknown = b"\xfa\x3f\x03abc" + b"\xfb\x3f\x08\x01\x0b\x0c\xfc\x3f"  # field 1023: bytes, and a group with one inside
    for tensor in request.inputs:
        body = bytearray(unknown)
        head = pb.ModelInferRequest.InferInputTensor()
        head.CopyFrom(tensor)
        head.ClearField("contents")
        head.ClearField("shape")
        body += head.SerializeToString(deterministic=True)
        for extent in tensor.shape:
            body += b"\x18" + varint(extent)
        if tensor.HasField("contents"):
            contents = bytearray()
            for field, values in tensor.contents.ListFields():
                for item in values:
                    contents += single(field.number, item)
            body += b"\x2a" + varint(len(contents)) + contents
        out += b"\x2a" + varint(len(body)) + body
    return bytes(out)


def varint(number: int) -> bytes:
    number &= 2**64 - 1
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def single(field: int, item: Any) -> bytes:
    if field == 8:
        return bytes([field << 3 | 2]) + varint(len(item)) + bytes(item)
    if field == 6:
        return bytes([field << 3 | 5]) + struct.pack("<f", item)
    if field == 7:
        return bytes([field << 3 | 1]) + struct.pack("<d", item)
    return bytes([field << 3]) + varint(int(item))


def requests(rng: random.Random) -> list[str]:
    """Lines: message, model, version, id, key, raw flag, then a name, datatype, shape and raw elements an input."""
    lines = []
    for _ in range(300):
        typed = rng.random() < 0.6
        request = pb.ModelInferRequest(
            model_name=rng.choice(["m", "größe", "a" * 40]), model_version=rng.choice(["", "1.0.0"])
        )
        request.id = rng.choice(["", "id-7", "x" * 200])
        key = rng.choice(["", "user-1"])
        if key:
            request.parameters["kedge_key"].string_param = key
        if rng.random() < 0.3:
            request.parameters["other"].double_param = 0.5
        fields = []
        for name, dtype, shape, values in tensors(rng, typed):
            tensor = request.inputs.add(name=name, datatype=dtype, shape=shape)
            if typed:
                getattr(tensor.contents, str(DTYPES[dtype].contents)).extend(values)
                tensor.contents.SetInParent()
            else:
                request.raw_input_contents.append(raw(values, dtype))
            fields += [hexed(name), dtype, ",".join(map(str, shape)), hexed(raw(values, dtype))]
        message = unpacked(request) if rng.random() < 0.4 else request.SerializeToString(deterministic=True)
        assert pb.ModelInferRequest.FromString(message).inputs == request.inputs or b"\xfa\x3f" in message
        head = [request.model_name, request.model_version, request.id, key]
        lines.append("\t".join([hexed(message), *map(hexed, head), "0" if typed else "1", *fields]))
    return lines


def responses(rng: random.Random) -> list[str]:
    """Lines: message, its stream wrapper, id, raw flag, then a name, datatype, shape and raw elements an output."""
    lines = []
    for _ in range(200):
        typed = rng.random() < 0.5
        answer = pb.ModelInferResponse(model_name="m", model_version="1.0.0", id=rng.choice(["", "id-7"]))
        answer.parameters["kedge_arm"].string_param = "live"
        answer.parameters["n"].int64_param = -5
        answer.parameters["q"].double_param = 0.25
        answer.parameters["t"].bool_param = True
        fields = []
        for name, dtype, shape, values in tensors(rng, typed):
            tensor = answer.outputs.add(name=name, datatype=dtype, shape=shape)
            if typed:
                tensor.contents.SetInParent()
                getattr(tensor.contents, str(DTYPES[dtype].contents)).extend(values)
            else:
                answer.raw_output_contents.append(raw(values, dtype))
            fields += [hexed(name), dtype, ",".join(map(str, shape)), hexed(raw(values, dtype))]
        message = answer.SerializeToString(deterministic=True)
        stream = pb.ModelStreamInferResponse(infer_response=answer).SerializeToString(deterministic=True)
        lines.append("\t".join([hexed(message), hexed(stream), hexed(answer.id), "0" if typed else "1", *fields]))
    return lines


def malformed(rng: random.Random) -> list[str]:
    """Lines: a damaged message, and whether Python's parser takes it (1) or not (0)."""
    lines = []
    base = [bytes.fromhex(line.split("\t")[0]) for line in requests(rng)[:60]]
    for message in base:
        for _ in range(10):
            damaged = bytearray(message)
            for _ in range(rng.randrange(1, 4)):
                at = rng.randrange(len(damaged))
                if rng.random() < 0.5:
                    damaged[at] = rng.randrange(256)
                else:
                    del damaged[at:]
                    damaged += b"\x0a"
            try:
                pb.ModelInferRequest.FromString(bytes(damaged))
                taken = "1"
            except Exception:  # noqa: BLE001  whatever the parser raises, it refused
                taken = "0"
            lines.append(f"{hexed(bytes(damaged))}\t{taken}")
    return lines


def sticky(rng: random.Random) -> list[str]:
    """Lines: salt, key, period, hash."""
    lines = []
    for _ in range(100):
        salt = rng.choice([b"", rng.randbytes(16)])
        key, period = rng.choice(["", "user-1", "größe", rng.randbytes(20).hex()]), rng.randrange(2**33)
        route = Route(model="m", epoch=1, arms=(), salt=salt, sticky_for=1)
        lines.append(f"{hexed(salt)}\t{hexed(key)}\t{period}\t{keyed(route, key, float(period)).place}")
    return lines


def siphash(rng: random.Random) -> list[str]:
    """Lines: key, message, hash."""
    return [f"{(k := rng.randbytes(16)).hex()}\t{hexed(m := rng.randbytes(n))}\t{siphash24(k, m)}" for n in range(64)]


def main() -> None:
    GOLDEN.mkdir(exist_ok=True)
    for seed, make in enumerate((requests, responses, malformed, sticky, siphash)):
        lines = make(random.Random(seed))
        (GOLDEN / f"{make.__name__}.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
