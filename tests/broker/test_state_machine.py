"""Whatever order things happen in: each job is in exactly one place, or acknowledged, with its event, once."""

from __future__ import annotations

import contextlib
import json
import os
import time

import pytest
import redis as redis_py
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from django_sidekick.exceptions import Fenced
from django_sidekick.wire.outcome import Outcome
from tests.broker.machine import QUEUES, Owner, World, events_of, jid_of, places

EXAMPLES = int(os.environ.get("SIDEKICK_TEST_EXAMPLES", "120"))
ENDS = ("done", "failed", "discarded")
MOST_OWNERS = 3

queues = st.sampled_from(QUEUES)
orders = st.permutations(range(len(QUEUES)))
numbers = st.integers(0, 50)
kinds = st.sampled_from([*ENDS, "done", "retry", "dead", "released"])


class Jobs(World):
    """What may happen, in any order. Each step tells the model what must come of it."""

    @initialize(names=st.lists(queues, min_size=4, max_size=8))
    def begin(self, names):
        """Two owners and some jobs: most steps have something to act on."""
        self.owners += [Owner(self.settings), Owner(self.settings)]
        self.push(names, None, again=False)

    # The client

    def _payload(self, queue):
        self.count += 1
        jid = f"{self.count:024x}"
        self.pushed[jid] = None
        return json.dumps({"class": "tests.app.jobs.NoopJob", "args": [self.count], "queue": queue, "jid": jid, "retry": True}).encode()

    @rule(names=st.lists(queues, min_size=1, max_size=5), in_s=st.sampled_from([None, None, -5.0, 60.0]), again=st.booleans())
    def push(self, names, in_s, again):
        """Push, and push again under the same token: the reply was lost."""
        at_s = None if in_s is None else time.time() + in_s
        keys, words = self.broker._push_words([(name, self._payload(name), at_s) for name in names])
        assert self.broker.run("push", keys, words) == 1
        if again:
            assert self.broker.run("push", keys, words) == 0

    @rule()
    def move_what_is_due(self):
        self.due.enqueue_due()

    @rule(name=queues, on=st.booleans())
    def pause(self, name, on):
        (self.inspector.pause if on else self.inspector.resume)(name)

    @precondition(lambda self: self.pushed)
    @rule(number=numbers, act=st.sampled_from(["cancel", "retry", "kill", "reschedule", "delete"]))
    def act(self, number, act):
        jid = sorted(self.pushed)[number % len(self.pushed)]
        words = [time.time() - 1] if act == "reschedule" else []
        if getattr(self.inspector, act)(jid, *words) and act in ("cancel", "delete"):
            self.pushed[jid] = "taken out"

    # The owners

    def _owner(self, number):
        return self.owners[number % len(self.owners)]

    def _holders(self):
        return [owner for owner in self.owners if owner.held]

    def _holder(self, number):
        return self._holders()[number % len(self._holders())]

    @precondition(lambda self: len(self.owners) < MOST_OWNERS)
    @rule()
    def enter(self):
        self.owners.append(Owner(self.settings))

    @rule(number=numbers, order=orders, wanted=st.integers(1, 4), again=st.booleans(), may_have_woken=st.booleans())
    def fetch(self, number, order, wanted, again, may_have_woken):
        """Fetch; where the reply was lost, fetch again from the same number, which gives the same batch."""
        owner = self._owner(number)
        before, paused = owner.own.sequence, self.inspector.paused()
        owner.own.wait.may_have_woken |= may_have_woken
        woken = owner.own.wait.may_have_woken
        if owner.is_fenced:
            return self._refused(lambda: owner.own.fetch(order, wanted, []))
        taken = owner.own.fetch(order, wanted, [])
        assert not paused & {delivery.queue for delivery in taken}
        if again and taken:
            owner.own.sequence, owner.own.wait.may_have_woken = before, woken
            assert owner.own.fetch(order[::-1], 4, []) == taken
        owner.held += taken
        return None

    @rule(number=numbers, at=st.integers(0, 2), by_wait=st.booleans())
    def wait(self, number, at, by_wait):
        """A job comes into a wake list, whether or not anybody has taken over since the wait began."""
        owner = self._owner(number)
        own = owner.own
        if owner.is_dead or self.redis.llen(own._queue_keys[at]) == 0:
            return
        if not by_wait:
            own.wait.may_have_woken = True
            self.redis.blmove(own._queue_keys[at], own._wake_keys[at], 1, "RIGHT", "LEFT")
            return
        own._paused = frozenset()
        if owner.is_fenced:
            with pytest.raises(Fenced):
                own.wait_for_work([at])
        else:
            owner.held += own.wait_for_work([at])

    @precondition(lambda self: self.old_names)
    @rule(number=numbers, at=st.integers(0, 2))
    def wait_under_an_old_name(self, number, at):
        """The server still held a wait of one that has started over since."""
        sources, wakes = self.old_names[number % len(self.old_names)]
        self.redis.lmove(sources[at], wakes[at], "RIGHT", "LEFT")

    @rule(number=numbers)
    def return_woken(self, number):
        owner = self._owner(number)
        if owner.is_fenced:
            return self._refused(owner.own.return_woken)
        return owner.own.return_woken()

    @rule(number=numbers, at=st.integers(0, 2), behind=st.integers(0, 3))
    def adopt_long_after(self, number, at, behind):
        """A wait's connection was cut: the server runs what stood behind it, for nobody, whatever has come since."""
        owner = self._owner(number)
        own, bases = owner.own, owner.bases
        then, own.sequence = own.sequence, bases[max(0, len(bases) - 1 - behind)]
        with contextlib.suppress(redis_py.ResponseError):
            self.redis.execute_command(*own._adoption(at))
        own.sequence = then

    def _outcome(self, delivery, kind):
        raw = json.dumps({**json.loads(delivery.raw), "retry_count": 0}).encode()
        return Outcome(kind, delivery, member=raw if kind in ("retry", "dead") else None, at_s=time.time())

    def _note(self, outcomes, with_events):
        for outcome in outcomes:
            jid = jid_of(outcome.delivery.raw)
            if outcome.kind in ENDS:
                self.pushed[jid] = outcome.kind
            self.events[jid, outcome.kind] += with_events

    @precondition(_holders)
    @rule(number=numbers, ends=st.lists(kinds, min_size=1, max_size=3), with_events=st.booleans(), again=st.booleans(), by_fetch=st.booleans())
    def acknowledge(self, number, ends, with_events, again, by_fetch):
        """Settle, alone or with a fetch; again, as after a lost reply, and long after, it changes nothing."""
        owner = self._holder(number)
        finished = [
            self._outcome(delivery, "done" if delivery.tag in owner.finished else kind)
            for delivery, kind in zip(owner.held, ends, strict=False)
        ]
        blob = events_of("", finished) if with_events else b""
        if owner.is_fenced:
            return self._refused(lambda: owner.own.acknowledge(finished, blob))
        if by_fetch:
            owner.held += owner.own.fetch(range(len(QUEUES)), 1, finished, blob)
        else:
            assert owner.own.acknowledge(finished, blob) == len(finished)
        self._note(finished, with_events)
        owner.settled += finished
        owner.held = [delivery for delivery in owner.held if delivery.tag not in {o.delivery.tag for o in finished}]
        if again:
            assert owner.own.acknowledge(owner.settled, events_of("", owner.settled)) == 0
        return None

    @precondition(lambda self: any(owner.settled for owner in self.owners))
    @rule(number=numbers)
    def acknowledge_long_after(self, number):
        """A reply was lost long ago; what was settled may have moved on since."""
        settled = [owner for owner in self.owners if owner.settled]
        owner = settled[number % len(settled)]
        if owner.is_fenced:
            return self._refused(lambda: owner.own.acknowledge(owner.settled, events_of("", owner.settled)))
        assert owner.own.acknowledge(owner.settled, events_of("", owner.settled)) == 0
        return None

    @precondition(_holders)
    @rule(number=numbers, count=st.integers(1, 3), again=st.booleans())
    def give_back(self, number, count, again):
        owner = self._holder(number)
        given = [delivery for delivery in owner.held if delivery.tag not in owner.finished][:count]
        if owner.is_fenced:
            return self._refused(lambda: owner.own.give_back(given))
        assert owner.own.give_back(given) == len(given)
        if again:
            assert owner.own.give_back(given) == 0
        owner.held = [delivery for delivery in owner.held if delivery not in given]
        return None

    @precondition(_holders)
    @rule(number=numbers)
    def finish(self, number):
        """Say in the journal that a job is done; nobody has settled it yet."""
        self._finish_one(self._holder(number))

    def _finish_one(self, owner):
        unfinished = [delivery for delivery in owner.held if delivery.tag not in owner.finished]
        if unfinished and not owner.is_fenced:
            owner.journal.mark_finished(unfinished[-1].tag, time.time(), 0.1)
            owner.finished[unfinished[-1].tag] = jid_of(unfinished[-1].raw)

    @rule(number=numbers)
    def renew(self, number):
        owner = self._owner(number)
        if owner.is_fenced:
            return self._refused(owner.own.renew)
        return owner.own.renew()

    # The end of an owner

    def _refused(self, act):
        before = places(self.redis)
        with pytest.raises(Fenced):
            act()
        assert places(self.redis) == before

    @precondition(lambda self: len(self.owners) > 1)
    @rule(number=numbers)
    def leave(self, number):
        owner = self._owner(number)
        owner.own.leave()
        self._forget(owner)

    @precondition(lambda self: len(self.owners) > 1)
    @rule(number=numbers)
    def crash(self, number):
        """It stops; its lease goes on, until it is over."""
        self._forget(self._owner(number))

    def _forget(self, owner):
        self.owners.remove(owner)
        self.gone.append(owner)

    @precondition(lambda self: any(owner.is_fenced for owner in self.owners))
    @rule(number=numbers)
    def start_over(self, number):
        """A fenced one takes a new name, and what is left of the old one comes back."""
        fenced = [owner for owner in self.owners if owner.is_fenced]
        owner = fenced[number % len(fenced)]
        if not owner.is_dead:
            self.old_names.append((owner.own._queue_keys, owner.own._wake_keys))
        owner.start_over()

    @rule(number=numbers, which=st.integers(0, 1), kind=st.sampled_from(["fence", "recover", "take over", "take over"]), certain=st.booleans(), blame=st.booleans())
    def recover(self, number, which, kind, certain, blame):
        """The lease of one is over, or it is dead for certain: either of two takes a step, in any order."""
        candidates = [*self._holders(), *self.owners, *self.gone]
        self._take_step(candidates[number % len(candidates)], which, kind, certain, blame)

    @precondition(_holders)
    @rule(number=numbers, which=st.integers(0, 1), count=st.integers(1, 3), certain=st.booleans())
    def die_with_finished_jobs(self, number, which, count, certain):
        """Its journal says that some are done, and it settles nothing any more."""
        owner = self._holder(number)
        for _ in range(count):
            self._finish_one(owner)
        self._take_step(owner, which, "take over", certain, blame=True)

    def _take_step(self, owner, which, kind, certain, blame):
        if not certain and self.register.is_known(owner.identity):
            self.redis.zadd("sk:owners", {owner.identity: 1}, xx=True)
        before = self._held_by(owner)
        owner.is_fenced = True
        owner.is_dead |= certain
        if kind == "fence":
            self.register.fence(owner.identity, certain=certain)
        elif kind == "recover":
            self.register.recover(owner.identity, certain=certain)
        else:
            self._note_finished(owner, before)
            self.recoverers[which].slice(owner.identity, certain=certain, blame=blame)

    def _held_by(self, owner):
        return {int(tag): raw for tag, raw in self.redis.hgetall(owner.own.inflight).items() if tag.isdigit()}

    def _note_finished(self, owner, before):
        if self.register.is_known(owner.identity) and owner.journal.path.exists():
            for tag in before.keys() & owner.finished.keys():
                self.pushed[owner.finished[tag]] = "done"
                self.events[owner.finished[tag], "done"] += 1


TestJobs = Jobs.TestCase
TestJobs.settings = settings(
    max_examples=EXAMPLES, stateful_step_count=40, deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)  # fmt: skip
