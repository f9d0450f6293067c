"""Which kind of file system holds a path: a store of files must not lie on a network."""

from __future__ import annotations

import os
import re
import sys

_NETWORK = re.compile(
    r"(nfs\d?|cifs|smb\d?|smbfs|afs|afpfs|webdav|davfs|9p|ceph|lustre|gluster\w*|beegfs|gfs2|ocfs2|gpfs"
    r"|fuse\.(sshfs|s3fs|gcsfuse|rclone|glusterfs|ceph\w*|davfs2?|curlftpfs|mfs|nfs))",
)


def network_file_system(path: str, mounts: str = "/proc/self/mounts") -> str:
    """The type of the network file system that holds `path`; empty if it is a local one.

    Args:
        path: a file or folder, which need not exist.
        mounts: the system's table of mounts.
    """
    kind = _file_system(os.path.realpath(path), mounts)
    return kind if _NETWORK.fullmatch(kind) else ""


def _file_system(path: str, mounts: str) -> str:
    """The type of the file system that holds `path`; empty if nothing tells."""
    try:
        with open(mounts, encoding="utf-8", errors="surrogateescape") as table:
            rows = [line.split() for line in table]
    except OSError:
        return _darwin_file_system(path) if sys.platform == "darwin" else ""
    best, kind = -1, ""
    for row in rows:
        if len(row) < 3:
            continue
        point = re.sub(r"\\([0-7]{3})", lambda m: chr(int(m[1], 8)), row[1])
        inside = path == point or path.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= best:  # of two mounts on one point the later one is seen
            best, kind = len(point), row[2]
    return kind


def _darwin_file_system(path: str) -> str:
    """What ``statfs`` of macOS calls the file system: its table of mounts is no file."""
    import ctypes

    buffer = ctypes.create_string_buffer(4096)
    while not os.path.exists(path):
        path = os.path.dirname(path)
    if ctypes.CDLL(None).statfs(os.fsencode(path), buffer) != 0:
        return ""
    return buffer.raw[72:88].partition(b"\0")[0].decode("ascii", "replace")
