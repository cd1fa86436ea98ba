"""`make bench`: every bar of the design, in alternating rounds, each figure beside its floor of the same round.

Prints each round, writes benchmarks/results/bench-pyX.json, and the table into docs/performance.md.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "performance.md"
PYTHON = ".".join(platform.python_version_tuple()[:2])
RESULTS = ROOT / "benchmarks" / "results" / f"bench-py{PYTHON}.json"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--one", help="measure this one here, against the server at BENCH_PORT")
    parser.add_argument("--only", default="", help="names of measures, with commas")
    parser.add_argument("--jobs", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--keep", action="store_true", help="with --only: put them into the last whole run, round by round; name each with its floor")
    arguments = parser.parse_args()
    if arguments.one:
        return measure_here(arguments.one, arguments.jobs)
    os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.settings"
    import django

    django.setup()
    with server() as port:
        os.environ["BENCH_PORT"] = str(port)
        rounds = [one_round(arguments, number + 1) for number in range(arguments.rounds)]
    if arguments.keep:
        rounds = [before | again for before, again in zip(results()["rounds"], rounds, strict=True)]
    return report(rounds, whole=arguments.keep or not arguments.only)


def measure_here(name: str, jobs: int) -> int:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.settings")
    import django

    django.setup()
    from benchmarks.bars import MEASURES

    print(json.dumps(MEASURES[name](jobs)))
    return 0


@contextlib.contextmanager
def server() -> Any:
    """A Redis of our own on a free port, without persistence."""
    from tests.conftest import RedisServer

    scratch = tempfile.mkdtemp(prefix="sidekick-bench-")
    started = RedisServer("--appendonly", "no", directory=scratch)
    try:
        yield started.port
    finally:
        started.stop()
        shutil.rmtree(scratch, ignore_errors=True)


def one_round(arguments: argparse.Namespace, number: int) -> dict[str, dict[str, float]]:
    """Measure everything once, each in a process of its own."""
    from benchmarks.bars import MEASURES

    wanted = [name for name in arguments.only.split(",") if name] or list(MEASURES)
    figures = {}
    for name in wanted:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.run", "--one", name, "--jobs", str(arguments.jobs)],
            capture_output=True, text=True, cwd=ROOT,
        )  # fmt: skip
        if done.returncode:
            sys.exit(f"{name} failed:\n{done.stderr}")
        figures[name] = json.loads(done.stdout.splitlines()[-1])
        shown = "  ".join(f"{key} {value:,.2f}" for key, value in figures[name].items())
        print(f"round {number}  {name:<10}  {shown}", flush=True)
    return figures


def report(rounds: list[dict[str, dict[str, float]]], *, whole: bool) -> int:
    from benchmarks.bars import BARS

    rows, missed = [], 0
    for bar in BARS:
        try:
            values = [bar.figure(figures) for figures in rounds]
        except KeyError:
            continue
        value = statistics.median(values)
        missed += not bar.holds(value)
        rows.append((bar.what, f"{value:.2f}", f"{min(values):.2f}-{max(values):.2f}", bar.text(), "yes" if bar.holds(value) else "NO"))
    for row in rows:
        print("{:<46} {:>8} {:>14} {:>9}  {}".format(*row))
    if whole:
        write_results(rounds)
        write_page(rows, rounds)
    return 1 if missed else 0


def results() -> Any:
    return json.loads(RESULTS.read_text())


def write_results(rounds: list[dict[str, dict[str, float]]]) -> None:
    RESULTS.write_text(json.dumps({"on": about(), "rounds": rounds}, indent=1) + "\n")
    print(f"written to {RESULTS.relative_to(ROOT)}")


def write_page(rows: list[tuple[str, ...]], rounds: list[dict[str, dict[str, float]]]) -> None:
    """Put the tables between this Python's marks in docs/performance.md."""
    table = ["| what | median | of the rounds | bar | holds |", "|---|---|---|---|---|"]
    table += ["| " + " | ".join(row) + " |" for row in rows]
    figures = ["| measure | figure | median | each round |", "|---|---|---|---|"]
    for name in rounds[0]:
        for key in rounds[0][name]:
            values = [figures_of[name][key] for figures_of in rounds]
            each = " ".join(_short(value) for value in values)
            figures.append(f"| {name} | {key} | {_short(statistics.median(values))} | {each} |")
    begin, end = f"<!-- bench {PYTHON} -->", f"<!-- end {PYTHON} -->"
    text = PAGE.read_text()
    if begin not in text:
        sys.exit(f"{PAGE} has no place for Python {PYTHON}: add {begin} and {end}.")
    on = about()
    said = f"Python {on['python']}, Django {on['django']}, redis-py {on['redis-py']}, Redis {on['redis']}; {on['machine']}; {len(rounds)} rounds."
    body = "\n".join([begin, said, "", *table, "", "Every figure:", "", *figures, end])
    PAGE.write_text(text[: text.index(begin)] + body + text[text.index(end) + len(end) :])


def about() -> dict[str, str]:
    import django
    import redis

    from tests.conftest import redis_binary

    version = subprocess.run([redis_binary(), "--version"], capture_output=True, text=True, check=True)
    return {
        "machine": f"{os.cpu_count()} cores, {platform.machine()}",
        "python": platform.python_version(),
        "django": django.get_version(),
        "redis-py": redis.__version__,
        "redis": version.stdout.split("v=")[1].split()[0],
    }


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


if __name__ == "__main__":
    sys.exit(main())
