"""Calls over connections that redis-py makes: through its pool, or without what that costs a call.

redis-py connects, logs in and speaks TLS. What it does around each call (a lock, figures for its metrics, a look
at the socket, a loop over the words) is a third of what a small call costs its caller. `Lines` has hiredis pack
and parse, and keeps its connections itself.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Any, Final

Word = bytes | str | int | float
Command = Sequence[Word]

#: seconds without a call after which a connection is looked at before it is used: its server may have closed it
FRESH: Final = 1.0
_READ: Final = 1 << 16
_LACKING: Final = object()


class Line:
    """One connection, for one call at a time; of no use after an error."""

    def __init__(self, connection: Any) -> None:
        from hiredis import Reader, pack_command
        from redis.exceptions import InvalidResponse

        self.connection = connection
        self._socket = connection._sock  # what every redis-py from 6.0 on calls it
        self._pack: Any = pack_command  # its stub knows tuples of one word only
        self._reader = Reader(
            protocolError=InvalidResponse,
            replyError=connection._parser.parse_error,
            notEnoughData=_LACKING,
        )
        self._used = time.monotonic()

    @property
    def stale(self) -> bool:
        """Whether the server may have closed it, or has sent what nobody asked for."""
        if time.monotonic() - self._used < FRESH:
            return False
        try:
            return bool(self.connection.can_read())
        except Exception:  # noqa: BLE001 - closed: redis-py has several words for that
            return True

    def ask(self, command: Command) -> Any:
        """The answer of one command; see `exchange`."""
        try:
            self._socket.sendall(self._pack(command))
            answer = self._answer()
        except OSError as error:
            raise _as_redis(error) from None
        if isinstance(answer, Exception):
            _refuse_ended(answer)
        self._used = time.monotonic()
        return answer

    def say(self, command: Command) -> int:
        """Send a command whose answer is to be waited for; answers the socket to select on."""
        self._socket.sendall(self._pack(command))
        descriptor: int = self._socket.fileno()
        return descriptor

    def hear(self) -> Any:
        """The answer, an exception where it is a refusal. Raises OSError."""
        return self._answer()

    def close(self) -> None:
        """End the connection."""
        self.connection.disconnect()

    def exchange(self, commands: Sequence[Command]) -> list[Any]:
        """The answers of commands; those to refused ones are exceptions. Raises ConnectionError and
        TimeoutError as redis-py does, and whatever else the server says of the connection."""
        try:
            self._socket.sendall(b"".join([self._pack(tuple(each)) for each in commands]))
            answers = [self._answer() for _ in commands]
        except OSError as error:
            raise _as_redis(error) from None
        for answer in answers:
            if isinstance(answer, Exception):
                _refuse_ended(answer)
        self._used = time.monotonic()
        return answers

    def _answer(self) -> Any:
        while (answer := self._reader.gets()) is _LACKING:
            data = self._socket.recv(_READ)
            if not data:
                raise ConnectionResetError(0, "Connection closed by server.")
            self._reader.feed(data)
        return answer


def _as_redis(error: OSError) -> Exception:
    """What redis-py would have raised."""
    from redis import exceptions as known

    if isinstance(error, TimeoutError):
        return known.TimeoutError("Timeout reading from socket")
    return known.ConnectionError(f"Error {error.errno}: {error.strerror or error}")


def _refuse_ended(answer: Exception) -> None:
    """Raise what a server says of the connection, not of a command."""
    from redis.exceptions import ResponseError

    if not isinstance(answer, ResponseError):
        raise answer


class Lines:
    """Connections to one server, each made by redis-py's pool for it. Safe to share between threads."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool
        self._idle: list[Line] = []
        self._pid = os.getpid()

    def ask(self, command: tuple[Word, ...]) -> Any:
        """The answer of one command: what `exchange` does, in a few steps fewer. After each answer whatever the
        server and others did in between has to be found anew by the processor, so each step counts thrice."""
        line = self._take()
        try:
            answer = line.ask(command)
        except BaseException:
            self._drop(line)
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
            self._drop(line)
            self.close()
            raise
        self._idle.append(line)
        return _fine(answers)

    def close(self) -> None:
        """Let go of those that nobody uses."""
        while self._idle:
            try:
                line = self._idle.pop()
            except IndexError:  # another thread has it
                return
            self._drop(line)

    def _take(self) -> Line:
        if self._pid != os.getpid():  # a fork: those are the parent's
            self._pid, self._idle = os.getpid(), []
        try:
            while True:
                line = self._idle.pop()
                if not line.stale:
                    return line
                self._drop(line)
        except IndexError:
            return Line(self._pool.get_connection())

    def _drop(self, line: Line) -> None:
        line.connection.disconnect()
        self._pool.release(line.connection)


def exchange(pool: Any, commands: Sequence[Command]) -> list[Any]:
    """The same over a pool that may give connections to another server each time."""
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
