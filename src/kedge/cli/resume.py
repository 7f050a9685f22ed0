"""`kedge resume`: go on with a paused rollout."""

from __future__ import annotations

from kedge.cli.common import JsonFlag, emit, examples, new_app
from kedge.cli.connecting import Key, Model, Reason, Revision, Server, connecting
from kedge.cli.rollout_text import model_lines, model_payload

app = new_app()


@app.command(epilog=examples("kedge resume flights-late", "kedge resume flights-late --reason 'the owner agrees'"))
@connecting
def resume(
    *,
    model: Model,
    reason: Reason = "",
    key: Key = "",
    revision: Revision = None,
    server: Server,
    as_json: JsonFlag = False,
) -> None:
    """Go on with a paused rollout."""
    with server.client() as client:
        answer = client.resume(model, reason=reason, key=key, expected=revision)
    emit(model_payload(answer), *model_lines(answer), as_json=as_json)
