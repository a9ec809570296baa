# SPDX-License-Identifier: MIT
"""Packets between the thread of a server and those of its handlers, with as few changes of thread as can be.

To have the other thread do something and to wait for it takes longer than all else about a packet. So what is decoded
already is taken in the thread that wants it, from where it is: it counts as before in what is kept of a connection.
Who finds nothing stands in line without waking the server's thread, which hands over the next packet as it reads it.
What is sent while there is room is framed in the thread that sends, and left for the server's thread, which writes all
that it finds at once; the answer to a packet that came alone is sent by that thread itself. Everything else goes by
calls: what has to wait for room, stands behind others, or is yet to be decoded, and whatever comes while the
connection is not at rest.
"""

from __future__ import annotations

from collections import deque
from contextlib import contextmanager
from math import inf
from threading import Lock, RLock
from time import monotonic
from typing import TYPE_CHECKING, Any

from tieline.errors import ClientClosedError, TielineError
from tieline.wire.default import NOTHING
from tieline.wire.flow import MUCH_OUTPUT

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from tieline.runtimes.asyncio.threads import LoopThread
    from tieline.servers.connections import ServedConnection

__all__ = ["Incoming", "Outgoing", "Place", "Taken"]


class Taken:
    """What a thread has got of a connection, until its caller has it.

    Attributes:
        packets: One, or several; none yet while this is empty.
        error: What has come instead.
    """

    __slots__ = ("error", "packets")

    def __init__(self) -> None:
        self.packets: list[Any] = []
        self.error: BaseException | None = None


class Incoming:
    """What comes on one connection, for any thread but the server's.

    Args:
        connection: The connection.
        thread: The server's thread.

    Attributes:
        untold: What has come instead of a packet, for one who was interrupted before it was told; whoever takes next
            is told. For the server's thread alone.
    """

    __slots__ = ("_connection", "_leaving", "_lock", "_thread", "untold")

    def __init__(self, connection: ServedConnection, thread: LoopThread) -> None:
        self._connection = connection
        self._thread = thread
        self._lock = RLock()  # who takes from the machine, or puts something back, holds it; it covers `_leaving` too
        self._leaving = 0  # how many were interrupted and may have got something, which is yet to be put back
        self.untold: BaseException | None = None

    def next_ahead(self) -> Any:
        """Return the next packet, if it is decoded and another one behind it; else, or behind others, `NOTHING`.

        The last one is for the server's thread, which decodes or reads what is behind it. So the machine never finds
        that nothing is left while it works.
        """
        connection = self._connection
        packet: Any = NOTHING
        try:
            with self._lock:
                received = connection.machine.received
                if len(received) > 1 and not (connection.receivers or self._is_behind):
                    packet = received[0]
                    del received[0]  # in two steps, between which no interrupt comes
            return packet
        except BaseException:  # Ctrl-C
            taken = Taken()
            if packet is not NOTHING:
                taken.packets.append(packet)
            self.put_back(taken)
            raise

    def wait(self, seconds: float | None) -> Any:
        """Return the next packet when it comes; `NOTHING` when that is for a call, or has not been within *seconds*.

        Raises:
            ClientClosedError: The server is not running any more.
            Exception: What has come is none, or why the stream has ended.
        """
        connection, thread = self._connection, self._thread
        if connection.receivers or self._wants_call():
            return NOTHING
        place = Place(self)
        thread.at_end.add(place.give_up)
        try:
            line: list[Any] = connection.receivers
            line.append(place)
            # For what came before the place was in line, nobody is woken.
            if not self._wants_call():
                place.wait(seconds)
            if place.claim():
                thread.call_soon(place.leave)
            else:
                place.wait(None)
            thread.at_end.discard(place.give_up)
            return place.outcome()
        except BaseException as exc:
            if exc is place.taken.error:
                place.taken.error = None  # its traceback would refer to it
            else:  # Ctrl-C
                self.put_back(place.taken, place.step_out)
            thread.at_end.discard(place.give_up)
            raise

    def stop(self) -> None:
        """The connection is about to be cut: whoever wants a packet asks the server's thread, behind that."""
        with self._lock:
            self._leaving += 1  # for good

    def put_back(self, taken: Taken, before: Callable[[], object] | None = None) -> None:
        """Have what was *taken*, by a thread that was interrupted before it had it, be the next again.

        Args:
            taken: It; it may yet come to something until the server's thread looks.
            before: What is called there before.
        """

        def look() -> None:
            if before is not None:
                before()
            self._give_back(taken)

        with self._lock:
            self._leaving += 1  # so who comes from now on does not overtake it
        self._thread.call_soon(look)

    @property
    def _is_behind(self) -> bool:
        """Whether something comes before all that the machine holds."""
        return self._leaving > 0 or self.untold is not None

    def _wants_call(self) -> bool:
        """Return whether there is something that is for the server's thread, or that is not there to wait for."""
        machine = self._connection.machine
        return bool(machine.received or self._is_behind) or not (machine.is_smooth and self._thread.is_elsewhere)

    @property
    def longest_sleep(self) -> float:
        """Seconds of one wait at most."""
        return self._thread.longest_sleep

    # --- in the server's thread ----------------------------------------------------------------------------------

    @property
    def connection(self) -> ServedConnection:
        """The connection."""
        return self._connection

    def take(self, take: Callable[[], Any]) -> Any:
        """Return what *take* takes from the machine; `NOTHING` when there is nothing yet.

        Raises:
            Exception: What has come is none, or why the stream has ended.
        """
        self.tell_untold()
        with self._lock:
            return self._connection.take(take)

    def tell_untold(self) -> None:
        """Raise what nobody was told of, if there is anything."""
        error, self.untold = self.untold, None
        if error is not None:
            try:
                raise error
            finally:
                del error  # by which its traceback would refer to it

    def _give_back(self, taken: Taken) -> None:
        """Have what was *taken* last be the next again."""
        connection, error = self._connection, taken.error
        machine = connection.machine
        line: list[Any] = connection.receivers
        with self._lock:
            self._leaving -= 1
            if error is not None and line and not line[0].done():
                line[0].set_exception(error)
                return
            self.untold = error or self.untold
            if not machine.takes_no_more:
                machine.received[:0] = taken.packets
        connection.call_next_receiver()


class Place:
    """The place of a thread in the line of those who receive; a waiter, for the server's thread.

    That one alone takes anybody out of the line. Whoever has the claim decides what becomes of the place: the server's
    thread, that it gets a packet; its own, that it gets none.
    """

    __slots__ = ("_claim", "_incoming", "_is_over", "_ready", "taken")

    def __init__(self, incoming: Incoming) -> None:
        self._incoming = incoming
        self._claim = Lock()
        self._ready = Lock()
        self._ready.acquire()
        self._is_over = False
        self.taken = Taken()

    def claim(self) -> bool:
        """Return whether it was for the caller to decide, who must do so."""
        return self._claim.acquire(blocking=False)

    # --- in its own thread ---------------------------------------------------------------------------------------

    def wait(self, seconds: float | None) -> None:
        """Wait until something was decided for it, *seconds* at most."""
        longest = self._incoming.longest_sleep
        until = inf if seconds is None else monotonic() + seconds
        while not self._is_over and (left := until - monotonic()) > 0:
            self._ready.acquire(timeout=min(left, longest))

    def outcome(self) -> Any:
        """Return the packet, `NOTHING` if there is none, or raise what has come instead of one."""
        taken = self.taken
        if taken.error is not None:
            raise taken.error
        return taken.packets[0] if taken.packets else NOTHING

    # --- in the server's thread ----------------------------------------------------------------------------------

    def done(self) -> bool:
        """Return False: a place that was woken is in line no more, or is to be woken again."""
        return False

    def set_result(self, _result: object, /) -> None:
        """It is the first in line, and there is something: take it."""
        incoming = self._incoming
        connection = incoming.connection
        if not connection.has_news:
            return  # woken in vain; it stays the first
        line: list[Any] = connection.receivers
        line.remove(self)
        if self.claim():
            try:
                packet = incoming.take(connection.machine.next_packet)
                if packet is not NOTHING:
                    self.taken.packets.append(packet)
            except BaseException as exc:
                self.taken.error = exc
            self._end()
        connection.call_next_receiver()

    def set_exception(self, error: BaseException, /) -> None:
        """It is the first in line, and is told what another one was not."""
        connection = self._incoming.connection
        line: list[Any] = connection.receivers
        line.remove(self)
        if self.claim():
            self.taken.error = error
            self._end()
        else:
            self._incoming.untold = error
        connection.call_next_receiver()

    def leave(self) -> None:
        """Its thread does not wait any more."""
        self.step_out()
        self._incoming.connection.call_next_receiver()

    def step_out(self) -> None:
        """Its thread does not wait any more; who is next in line has to be told."""
        self.claim()
        line: list[Any] = self._incoming.connection.receivers
        if self in line:
            line.remove(self)

    def give_up(self) -> None:
        """The server's thread has stopped; in any thread."""
        if self.claim():
            self.taken.error = ClientClosedError("the server is not running")
            self._end()

    def _end(self) -> None:
        self._is_over = True
        self._ready.release()


class Outgoing:
    """What is sent on one connection, by any thread but the server's.

    Args:
        connection: The connection, which stands.
        thread: The server's thread.

    Attributes:
        is_answer: What is sent next answers a packet that came alone. It is sent at once, where the system takes it.
    """

    __slots__ = (
        "_connection",
        "_framed",
        "_framing",
        "_is_called",
        "_is_ending",
        "_most",
        "_put",
        "_send",
        "_thread",
        "_writing",
        "_written",
        "is_answer",
    )

    def __init__(self, connection: ServedConnection, thread: LoopThread) -> None:
        self._connection = connection
        self._thread = thread
        # Held by handlers' threads from the question for room until the packet is sent or in `_framed`: so what one of
        # them sends never overtakes itself. The server's thread never waits for it. It covers `_put`.
        self._framing = RLock()
        # Held by whoever writes to the transport or ends the stream, in whichever thread; taken within the other one,
        # and nothing is framed within it. It covers `_written`, what is taken out of `_framed`, and the transport.
        self._writing = RLock()
        self._framed: deque[bytes | memoryview] = deque()
        self._put = self._written = 0  # how many bytes have come into `_framed`, and out of it
        self._most = min(MUCH_OUTPUT, connection.machine.limits.write_high_water)
        self._is_called = False  # the server's thread, to look
        self._is_ending = False  # the stream is about to end: set before the last look into `_framed`
        self.is_answer = False
        lend: Any = getattr(connection.link.transport, "lend", None)  # other transports cannot
        self._send: Callable[[bytes], int] | None = None if lend is None else lend(self._writing)

    def put(self, frame: Callable[[Any], bytes], what: Any, count: int = 1) -> bool:
        """Frame *what* and have it written soon, behind all that was put before; False = it has to wait for room.

        Args:
            frame: Returns the bytes of *what*, which count as so many packets from then on.
            what: One packet, or several.
            count: How many.

        Raises:
            ClientClosedError: The server has stopped meanwhile.
            Exception: What *frame* raises, or why the stream has ended meanwhile; nothing was put, and none counts.
        """
        if not self._thread.is_elsewhere:
            return False
        machine = self._connection.machine
        try:
            with self._framing:
                if not self._has_room():
                    return False
                if machine.must_check:
                    machine.check_sending()  # of no packets at all as well
                framed = frame(what)
                if not self.is_answer:
                    self._add(framed)
                    if self._is_ending:
                        self._look_after(framed, count)
                elif self._is_sent(framed, count):
                    return True
            if self._is_called:
                return True
            self._is_called = True  # before the call, which that thread may answer at once
            is_heard = self._thread.call_soon(self.write)
        except BaseException:  # Ctrl-C: it may have come between the packet and the call, and others rely on that
            self._is_called = False
            if self._framed:
                self._thread.call_soon(self.write)
            raise
        if not is_heard:
            raise ClientClosedError("the server is not running")
        return True

    def _has_room(self) -> bool:
        return self._connection.has_room and self._put - self._written < self._most

    def _add(self, framed: bytes | memoryview) -> None:
        self._framed.append(framed)
        self._put += len(framed)

    def _look_after(self, framed: bytes, count: int) -> None:
        """Take back what was put last, if the stream was ended without it.

        Raises:
            Exception: Why it was ended; nothing was put, and no packet of it counts.
        """
        with self._writing:  # so whoever is about to end it has done so
            if self._framed and self._framed[-1] is framed:
                try:
                    self._check(count)
                except BaseException:
                    self._framed.pop()
                    self._put -= len(framed)
                    raise

    def _check(self, count: int) -> None:
        """Refuse to send so many packets, which count as sent, on a connection that takes nothing any more."""
        machine = self._connection.machine
        try:
            machine.check_sending()
        except BaseException:
            machine.packets_sent -= count
            raise

    def _is_sent(self, framed: bytes, count: int) -> bool:
        """Send *framed* as far as the system takes it, unless something waits to be written, and leave the rest.

        Returns:
            Whether there is no rest.

        Raises:
            Exception: Why the stream was ended meanwhile; nothing was sent, and no packet of it counts.
        """
        self.is_answer = False
        machine = self._connection.machine
        with self._writing:  # until the rest is in its place: nothing comes between the two
            if machine.must_check:
                self._check(count)
            if self._send is None or self._framed or machine.queued:
                self._add(framed)
                return False
            try:
                sent = self._send(framed)
                machine.bytes_sent += sent
                if sent < len(framed):
                    self._add(memoryview(framed)[sent:] if sent else framed)
            except BaseException:  # Ctrl-C: nobody knows how much the peer gets, so nothing may follow that
                self._thread.call_soon(self._connection.link.abort)
                raise
        return sent == len(framed)

    # --- in the server's thread ----------------------------------------------------------------------------------

    def write(self) -> None:
        """Write all that was put."""
        self._is_called = False  # before the look: what is put behind it calls anew
        framed = self._framed
        with self._writing:
            pieces = [framed.popleft() for _ in range(len(framed))]
            if not pieces:
                return
            data = b"".join(pieces)
            self._written += len(data)
            connection = self._connection
            try:
                connection.machine.queue(data)
            except TielineError:
                return  # it has ended meanwhile, and with it all that was not written yet
            connection.link.settle()

    def write_behind(self, framed: bytes, count: int = 1) -> None:
        """Write *framed*, which is so many packets, behind all that was put.

        Raises:
            ClientClosedError, ConnectionLost, LocalProtocolError: The stream takes nothing more; none of them counts.
        """
        connection = self._connection
        machine = connection.machine
        with self._writing:
            self.write()
            if machine.must_check:
                self._check(count)
            machine.add_output(framed)
            connection.link.settle()

    def sent_behind(self, send: Callable[[], bool]) -> bool:
        """Send something past the transport by *send*, behind all that was put; return what that returns."""
        with self._writing:
            self.write()
            return send()

    @contextmanager
    def held_back(self) -> Generator[None]:
        """Write all that was put; what comes behind it waits until the stream, or the connection, was ended within."""
        with self._writing:
            self._is_ending = True  # before the last look: who puts something behind it looks after that
            self.write()
            yield
