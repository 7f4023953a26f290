#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Compares an image of /usr, as another program unpacked it, with the packages it was made from.

    contents.py IMAGE-FOLDER LOCK STORE EXPLAIN.json

IMAGE-FOLDER is the image's root as fsck.erofs or the kernel shows it. Nothing here uses the builder's own idea of what a
package ships: packages are read with dpkg-deb and Python's tarfile. Prints each difference that has no explanation below,
and exits with 1 if there is any.
"""

import fnmatch
import gzip
import hashlib
import io
import json
import lzma
import os
import re
import stat
import subprocess
import sys
import tarfile
from collections import defaultdict

# What no package ships, and why it is there. The first match explains.
MADE = [
    ("share/sealab/*", "recipe, lock, ids and SBOM travel in the image"),
    ("lib/os-release", "IMAGE_ID= and IMAGE_VERSION= are added"),
    ("lib/sysusers.d/00-sealab-ids.conf", "the numbers of ids.lock"),
    ("lib/tmpfiles.d/*sealab*.conf", "what packages left in /var, made anew on the device"),
    ("lib/systemd/system-preset/*-sealab*.preset", "[Units] of the recipe, and what packages enable"),
    ("lib/systemd/user-preset/*-sealab*.preset", "what packages enable"),
    ("lib/repart.d/50-root.conf", "[Disk] of the recipe"),
    ("lib/repart.d", "[Disk] of the recipe"),
    ("lib/modules/*/modules.*", "written by depmod"),
    ("lib/modules/*/*.ko", "unpacked; compared with the packed module below"),
    ("lib/udev/hwdb.bin", "compiled by systemd-hwdb"),
    ("lib/systemd/catalog/database", "compiled by journalctl"),
    ("lib/locale/*", "compiled by localedef"),
    ("lib/x86_64-linux-gnu/gconv/gconv-modules.cache", "written by iconvconfig"),
    ("share/info/dir", "index of info pages"),
    ("share/factory/var/*", "files that packages left in /var"),
    ("share/factory/etc/*", "the /etc that the packages' scripts left; its own files are compared where they are unchanged"),
    ("share/factory/etc", "the /etc of the packages"),
    ("share/factory/root", "root's home as packages left it"),
    ("share/factory/root/*", "root's home as packages left it"),
    ("share/factory/opt/*", "files that packages left in /opt"),
    ("share/factory/srv/*", "files that packages left in /srv"),
    ("share/factory/var", "files that packages left in /var"),
    ("share/factory", "the state that a device begins with"),
    ("share/sealab", "what the image says about itself"),
    ("local/*", "folders that the base-files script makes"),
    ("local", "folders that the base-files script makes"),
    ("lib/ssl/cert.pem", "link of the openssl script"),
    ("share/ca-certificates", "folder of the ca-certificates script"),
]
# Links that update-alternatives made, flattened: their names are in the packages' scripts, their ends must be packages' files.
ALTERNATIVE_FOLDERS = ("bin/", "sbin/", "share/man/", "lib/")
# What a script of the package changes in the package's own files: path, what, why.
CHANGED = [
    ("lib/os-release", "content", "IMAGE_ID= and IMAGE_VERSION= are added"),
]
# What a script gives another owner, mode or capability. Path, why.
ADJUSTED = [
    ("bin/ping", "the iputils-ping script gives it cap_net_raw"),
    ("bin/odd-cap", "the script of the test's own package gives it cap_net_raw"),
    ("lib/odd/unowned", "the script of the test's own package gives it to an id without an account"),
    ("bin/crontab", "the cron script makes it setgid crontab"),
    ("bin/ssh-agent", "the openssh-client script makes it setgid _ssh"),
    ("lib/dbus-1.0/dbus-daemon-launch-helper", "dbus-system-bus-common: setuid, for group messagebus"),
    ("bin/fusermount3", "the fuse3 script makes it setuid"),
    ("sbin/unix_chkpwd", "libpam-modules-bin: setgid shadow"),
    ("bin/chage", "passwd: setgid shadow"),
    ("bin/expiry", "passwd: setgid shadow"),
]
# What the groups of Drop= may take away, in this test's own words.
GROUPS = {
    "docs": ["/usr/share/doc", "/usr/share/doc-base", "/usr/share/gtk-doc", "/usr/share/devhelp"],
    "man": ["/usr/share/man"],
    "info": ["/usr/share/info"],
    "help": ["/usr/share/help", "/usr/share/gnome/help"],
    "locales": ["/usr/share/locale", "/usr/lib/locale"],
    "locale-sources": ["/usr/share/i18n"],
    "lintian": ["/usr/share/lintian"],
    "bug": ["/usr/share/bug", "/usr/share/reportbug", "/usr/share/apport"],
    "bash-completion": ["/usr/share/bash-completion"],
    "zsh-completion": ["/usr/share/zsh/vendor-completions", "/usr/share/zsh/site-functions"],
    "fish-completion": ["/usr/share/fish"],
    "zoneinfo-right": ["/usr/share/zoneinfo/right", "/usr/share/zoneinfo/posix"],
    "gconv": ["/usr/lib/*/gconv"],
    "apt": ["/usr/bin/apt", "/usr/bin/apt-*", "/usr/bin/dpkg*", "/usr/sbin/dpkg-*", "/usr/lib/apt", "/usr/lib/dpkg", "/usr/share/dpkg",
            "/usr/libexec/dpkg", "/usr/lib/*/libapt-*", "/usr/lib/systemd/system/apt-*", "/usr/lib/systemd/system/dpkg-*"],
    "debconf": ["/usr/share/debconf", "/usr/bin/debconf*", "/usr/sbin/dpkg-*", "/usr/share/perl5/Deb*"],
    "perl": ["/usr/bin/perl*", "/usr/lib/*/perl*", "/usr/share/perl*", "/usr/sbin/pam-auth-update", "/usr/sbin/pam_getenv",
             "/usr/bin/c_rehash"],
    "python-cache": ["/usr/**/__pycache__"],
    "hwdb-sources": ["/usr/lib/udev/hwdb.d"],
    "headers": ["/usr/include", "/usr/lib/*/pkgconfig", "/usr/share/pkgconfig", "/usr/lib/*/cmake", "/usr/share/cmake", "/usr/share/aclocal",
                "/usr/share/gir-1.0", "/usr/share/vala"],
    "static-libs": ["/usr/lib/**.a", "/usr/lib/**.la"],
    "debug": ["/usr/lib/debug"],
    "sysvinit": ["/usr/lib/init"],
}
# Licences require that these stay, whatever is dropped.
ALWAYS = re.compile(r"share/doc/[^/]+/copyright|share/common-licenses/")


def merge(path):
    """The path below /usr, or None: packages of Debian 12 ship /bin, /lib."""
    path = path[2:] if path.startswith("./") else path.lstrip("/")
    path = path.rstrip("/")
    if path == "usr":
        return ""
    if path.startswith("usr/"):
        return path[4:]
    if re.match(r"(bin|sbin|lib|lib32|lib64|libx32)(/|$)", path):
        return path
    return None


class Shipped:
    def __init__(self, package, member, digest):
        self.package, self.mode, self.digest = package, member.mode, digest
        self.user, self.group = member.uname or member.uid, member.gname or member.gid
        self.kind = "d" if member.isdir() else "l" if member.issym() else "f"
        self.target = member.linkname if member.issym() else None
        self.link = merge(member.linkname) if member.islnk() else None
        self.cut = False
        self.unpacked = None  # the digest of what was packed with gzip
        self.xattrs = {k[len("SCHILY.xattr."):]: v for k, v in member.pax_headers.items() if k.startswith("SCHILY.xattr.")}


def module_content(name, data):
    if name.endswith(".xz"):
        return lzma.decompress(data)
    if name.endswith((".zst", ".gz")):
        tool = ["zstd", "-dcq"] if name.endswith(".zst") else ["gzip", "-dc"]
        return subprocess.run(tool, input=data, capture_output=True, check=True).stdout
    return data


def plain_module(path):
    return re.sub(r"\.ko\.(xz|zst|gz)$", ".ko", path)


def is_packed_document(path):
    return re.match(r"share/(doc|man|info)/.*[^/]\.gz$", path) and not path.endswith(".tar.gz")


def unpack_documents(shipped):
    """The builder unpacks them and follows with the links that lead there."""
    moved = set()

    def move(path):
        moved.add(path)
        shipped[path[:-3]] = shipped.pop(path)

    for path in [p for p, s in shipped.items() if s.unpacked and p[:-3] not in shipped]:
        shipped[path].digest = shipped[path].unpacked
        move(path)
    more = True
    while more:
        more = False
        for path in [p for p, s in shipped.items() if s.kind == "l"]:
            s = shipped[path]
            end = merge(s.target) if s.target.startswith("/") else os.path.normpath(os.path.join(os.path.dirname(path), s.target))
            if s.target.endswith(".gz") and end in moved:
                s.target = s.target[:-3]
                if path.endswith(".gz"):
                    move(path)
                more = True
    for s in shipped.values():
        if s.link in moved:
            s.link = s.link[:-3]


def read_package(path, name, shipped, conffiles, diverted):
    """Everything the package ships below /usr, and its files in /etc."""
    control = subprocess.run(["dpkg-deb", "--ctrl-tarfile", path], capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(control)) as tar:
        for member in tar:
            if member.isfile() and os.path.basename(member.name) in ("preinst", "postinst"):
                script = tar.extractfile(member).read().decode(errors="replace")
                for words in re.findall(r"dpkg-divert([^\n;]*)", script.replace("\\\n", " ")):
                    to = re.search(r"--divert[ =](/usr\S*)", words)
                    what = [w for w in words.split() if w.startswith("/usr") and not (to and w == to[1])]
                    if to and what:
                        diverted[merge(what[-1])] = (name, merge(to[1]))
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", path], stdout=subprocess.PIPE) as pipe:
        with tarfile.open(fileobj=pipe.stdout, mode="r|") as tar:
            for member in tar:
                here = merge(member.name)
                if here is None:
                    if member.isfile() and member.name.startswith("./etc/"):
                        digest = hashlib.sha256(tar.extractfile(member).read()).hexdigest()
                        conffiles[member.name[len("./etc/"):]] = Shipped(name, member, digest)
                    continue
                digest = unpacked = None
                if member.isfile():
                    data = tar.extractfile(member).read()
                    if is_packed_document(here) and data.startswith(b"\x1f\x8b"):
                        unpacked = hashlib.sha256(gzip.decompress(data)).hexdigest()
                    if re.search(r"\.ko\.(xz|zst|gz)$", here):
                        data, here = module_content(here, data), plain_module(here)
                    digest = hashlib.sha256(data).hexdigest()
                elif member.islnk():
                    target = merge(member.linkname)
                    digest = shipped[target].digest if target in shipped else None
                    unpacked = shipped[target].unpacked if target in shipped else None
                there = shipped.get(here)
                if there and there.kind == "d" and member.isdir():
                    continue  # folders are shared; the first one's attributes are dpkg's
                shipped[here] = Shipped(name, member, digest)
                shipped[here].unpacked = unpacked
        if pipe.wait() != 0:
            sys.exit(f"dpkg-deb cannot read {path}")


def read_accounts(path):
    """{name: id}"""
    with open(path, encoding="utf-8") as f:
        return {line.split(":")[0]: int(line.split(":")[2]) for line in f if line.strip()}


def read_image(root):
    found = {}
    for folder, folders, files in os.walk(root):
        for name in folders + files:
            path = os.path.join(folder, name)
            found[os.path.relpath(path, root)] = os.lstat(path)
    return found


def digest_of(path):
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else hashlib.sha256(f.read()).hexdigest()


class Comparison:
    def __init__(self, root, dropped, overlay):
        self.root, self.dropped, self.overlay = root, dropped, overlay
        self.image = read_image(root)
        self.users = read_accounts(os.path.join(root, "share/factory/etc/passwd"))
        self.groups = read_accounts(os.path.join(root, "share/factory/etc/group"))
        self.problems, self.used, self.counts = [], set(), defaultdict(int)

    def problem(self, path, text):
        self.problems.append(f"/usr/{path}: {text}")

    def allowed(self, table, path, *what):
        for entry in table:
            if fnmatch.fnmatchcase(path, entry[0]) and (not what or entry[1] in what):
                self.used.add(entry)
                return True
        return False

    def owner(self, who, table):
        return who if isinstance(who, int) else table.get(who)

    def compare_entry(self, path, s):
        st = self.image[path]
        kind = "d" if stat.S_ISDIR(st.st_mode) else "l" if stat.S_ISLNK(st.st_mode) else "f" if stat.S_ISREG(st.st_mode) else "?"
        if kind != s.kind:
            return self.problem(path, f"is of type {kind}, {s.package} ships {s.kind}")
        self.counts[kind] += 1
        if kind == "l":
            target = os.readlink(os.path.join(self.root, path))
            if target != s.target:
                self.problem(path, f"leads to {target}, {s.package} ships {s.target}")
            return None
        wanted = (s.mode & 0o7777, self.owner(s.user, self.users), self.owner(s.group, self.groups))
        real = (stat.S_IMODE(st.st_mode), st.st_uid, st.st_gid)
        if real != wanted and not self.allowed(ADJUSTED, path):
            self.problem(path, f"mode and owner {real[0]:o} {real[1]}:{real[2]}, {s.package} ships {wanted[0]:o} {wanted[1]}:{wanted[2]} ({s.user}:{s.group})")
        if kind == "f":
            if digest_of(os.path.join(self.root, path)) != s.digest and not self.allowed(CHANGED, path, "content"):
                self.problem(path, f"other content than {s.package} ships")
            names = {n: os.getxattr(os.path.join(self.root, path), n) for n in self.xattrs(path)}
            if set(names) - set(s.xattrs) and not self.allowed(ADJUSTED, path):
                self.problem(path, f"has attributes that {s.package} does not ship: {sorted(names)}")
            if set(s.xattrs) - set(names):
                self.problem(path, f"lacks the attributes {sorted(s.xattrs)}")
        return None

    def xattrs(self, path):
        try:
            return os.listxattr(os.path.join(self.root, path), follow_symlinks=False)
        except OSError:
            return []

    def compare_hard_links(self, shipped):
        for path, s in shipped.items():
            if s.link and s.link in shipped and path in self.image and s.link in self.image:
                self.counts["h"] += 1
                if self.image[path].st_ino != self.image[s.link].st_ino:
                    self.problem(path, f"is no longer the same file as {s.link}")
        for path, st in self.image.items():
            if stat.S_ISREG(st.st_mode) and st.st_nlink > 1 and path in shipped and not shipped[path].link and \
                    not any(o.link == path for o in shipped.values()):
                self.problem(path, "has hard links that no package ships")

    def compare_shipped(self, shipped):
        for path, s in sorted(shipped.items()):
            if not path:
                continue
            if path in self.image:
                self.compare_entry(path, s)
            elif not self.dropped(path, s):
                self.problem(path, f"{s.package} ships it, and it is not there")

    def compare_conffiles(self, conffiles):
        """Files of /etc that no script had a reason to touch are where the factory keeps them, unchanged."""
        same = other = 0
        for path, s in conffiles.items():
            here = "share/factory/etc/" + path
            if here not in self.image or not stat.S_ISREG(self.image[here].st_mode):
                continue
            if digest_of(os.path.join(self.root, here)) == s.digest:
                same += 1
            else:
                other += 1
                print(f"note: /etc/{path} of {s.package} was changed by a script or the recipe")
        self.counts["/etc"] = same
        if same < 3 * other:
            self.problem("share/factory/etc", f"{other} of {same + other} files are not as shipped")

    def compare_made(self, shipped):
        for path, st in sorted(self.image.items()):
            if path in shipped or path in self.overlay or self.allowed(MADE, path):
                continue
            if stat.S_ISLNK(st.st_mode) and path.startswith(ALTERNATIVE_FOLDERS):
                target = merge(os.readlink(os.path.join(self.root, path)))
                if target is not None and target in shipped:
                    self.counts["alternatives"] += 1
                    continue
            if stat.S_ISDIR(st.st_mode) and any(p.startswith(path + "/") for p in shipped):
                continue
            self.problem(path, "no package ships it, and nothing explains it")


def glob(pattern):
    """The recipe's globs: a star stays within one folder unless there are two in a row, what is below a match matches too."""
    out, i, star = "", 0, ".*" if "**" in pattern else "[^/]*"
    while i < len(pattern):
        if pattern[i] == "*":
            out, i = out + star, i + 1
        elif pattern[i] == "?":
            out, i = out + "[^/]", i + 1
        elif pattern[i] == "[" and "]" in pattern[i:]:
            end = pattern.index("]", i)
            out, i = out + pattern[i:end + 1].replace("[!", "[^"), end + 1
        else:
            out, i = out + re.escape(pattern[i]), i + 1
    return re.compile(out + "(/.*)?$")


def make_dropped(settings):
    """-> a function that says whether the recipe, and not a fault, is the reason that a shipped path is absent."""
    removed = set(settings["Packages"]["Remove"])
    globs = [glob(g) for name in settings["Content"]["Drop"] for g in GROUPS.get(name, [name])]
    keep = [glob(g) for g in settings["Kernel"]["Modules"] if not g.startswith("!")]
    leave = [glob(g[1:]) for g in settings["Kernel"]["Modules"] if g.startswith("!")]

    def module_is_wanted(path):
        names = [path, path[:-len(".ko")]]
        return (not keep or any(g.match(n) for g in keep for n in names)) and not any(g.match(n) for g in leave for n in names)

    def dropped(path, shipped):
        module = re.match(r"lib/modules/[^/]+/kernel/(.*\.ko)$", path)
        if shipped.package in removed:
            return True
        if module:
            return not module_is_wanted(module[1])
        if ALWAYS.match(path):
            return False
        if shipped.kind == "l" and shipped.target and shipped.cut:
            return True
        # Emptied folders go; what was in them is looked at by itself.
        return shipped.kind == "d" or any(g.match("/usr/" + path) for g in globs)
    return dropped


def read_packages(lock, store):
    shipped, conffiles, diverted, packages = {}, {}, {}, []
    for p in lock["packages"]:
        if "image" not in p["for"]:
            continue
        part = {}
        read_package(os.path.join(store, "sha256", p["sha256"][:2], p["sha256"]), p["name"], part, conffiles, diverted)
        packages.append(part)
    # Whoever else ships a diverted path finds it under its new name.
    for part in packages:
        for path, s in part.items():
            by, to = diverted.get(path, (s.package, path))
            here = path if by == s.package else to
            if not (here in shipped and shipped[here].kind == s.kind == "d"):
                shipped[here] = s
    unpack_documents(shipped)
    return shipped, conffiles


def overlay_paths(folders):
    """What the recipe's own files add below /usr."""
    found = set()
    for folder in folders:
        for here, inner, files in os.walk(os.path.join(folder, "usr")):
            found.update(os.path.relpath(os.path.join(here, n), os.path.join(folder, "usr")) for n in inner + files)
    return found


def mark_cut_links(shipped, image):
    """Links to what the recipe leaves out go with it."""
    for path, s in shipped.items():
        if s.kind == "l" and path not in image:
            end = merge(s.target) if s.target.startswith("/") else os.path.normpath(os.path.join(os.path.dirname(path), s.target))
            s.cut = end is not None and end in shipped and end not in image


def main():
    root, lock_path, store, explain_path = sys.argv[1:]
    with open(lock_path, encoding="utf-8") as f:
        lock = json.load(f)
    with open(explain_path, encoding="utf-8") as f:
        settings = json.load(f)["settings"]
    shipped, conffiles = read_packages(lock, store)
    c = Comparison(root, make_dropped(settings), overlay_paths(settings["Content"]["Files"]))
    mark_cut_links(shipped, c.image)
    for name in settings["Packages"]["Remove"]:
        for path, s in shipped.items():
            if s.package == name and s.kind != "d" and path in c.image:
                c.problem(path, f"is there, though Remove={name}")
    c.compare_shipped(shipped)
    c.compare_hard_links(shipped)
    c.compare_conffiles(conffiles)
    c.compare_made(shipped)
    modules = sum(1 for p in c.image if p.endswith(".ko"))
    print(f"{c.counts['f']} files, {c.counts['l']} links, {c.counts['d']} folders, {c.counts['h']} hard links, "
          f"{modules} modules, {c.counts['alternatives']} alternatives, {c.counts['/etc']} files of /etc compared")
    for p in c.problems:
        print("problem: " + p)
    if c.counts["f"] < 500 or modules < 100:
        sys.exit("problem: hardly anything was compared")
    sys.exit(1 if c.problems else 0)


main()
