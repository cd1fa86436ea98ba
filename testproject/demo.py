"""`make demo`: set up and show the shop with its jobs running; needs Python 3.11 and nothing else.

First stage, standard library only: make .venv and install. Second stage, in there: Redis if there is none,
migrate, web server, mail server, worker; place orders over HTTP; print the addresses. ONCE=1 ends by itself
when all due jobs are done, with a table.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"


def main() -> int:
    """Set up if need be, then show the demo. Return the exit code."""
    if os.environ.get("SHOP_DEMO_STAGE") != "2":
        return subprocess.call([set_up(), __file__], env={**os.environ, "SHOP_DEMO_STAGE": "2"}, cwd=ROOT)
    sys.path.insert(0, str(ROOT))
    from testproject.stage import Stage  # noqa: PLC0415 needs what the first stage installs

    return Stage(once=os.environ.get("ONCE", "") not in ("", "0")).run()


def set_up() -> str:
    """Make .venv with the demo's packages in it. Return its Python."""
    if sys.version_info < (3, 11):  # noqa: UP036 says so before anything is installed
        sys.exit("The demo needs Python 3.11 or later.")
    python, stamp = VENV / "bin" / "python", VENV / ".demo-installed"
    if not stamp.exists():
        print("Setting up .venv (once) …", flush=True)
        subprocess.check_call([sys.executable, "-m", "venv", str(VENV)])
        subprocess.check_call(
            [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-e", ".[demo,server]"],
            cwd=ROOT,
        )
        stamp.touch()
    return str(python)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
