from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


def test_mypy_agrees_with_every_line_of_the_type_file():
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--warn-unused-ignores", "tests/typing/types_of_calls.py"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout


def test_pyright_sees_the_same_errors_and_no_others():
    file = ROOT / "tests/typing/types_of_calls.py"
    done = subprocess.run(
        [sys.executable, "-m", "basedpyright", "--level", "error", "--outputjson", str(file)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip

    found = {error["range"]["start"]["line"] + 1 for error in json.loads(done.stdout)["generalDiagnostics"]}
    lines = file.read_text().splitlines()
    assert found == {number for number, line in enumerate(lines, 1) if "# type: ignore[" in line}
