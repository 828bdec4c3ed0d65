"""Calls over connections of our own to a single server, and (`exchange`) over those that redis-py makes to others.

redis-py takes 0.1 s and 11 MB to import. What it does around each call (a lock, figures for its metrics, a look at
the socket, a loop over the words) is a third of what a small call costs its caller. So hiredis packs and parses
here, and redis-py is left to find its way through clusters and sentinels.
"""

from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

from goflow_redis.place import Place
from goflow_redis.refused import Cut, InvalidResponse, ResponseError, Unanswered, read

Word = bytes | str | int | float
Command = Sequence[Word]

#: seconds without a call after which a connection is looked at before it is used: its server may have closed it
FRESH: Final = 1.0
_READ: Final = 1 << 16
_LACKING: Final = object()


class Line:
    """One connection, for one call at a time; of no use after an error. Raises Cut, Unanswered, and whatever else
    a server says of connections.

    Over a socket on which nothing is under way: one of our own (`to`), or redis-py's, which is ended by `end`.
    """

    def __init__(
        self, connect: Callable[[], socket.socket], end: Callable[[], None] | None = None
    ) -> None:
        from hiredis import Reader, pack_command

        self._pack: Any = pack_command  # its stub knows tuples of one word only
        self._reader = Reader(
            protocolError=InvalidResponse, replyError=read, notEnoughData=_LACKING
        )
        self._end = end
        # made after this object: of a cycle that nobody closed the garbage collector ends the older one first
        self._sock = connect()
        self._pid = os.getpid()
        self._used = time.monotonic()

    @classmethod
    def to(cls, place: Place) -> Line:
        """One to that server, logged in."""
        line = cls(place.connect)
        try:
            *told, _ = line.exchange(place.greeting())
            for answer in told:
                if isinstance(answer, Exception):
                    raise answer
        except BaseException:
            line.close()
            raise
        return line

    def __del__(self) -> None:
        if hasattr(self, "_pid"):  # else it was never made
            self.close()

    @property
    def stale(self) -> bool:
        """Whether the server may have closed it, or has sent what nobody asked for."""
        if time.monotonic() - self._used < FRESH:
            return False
        waiting = select.poll()
        waiting.register(self._sock, select.POLLIN)
        return bool(waiting.poll(0))

    def ask(self, command: Command) -> Any:
        """The answer of one command; see `exchange`."""
        try:
            self._sock.sendall(self._pack(command))
            answer = self._answer()
        except OSError as error:
            raise _named(error) from None
        if isinstance(answer, Exception):
            _refuse_ended(answer)
        self._used = time.monotonic()
        return answer

    def say(self, command: Command) -> int:
        """Send a command whose answer is to be waited for; answers the socket to select on."""
        self._sock.sendall(self._pack(command))
        return self._sock.fileno()

    def hear(self) -> Any:
        """The answer, an exception where it is a refusal. Raises OSError."""
        return self._answer()

    def close(self) -> None:
        """End the connection; in a fork of its process only there."""
        if self._end is not None:
            self._end()
            return
        if self._pid == os.getpid():
            with suppress(OSError):
                self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()

    def exchange(self, commands: Sequence[Command]) -> list[Any]:
        """The answers of commands; those to refused ones are exceptions."""
        try:
            self._sock.sendall(b"".join([self._pack(tuple(each)) for each in commands]))
            answers = [self._answer() for _ in commands]
        except OSError as error:
            raise _named(error) from None
        for answer in answers:
            if isinstance(answer, Exception):
                _refuse_ended(answer)
        self._used = time.monotonic()
        return answers

    def _answer(self) -> Any:
        while (answer := self._reader.gets()) is _LACKING:
            data = self._sock.recv(_READ)
            if not data:
                raise ConnectionResetError(0, "Connection closed by server.")
            self._reader.feed(data)
        return answer


def _named(error: OSError) -> Exception:
    """What the system says of a connection, by kind."""
    if isinstance(error, TimeoutError):
        return Unanswered("Timeout reading from socket")
    return Cut(f"Error {error.errno}: {error.strerror or error}")


def _refuse_ended(answer: Exception) -> None:
    """Raise what a server says of the connection, not of a command."""
    if not isinstance(answer, ResponseError):
        raise answer


class Lines:
    """Connections to one server. Safe to share between threads."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._idle: list[Line] = []
        self._pid = os.getpid()

    def ask(self, command: tuple[Word, ...]) -> Any:
        """The answer of one command: what `exchange` does, in a few steps fewer. After each answer whatever the
        server and others did in between has to be found anew by the processor, so each step counts thrice."""
        line = self._take()
        try:
            answer = line.ask(command)
        except BaseException:
            line.close()
            self.close()
            raise
        self._idle.append(line)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def exchange(self, commands: Sequence[Command]) -> list[Any]:
        """The answers of commands. The first error is raised, after all were read."""
        line = self._take()
        try:
            answers = line.exchange(commands)
        except (
            BaseException
        ):  # an answer may still be on its way; and the others may be cut as well
            line.close()
            self.close()
            raise
        self._idle.append(line)
        return _fine(answers)

    def connect(self) -> Line:
        """One more, of the caller's own."""
        return Line.to(self._place)

    def close(self) -> None:
        """Let go of those that nobody uses."""
        while self._idle:
            try:
                line = self._idle.pop()
            except IndexError:  # another thread has it
                return
            line.close()

    def _take(self) -> Line:
        if self._pid != os.getpid():  # a fork: those are the parent's
            self.close()
            self._pid = os.getpid()
        try:
            while True:
                line = self._idle.pop()
                if not line.stale:
                    return line
                line.close()
        except IndexError:
            return self.connect()


def exchange(pool: Any, commands: Sequence[Command]) -> list[Any]:
    """The same over redis-py's pool, which may give connections to another server each time."""
    from redis.exceptions import ResponseError

    connection = pool.get_connection()
    try:
        connection.send_packed_command(connection.pack_commands(commands))
        answers: list[Any] = []
        for _ in commands:
            try:
                answers.append(connection.read_response())
            except ResponseError as error:
                answers.append(error)
    except BaseException:
        connection.disconnect()  # an answer may still be on its way
        raise
    finally:
        pool.release(connection)
    return _fine(answers)


def _fine(answers: list[Any]) -> list[Any]:
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return answers
