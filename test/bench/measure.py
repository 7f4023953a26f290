# SPDX-License-Identifier: LGPL-2.1-or-later
"""For the scripts in test/bench: a command, and what it and all it starts take."""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time

SAMPLE_SECONDS = 0.01

# Runs the command as its child, so that what the kernel counts for children that were waited for is the command's alone.
WRAPPER = '''
import json, os, resource, subprocess, sys, time
groups, result = json.loads(sys.argv[1]), sys.argv[2]
def io():
    with open('/proc/self/io') as f:
        return {k: int(v) for k, v in (l.split(': ') for l in f)}
def join():
    for g in groups:
        with open(g + '/cgroup.procs', 'w') as f:
            f.write(str(os.getpid()))
before, began = io(), time.monotonic()
r = subprocess.run(sys.argv[3:], preexec_fn=join)
seconds, after, usage = time.monotonic() - began, io(), resource.getrusage(resource.RUSAGE_CHILDREN)
with open(result, 'w') as f:
    json.dump({'seconds': seconds, 'cpu': usage.ru_utime + usage.ru_stime,
               'written': after['write_bytes'] - before['write_bytes'], 'read': after['read_bytes'] - before['read_bytes'],
               'wchar': after['wchar'] - before['wchar'], 'rchar': after['rchar'] - before['rchar']}, f)
sys.exit(r.returncode if r.returncode >= 0 else 128 - r.returncode)
'''


def drop_caches():
    os.sync()
    try:
        with open('/proc/sys/vm/drop_caches', 'w') as f:
            f.write('1')
    except OSError:
        pass


def read(path):
    with open(path) as f:
        return f.read()


class Group:
    """A control group of the memory controller, of either version. None where there is none to be had."""

    def __init__(self, path, old):
        self.path, self.old = path, old

    @staticmethod
    def make(limit=None):
        for line in open('/proc/mounts'):
            _, place, kind, options = line.split()[:4]
            old = kind == 'cgroup' and 'memory' in options.split(',')
            if not old and kind != 'cgroup2':
                continue
            path = f'{place}/sealab-bench-{os.getpid()}'
            try:
                if not old:
                    with open(place + '/cgroup.subtree_control', 'w') as f:
                        f.write('+memory')
                os.makedirs(path, exist_ok=True)
                if limit:
                    with open(path + ('/memory.limit_in_bytes' if old else '/memory.max'), 'w') as f:
                        f.write(str(limit))
                read(path + ('/memory.max_usage_in_bytes' if old else '/memory.current'))
                return Group(path, old)
            except OSError:
                continue
        return None

    def own(self):
        """Anonymous memory; what remains of the group is the page cache."""
        key = 'rss ' if self.old else 'anon '
        return next((int(l.split()[1]) for l in read(self.path + '/memory.stat').splitlines() if l.startswith(key)), 0)

    def peak(self):
        try:
            return int(read(self.path + ('/memory.max_usage_in_bytes' if self.old else '/memory.peak')))
        except OSError:
            return 0

    def remove(self):
        for _ in range(50):
            try:
                os.rmdir(self.path)
                return
            except OSError:
                time.sleep(0.1)


def family(pid):
    try:
        children = [int(c) for c in read(f'/proc/{pid}/task/{pid}/children').split()]
    except OSError:
        children = []
    yield pid
    for c in children:
        yield from family(c)


def resident(pid):
    """Memory of its own: anonymous pages. Mapped files are the page cache's."""
    try:
        return next((int(l.split()[1]) * 1024 for l in read(f'/proc/{pid}/status').splitlines() if l.startswith('RssAnon:')), 0)
    except OSError:
        return 0


class Measured:
    """Wall and processor time, peak memory, bytes written and read; and when each step of a job began."""

    def __init__(self, command, limit=None, cwd=None):
        self.steps, self.peak, self.last, self.group_peak = [], 0, {}, 0
        group = Group.make(limit)
        result = tempfile.NamedTemporaryFile(prefix='sealab-bench-')
        argv = [sys.executable, '-c', WRAPPER, json.dumps([group.path] if group else []), result.name, *command]
        began = time.monotonic()
        p = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=cwd)
        done = threading.Event()

        def sample():
            while not done.is_set():
                # Without a group: all but the wrapper.
                now = group.own() if group else sum(resident(x) for x in family(p.pid) if x != p.pid)
                self.peak = max(self.peak, now)
                time.sleep(SAMPLE_SECONDS)
        errors = []
        threads = [threading.Thread(target=sample), threading.Thread(target=lambda: errors.append(p.stderr.read()))]
        for t in threads:
            t.start()
        self.output = []
        for line in p.stdout:
            self.output.append(line)
            try:
                self.last = json.loads(line)
            except ValueError:
                continue
            if isinstance(self.last, dict) and 'step' in self.last and (not self.steps or self.steps[-1][0] != self.last['step']):
                self.steps.append((self.last['step'], time.monotonic() - began))
        p.wait()
        done.set()
        for t in threads:
            t.join()
        if group:
            self.group_peak = group.peak()
            group.remove()
        self.by_group = bool(group)
        if p.returncode != 0:
            raise RuntimeError(f'{command[0]} failed ({p.returncode}): {self.last or "".join(self.output)[-500:]} {errors[0][-500:]}')
        with open(result.name) as f:
            self.__dict__.update(json.load(f))

    def between(self, first, after):
        begin = next(t for s, t in self.steps if s == first)
        return next(t for s, t in self.steps if s == after and t >= begin) - begin
