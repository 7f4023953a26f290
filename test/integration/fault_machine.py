# SPDX-License-Identifier: LGPL-2.1-or-later
#
# For updater-faults.py and updater-powercut.py: the machine of updater.sh as a folder, the jobs that change it, and what must
# hold after one of them was broken off anywhere.
#
# FOLDER has pristine (a machine that runs 1), releases, repo, and repositories with 2 as the newest: served, and
# served-deltas, which has deltas from 1.

import glob, hashlib, json, os, shutil, subprocess

MIB = 1 << 20
JOB_SECONDS = 60
EFIVARS = "/root/sys/firmware/efi/efivars/"
DEFAULT = EFIVARS + "LoaderEntryDefault-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"
RESET = EFIVARS + "FactoryReset-8cf2644b-4b0b-428f-9387-6d876050dc67"
NOTE = "/esp/loader/sealab-reset.json"


class Wrong(Exception):
    pass


def expect(condition, what):
    if not condition:
        raise Wrong(what)


def read(path):
    with open(path, "rb") as f:
        return f.read()


# The table is 1 MiB of ESP, then twice 4 MiB of data, 1 MiB of tree, 1 MiB of signature.
def slot(disk, i):
    return disk[(2 + 6 * i) * MIB:(8 + 6 * i) * MIB]


class World:
    def __init__(self, program, folder):
        self.program, self.folder = program, folder

    def release(self, version, part):
        return read(f"{self.folder}/releases/desk_{version}/desk_{version}.{part}")


class Machine:
    def __init__(self, world, path, runs="1", served="served"):
        self.world, self.path, self.runs, self.served = world, path, runs, served

    def copy(self, path, runs=None):
        shutil.rmtree(path, ignore_errors=True)
        subprocess.run(["cp", "-a", "--sparse=always", self.path, path], check=True)
        return Machine(self.world, path, runs or self.runs, self.served)

    def command(self, *kind):
        w = self.world
        return [w.program, "job", *kind, "--root", self.path + "/root", "--disk", self.path + "/disk", "--boot", self.path + "/esp",
                "--running", w.release(self.runs, "usr.roothash").decode().strip(), "--state", self.path + "/state",
                "--anchor", w.folder + "/repo/metadata/1.root.json", "--repository", f"file://{w.folder}/{self.served}"]

    def job(self, *kind, wrap=(), env=None):
        try:
            r = subprocess.run([*wrap, *self.command(*kind)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env, timeout=JOB_SECONDS)
        except subprocess.TimeoutExpired:
            raise Wrong(f"{' '.join(kind)} does not end")
        try:
            last = json.loads(r.stdout.splitlines()[-1])
        except (IndexError, ValueError):
            last = {"result": None, "message": r.stderr.decode(errors="replace")[-300:]}
        return r.returncode, last

    def succeeds(self, *kind):
        status, last = self.job(*kind)
        expect(status == 0, f"{' '.join(kind)}: {last.get('result')}, {last.get('message')}")
        return last

    def reboot(self, version):
        self.runs = version
        path = self.path + "/root/usr/lib/os-release"
        text = "".join(f"IMAGE_VERSION={version}\n" if l.startswith("IMAGE_VERSION=") else l for l in open(path))
        with open(path, "w") as f:
            f.write(text)

    def disk(self):
        return read(self.path + "/disk")

    def entries(self):
        return sorted(os.listdir(self.path + "/esp/EFI/Linux"))

    def entry(self, name):
        return read(f"{self.path}/esp/EFI/Linux/{name}")

    def rename_entry(self, old, new):
        os.rename(f"{self.path}/esp/EFI/Linux/{old}", f"{self.path}/esp/EFI/Linux/{new}")

    def labels(self):
        out = subprocess.run(["sfdisk", "--json", self.path + "/disk"], check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
        return [p.get("name", "") for p in json.loads(out)["partitiontable"]["partitions"]]

    def state(self):
        return self.succeeds("status")["data"]["state"]

    def history(self):
        return [(e["action"], e["result"]) for e in self.succeeds("history")["data"]]

    # What the boot loader was told to start, without the trailing zero; None: nothing.
    def default(self):
        try:
            return read(self.path + DEFAULT)[4:].decode("utf-16-le").rstrip("\0")
        except FileNotFoundError:
            return None

    def exists(self, path):
        return os.path.exists(self.path + path)

    def write(self, path, text=""):
        os.makedirs(os.path.dirname(self.path + path), exist_ok=True)
        with open(self.path + path, "w") as f:
            f.write(text)

    def stamps(self):
        for s in ("etc", "var"):
            self.write(f"/root/{s}/.updated")

    def has_stamps(self):
        return [s for s in ("etc", "var") if self.exists(f"/root/{s}/.updated")]

    def leftovers(self):
        folders = [d for d in (self.path + "/state", self.path + "/state/metadata") if os.path.isdir(d)]
        return [n for d in folders for n in os.listdir(d) if n.endswith((".tmp", ".damaged"))]


# --- the jobs ---------------------------------------------------------------------------------------------------------------------


class Scenario:
    """prepare() turns a pristine machine into the one on which command runs; after() says what must hold wherever it broke off,
    again() brings it to its end and says what must hold then."""

    name, command, served = "", (), "served"
    share = 20  # of a sample, one part in so many

    def prepare(self, m):
        pass

    def begin(self, m):
        self.disk, self.entries = m.disk(), {n: m.entry(n) for n in m.entries()}
        self.slots = [hashlib.sha256(slot(self.disk, i)).digest() for i in (0, 1)]

    # Jobs that have no business on the disk and among the entries.
    def after(self, m):
        expect(m.disk() == self.disk, "the disk has changed")
        expect({n: m.entry(n) for n in m.entries()} == self.entries, f"entries have changed: {m.entries()}")

    def again(self, m):
        pass


class Update(Scenario):
    name, command, share = "update", ("update",), 2

    def prepare(self, m):
        m.stamps()

    def complete(self, m, disk):
        s = slot(disk, 1)
        return all(s[at:at + len(data)] == data for at, data in
                   ((0, m.world.release("2", "usr.erofs")), (4 * MIB, m.world.release("2", "usr.verity")),
                    (5 * MIB, m.world.release("2", "usr.verity-sig"))))

    def after(self, m):
        disk, entries = m.disk(), m.entries()
        expect(hashlib.sha256(slot(disk, 0)).digest() == self.slots[0], "the running slot has changed")
        expect("desk_1.efi" in entries, "the running entry is gone")
        expect(m.entry("desk_1.efi") == self.entries["desk_1.efi"], "the running entry has changed")
        expect(set(entries) <= {"desk_1.efi", "desk_2+3-0.efi", ".sealab-desk_2"}, f"entries: {entries}")
        labels = m.labels()
        expect(labels[1:4] == ["desk_1", "desk_1_verity", "desk_1_verity_sig"], f"labels: {labels}")
        if "desk_2+3-0.efi" in entries:
            expect(m.entry("desk_2+3-0.efi") == m.world.release("2", "efi"), "an entry that is not complete")
            expect(self.complete(m, disk) and labels[4] == "desk_2", "an entry without what it starts")

    # An entry that is there might have been started before anything else happens.
    def trial(self, m):
        if "desk_2+3-0.efi" not in m.entries():
            return
        t = m.copy(m.path + ".trial")
        t.rename_entry("desk_2+3-0.efi", "desk_2+2-1.efi")
        t.reboot("2")
        t.succeeds("settle")
        expect(not t.state().get("epoch"), "the floor rose before the trial was judged")
        t.rename_entry("desk_2+2-1.efi", "desk_2.efi")
        t.succeeds("settle")
        state = t.state()
        expect(state.get("epoch") == 5 and not state.get("trial"), f"blessed, and the state is {state}")
        shutil.rmtree(t.path)

    def again(self, m):
        self.trial(m)
        m.succeeds("settle")
        m.succeeds("update")
        self.after(m)
        entries = [n for n in m.entries() if n != ".sealab-desk_2"]
        expect(entries == ["desk_1.efi", "desk_2+3-0.efi"], f"entries at the end: {entries}")
        status = m.succeeds("status")["data"]
        expect(status["restartNeeded"], "no restart is needed")
        expect(not status["state"]["bad"], "something is known to be bad")
        expect((status["state"].get("trial") or {}).get("version") == "2", "no trial")
        expect(not m.has_stamps(), f"stamps are left: {m.has_stamps()}")


class UpdateByDelta(Update):
    name, served, share = "update by delta", "served-deltas", 3

    def prepare(self, m):
        super().prepare(m)
        plan = m.succeeds("check")["data"]
        expect(plan["usrWay"] == plan["ukiWay"] == "delta", f"not by delta: {plan}")


class Bless(Scenario):
    name, command = "bless", ("settle",)

    def prepare(self, m):
        m.succeeds("update")
        m.rename_entry("desk_2+3-0.efi", "desk_2.efi")
        m.reboot("2")

    def after(self, m):
        super().after(m)
        state = m.state()
        expect(bool(state.get("trial")) != (state.get("epoch", 0) == 5), f"half a blessing: {state}")

    def again(self, m):
        m.succeeds("settle")
        state = m.state()
        expect(state.get("epoch") == 5 and not state.get("trial") and not state["bad"], f"the state: {state}")
        expect(1 <= m.history().count(("boot", "blessed")) <= 2, f"history: {m.history()}")
        m.succeeds("update")
        super().after(m)


class FallBack(Scenario):
    name, command = "fall-back", ("settle",)

    def prepare(self, m):
        m.succeeds("update")
        m.rename_entry("desk_2+3-0.efi", "desk_2+0-3.efi")

    def after(self, m):
        super().after(m)
        state = m.state()
        expect(bool(state.get("trial")) != (len(state["bad"]) == 1), f"half a verdict: {state}")

    def again(self, m):
        m.succeeds("settle")
        state = m.state()
        expect([b["version"] for b in state["bad"]] == ["2"] and not state.get("trial") and not state.get("epoch"), f"the state: {state}")
        expect(1 <= m.history().count(("boot", "fell-back")) <= 2, f"history: {m.history()}")
        expect(m.succeeds("update")["result"] == "nothing", "a bad version is taken again")
        super().after(m)


def blessed(m):
    m.succeeds("update")
    m.rename_entry("desk_2+3-0.efi", "desk_2.efi")
    m.reboot("2")
    m.succeeds("settle")


class Revert(Scenario):
    name, command = "revert", ("revert",)

    def prepare(self, m):
        blessed(m)
        m.stamps()

    def after(self, m):
        super().after(m)
        state = m.state()
        expect(m.default() in (None, "desk_1[+.]*"), f"the default: {m.default()}")
        expect(m.default() is None or (state.get("pin") == "1" and state.get("reverted")), f"gone back and not pinned: {state}")

    def again(self, m):
        m.succeeds("revert")
        state = m.state()
        expect(m.default() == "desk_1[+.]*", f"the default: {m.default()}")
        expect(state.get("pin") == "1" and state.get("reverted"), f"not pinned: {state}")
        expect(not m.has_stamps(), f"stamps are left: {m.has_stamps()}")
        expect(m.succeeds("update")["result"] == "nothing", "pinned, and updated")
        super().after(m)


class Unpin(Scenario):
    name, command = "unpin", ("unpin",)

    def prepare(self, m):
        blessed(m)
        m.succeeds("revert")
        m.reboot("1")

    def again(self, m):
        m.succeeds("unpin")
        state = m.state()
        expect(m.default() is None, f"the default: {m.default()}")
        expect(not state.get("pinned") and not state.get("reverted") and not state.get("pin"), f"pinned: {state}")
        super().after(m)


class Pin(Scenario):
    name, command = "pin", ("pin",)

    def again(self, m):
        m.succeeds("pin")
        expect(m.state().get("pin") == "1", f"not pinned: {m.state()}")
        expect(m.succeeds("update")["result"] == "nothing", "pinned, and updated")
        super().after(m)


class PinTrial(Scenario):
    name, command = "pin while a version waits", ("pin",)

    def prepare(self, m):
        m.succeeds("update")

    def after(self, m):
        expect(m.disk() == self.disk, "the disk has changed")
        expect(m.entry("desk_1.efi") == self.entries["desk_1.efi"], "the running entry has changed")
        entries = m.entries()
        expect(entries in (["desk_1.efi"], ["desk_1.efi", "desk_2+3-0.efi"]), f"entries: {entries}")
        expect(len(entries) == 1 or not m.state().get("pinned"), "pinned, and another one would start")

    def again(self, m):
        m.succeeds("pin")
        state = m.state()
        expect(state.get("pin") == "1" and not state.get("trial"), f"the state: {state}")
        expect(m.entries() == ["desk_1.efi"], f"entries: {m.entries()}")
        expect(m.succeeds("update")["result"] == "nothing", "pinned, and updated")
        self.after(m)


# What systemd-repart does, and the firmware's variable goes.
def wipe(m):
    os.unlink(m.path + RESET)
    shutil.rmtree(m.path + "/state")


class FactoryReset(Scenario):
    name, command = "factory-reset", ("factory-reset",)

    def prepare(self, m):
        m.write("/root/usr/lib/repart.d/50-root.conf", "[Partition]\nType=root\nFactoryReset=yes\n")
        blessed(m)
        m.succeeds("revert")
        m.reboot("1")

    # Wherever it broke off: once the variable is there, the next start wipes.
    def next_start(self, m):
        if not m.exists(RESET) or len(read(m.path + RESET)) == 0:
            return
        w = m.copy(m.path + ".wiped")
        wipe(w)
        w.succeeds("settle")
        expect(w.state().get("epoch") == 5, f"the floor after the reset: {w.state()}")
        expect(w.default() is None, f"the pin is gone, the default is not: {w.default()}")
        expect(not w.exists(NOTE), "the note is left")
        shutil.rmtree(w.path)

    def after(self, m):
        super().after(m)
        self.next_start(m)

    def again(self, m):
        m.succeeds("factory-reset")
        expect(len(read(m.path + RESET)) > 4, "no variable")
        self.after(m)


class ResetCalledOff(FactoryReset):
    name, command = "factory-reset --cancel", ("factory-reset", "--cancel")

    def prepare(self, m):
        super().prepare(m)
        m.succeeds("factory-reset")

    def again(self, m):
        m.succeeds("factory-reset", "--cancel")
        expect(not m.exists(RESET), "the variable is left")
        expect(not m.exists(NOTE), "the note is left")
        state = m.state()
        expect(state.get("reverted") and m.default() == "desk_1[+.]*", f"what was chosen before is forgotten: {state}, {m.default()}")
        Scenario.after(self, m)


class AfterReset(FactoryReset):
    name, command = "settle after a reset", ("settle",)

    def prepare(self, m):
        super().prepare(m)
        m.succeeds("factory-reset")
        wipe(m)

    def again(self, m):
        m.succeeds("settle")
        expect(m.state().get("epoch") == 5, f"the floor: {m.state()}")
        expect(not m.exists(NOTE), "the note is left")
        expect(m.default() is None, f"the default: {m.default()}")
        Scenario.after(self, m)


SCENARIOS = [Update, UpdateByDelta, Bless, FallBack, Revert, Unpin, Pin, PinTrial, FactoryReset, ResetCalledOff, AfterReset]


def check(scenario, m):
    scenario.after(m)
    scenario.again(m)
    expect(not m.leftovers(), f"left: {m.leftovers()}")


def prepared(world, kind):
    """The machine on which a scenario's command runs, made once."""
    scenario = kind()
    path = f"{world.folder}/prepared/{scenario.name.replace(' ', '-')}"
    shutil.rmtree(path, ignore_errors=True)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    m = Machine(world, world.folder + "/pristine", served=scenario.served).copy(path)
    scenario.prepare(m)
    scenario.begin(m)
    return scenario, m
