#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# delta.py SEALABD FOLDER CUTS [NAME...]: "sealabd job update" from 1 to 2 by each way, and from each way to the next, one result
# line for each case. FOLDER is that of delta.sh: pristine (a machine that runs 1), releases, repo (2 with deltas), repo-bad (whose
# delta makes another image). A web server counts what it sends.
#
# CUTS: how often an update by each way is cut, at random: the server closes the connection; and half as often the job is killed.
# What is sent in all must be at most 1 % more than without a cut, or one frame of the pack, which is 1 % of so little; and, where
# the job was killed, what was on its way then.

import fnmatch, glob, importlib.util, json, os, random, shutil, signal, subprocess, sys, threading, time

spec = importlib.util.spec_from_file_location("server", os.path.join(os.path.dirname(__file__), "hostile-server.py"))
server = importlib.util.module_from_spec(spec)
spec.loader.exec_module(server)

program, folder, cuts = sys.argv[1], sys.argv[2], int(sys.argv[3])
only = sys.argv[4:]
BLOCK = 4096
FRAME = 20000
ON_ITS_WAY = 512 << 10  # in the sockets' buffers of both sides
USR_DELTA, UKI_DELTA, INDEX, MAP, PACK, UKI = "*.usr.delta", "*.uki.delta", "*.usr.index", "*.usr.map", "*.usr.pack", "*.efi"
UKI_MAP = "*.efi.map"
random.seed(5)


class Failure(Exception):
    pass


def expect(condition, what):
    if not condition:
        raise Failure(what)


def read(path):
    with open(path, "rb") as f:
        return f.read()


def release(version, part):
    return read(f"{folder}/releases/desk_{version}/desk_{version}.{part}")


def partition(disk, label):
    table = json.loads(subprocess.run(["sfdisk", "--json", disk], check=True, capture_output=True).stdout)["partitiontable"]
    return next(p["start"] * 512 for p in table["partitions"] if p.get("name") == label)


class Web(server.Server):
    """Counts targets; closes the connection once when so many bytes of them are sent."""

    def __init__(self, repository="repo", rules=(), cut=None):
        self.sent, self.cut_at, self.on_cut = 0, cut, None
        self.sent_of = {}
        super().__init__(f"{folder}/{repository}", [*rules, ("*", Web.serve_file, None)])

    @staticmethod
    def serve_file(r):
        w = r.server
        if r.file is None or not r.path.startswith("targets/"):
            return r.honest()
        r.head(206 if r.ranged else 200, f"Content-Length: {len(r.part)}", f"Content-Range: bytes {r.first}-{r.last}/{len(r.file)}")
        for at in range(0, len(r.part), 4096):
            piece = r.part[at:at + 4096]
            if w.cut_at is not None and w.sent + len(piece) >= w.cut_at:
                piece, w.cut_at, r.keep = piece[:w.cut_at - w.sent], None, False
            r.raw(piece)
            w.sent += len(piece)
            w.sent_of[r.path] = w.sent_of.get(r.path, 0) + len(piece)
            if not r.keep:
                if w.on_cut:
                    w.on_cut()
                return


class Machine:
    def __init__(self, name, change=None):
        self.folder = f"{folder}/machines/{name}"
        shutil.rmtree(self.folder, ignore_errors=True)
        subprocess.run(["cp", "-a", "--sparse=always", folder + "/pristine", self.folder], check=True)
        self.disk = self.folder + "/disk"
        self.old, self.tree = partition(self.disk, "desk_1"), partition(self.disk, "desk_1_verity")
        self.child = None
        if change:
            change(self)

    def flip(self, offset, size=1):
        with open(self.disk, "r+b") as f:
            f.seek(offset)
            data = f.read(size)
            f.seek(offset)
            f.write(bytes(b ^ 0xff for b in data))

    def change_entry(self, *places):
        path = self.folder + "/esp/EFI/Linux/desk_1.efi"
        data = bytearray(read(path))
        for at in places or (len(data) // 2,):
            data[at] ^= 0xff
        with open(path, "wb") as f:
            f.write(data)

    # No block of the kernel image is what it was; what tells whose it is remains.
    def spoil_entry(self):
        data = read(self.folder + "/esp/EFI/Linux/desk_1.efi")
        line = data.index(b"usrhash=") // BLOCK
        self.change_entry(*(at for at in range(0x28, len(data), BLOCK) if at // BLOCK != line))

    def job(self, kind, *arguments):
        argv = [program, "job", kind, "--root", self.folder + "/root", "--disk", self.disk, "--boot", self.folder + "/esp", "--running",
                release(1, "usr.roothash").decode().strip(), "--state", self.folder + "/state", "--anchor",
                folder + "/repo/metadata/1.root.json", *arguments]
        with open(self.folder + "/log", "ab") as log:
            self.child = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=log)
            out = self.child.communicate(timeout=300)[0]
        lines = out.decode().splitlines()
        return self.child.returncode, json.loads(lines[-1]) if lines else {}

    def update(self, web, *arguments):
        return self.job("update", "--repository", web.url, "--stall", "3", *arguments)

    def history(self):
        return self.job("history")[1]["data"][-1]

    def check_result(self):
        disk = read(self.disk)
        for label, part in (("desk_2", "usr.erofs"), ("desk_2_verity", "usr.verity"), ("desk_2_verity_sig", "usr.verity-sig")):
            at, data = partition(self.disk, label), release(2, part)
            expect(disk[at:at + len(data)] == data, f"{part} in the slot is not that of 2")
        expect(read(glob.glob(f"{self.folder}/esp/EFI/Linux/desk_2+*.efi")[0]) == release(2, "efi"), "the entry is not the release's UKI")
        left = os.listdir(self.folder + "/state/cache") if os.path.exists(self.folder + "/state/cache") else []
        expect(not left, f"left in the cache: {left}")
        expect(not glob.glob(f"{self.folder}/esp/EFI/Linux/.*"), "something is left on the ESP")


def install(m, web, clean=True):
    status, last = m.update(web)
    expect(status == 0 and last.get("result") == "done", f"{last}")
    m.check_result()
    h = m.history()
    expect(not clean or h["bytes"] == web.sent, f"history says {h['bytes']} bytes, the server {web.sent}")
    return h


def requests(web):
    return sorted({os.path.basename(n) for n in web.totals if not n.endswith(".json")})


def nothing_was_fetched(web, *patterns):
    for p in patterns:
        expect(not any(fnmatch.fnmatch(n, p) for n in web.totals), f"{p} was fetched: {requests(web)}")


# --- each way ---------------------------------------------------------------------------------------------------------------------

def an_update_by_delta(m):
    web = Web()
    plan = m.job("check", "--repository", web.url)[1]["data"]
    expect(plan["usrWay"] == plan["ukiWay"] == "delta" and not plan["atMost"], f"{plan}")
    h = install(m, web)
    expect((h["usrWay"], h["ukiWay"]) == ("delta", "delta"), f"{h}")
    expect(h["bytes"] == h["plannedBytes"] == plan["downloadBytes"], f"{h['bytes']} instead of {plan['downloadBytes']} bytes")
    nothing_was_fetched(web, INDEX, MAP, PACK, UKI)


def without_a_delta_by_what_is_here(m):
    web = Web("repo-plain")
    plan = m.job("check", "--repository", web.url)[1]["data"]
    expect(plan["usrWay"] == plan["ukiWay"] == "reuse" and plan["atMost"], f"{plan}")
    h = install(m, web)
    expect((h["usrWay"], h["ukiWay"]) == ("reuse", "reuse"), f"{h}")
    expect(h["bytes"] * 3 < plan["downloadBytes"], f"{h}")
    sent = sum(n for path, n in web.sent_of.items() if fnmatch.fnmatch(path, UKI))
    expect(0 < sent < len(release(2, "efi")) / 4, f"{sent} bytes of the kernel image")


def nothing_to_use(m):
    m.flip(m.tree, 512)
    m.spoil_entry()


def with_nothing_to_use_as_a_whole(m):
    nothing_to_use(m)
    web = Web("repo-plain")
    h = install(m, web)
    expect(h["usrWay"] == "full" and h["ukiWay"] == "full", f"{h}")


# --- from one to the next -----------------------------------------------------------------------------------------------------------

def install_without_everything(m, web, usr_way, limit):
    h = install(m, web)
    expect(h["usrWay"] == usr_way, f"{h}")
    expect(h["bytes"] < limit, f"{h['bytes']} bytes")
    return h


def a_block_that_rots_under_a_copy_is_fetched(m):
    m.flip(m.old + 100 * BLOCK + 7)
    web = Web()
    plan = m.job("check", "--repository", web.url)[1]["data"]["downloadBytes"]
    install_without_everything(m, web, "delta+full", plan + os.path.getsize(glob.glob(folder + "/repo/targets/desk/2/" + INDEX)[0]) + 40000)


def a_block_that_rots_in_a_window_is_fetched(m):
    m.flip(m.old + 13 * BLOCK + 7)
    web = Web()
    plan = m.job("check", "--repository", web.url)[1]["data"]["downloadBytes"]
    install_without_everything(m, web, "delta+full", plan + os.path.getsize(glob.glob(folder + "/repo/targets/desk/2/" + INDEX)[0]) + 80000)


def a_delta_that_is_not_there(m):
    h = install(m, Web(rules=[(USR_DELTA, lambda r: r.head(404, "Content-Length: 0"), None)]))
    expect(h["usrWay"].startswith("reuse") and h["ukiWay"] == "delta", f"{h}")


def not_there(r): r.head(404, "Content-Length: 0")


def a_delta_of_the_uki_that_is_not_there(m):
    h = install(m, Web(rules=[(UKI_DELTA, not_there, None)]))
    expect(h["usrWay"] == "delta" and h["ukiWay"] == "reuse", f"{h}")


def neither_delta_nor_map_of_the_uki(m):
    web = Web(rules=[(UKI_DELTA, not_there, None), (UKI_MAP, not_there, None)])
    h = install(m, web)
    expect(h["usrWay"] == "delta" and h["ukiWay"] == "full", f"{h}")


def a_map_of_the_uki_that_was_changed(m):
    web = Web("repo-plain", rules=[(UKI_MAP, payload_changed, None)])
    h = install(m, web, clean=False)
    expect(h["ukiWay"] == "full", f"{h}")


# What comes in ranges is noticed block by block; as a whole it is right at last.
def blocks_of_the_uki_that_were_changed(m):
    def changed(r):
        if len(r.part) < len(r.file):
            r.part = bytes(b ^ 1 for b in r.part)
        Web.serve_file(r)
    web = Web("repo-plain", rules=[(UKI, changed, None)])
    h = install(m, web, clean=False)
    expect(h["ukiWay"] == "full", f"{h}")


def blocks_of_the_uki_that_were_changed_on_one_mirror(m):
    def changed(r):
        r.part = bytes(b ^ 1 for b in r.part)
        Web.serve_file(r)
    bad, good = Web("repo-plain", rules=[(UKI, changed, None)]), Web("repo-plain")
    status, last = m.update(bad, "--repository", good.url)
    expect(status == 0, f"{last}")
    m.check_result()
    expect(m.history()["ukiWay"] == "reuse", f"{m.history()}")


def a_uki_that_is_not_what_it_was(m):
    m.change_entry()
    h = install(m, Web())
    expect(h["usrWay"] == "delta" and h["ukiWay"] == "reuse", f"{h}")


def a_uki_of_which_nothing_is_what_it_was(m):
    m.spoil_entry()
    h = install(m, Web())
    expect(h["usrWay"] == "delta" and h["ukiWay"] == "full", f"{h}")


def a_delta_that_makes_something_else(m):
    h = install(m, Web("repo-bad"))
    expect(h["usrWay"] == "delta+full", f"{h}")


def another_head(m):
    def garbage(r):
        r.part = bytes(len(r.part))
        Web.serve_file(r)
    h = install(m, Web(rules=[(USR_DELTA, garbage, None)]))
    expect(h["usrWay"].startswith("reuse"), f"{h}")


def payload_changed(r):
    size = len(r.file)
    data = bytearray(r.file)
    for at in range(size // 2, size, 20000):
        data[at] ^= 0x10
    r.part = bytes(data)[r.first:r.last + 1]
    Web.serve_file(r)


def a_payload_that_was_changed(m):
    web = Web(rules=[(USR_DELTA, payload_changed, None)])
    h = install(m, web, clean=False)
    expect(h["usrWay"].startswith("delta+"), f"{h}")


def a_payload_that_was_changed_on_one_mirror(m):
    bad, good = Web(rules=[(USR_DELTA, payload_changed, None)]), Web()
    status, last = m.update(bad, "--repository", good.url)
    expect(status == 0, f"{last}")
    m.check_result()
    expect(m.history()["usrWay"] == "delta", f"{m.history()}")


def an_endless_delta(m):
    def endless(r):
        r.head(206, f"Content-Range: bytes {r.first}-{r.last}/{len(r.file)}")
        r.keep = False
        r.raw(r.part)
        for _ in range(1000):
            r.raw(bytes(4096))
    status, last = m.update(Web(rules=[(USR_DELTA, endless, None)]))
    expect(status == 0, f"{last}")
    m.check_result()


def a_delta_that_ends_early(m):
    def short(r):
        r.file = r.file[:len(r.file) // 2]
        r.part = r.file[r.first:r.last + 1]
        Web.serve_file(r)
    h = install(m, Web(rules=[(USR_DELTA, short, None)]))
    expect("delta" not in h["usrWay"].split("+") or "+" in h["usrWay"], f"{h}")


# What is here cannot be used, and there is no delta.
def nobody_pays_for_a_whole_image_without_being_asked(m):
    web = Web(rules=[(USR_DELTA, lambda r: r.head(404, "Content-Length: 0"), None)])
    m.flip(m.tree, 512)
    m.flip(m.tree + BLOCK, 12 * 1024 * 8)
    status, last = m.update(web, "--metered")
    expect(last.get("result") == "policy", f"{last}")
    expect(web.sent < 200000, f"{web.sent} bytes were fetched all the same")
    expect("hint" in last, f"{last}")
    # The same by another link, and where it was allowed.
    install(m, web, clean=False)
    m = Machine("allowed")
    m.flip(m.tree, 512)
    os.makedirs(m.folder + "/root/etc/sealab", exist_ok=True)
    with open(m.folder + "/root/etc/sealab/updater.conf", "w") as f:
        f.write("[Policy]\nMetered=yes\n")
    status, last = m.update(web, "--metered")
    expect(status == 0, f"{last}")


# --- memory -----------------------------------------------------------------------------------------------------------------------

# Of the job and its workers, what they share counted once.
def memory(pid):
    total = 0
    with open(f"/proc/{pid}/task/{pid}/children") as f:
        children = f.read().split()
    for p in (pid, *children):
        try:
            with open(f"/proc/{p}/smaps_rollup") as f:
                total += next(int(line.split()[1]) for line in f if line.startswith("Pss:"))
        except (OSError, StopIteration):
            pass
    return total


class Sampler(threading.Thread):
    def __init__(self, m):
        super().__init__(daemon=True)
        self.m, self.most, self.done = m, 0, False

    def run(self):
        while not self.done:
            try:
                self.most = max(self.most, memory(self.m.child.pid))
            except (OSError, AttributeError):
                pass
            time.sleep(0.005)


def peak_of(m, what):
    s = Sampler(m)
    s.start()
    what()
    s.done = True
    s.join()
    return s.most


# Compared with a job that asks the same server and changes nothing.
def the_largest_operations_take_at_most_16_MiB(m):
    web = Web("repo-large")
    idle = peak_of(m, lambda: m.job("check", "--repository", web.url))
    busy = peak_of(m, lambda: install(m, web))
    expect(m.history()["usrWay"] == "delta", f"{m.history()}")
    print(f"  {idle} KiB for a check, {busy} KiB for the update", file=sys.stderr)
    expect(busy - idle <= 16 << 10, f"{busy} KiB, and {idle} KiB for a check")


# --- cuts -------------------------------------------------------------------------------------------------------------------------

WAYS = [("delta", "repo", None), ("reuse", "repo-plain", None), ("full", "repo-plain", nothing_to_use)]


def cut_connections(way, repository, change):
    web = Web(repository)
    whole = install(Machine("cut", change), web)["bytes"]
    worst, total = 0, 0
    for _ in range(cuts):
        at = random.randrange(1, whole)
        web = Web(repository, cut=at)
        install(Machine("cut", change), web, clean=False)
        web.stop()
        worst, total = max(worst, web.sent - whole), total + web.sent - whole
        expect(web.sent <= max(whole * 1.01, whole + FRAME), f"cut at {at}: {web.sent} instead of {whole} bytes")
    print(f"  {way}: {cuts} cuts, {whole} bytes, at most {worst} twice ({100 * worst / whole:.2f} %), {total / cuts:.0f} on average", file=sys.stderr)


def kill_jobs(way, repository, change):
    web = Web(repository)
    whole = install(Machine("cut", change), web)["bytes"]
    worst = 0
    for _ in range((cuts + 1) // 2):
        m, at = Machine("cut", change), random.randrange(1, whole)
        web = Web(repository, cut=at)
        web.on_cut = lambda: m.child.send_signal(signal.SIGKILL)
        status, last = m.update(web)
        expect(status == -9, f"was not killed: {status} {last}")
        status, last = m.update(web)
        expect(status == 0, f"{last}")
        m.check_result()
        web.stop()
        worst = max(worst, web.sent - whole)
        expect(web.sent <= whole * 1.01 + ON_ITS_WAY, f"killed at {at}: {web.sent} instead of {whole} bytes")
    print(f"  {way}: {(cuts + 1) // 2} kills, at most {worst} of {whole} bytes twice", file=sys.stderr)


def main():
    os.makedirs(folder + "/machines", exist_ok=True)
    failed = 0
    cases = [(f.__name__, f) for f in (
        an_update_by_delta, without_a_delta_by_what_is_here, with_nothing_to_use_as_a_whole, a_block_that_rots_under_a_copy_is_fetched,
        a_block_that_rots_in_a_window_is_fetched, a_delta_that_is_not_there, a_delta_of_the_uki_that_is_not_there,
        neither_delta_nor_map_of_the_uki, a_map_of_the_uki_that_was_changed,
        blocks_of_the_uki_that_were_changed, blocks_of_the_uki_that_were_changed_on_one_mirror, a_uki_that_is_not_what_it_was,
        a_uki_of_which_nothing_is_what_it_was, a_delta_that_makes_something_else, another_head, a_payload_that_was_changed,
        a_payload_that_was_changed_on_one_mirror, an_endless_delta, a_delta_that_ends_early,
        nobody_pays_for_a_whole_image_without_being_asked,
        the_largest_operations_take_at_most_16_MiB)]
    for way in WAYS:
        cases.append((f"what_came_before_a_cut_is_not_sent_again_by_{way[0]}", lambda m, way=way: cut_connections(*way)))
        cases.append((f"what_came_before_a_kill_is_not_sent_again_by_{way[0]}", lambda m, way=way: kill_jobs(*way)))
    for name, case in cases:
        if only and not any(fnmatch.fnmatch(name, o) for o in only):
            continue
        began = time.monotonic()
        try:
            case(Machine(name))
            print(f"ok delta/{name}", flush=True)
        except (Failure, subprocess.SubprocessError, OSError, KeyError, IndexError, StopIteration) as e:
            failed = 1
            print(f"not ok delta/{name}: {type(e).__name__ if not isinstance(e, Failure) else ''} {str(e)[:300]}", flush=True)
        print(f"  {time.monotonic() - began:5.1f} s {name}", file=sys.stderr)
    sys.exit(failed)


main()
