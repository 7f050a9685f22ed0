"""`kedge abort`: end a rollout and set its candidate aside."""

from __future__ import annotations

from kedge.cli.common import JsonFlag, emit, examples, new_app
from kedge.cli.connecting import Key, Model, Reason, Revision, Server, connecting
from kedge.cli.rollout_text import model_lines, model_payload

app = new_app()


@app.command(epilog=examples("kedge abort flights-late", "kedge abort flights-late --reason 'wrong version'"))
@connecting
def abort(
    *,
    model: Model,
    reason: Reason = "",
    key: Key = "",
    revision: Revision = None,
    server: Server,
    as_json: JsonFlag = False,
) -> None:
    """End a rollout and set its candidate aside.

    The live bundle goes on alone. The candidate may be deployed again.
    """
    with server.client() as client:
        answer = client.abort(model, reason=reason, key=key, expected=revision)
    emit(model_payload(answer), *model_lines(answer), as_json=as_json)
