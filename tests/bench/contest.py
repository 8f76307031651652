"""Processes that take turns on the same CPUs.

Each contestant is a worker (peers.py) in a session of its own. All but the one whose turn it is are stopped, so that threads
that spin or work in the background while idle disturb nobody. The order rotates by one every round, and the first inferences of
a turn, which bring a contestant's data back into the caches, are thrown away.
"""
import os
import signal
import subprocess
import threading
import time

START_SECONDS, ANSWER_SECONDS = 300, 120


class Failed(Exception):
    pass


def cpu_seconds(process):
    with open(f"/proc/{process}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_bytes(process):
    with open(f"/proc/{process}/status") as file:
        for line in file:
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
    return 0


def end(status):
    """Of a process, in words."""
    return f"killed by {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"


class Contestant:
    def __init__(self, name, command, output, environment=None):
        self.name, self.command, self.output, self.environment = name, command, output, environment or {}
        self.log = output + ".log"
        self.times, self.cpu, self.wall, self.doubtful = [], 0.0, 0.0, None
        self.process, self.resident, self.error, self.cosine = None, 0, None, None

    def start(self, cpus, threads):
        """Until `ready`: `cold` is the time from before exec. Stopped afterwards."""
        if os.path.exists(self.output):
            os.remove(self.output)
        environment = dict(os.environ, OMP_NUM_THREADS=str(threads), MKL_NUM_THREADS=str(threads), **self.environment)
        before = os.sched_getaffinity(0)
        begin = time.perf_counter()
        with open(self.log, "w") as log:
            os.sched_setaffinity(0, cpus)  # inherited
            try:
                self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
                                                text=True, env=environment, start_new_session=True)
            except OSError as fault:
                raise Failed(str(fault)) from fault
            finally:
                os.sched_setaffinity(0, before)
        with self.limit(START_SECONDS):
            while self.line() != "ready":
                pass
        self.cold = time.perf_counter() - begin
        self.signal(signal.SIGSTOP)

    def limit(self, seconds):
        """Kills a worker that does not answer in time; reading from it then fails."""
        return _Limit(seconds, lambda: self.signal(signal.SIGKILL))

    def line(self):
        line = self.process.stdout.readline()
        if not line:
            with open(self.log, errors="replace") as log:
                last = [text.strip() for text in log if text.strip()][-1:]
            raise Failed(f"the worker ended, {end(self.process.wait())}: {last[0][:200] if last else 'without a word'}")
        return line.strip()

    def signal(self, number):
        try:
            os.killpg(self.process.pid, number)
        except ProcessLookupError:
            pass

    def ask(self, count):
        self.process.stdin.write(f"run {count}\n")
        self.process.stdin.flush()
        with self.limit(ANSWER_SECONDS):
            return [float(self.line()) for _ in range(count)]

    def turn(self, count, warm_up, keep=True):
        """`count` inferences after `warm_up` ones; their times. A turn whose times do not add up to what passed here, as on a
        machine with other work, does not count."""
        self.signal(signal.SIGCONT)
        try:
            if warm_up:
                self.ask(warm_up)
            cpu, begin = cpu_seconds(self.process.pid), time.perf_counter()
            times = self.ask(count)
            wall = time.perf_counter() - begin
            if abs(wall * 1e3 - sum(times)) > 0.1 * wall * 1e3 + 2:
                self.doubtful = f"answers of {sum(times):.1f} ms took {wall * 1e3:.1f} ms"
            elif keep:
                self.cpu += cpu_seconds(self.process.pid) - cpu
                self.wall += wall
                self.times += times
                self.resident = resident_bytes(self.process.pid)
        except (BrokenPipeError, ValueError) as fault:
            raise Failed(f"the worker broke off: {fault}") from fault
        finally:
            self.signal(signal.SIGSTOP)
        return times

    def stop(self):
        if self.process is None:
            return
        self.signal(signal.SIGKILL)  # the process group that start made
        self.process.wait()


class _Limit:
    def __init__(self, seconds, action):
        self.timer = threading.Timer(seconds, action)

    def __enter__(self):
        self.timer.start()

    def __exit__(self, *_):
        self.timer.cancel()


def run(contestants, cpus, threads, rounds, turn_seconds, check, note):
    """Starts all, checks each one's output (`check` raises Failed), and lets them take turns. Gives those that went through and
    (contestant, reason) of the others."""
    fit, failed = [], []

    def attempt(contestant, action):
        try:
            action()
            return True
        except Failed as fault:
            note(f"{contestant.name}: {fault}")
            failed.append((contestant, str(fault)))
            contestant.stop()
            return False

    def begin(contestant):
        contestant.start(cpus, threads)
        check(contestant)
        first = min(contestant.turn(1, 1, keep=False)) / 1e3
        contestant.per_turn = max(1, min(200, round(turn_seconds / first)))
        note(f"{contestant.name}: ready after {contestant.cold:.2f} s, {first * 1e3:.2f} ms")

    try:
        fit = [contestant for contestant in contestants if attempt(contestant, lambda: begin(contestant))]
        for turn in range(rounds):
            first = turn % max(1, len(fit))
            for contestant in fit[first:] + fit[:first]:
                if not attempt(contestant, lambda: contestant.turn(contestant.per_turn, 1)):
                    fit = [other for other in fit if other is not contestant]
            note(f"round {turn + 1} of {rounds}")
        failed += [(contestant, contestant.doubtful) for contestant in fit if not contestant.times]
        fit = [contestant for contestant in fit if contestant.times]
    finally:
        for contestant in contestants:
            contestant.stop()
    return fit, failed
