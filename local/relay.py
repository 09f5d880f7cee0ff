"""Lets containers reach servers that listen on this machine's loopback alone."""

import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from local import processes


@contextmanager
def relay(address: str, port: int) -> Iterator[None]:
    """Takes connections at an address of this machine, for as long as the block runs, and passes them on to the
    loopback, at the same port."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with socket.create_connection((processes.LOOPBACK, port)) as server:
                back = threading.Thread(target=_copy, args=(server, self.request), daemon=True)
                back.start()
                _copy(self.request, server)
                back.join()

    with _Server((address, port), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever, name=f"relay {port}", daemon=True)
        thread.start()
        yield
        listening.shutdown()


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):  # either side may hang up at any time
        while data := source.recv(65536):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
