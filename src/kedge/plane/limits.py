"""Fixed bounds of the data port. Each names what it stops; those an operator sets are in `contract.Limits`."""

from __future__ import annotations

from typing import Final

MAX_DIMENSIONS: Final = 16
"""Dimensions of a tensor: shapes of millions of ones that cost more to check than to send."""
MAX_ELEMENTS: Final = 1 << 40
"""Elements of a tensor, product of its shape: arithmetic that overflows in a plane whose integers are 64 bits wide."""
MAX_TENSORS: Final = 4096
"""Inputs, or outputs asked for, of a request: messages that are all headers (a bundle has at most as many)."""
MAX_PARAMETERS: Final = 256
"""Parameters of a request or tensor: messages that are all map entries."""
MAX_ROWS: Final = 1 << 20
"""Rows of one request, which runs alone above `max_batch`: a few bytes a row that expand to gigabytes in the model."""
MAX_KEY_BYTES: Final = 1024
"""A sticky key: hashing megabytes on the request path."""
MAX_ID_BYTES: Final = 65536
"""The id that is echoed: answers that are larger than what the model made."""
MAX_NAME_IN_ERROR: Final = 128
"""Characters of a client's own text repeated in an error: status messages larger than clients take as metadata."""
MAX_ERROR: Final = 1024
"""Characters of an error as a whole, for the same reason."""
MAX_STREAM_IN_FLIGHT: Final = 64
"""Requests of one stream under way at a time: one stream that takes the whole queue."""
INLINE_MESSAGE_BYTES: Final = 256 * 1024
"""A larger request never runs on the thread that serves the connections: one large copy delays everybody."""
INLINE_RUN_NS: Final = 100_000
"""A run longer than this at its 99th percentile never runs on the thread that serves the connections."""
MAX_COLD_WAITING: Final = 1024
"""Events of cold calls that wait for their one thread: metadata requests in a loop."""
MAX_COLD_REPLIES: Final = 64
"""Messages of one cold call under way at a time: a client that asks and does not read."""
MAX_COLD_CALLS: Final = 4096
"""Cold calls open at a time: Watch streams opened and forgotten."""
RESERVOIR_ROWS: Final = 4096
"""Rows kept a bundle for replay and advice."""
RESERVOIR_BYTES: Final = 64 * 1024 * 1024
"""Bytes kept a bundle for the same: rows that are images."""
CELLS: Final = 2
"""Cells that each thread keeps of a bundle and arm: of its newest epoch, and of the sum of all before; rollouts make an
epoch a step. Threads that counted last in different epochs keep as many newest ones between them."""
SUSPECTS: Final = 16
"""Rows kept a bundle whose inputs were finite and whose prediction was not: a model that fails on every row."""
SHADOW_REQUESTS: Final = 1024
"""Requests that wait for a shadow: one that is slower than the traffic."""
SHADOW_BYTES: Final = 16 * 1024 * 1024
"""Bytes of the inputs that wait for it, for the same reason."""
