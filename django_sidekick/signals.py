"""What others may listen to. Sent only from cold paths, or when somebody listens."""

from __future__ import annotations

from django.dispatch import Signal

enqueue_failed = Signal()
"""A push after a commit failed for good: `payloads` (list of dict), `error`."""

worker_forked = Signal()
"""A child of the supervisor was born: `role`, "worker" or "service". Rebuild clients that do not outlive a fork."""

worker_started = Signal()
"""A process begins to take jobs: `identity`."""

worker_quiet = Signal()
"""A process takes nothing new from now on: `identity`."""

worker_stopped = Signal()
"""A process has settled all it held: `identity`."""
