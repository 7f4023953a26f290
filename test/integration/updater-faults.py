#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# updater-faults.py SEALABD SHORT-WRITES FOLDER all|NUMBER [SCENARIO...]: breaks jobs off at their durable calls, one each time.
#
# The jobs and what must hold are those of fault_machine.py. First a run under strace lists every call of the job's own process
# that changes something: creating, writing, syncing, renaming, removing. Then for each of them the job is run again and killed on
# entering it; or the call fails with EIO, ENOSPC or EINTR; or it and all of its kind from then on fail with EIO or ENOSPC; or it
# writes only half (SHORT-WRITES is libshort-writes.so). Nothing but these calls changes anything, so what is there before one
# is what is there after the one before.
#
# After each: what runs is as it was; an entry of 2 is there only if 2 is complete behind it; the state is readable; and one
# more run brings it to its end, with the right bytes everywhere. NUMBER: a sample of about so many cases over all of it, of which
# each kind of job has its share.

import collections, concurrent.futures, os, re, shutil, subprocess, sys, threading

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(__file__))
from fault_machine import SCENARIOS, Machine, World, Wrong, check, expect, prepared

WRITES = ("write", "pwrite64", "pwritev")
CALLS = (*WRITES, "fsync", "fdatasync", "sync_file_range", "rename", "renameat", "renameat2", "unlink", "unlinkat", "ftruncate",
         "fallocate", "copy_file_range", "openat", "ioctl", "mkdir", "mkdirat")
FAULTS = ["signal=KILL", "error=EIO", "error=ENOSPC", "error=EINTR", "error=EIO+", "error=ENOSPC+"]
REFUSALS = ("system", "no-space", "hash-mismatch", "machine")

program, short_writes, folder, wanted = sys.argv[1:5]
world = World(program, folder)
Case = collections.namedtuple("Case", "scenario template call number what fault")
place = threading.local()


# What goes to standard output and error, or asks and changes nothing, counts but is not a case.
def changes(call, arguments):
    if re.match(r"[12]<", arguments) and call in WRITES:
        return False
    if call == "openat":
        return re.search(r"O_CREAT|O_TMPFILE|O_TRUNC", arguments) is not None
    return call != "ioctl" or re.search(r"BLK(RRPART|FLSBUF|PG)", arguments) is not None


def list_calls(scenario, template):
    m = template.copy(folder + "/traced")
    trace = folder + "/trace"
    status, last = m.job(*scenario.command, wrap=["strace", "-qq", "-y", "-s0", "-o", trace, "-e", "trace=" + ",".join(CALLS)])
    expect(status == 0, f"{scenario.name} without any fault: {last}")
    check(scenario, m)
    counts, calls = collections.Counter(), []
    with open(trace, errors="replace") as f:
        for line in f:
            match = re.match(r"(\w+)\((.*)", line)
            if not match:
                continue
            counts[match[1]] += 1
            if changes(match[1], match[2]):
                calls.append((match[1], counts[match[1]], re.sub(r"0x\w+|<[^>]*/", "", match[2])[:60]))
    return calls


def wrap_of(case):
    kind, forever = case.fault.rstrip("+"), case.fault.endswith("+")
    return ["strace", "-qq", "-o", "/dev/null", "-e", "trace=" + case.call,
            "-e", f"inject={case.call}:{kind}:when={case.number}{'+' if forever else ''}"]


def one(case):
    if not hasattr(place, "path"):
        place.path = f"{folder}/machine-{threading.get_ident()}"
    m = case.template.copy(place.path)
    if case.fault == "short":
        status, last = m.job(*case.scenario.command, env={**os.environ, "LD_PRELOAD": short_writes, "SHORT_WRITE": str(case.number)})
        expect(status == 0, f"a short write: {last}")
    else:
        status, last = m.job(*case.scenario.command, wrap=wrap_of(case))
    killed = case.fault.startswith("signal")
    expect(not killed or status in (-9, 137), f"was not killed: {status}")
    # From then on nobody can be told, either.
    mute = case.call == "write" and case.fault.endswith("+")
    expect(killed or status == 0 or last.get("result") in REFUSALS or (mute and not last.get("result")), f"refusal: {last}")
    check(case.scenario, m)
    return status == 0


def all_cases(scenario, template, calls):
    l = [Case(scenario, template, *c, f) for c in calls for f in FAULTS]
    # The preload counts writes of all kinds together; 0 is every one of them.
    l += [Case(scenario, template, "write", n, "short", "short") for n in range(sum(c[0] in WRITES for c in calls) + 1)]
    return l


def sample(cases, number):
    step = max(1.0, len(cases) / number)
    chosen = [cases[int(i * step)] for i in range(min(number, len(cases)))]
    if cases[0].scenario.command == ("update",):
        chosen += [c for c in cases if c.call.startswith("rename") and c.fault == "signal=KILL"]
    chosen += [c for c in cases if c.fault == "short" and c.number == 0]
    return list(dict.fromkeys(chosen))


def report_case(case):
    try:
        return one(case), None
    except (Wrong, OSError, ValueError, KeyError) as e:
        return False, f"{case.scenario.name}: {case.call} {case.number} ({case.what}), {case.fault}: {e!r}"


def main():
    chosen = [k for k in SCENARIOS if not sys.argv[5:] or k.name in sys.argv[5:]]
    wrong = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for kind in chosen:
            scenario, template = prepared(world, kind)
            calls = list_calls(scenario, template)
            cases = all_cases(scenario, template, calls)
            run = cases if wanted == "all" else sample(cases, max(int(wanted) // kind.share, 3))
            results = list(pool.map(report_case, run))
            complaints = [c for _, c in results if c]
            wrong += len(complaints)
            print(*complaints, sep="\n", end="\n" if complaints else "")
            print(f"{kind.name}: {len(calls)} durable calls, {len(cases)} cases, {len(run)} run "
                  f"({sum(s for s, _ in results)} without consequence), {len(complaints)} wrong", flush=True)
    for path in os.listdir(folder):
        if path.startswith("machine-"):
            shutil.rmtree(f"{folder}/{path}", ignore_errors=True)
    print(f"{wrong} wrong")
    sys.exit(1 if wrong else 0)


main()
