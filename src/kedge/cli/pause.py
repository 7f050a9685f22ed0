"""`kedge pause`: hold a rollout where it is."""

from __future__ import annotations

from kedge.cli.common import JsonFlag, emit, examples, new_app
from kedge.cli.connecting import Key, Model, Reason, Revision, Server, connecting
from kedge.cli.rollout_text import model_lines, model_payload

app = new_app()


@app.command(epilog=examples("kedge pause flights-late", "kedge pause flights-late --reason 'the owner is asking'"))
@connecting
def pause(
    *,
    model: Model,
    reason: Reason = "",
    key: Key = "",
    revision: Revision = None,
    server: Server,
    as_json: JsonFlag = False,
) -> None:
    """Hold a rollout where it is.

    Traffic stays as it is, and guards go on acting: what does harm is rolled back.
    """
    with server.client() as client:
        answer = client.pause(model, reason=reason, key=key, expected=revision)
    emit(model_payload(answer), *model_lines(answer), as_json=as_json)
