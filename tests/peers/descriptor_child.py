# SPDX-License-Identifier: MIT
"""A program that passes descriptors and credentials over its standard input, a Unix socket, by bare system calls.

For each file that it is sent it answers with a file of its own, beside a packet that says what was in the one that came
and who sent it. The first argument says of what kind the socket is.
"""

import array
import os
import socket
import struct
import sys

CREDENTIALS = struct.Struct("3i")
ROOM = socket.CMSG_SPACE(CREDENTIALS.size) + socket.CMSG_SPACE(4 * array.array("i").itemsize)


def main() -> None:
    kind = {"stream": socket.SOCK_STREAM, "datagram": socket.SOCK_DGRAM}[sys.argv[1]]
    sock = socket.socket(socket.AF_UNIX, kind, fileno=os.dup(0))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    sock.send(b"ready\n")
    while True:
        data, control, flags, _ = sock.recvmsg(1000, ROOM)
        if not data or data == b"bye\n":
            return
        assert not flags & socket.MSG_CTRUNC
        said = data.rstrip(b"\n")
        fds = array.array("i")
        for level, what, raw in control:
            assert level == socket.SOL_SOCKET
            if what == socket.SCM_RIGHTS:
                fds.frombytes(raw)
            elif what == socket.SCM_CREDENTIALS:
                said += b" from %d %d %d" % CREDENTIALS.unpack(raw)
        for fd in fds:
            said += b" with " + os.pread(fd, 100, 0)
            os.close(fd)
        own = os.memfd_create("own")
        os.write(own, b"file of the child")
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [own, own]))
        me = (socket.SOL_SOCKET, socket.SCM_CREDENTIALS, CREDENTIALS.pack(os.getpid(), os.getuid(), os.getgid()))
        sock.sendmsg([said + b"\n"], [rights, me])
        os.close(own)


main()
