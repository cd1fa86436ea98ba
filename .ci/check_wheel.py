"""Build wheel and sdist, look into them, install the wheel where the checkout cannot be seen, and use it."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from pathlib import Path

NEEDED = (
    "django_sidekick/py.typed",
    "django_sidekick/broker/scripts/push.lua",
    "django_sidekick/broker/scripts/fetch.lua",
    "django_sidekick/broker/scripts/settle.lua",
    "django_sidekick/locale/vi/LC_MESSAGES/django.mo",
    "django_sidekick/locale/vi/LC_MESSAGES/django.po",
)
USE = """
import django
from django.conf import settings
settings.configure(INSTALLED_APPS=["django_sidekick"], SIDEKICK={}, USE_TZ=True)
django.setup()
from django.core.management import call_command
call_command("check")
from django_sidekick.broker import scripts
assert scripts.load("fetch").text
from django.utils.translation import gettext, override
with override("vi"):
    assert gettext("Processes") != "Processes"
import django_sidekick
print("installed", django_sidekick.__version__, django_sidekick.__file__)
"""


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "dist"
        subprocess.run([sys.executable, "-m", "build", "--outdir", str(out), "."], check=True, stdout=subprocess.DEVNULL)
        wheel, sdist = next(out.glob("*.whl")), next(out.glob("*.tar.gz"))
        names = set(zipfile.ZipFile(wheel).namelist())
        with tarfile.open(sdist) as archive:
            packed = {name.split("/", 1)[-1] for name in archive.getnames()}
        for needed in NEEDED:
            assert needed in names, f"{needed} is missing in the wheel"
            assert needed in packed, f"{needed} is missing in the sdist"
        assert not any(name.startswith("tests/") for name in names), "the wheel carries tests"
        environment = Path(scratch) / "venv"
        venv.create(environment, with_pip=True)
        python = environment / "bin" / "python"
        subprocess.run([python, "-m", "pip", "install", "--quiet", str(wheel)], check=True)
        subprocess.run([python, "-c", USE], check=True, cwd=scratch)


main()
