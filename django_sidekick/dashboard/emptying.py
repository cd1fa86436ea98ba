"""Clearing a queue: in slices, each with the events for the history, and nothing that came after the question."""

from __future__ import annotations

import time
from collections.abc import Iterator

from django_sidekick.broker import queues
from django_sidekick.broker.console import MOST_READ, Console
from django_sidekick.broker.moving import Move, Source
from django_sidekick.broker.sets import SLICE, Member, next_size
from django_sidekick.dashboard.errand import FIRST_SLICE, Errand, came_since, mover


def emptying(console: Console, name: str, errand: Errand) -> Iterator[Errand]:
    """Take out what waits in a queue, the next to run first, as errand.steps() does; what came since it was asked for stays.

    What says when it came is its own `enqueued_at`; what says nothing counts as there. In no case are more taken
    than there were. A queue that is empty then is forgotten. Source: Sidekiq 8.1, Queue#clear.
    """
    source, size = Source(console.keys.queue(name), "list", MOST_READ), FIRST_SLICE
    while not errand.is_over:
        texts = console.ask({"next": queues.next_to_run(console.keys, name, size)})["next"]
        members = [Member(raw, 0.0) for raw in texts]
        size, now_s = next_size(members, SLICE), time.time()
        meant = [m.raw for m in members if not came_since(errand.asked_s, "queue", m, now_s)]
        meant = meant[: errand.total - errand.done]
        moved = mover(console, errand.act, None).move(source, [Move(raw) for raw in meant])
        is_over = not meant or errand.done + len(moved.done) >= errand.total
        if is_over:
            queues_key = console.keys.queues
            console.run("forget_queue", [source.key, queues_key], [name])
        errand = errand._replace(done=errand.done + len(moved.done), is_over=is_over)
        yield errand
