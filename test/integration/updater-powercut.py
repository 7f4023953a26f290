#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# updater-powercut.py SEALABD FOLDER NUMBER [SCENARIO...]: what a power cut may leave of a job, between any two flushes.
#
# The jobs and what must hold are those of fault_machine.py. strace records what a job writes, creates, renames and removes, and
# what it syncs. Until a file is synced any of the sectors written to it may be on the disk or not, in any order, and its length
# may be the old or the new one; until its folder is synced a name may be what it was or anything that it has been since (a FAT
# has no journal: after a rename there may be both names, or none). From that, for each window between two flushes, states of
# the machine are made: all of them where the window has few parts, otherwise a sample, always the same for the same job, with
# nothing, everything, whole writes and torn ones. EFI variables are the firmware's, and stored at once. On each of these states
# the rules must hold, and the next runs must bring the job to its end. NUMBER is how many states a window gives at most.
#
# A disk that only says that it has flushed breaks the rules: that must be found (--lying), or nothing would be.

import collections, concurrent.futures, itertools, os, random, re, shutil, subprocess, sys, threading

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(__file__))
from fault_machine import EFIVARS, SCENARIOS, Machine, World, Wrong, check, expect, prepared

SECTOR = 512
CALLS = "openat,write,pwrite64,ftruncate,rename,renameat,renameat2,unlink,unlinkat,mkdir,mkdirat,fsync,fdatasync"
FORBIDDEN = "pwritev,copy_file_range,fallocate,link,linkat,symlinkat,sync,syncfs,sync_file_range"


def unhex(text):
    return bytes.fromhex(text.replace("\\x", ""))


class File:
    """What is known to be on the disk, and the parts that may be: (offset, bytes) or (None, length)."""

    def __init__(self, data=b""):
        self.data, self.parts, self.size, self.touched = bytearray(data), [], len(data), set()

    def write(self, offset, data):
        if offset + len(data) > self.size:
            self.resize(offset + len(data))
        known = bytes(self.data[offset:offset + len(data)]).ljust(len(data), b"\0")
        at = 0
        while at < len(data):
            end = min(at + SECTOR - (offset + at) % SECTOR, len(data))
            # What is there already is no part, unless something else may have come in between.
            sector = (offset + at) // SECTOR
            if data[at:end] != known[at:end] or sector in self.touched:
                self.parts.append((offset + at, data[at:end]))
                self.touched.add(sector)
            at = end

    def resize(self, size):
        self.size = size
        self.parts.append((None, size))

    def flushed(self):
        self.data, self.parts, self.touched = self.with_parts(self.parts), [], set()

    def with_parts(self, parts):
        data, size = bytearray(self.data), len(self.data)
        for offset, piece in parts:
            if offset is None:
                size = piece
        for offset, piece in parts:
            if offset is not None:
                if len(data) < offset + len(piece):
                    data.extend(bytes(offset + len(piece) - len(data)))
                data[offset:offset + len(piece)] = piece
        return data[:size].ljust(size, b"\0")


class Model:
    """Folders hold names; a name is a File, "folder", or None. names: what is on the disk; maybe: [(folder, name, value)] since."""

    def __init__(self, root):
        self.root, self.names, self.maybe, self.current, self.files = root, {}, [], {}, []
        for folder, folders, files in os.walk(root):
            for n in folders:
                self.names[os.path.join(folder, n)] = "folder"
            for n in files:
                with open(os.path.join(folder, n), "rb") as f:
                    self.names[os.path.join(folder, n)] = self.file(f.read())
        self.current = dict(self.names)

    def file(self, data=b""):
        f = File(data)
        self.files.append(f)
        return f

    def inside(self, path):
        return path.startswith(self.root + "/") and not path.endswith(" (deleted)")

    # The firmware has stored an EFI variable when the call returns.
    def is_firmware(self, path):
        return (path + "/").startswith(self.root + EFIVARS)

    def put(self, path, value):
        if not self.inside(path):
            return
        self.current[path] = value
        if self.is_firmware(path):
            self.names[path] = value
        else:
            self.maybe.append((path, value))

    def rename(self, old, new):
        value = self.current.get(old)
        self.put(old, None)
        self.put(new, value)

    def sync(self, path):
        value = self.current.get(path)
        if isinstance(value, File):
            value.flushed()
        elif value == "folder" or path == self.root:
            for p, v in [m for m in self.maybe if os.path.dirname(m[0]) == path]:
                self.names[p] = v
            self.maybe = [m for m in self.maybe if os.path.dirname(m[0]) != path]

    # What a cut may leave or not: [(None, (path, value)) | (file, part)]; each second is an object of its own.
    def units(self):
        return [(None, m) for m in self.maybe] + [(f, p) for f in self.files for p in f.parts]


def arguments(text):
    return re.findall(r'"((?:\\x[0-9a-f]{2})*)"', text)


def path_of(fd_path, name):
    return os.path.join(unhex(fd_path).decode(), unhex(name).decode())


class Recording:
    """Reads a trace line by line and keeps the model."""

    def __init__(self, model):
        self.model, self.offsets = model, {}

    def line(self, text):
        match = re.match(r"(\w+)\((.*)\) += (-?\d+)(.*)", text, re.S)
        if not match or int(match[3]) < 0:
            return None
        call, args, result = match[1], match[2], int(match[3])
        handler = getattr(self, "do_" + call.replace("renameat2", "renameat").replace("fdatasync", "fsync"))
        return handler(args, result, match[4])

    def folder_and_name(self, args):
        return [path_of(f or "", n) for f, n in re.findall(r'(?:AT_FDCWD|\d+)<((?:\\x[0-9a-f]{2})*)>, "((?:\\x[0-9a-f]{2})*)"', args)]

    def fd_path(self, args):
        match = re.match(r"(\d+)<((?:\\x[0-9a-f]{2})*)>", args)
        return match[1], unhex(match[2]).decode(errors="replace") if match else ""

    def do_openat(self, args, fd, rest):
        self.offsets[str(fd)] = 0
        path = self.folder_and_name(args)[0]
        if not self.model.inside(path):
            return
        there = self.model.current.get(path)
        if there is None and "O_CREAT" in args:
            self.model.put(path, self.model.file())
        elif isinstance(there, File) and "O_TRUNC" in args:
            there.resize(0)

    def do_write(self, args, n, rest):
        fd, path = self.fd_path(args)
        f = self.model.current.get(path)
        if isinstance(f, File):
            f.write(self.offsets.get(fd, 0), unhex(arguments(args)[0])[:n])
            if self.model.is_firmware(path):
                f.flushed()
        self.offsets[fd] = self.offsets.get(fd, 0) + n

    def do_pwrite64(self, args, n, rest):
        path, f = self.fd_path(args)[1], None
        f = self.model.current.get(path)
        if isinstance(f, File):
            f.write(int(args.rsplit(", ", 1)[1]), unhex(arguments(args)[0])[:n])

    def do_ftruncate(self, args, n, rest):
        f = self.model.current.get(self.fd_path(args)[1])
        if isinstance(f, File):
            f.resize(int(args.rsplit(", ", 1)[1]))

    def do_renameat(self, args, n, rest):
        self.model.rename(*self.folder_and_name(args))

    def do_unlinkat(self, args, n, rest):
        expect("AT_REMOVEDIR" not in args, "the model knows no removed folders")
        self.model.put(self.folder_and_name(args)[0], None)

    def do_mkdirat(self, args, n, rest):
        self.model.put(self.folder_and_name(args)[0], "folder")

    def do_fsync(self, args, n, rest):
        path = self.fd_path(args)[1]
        return path if self.model.inside(path) or path == self.model.root else None


def subsets(units, old, number, chance):
    """Of what came since the flush before, and of what was left over from earlier ones by chance."""
    new = [u for u in units if id(u[1]) not in old] if old else units
    rest = [u for u in units if id(u[1]) in old] if old else []
    if len(new) < 16 and 2 ** len(new) <= number:
        chosen = [list(itertools.compress(new, bits)) for bits in itertools.product((0, 1), repeat=len(new))]
    else:
        chosen = [[], new]
        while len(chosen) < number:
            kind = len(chosen) % 4
            if kind == 0:    # up to somewhere
                chosen.append(new[:chance.randrange(len(new) + 1)])
            elif kind == 1:  # all but one
                i = chance.randrange(len(new))
                chosen.append(new[:i] + new[i + 1:])
            elif kind == 2:  # in runs, as writes are
                keep, l = chance.random() < 0.5, []
                for u in new:
                    keep = keep if chance.random() < 0.98 else not keep
                    l += [u] * keep
                chosen.append(l)
            else:
                chosen.append([u for u in new if chance.random() < 0.5])
    for c in chosen:
        yield [u for u in rest if chance.random() < 0.5] + c


State = collections.namedtuple("State", "scenario template what files")


def snapshot(model, units):
    """-> {path: bytes, "folder"}: the machine after a cut that left these."""
    names = dict(model.names)
    parts = collections.defaultdict(list)
    for f, what in units:
        if f:
            parts[id(f)].append(what)
        else:
            names[what[0]] = what[1]
    there = {}
    for path, value in sorted(names.items()):
        parent = os.path.dirname(path)
        if value is not None and (parent == model.root or there.get(parent) == "folder"):
            there[path] = value if value == "folder" else value.with_parts(parts[id(value)])
    return {os.path.relpath(p, model.root): v for p, v in there.items()}


def states(scenario, template, folder, number, lying):
    m = template.copy(folder + "/traced")
    # systemd made it (StateDirectory=).
    os.makedirs(m.path + "/state", exist_ok=True)
    model = Model(m.path)
    recording, trace = Recording(model), folder + "/trace"
    status, last = m.job(*scenario.command, wrap=["strace", "-qq", "-y", "-xx", "-s", str(8 << 20), "-o", trace, "-e",
                                                  f"trace={CALLS},{FORBIDDEN}"])
    expect(status == 0, f"{scenario.name}: {last}")
    chance, old, window = random.Random(scenario.name), set(), 0
    lines = open(trace, errors="replace")
    for text in itertools.chain(lines, [None]):
        if text and text.startswith(tuple(c + "(" for c in FORBIDDEN.split(","))) and "= -1" not in text:
            expect(False, f"the model does not know {text[:40]}")
        flushed = recording.line(text) if text else "the end"
        if not flushed:
            continue
        units = model.units()
        if not (lying and text) and any(id(u[1]) not in old for u in units):
            window += 1
            for i, chosen in enumerate(subsets(units, old, number, chance)):
                yield State(scenario, template, f"before flush {window} ({flushed.rsplit(m.path)[-1]}), state {i}, {len(chosen)} of "
                            f"{len(units)} parts", snapshot(model, chosen))
        if text and not lying:
            model.sync(flushed)
        kept = model.units()
        # Held, so that no other object gets the same id.
        model.old = kept
        old = set() if lying else {id(u[1]) for u in kept}
    lines.close()


place = threading.local()


def build(state, path):
    shutil.rmtree(path, ignore_errors=True)
    os.makedirs(path)
    for name, value in state.files.items():
        target = os.path.join(path, name)
        if value == "folder":
            os.mkdir(target)
        else:
            with open(target, "wb") as f:
                f.write(value)
    return Machine(state.template.world, path, state.template.runs, state.template.served)


def one(state, folder):
    if not hasattr(place, "path"):
        place.path = f"{folder}/machine-{threading.get_ident()}"
    try:
        check(state.scenario, build(state, place.path))
    except (Wrong, OSError, ValueError, KeyError, subprocess.CalledProcessError) as e:
        return f"{state.scenario.name}: {state.what}: {e!r}"
    return None


def main():
    program, folder, number = sys.argv[1:4]
    lying = "--lying" in sys.argv
    names = [a for a in sys.argv[4:] if not a.startswith("--")]
    world, wrong, total = World(program, folder), 0, 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for kind in (k for k in SCENARIOS if not names or k.name in names):
            scenario, template = prepared(world, kind)
            running, complaints, n = collections.deque(), [], 0
            for state in states(scenario, template, folder, int(number), lying):
                n += 1
                running.append(pool.submit(one, state, folder))
                while len(running) > 8:
                    complaints.append(running.popleft().result())
            complaints = [c for c in complaints + [r.result() for r in running] if c]
            wrong, total = wrong + len(complaints), total + n
            print(*complaints[:20], sep="\n", end="\n" if complaints else "")
            print(f"{kind.name}: {n} states, {len(complaints)} wrong", flush=True)
    for path in os.listdir(folder):
        if path.startswith("machine-"):
            shutil.rmtree(f"{folder}/{path}", ignore_errors=True)
    print(f"{total} states, {wrong} wrong")
    sys.exit(1 if bool(wrong) != lying else 0)


main()
