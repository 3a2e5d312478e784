"""A long search in which workers and the script are killed again and again: is anything lost, done
twice, or left behind?

    python examples/benchmarks/soak.py

2,000 tiny trials; a worker is killed every 100 trials, and the script five times, which is then run
again. It takes some minutes on two cores; `--quick` has 60 trials, three dead workers and one dead
script. `--executor ray` has Ray's workers from the first trial on. `--json FILE` also writes the
figures.
"""

import argparse
import collections
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

import psutil

JOURNAL = pathlib.Path("project/.glimr_keras/journal.jsonl")
MB = 1_000_000


def search(place, trials, executor):
    """The script that is killed."""
    import glimr_keras as gk

    class Tiny(gk.HyperModel):
        def run(self, config):
            x = config.Float("x", 0.0, 1.0)
            time.sleep(0.01)
            with (place / f"{os.getpid()}.pid").open("a") as file:
                file.write(f"{x!r}\n")
            return x

    objective = gk.Objective("x", "min")
    tuner = gk.RandomSearch(
        Tiny(),
        objective,
        trials,
        directory=place,
        project_name="project",
        seed=0,
        executor=executor,
        max_failures=-1,
    )
    tuner.search(verbose=0)


def records(place):
    journal = place / JOURNAL
    return [
        json.loads(line)
        for line in journal.read_text().splitlines(keepends=True)
        if line.endswith("\n")
    ]


class Ended:
    """Counts the trials that have ended, reading what is new in the journal."""

    def __init__(self, place):
        self.journal, self.position, self.count = place / JOURNAL, 0, 0

    def __int__(self):
        if self.journal.exists():
            with self.journal.open("rb") as file:
                file.seek(self.position)
                new = file.read()
            whole = new[: new.rfind(b"\n") + 1]
            self.position += len(whole)
            self.count += whole.count(b'{"record": "end"')
        return self.count


def kill_a_worker(place):
    """Kills the process that ran the newest trial."""
    newest = max(place.glob("*.pid"), key=lambda file: file.stat().st_mtime)
    try:
        os.kill(int(newest.stem), signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def left_behind(ray_files):
    """Processes that the scripts started, and that are still there half a minute after the last.

    All of them inherit where Ray puts its files. Ray's workers write their names over their
    environment, so command lines are looked at too.
    """
    for _ in range(150):
        found = sum(
            (process.info["environ"] or {}).get("RAY_TMPDIR") == ray_files
            or any(ray_files in part for part in process.info["cmdline"] or ())
            for process in psutil.process_iter(["cmdline", "environ"])
        )
        if not found:
            break
        time.sleep(0.2)
    return found


def soak(trials, kill_workers_every, script_kills, executor):
    place, ray_files = pathlib.Path(tempfile.mkdtemp(prefix="soak-")), tempfile.mkdtemp(prefix="r-")
    environment = {**os.environ, "RAY_TMPDIR": ray_files}
    command = [sys.executable, __file__, "--search", str(place), "--trials", str(trials)]
    command += ["--executor", executor]
    ended, started = Ended(place), time.monotonic()
    workers_killed = scripts_killed = 0
    growth, files = [], []
    next_worker, next_script = kill_workers_every, trials // (script_kills + 1)
    while True:
        with subprocess.Popen(command, env=environment) as process:
            script, first = psutil.Process(process.pid), None
            begun = int(ended)
            while process.poll() is None:
                time.sleep(0.05)
                count = int(ended)
                if first is None and count >= begun + 20:
                    first = script.memory_info().rss, script.num_fds(), count
                if count >= next_worker:
                    workers_killed += kill_a_worker(place)
                    next_worker += kill_workers_every
                if count >= next_script and scripts_killed < script_kills:
                    if first is not None and count > first[2]:
                        growth.append(
                            (script.memory_info().rss - first[0]) / (count - first[2]) * 100 / MB
                        )
                        files.append(script.num_fds() - first[1])
                    process.kill()
                    scripts_killed += 1
                    next_script += trials // (script_kills + 1)
        if process.returncode == 0:
            break
        if process.returncode != -signal.SIGKILL:
            sys.exit(f"The script ended with {process.returncode}.")
    found = records(place)
    ends = collections.Counter(record["trial_id"] for record in found if record["record"] == "end")
    statuses = collections.Counter(
        record["status"] for record in found if record["record"] == "end"
    )
    ran = sum(len(file.read_text().splitlines()) for file in place.glob("*.pid"))
    return {
        "trials": trials,
        "completed": statuses["COMPLETED"],
        "ended more than once": sum(count > 1 for count in ends.values()),
        "not ended": trials - len(ends),
        "runs repeated, as they were not reported when a process was killed": ran - trials,
        "workers killed": workers_killed,
        "scripts killed": scripts_killed,
        "processes left behind": left_behind(ray_files),
        "file handles that a script gained, at most": max(files, default=0),
        "memory that a script gained in 100 trials, MB, median": sorted(growth)[len(growth) // 2]
        if growth
        else 0.0,
        "seconds": time.monotonic() - started,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--search", type=pathlib.Path, help=argparse.SUPPRESS)
    parser.add_argument("--trials", type=int, help="how many, by default 2000")
    parser.add_argument(
        "--executor",
        default="auto",
        help="auto, whose workers are forks (the default), or ray",
    )
    parser.add_argument("--quick", action="store_true", help="60 trials")
    parser.add_argument("--json", type=pathlib.Path, help="also write the figures to this file")
    given = parser.parse_args()
    if given.search is not None:
        search(given.search, given.trials, given.executor)
        sys.exit()
    trials, often = (60, (20, 1)) if given.quick else (2000, (100, 5))
    figures = soak(given.trials or trials, *often, given.executor)
    for name, value in figures.items():
        print(f"{name:70} {value:10.2f}" if isinstance(value, float) else f"{name:70} {value:10}")
    if given.json is not None:
        given.json.write_text(json.dumps(figures))
    is_whole = figures["completed"] == figures["trials"] and not (
        figures["ended more than once"] or figures["not ended"] or figures["processes left behind"]
    )
    sys.exit(None if is_whole else "Something was lost, done twice, or left behind.")
