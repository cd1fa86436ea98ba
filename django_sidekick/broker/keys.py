"""Every Redis key, by name. Sidekiq's own keys stand bare; ours begin with `sk:`, which Ruby never reads."""

from __future__ import annotations

STAT_DAY_TTL_S = 5 * 365 * 24 * 3600
MINUTE_BUCKET_TTL_S = 8 * 3600
TEN_MINUTE_BUCKET_TTL_S = 72 * 3600
PROCESS_TTL_S = 60


class Keys:
    """Name each key under one prefix. docs/reference/keys.md lists type, writer, score and TTL of each."""

    def __init__(self, prefix: str = "") -> None:
        self.prefix = prefix
        self.queues = f"{prefix}queues"
        self.schedule = f"{prefix}schedule"
        self.retry = f"{prefix}retry"
        self.dead = f"{prefix}dead"
        self.processes = f"{prefix}processes"
        self.process_cleanup = f"{prefix}process_cleanup"
        self.paused = f"{prefix}paused"
        self.owners = f"{prefix}sk:owners"
        self.events = f"{prefix}sk:events"
        self.obituaries = f"{prefix}sk:obituaries"
        self.events_bytes = f"{prefix}sk:events:bytes"
        self.events_dropped = f"{prefix}sk:events:dropped"
        self.events_generation = f"{prefix}sk:events:generation"
        self.events_stuck = f"{prefix}sk:events:stuck"
        self.recorder = f"{prefix}sk:recorder"
        self.scheduler = f"{prefix}sk:scheduler"
        self.scheduled = f"{prefix}sk:scheduled"
        """Channel: something was put into the schedule."""
        self._queue_prefix = f"{prefix}queue:"

    def queue(self, name: str) -> str:
        """List: payloads, newest at the left; workers take from the right."""
        return self._queue_prefix + name

    def stat(self, name: str, day: str | None = None) -> str:
        """String: total of `processed` or `failed`, of all time or of one UTC day (YYYY-MM-DD)."""
        return f"{self.prefix}stat:{name}" + (f":{day}" if day else "")

    def metrics(self, bucket: str) -> str:
        """Hash: CLASS|p, CLASS|f, CLASS|ms of one minute or ten minutes."""
        return f"{self.prefix}j|{bucket}"

    def histogram(self, job_class: str, minute: str) -> str:
        """Bit field: 26 16-bit counters of run times."""
        return f"{self.prefix}h|{job_class}-{minute}"

    def process(self, identity: str) -> str:
        """Hash: what Sidekiq's pages show of one process. TTL 60 s, renewed by each beat."""
        return self.prefix + identity

    def work(self, identity: str) -> str:
        """Hash: thread id -> the job it runs, as of the last beat. TTL 60 s."""
        return f"{self.prefix}{identity}:work"

    def signals(self, identity: str) -> str:
        """List: TSTP, TERM or TTIN, pushed by a dashboard and popped by the beat."""
        return f"{self.prefix}{identity}-signals"

    def push_token(self, token: str) -> str:
        """String, of a large push a list: it has been carried out. Lives a little longer than its retry window."""
        return f"{self.prefix}sk:push:{token}"

    def inflight(self, identity: str) -> str:
        """Hash: what one process holds. Fields: epoch, queues, last; and tag -> payload."""
        return f"{self.prefix}sk:inflight:{identity}"

    def crashes(self, job: str) -> str:
        """Sorted set: the processes that died while they ran this job (jid or digest), by time. TTL 72 h."""
        return f"{self.prefix}sk:crashes:{job}"

    def wake(self, identity: str, queue: str) -> str:
        """List: what a blocking wait has moved here; the next fetch adopts all of it."""
        return f"{self.prefix}sk:wake:{identity}|{queue}"
