"""`kedge promote`: go to the next step of a rollout now."""

from __future__ import annotations

from kedge.cli.common import JsonFlag, emit, examples, new_app
from kedge.cli.connecting import Key, Model, Reason, Revision, Server, connecting
from kedge.cli.rollout_text import model_lines, model_payload

app = new_app()


@app.command(epilog=examples("kedge promote flights-late", "kedge promote flights-late --reason 'looks good'"))
@connecting
def promote(
    *,
    model: Model,
    reason: Reason = "",
    key: Key = "",
    revision: Revision = None,
    server: Server,
    as_json: JsonFlag = False,
) -> None:
    """Go to the next step of a rollout now.

    It ends a wait for approval too. After the last step the candidate becomes live.
    """
    with server.client() as client:
        answer = client.promote(model, reason=reason, key=key, expected=revision)
    emit(model_payload(answer), *model_lines(answer), as_json=as_json)
