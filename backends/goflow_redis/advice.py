"""What goes wrong with a server as goflow's errors: what happened, and what to do about it.

Whether it is away, so that whoever is patient asks again, or refuses us, which only people end. Credentials never reach a
message.
"""

from __future__ import annotations

from typing import Final

from goflow.errors import BackendError, StoreAway, StoreFull
from goflow_redis import refused as known
from goflow_redis.address import Address
from goflow_redis.refused import ours

_UNREACHED: Final = "cannot be reached"


def hopeless(error: Exception) -> bool:
    """Whether asking again cannot help: the server refuses us, it is not away."""
    refusals = (known.AuthenticationError, known.MaxConnectionsError)
    return isinstance(error, refusals) or "invalid username-password" in str(error)


def _away(error: Exception) -> bool:
    """Whether it may be there again later, without anybody's doing here."""
    kinds = known.Cut | known.Unanswered | known.RedisClusterException | OSError
    if not isinstance(error, kinds | known.ClusterDownError):
        return False
    return not hopeless(error) and "CERTIFICATE_VERIFY_FAILED" not in str(error)


class Advised:
    """Turns what goes wrong into goflow's errors, in one place; credentials never reach a message."""

    def __init__(self, name: str, hint: str) -> None:
        self._name = name
        #: only until the server has answered once
        self._hint = hint

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None:
            self._hint = ""
        if not isinstance(error, Exception) or isinstance(error, BackendError):
            return
        error = ours(error)
        if not isinstance(error, known.RedisError | OSError | UnicodeError):
            return
        text = str(error).splitlines()[0][:300] if str(error) else type(error).__name__
        if isinstance(error, known.OutOfMemoryError) or "OOM command not allowed" in str(error):
            raise StoreFull(
                f"{self._name} is full (maxmemory reached): it takes no new run until others are"
                " finished and expired"
            ) from None
        advice = _advice(error, text)
        # of a server that let us connect and then hung up
        hint = self._hint if advice.startswith(_UNREACHED) and "refused" not in text else ""
        kind_of = StoreAway if _away(error) else BackendError
        raise kind_of(f"{self._name}: {advice}{hint}") from None


def hint_of(address: Address) -> str:
    """What a connection that is cut may mean besides."""
    if address.url.startswith("unix:") or "ssl_certfile" in address.options:
        return ""
    if address.tls:
        return " Does it want a certificate of ours (?ssl_certfile=FILE&ssl_keyfile=FILE)?"
    return " Does it speak TLS only (rediss://)?"


def _without_master(text: str) -> str:
    """Why sentinels name no master; what redis-py tells of them may hold a password."""
    if "WRONGPASS" in text or "NOAUTH" in text or "Authentication" in text:
        return "the sentinels want another login: ?sentinel_username=U&sentinel_password=P"
    return (
        "no sentinel that can be reached names a master that is up: a failover may be under way; else, are they"
        " running, and is the master's name (the URL's path, mymaster where there is none) right?"
    )


def _advice(error: Exception, text: str) -> str:
    if isinstance(error, known.AuthenticationError) or "WRONGPASS" in text or "NOAUTH" in text:
        return "user name or password is wrong or missing; put them into the URL (redis://user:password@host)"
    if isinstance(error, known.NoPermissionError) or text.startswith("NOPERM"):
        return f"this user may not do what goflow needs ({text})"
    if isinstance(error, known.ReadOnlyError):
        return (
            "this is a read-only replica; give the master's URL, or redis+sentinel:// to follow it"
        )
    if isinstance(error, known.BusyLoadingError):
        return "the server is still loading its data; try again"
    if isinstance(error, known.Unanswered):
        return f"no answer ({text})"
    if isinstance(error, known.MasterNotFoundError):
        return _without_master(str(error))
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return (
            f"its certificate is not trusted ({text}); name the authority with ?ssl_ca_certs=FILE"
        )
    if "WRONG_VERSION_NUMBER" in text:
        return f"it does not speak TLS ({text}): write redis:// or tls=0"
    if isinstance(error, known.Cut | known.RedisClusterException | OSError):
        return f"{_UNREACHED} ({text}); is it running, and is the URL right?"
    if "WRONGTYPE" in text:
        return "a key under our prefix holds something else; `goflow doctor` names it"
    return text
