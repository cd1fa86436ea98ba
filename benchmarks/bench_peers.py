"""The worker beside its peers, on the peers' own harness: `make bench-peers`.

The harness is copied to a scratch folder, our adapter of benchmarks/peers/ is laid into it, each peer gets an
environment of its own, and the harness runs one workload after the other. What it wrote stands in
benchmarks/results/peers.md and peers.json. A peer that cannot be installed is named and passed over.

    bench_peers.py                                   ourselves and the default peers, workloads A to F
    bench_peers.py --peers celery,rq --workloads A,B
    bench_peers.py --add --workloads C --rounds 1    more rounds, added to those in peers.json
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
OURS = "django_sidekick"
ADAPTER = ROOT / "benchmarks" / "peers"
RESULT = ROOT / "benchmarks" / "results" / "peers.json"
PEERS = "celery,rq,dramatiq,huey,arq,taskiq,streaq,saq,pydocket,procrastinate"
FLOOR = "floor"


def main() -> None:
    arguments = parse()
    folder = Path(tempfile.mkdtemp(prefix="sidekick-peers-"))
    folder.chmod(0o755)  # the harness runs PostgreSQL as another user
    try:
        bench = lay_out(Path(arguments.harness), folder / "bench")
        ready, left_out = install(bench, [FLOOR, OURS, *split(arguments.peers)])
        if OURS not in ready:
            sys.exit(f"Our own environment could not be made: {left_out[OURS]}")
        total = json.loads(RESULT.read_text()) if arguments.add and RESULT.exists() else {}
        peers = [peer for peer in ready if peer != FLOOR]  # the harness adds its floor by itself
        for workload in split(arguments.workloads):
            piece = run(bench, peers, workload, arguments.rounds)
            piece["not_run"] |= left_out
            total = merged(total, piece)
            write(bench, total)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    for peer, why in total["not_run"].items():
        print(f"passed over: {peer}: {why}")
    print(f"written to {RESULT.relative_to(ROOT)} and {RESULT.with_suffix('.md').name}")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    beside = os.environ.get("BENCH_HARNESS") or ROOT.parent / "shared" / "bench"
    parser.add_argument("harness", nargs="?", default=beside, help="folder of the harness; BENCH_HARNESS")
    parser.add_argument("--peers", default=PEERS, help=f"default: {PEERS}")
    parser.add_argument("--workloads", default="A,B,C,D,E,F")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--add", action="store_true", help="add to the results that are there")
    return parser.parse_args()


def split(words: str) -> list[str]:
    return [word.strip() for word in words.split(",") if word.strip()]


def lay_out(harness: Path, bench: Path) -> Path:
    """Copy the harness and put our adapter in the place of its stub. End with a message if it is not there."""
    if not (harness / "run.py").is_file() or not (harness / "adapters").is_dir():
        sys.exit(f"No harness at {harness}: name its folder, or set BENCH_HARNESS.")
    shutil.copytree(harness, bench, ignore=shutil.ignore_patterns("__pycache__", "results"))
    for path in (bench, *bench.rglob("*")):
        path.chmod(path.stat().st_mode | 0o200)
    (bench / "results").mkdir()
    shutil.copy(ADAPTER / "django_sidekick.py", bench / "adapters" / f"{OURS}.py")
    shutil.copy(ADAPTER / "requirements.txt", bench / "requirements" / f"{OURS}.txt")
    shutil.copytree(ADAPTER / "sidekick_app", bench / "sidekick_app", ignore=shutil.ignore_patterns("__pycache__"))
    return bench


def environments() -> Path:
    """Where the environments are kept between runs: BENCH_VENVS, or the user's cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("BENCH_VENVS") or cache / "django-sidekick" / "bench-venvs")


def environment(bench: Path) -> dict[str, str]:
    from tests.settings import free_port

    return {
        "BENCH_REDIS_PORT": str(free_port()),
        **os.environ,
        "BENCH_VENVS": str(environments()),
        "BENCH_SCRATCH": str(bench.parent / "scratch"),
        "SIDEKICK_CHECKOUT": str(ROOT),
    }


def install(bench: Path, peers: list[str]) -> tuple[list[str], dict[str, str]]:
    """Make the environments that are missing or old. Return the peers that are ready, and why others are not."""
    ready, left_out = [], {}
    environments().mkdir(parents=True, exist_ok=True)
    for peer in peers:
        if why := install_one(bench, peer):
            left_out[peer] = why
            print(f"{peer} is passed over: {why}", flush=True)
        else:
            ready.append(peer)
    return ready, left_out


def install_one(bench: Path, peer: str) -> str:
    """Return why the peer cannot be run; nothing if it can. One that is there is used as it is."""
    wanted = bench / "requirements" / f"{peer}.txt"
    if not wanted.is_file():
        return "the harness does not know it"
    stamp = environments() / f"benchvenv-{peer}" / f"installed-{digest(wanted)}"
    if stamp.exists():
        return ""
    print(f"{peer} is being installed", flush=True)
    done = subprocess.run(
        ["bash", str(bench / "setup_venvs.sh"), peer],
        cwd=bench, env=environment(bench), capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        return "could not be installed: " + (done.stderr.strip().splitlines() or ["no reason given"])[-1][:160]
    stamp.touch()
    return ""


def digest(wanted: Path) -> str:
    """What was asked for: a changed requirement, or another checkout, is installed anew."""
    text = wanted.read_text() + (str(ROOT) if wanted.stem == OURS else "")
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def run(bench: Path, peers: list[str], workload: str, rounds: int) -> dict[str, Any]:
    """Run one workload. Return what the harness wrote, also where single runs in it have failed."""
    out = bench / "results" / f"piece-{workload}"
    subprocess.run(
        [sys.executable, str(bench / "run.py"), *peers, "--workloads", workload, "--rounds", str(rounds), "--out", str(out)],
        cwd=bench, env=environment(bench), stdout=subprocess.DEVNULL, check=True,
    )  # fmt: skip
    piece: dict[str, Any] = json.loads(out.with_suffix(".json").read_text())
    return piece


def merged(total: dict[str, Any], piece: dict[str, Any]) -> dict[str, Any]:
    """Return both results as one, in the harness' own form: rounds stand one after the other."""
    if not total:
        return piece
    meta, new = total["meta"], piece["meta"]
    workloads = sorted({*meta["workloads"], *new["workloads"]})
    seconds = {key: meta.get(key, 0) + new.get(key, 0) for key in ("seconds", "waited_for_lock_s")}
    most = max(rounds_of(total, piece, workload) for workload in workloads)
    both = {key: {**total[key], **piece[key]} for key in ("peers", "not_run", "once")}
    return {
        **both,
        "meta": {**new, "workloads": workloads, "rounds": most, **seconds},
        "not_run": {peer: why for peer, why in both["not_run"].items() if not has_run(peer, both["peers"])},
        "rounds": total["rounds"] + piece["rounds"],
        "crash": {**total["crash"], **piece["crash"]},
        "errors": joined(total["errors"], piece["errors"]),
        "redis_benchmark": piece["redis_benchmark"],
    }


def has_run(peer: str, variants: dict[str, Any]) -> bool:
    return any(variant.replace("-", "_").startswith(peer) for variant in variants)


def rounds_of(total: dict[str, Any], piece: dict[str, Any], workload: str) -> int:
    rows = total["rounds"] + piece["rounds"]
    return sum(any(workload in figures for figures in row.values()) for row in rows)


def joined(errors: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    return {peer: {**errors.get(peer, {}), **more.get(peer, {})} for peer in {**errors, **more}}


def write(bench: Path, total: dict[str, Any]) -> None:
    """Write peers.json, and peers.md as the harness' own report has it."""
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(total, indent=1) + "\n")
    done = subprocess.run(
        [sys.executable, str(bench / "report.py"), str(RESULT)],
        cwd=bench, capture_output=True, text=True, check=True,
    )  # fmt: skip
    RESULT.with_suffix(".md").write_text(f"# Beside the peers\n\n{done.stdout}")


if __name__ == "__main__":
    main()
