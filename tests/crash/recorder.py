"""Forks recorders to be killed, one for each line on stdin, and says the pid of each."""

from __future__ import annotations

import os
import signal
import sys
import traceback

import django


def main() -> None:
    django.setup()
    from django.test import override_settings

    from django_sidekick.history import recorder  # noqa: F401 loaded once, before the forks

    override_settings(SIDEKICK={"REDIS": sys.argv[1], "HISTORY_DATABASE": "default", "HISTORY_RETENTION": None}).enable()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for _ in sys.stdin:
        pid = os.fork()
        if pid == 0:
            record()
        print(pid, flush=True)


def record() -> None:
    from django_sidekick.conf import get_settings
    from django_sidekick.history.recorder import Recorder

    try:
        recorder = Recorder(get_settings(), {})
        recorder._enough = 250  # small steps: a kill finds it between any two
        recorder._adapt = lambda rows: None
        while True:
            recorder.turn()
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(1)


if __name__ == "__main__":
    main()
