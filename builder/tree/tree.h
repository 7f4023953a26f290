/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The in-memory file tree: what an image, an initrd or a package holds, with owners, modes, extended attributes and
 * hard links as they will be on the target, whatever the host's user may or may not do. Contents live in one spool file
 * (unnamed, gone with the process), so a tree of gigabytes costs memory only for its names.
 *
 * Node = a name in a folder; Inode = the thing named. Several nodes of one inode are hard links. Children are always
 * sorted by name (byte order), so every walk is in the same order on every machine.
 *
 * Paths in this interface are absolute inside the tree ("/usr/bin/sh"); "" and "/" are the root. No function follows
 * symbolic links, except tree_resolve(). */

#include <sys/stat.h>

#include "hash.h"

/* Limits of every reader that fills a tree from foreign bytes. A desktop image has 250,000 entries. */
#define TREE_ENTRIES_MAX 4000000
#define TREE_DEPTH_MAX 128
#define TREE_NAME_MAX 255
/* All contents together; the largest desktop images are near 10 GiB. A sparse file in an archive counts in full. */
#define TREE_BYTES_MAX ((uint64_t) 64 << 30)

typedef struct Xattr {
        char *name;
        void *value;
        size_t size;
} Xattr;

typedef struct Inode {
        unsigned n_links; /* nodes that point here */
        mode_t mode;      /* type and permission bits */
        uid_t uid;
        gid_t gid;
        int64_t mtime;   /* seconds since the epoch */
        dev_t rdev;      /* devices only */
        char *target;    /* symbolic links only, owned */
        uint64_t offset; /* regular files: where the content starts in the tree's spool */
        uint64_t size;   /* regular files: bytes; symbolic links: length of target */
        Sha256 digest;   /* regular files: of the content */
        Xattr *xattrs;   /* owned, sorted by name */
        size_t n_xattrs;
        char *package; /* owned; name of the Debian package that shipped it, or NULL */
        uint64_t mark; /* scratch for walkers (hard-link numbering); no meaning between calls */
} Inode;

typedef struct Node Node;
struct Node {
        char *name;   /* "" for the root */
        Node *parent; /* NULL for the root */
        Inode *inode;
        Node **children; /* folders only, sorted by name */
        size_t n_children, n_allocated;
};

typedef struct Tree {
        Node *root;
        int spool_fd;
        uint64_t spool_size;
        uint64_t n_nodes; /* with the root */
} Tree;

/* An empty tree: a root folder 0755 0:0. The spool is an unnamed file in the folder (NULL: TMPDIR or /var/tmp). */
int tree_new(const char *spool_folder, Tree **ret, Error *reterr);
Tree *tree_free(Tree *t);
DEFINE_CLEANUP(Tree *, tree_free)

/* NULL if there is no such node. */
Node *tree_lookup(const Tree *t, const char *path);
/* Follows symbolic links inside the tree, absolute ones from its root, at most 40; NULL if it leads to nothing. */
Node *tree_resolve(const Tree *t, const char *path);
Node *node_child(const Node *folder, const char *name);
/* The index of the child, or (false) where it would be inserted. */
bool node_child_position(const Node *folder, const char *name, size_t length, size_t *ret_position);
/* "/usr/bin/sh"; "/" for the root. Owned by the caller. */
char *node_path(const Node *n);
static inline bool node_is_folder(const Node *n) {
        return S_ISDIR(n->inode->mode);
}
static inline bool node_is_file(const Node *n) {
        return S_ISREG(n->inode->mode);
}
static inline bool node_is_symlink(const Node *n) {
        return S_ISLNK(n->inode->mode);
}

/* Attributes of something new. */
typedef struct NodeAttributes {
        mode_t mode; /* permission bits; the type is set by the function */
        uid_t uid;
        gid_t gid;
        int64_t mtime;
        const char *package; /* borrowed, copied; may be NULL */
} NodeAttributes;

/* All of these make missing parent folders (0755 0:0), replace an existing non-folder of that name, and refuse to
 * replace a folder by something else, names that are not clean, and a path whose parent is not a folder
 * (REFUSAL_PATH_ESCAPE, REFUSAL_EXISTS). ret_node may be NULL. */
int tree_add_folder(Tree *t, const char *path, const NodeAttributes *a, Node **ret_node,
                    Error *reterr); /* existing: attributes updated */
int tree_add_file(Tree *t, const char *path, const NodeAttributes *a, const void *data, size_t size, Node **ret_node,
                  Error *reterr);
/* Reads size bytes through the callback (returns bytes read, 0 at the end, negative errno) into the spool. */
typedef ssize_t (*TreeReadFunc)(void *userdata, void *buffer, size_t size);
int tree_add_file_stream(Tree *t, const char *path, const NodeAttributes *a, uint64_t size, TreeReadFunc read,
                         void *userdata, Node **ret_node, Error *reterr);
int tree_add_symlink(Tree *t, const char *path, const NodeAttributes *a, const char *target, Node **ret_node,
                     Error *reterr);
int tree_add_device(Tree *t, const char *path, const NodeAttributes *a, mode_t type, dev_t rdev, Node **ret_node,
                    Error *reterr); /* S_IFCHR, S_IFBLK, S_IFIFO, S_IFSOCK */
int tree_add_hardlink(Tree *t, const char *path, const char *existing_path, Node **ret_node, Error *reterr);
/* For copiers: puts a finished inode that no node names yet at a path, and takes it over, also on failure. For a
 * regular file offset, size and digest must be right already. */
Inode *inode_new(mode_t mode, const NodeAttributes *a);
Inode *inode_free(Inode *i); /* one name less; freed with the last */
DEFINE_CLEANUP(Inode *, inode_free)
int tree_add_inode(Tree *t, const char *path, Inode *inode, Node **ret_node, Error *reterr);
int tree_set_xattr(Inode *inode, const char *name, const void *value, size_t size); /* size limit 64 KiB; 0 or -E2BIG */
const Xattr *inode_xattr(const Inode *inode, const char *name);

/* Removes a node and all below it; 1: was not there. */
int tree_remove(Tree *t, const char *path);
void node_remove(Tree *t, Node *n);
/* Moves a node with all below it; the target must not exist, its parents are made. */
int tree_move(Tree *t, const char *from, const char *to, Error *reterr);
/* Copies a node of one tree (or the same) to a path of another, deeply; hard links among the copied stay hard links;
 * contents are copied into the target's spool when the trees differ. Folders merge (and take the attributes of those
 * copied), files replace. Copying a folder into itself is refused. */
int tree_copy(Tree *to, const char *to_path, const Tree *from, const Node *node, Error *reterr);

/* The whole content of a regular file, NUL-terminated behind size; limited to max_size. */
int tree_read_file(const Tree *t, const Node *n, size_t max_size, char **ret, size_t *ret_size, Error *reterr);
/* Replaces the content, keeps everything else (a hard-linked inode changes under all its names). */
int tree_replace_content(Tree *t, Node *n, const void *data, size_t size, Error *reterr);

/* Depth-first, parents before children, children by name. The callback returns 0 to go on, 1 to skip what is below this
 * folder, negative to stop with that value. It may remove the node it is called for only by returning
 * TREE_WALK_REMOVE. */
#define TREE_WALK_REMOVE 2
typedef int (*TreeWalkFunc)(Tree *t, Node *n, const char *path, void *userdata);
int tree_walk(Tree *t, Node *start, TreeWalkFunc f, void *userdata);

/* Sets the mark of every inode below start (and of start) to 0. */
void tree_clear_marks(Tree *t, Node *start);
/* Totals below a node, which is not counted itself: entries, bytes of regular file content (hard links counted once).
 */
void tree_count(Tree *t, Node *start, uint64_t *ret_entries, uint64_t *ret_bytes);

/* Puts entries of an archive (struct archive *, libarchive's reader, already opened) into the tree below prefix ("" for
 * the root; "./" is dropped from names). One path policy for all archives:
 * no absolute escapes, no "..", nothing written through a symbolic link that the archive itself planted; device nodes
 * only with TREE_IMPORT_DEVICES. Limits as above. package (may be NULL) is noted in every inode. */
typedef enum TreeImportFlags {
        TREE_IMPORT_DEVICES = 1 << 0,
        TREE_IMPORT_MERGE_USR =
                1 << 1, /* what comes in /bin, /sbin, /lib* goes to /usr/bin, ...; links of that name stay */
} TreeImportFlags;
struct archive;
int tree_import_archive(Tree *t, const char *prefix, struct archive *a, TreeImportFlags flags, const char *package,
                        Error *reterr);
/* The same for a plain tar archive that comes from a file or a pipe, as tree_export_archive() and
 * install_stream_folder() write it. Reads to the end, padding included. */
int tree_import_stream(Tree *t, int fd, TreeImportFlags flags, Error *reterr);
/* The links that go with TREE_IMPORT_MERGE_USR: /bin -> usr/bin and so on, where nothing of that name is there.
 * Programs name their loader by /lib64; Debian 13's base-files brings the links, Debian 12's does not. */
int tree_add_merged_links(Tree *t, Error *reterr);
/* Writes the tree as a pax archive (numeric owners, sorted, xattrs and hard links kept, package noted in a
 * "SEALAB.package" attribute that tree_import_archive() understands) to fd. */
int tree_export_archive(Tree *t, int fd, Error *reterr);

/* Makes the tree real below an existing, empty folder. Owners and modes are set; the caller must be able to chown (root
 * or inside a user namespace). Only for private folders that nobody else can reach. */
int tree_materialise(Tree *t, int dir_fd, Error *reterr);

/* A short text that is equal exactly for equal trees: type, mode, owner, mtime, xattrs, target, digest, hard-link
 * groups. with_mtime false leaves times out. */
void tree_digest(Tree *t, bool with_mtime, Sha256 *ret);

/* Differences between two trees, one callback per path, sorted. what is a bit set. */
typedef enum TreeDifference {
        TREE_ONLY_IN_A = 1 << 0,
        TREE_ONLY_IN_B = 1 << 1,
        TREE_TYPE = 1 << 2,
        TREE_MODE = 1 << 3,
        TREE_OWNER = 1 << 4,
        TREE_MTIME = 1 << 5,
        TREE_CONTENT = 1 << 6, /* content, link target or device number */
        TREE_XATTRS = 1 << 7,
        TREE_LINKS = 1 << 8, /* number of hard links */
} TreeDifference;
typedef int (*TreeDiffFunc)(const char *path, TreeDifference what, const Node *a, const Node *b, void *userdata);
int tree_diff(Tree *a, Tree *b, TreeDiffFunc f, void *userdata);
