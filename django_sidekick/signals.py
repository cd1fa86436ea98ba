"""What others may listen to. Sent only from cold paths, or when somebody listens.

A process says worker_forked (only under a supervisor), worker_started, worker_quiet, worker_stopped, in this order.
A listener that raises is logged and holds up nothing; only one of worker_forked ends its process: it would go on with
clients that it shares with its parent.
"""

from __future__ import annotations

from django.dispatch import Signal

enqueue_failed = Signal()
"""A push after a commit failed for good: `payloads` (list of dict), `error`."""

worker_forked = Signal()
"""A child of the supervisor begins: `role`, "worker", "service" or "quarantine".

Rebuild clients that do not outlive a fork.
"""

worker_started = Signal()
"""A process is about to take its first job, and waits for the listeners: `identity`."""

worker_quiet = Signal()
"""A process takes nothing new from now on: `identity`."""

worker_stopped = Signal()
"""A process has settled all it held: `identity`."""
