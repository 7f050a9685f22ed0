"""What people write in YAML: plans, signing policies, settings, specs of bundles."""

from __future__ import annotations

import harness
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from kedge import config
from kedge.alerts import settings as alerts
from kedge.audit import policy
from kedge.audit import settings as audit
from kedge.build import spec
from kedge.rollout import plan

ROOM = harness.room()
PATH = ROOM / "file.yaml"
PUBLIC = (
    Ed25519PrivateKey.from_private_bytes(bytes(32))
    .public_key()
    .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    .decode()
)
(ROOM / "builder.pub").write_text(PUBLIC)


def settings() -> None:
    read = config.load({}, {}, PATH)
    alerts.parse(read.alerts, "alerts")
    audit.parse(read.audit, "audit")


READERS = (
    lambda: plan.read(PATH).digest(),
    lambda: policy.load(PATH).digest,
    settings,
    lambda: spec.read(PATH),
)


def one(data: bytes) -> None:
    if data:
        PATH.write_bytes(data[1:])
        READERS[data[0] % len(READERS)]()


PLAN = """\
strategy: canary
steps:
  - {share: 5%, units: 1000, min_seconds: 10m}
  - {share: 0.5, units: 5000, min_seconds: 1h30m, approval: true}
guards:
  slow: {margin: 2%, tolerance: 2}
  refusals: {enabled: false}
baking: {units: 10}
alpha: 0.05
"""
POLICY = """\
require: [builder]
keys:
  - public: builder.pub
    roles: [builder, evaluator]
    from: 2026-01-01T00:00:00Z
    until: 2027-01-01T00:00:00Z
minimum: {flights: 1.2.0}
downgrades: allow
"""
SETTINGS = """\
state: state
grpc: '[::1]:0'
admin: unix:/run/a.sock
shards: 2
admin_tls_cert: a
admin_tls_key: b
admin_tls_client_ca: c
admin_auth: {certificates: {ci: deployer}}
drain_grace: 1.5
alerts:
  sinks:
    - {name: hook, type: webhook, url: 'http://127.0.0.1:1/x', token: {env: TOKEN}}
  routes:
    - {owners: [data], sinks: [hook]}
audit: {checkpoints: other}
"""
SPEC = """\
name: flights
version: 1.0.0
model: m.onnx
data: {reference: r.parquet, label: late, time: t}
features:
  temp: {kind: numeric, range: [0, 100]}
prediction: {output: y, kind: logits, classes: [a, b]}
serving: {batching: {max_batch: 4}}
owners: {model: me}
"""
SEEDS = [bytes([number]) + text.encode() for number, text in enumerate((PLAN, POLICY, SETTINGS, SPEC))]

if __name__ == "__main__":
    harness.main(one, SEEDS)
