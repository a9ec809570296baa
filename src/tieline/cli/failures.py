# SPDX-License-Identifier: MIT
"""What went wrong, in one line with what to do about it, and by which exit code it is told."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import tieline
from tieline.cli.exits import Exit, Failure
from tieline.cli.showing import as_json

__all__ = ["INVALID_ARGUMENTS", "NO_SUCH_METHOD", "not_connected", "not_listening", "talk_failed"]

NO_SUCH_METHOD = -32601
INVALID_ARGUMENTS = -32602

_SHOWN_DATA = 300


def not_connected(exc: Exception, where: str, *, is_proxied: bool = False) -> Failure:
    """Return the failure for what dialling *where* raised."""
    import ssl

    text = _text(exc)
    if isinstance(exc, ssl.SSLCertVerificationError):
        return Failure(Exit.UNTRUSTED, f"no trust in {where}: {_untrusted(exc)}")
    if isinstance(exc, ssl.SSLError):
        hint = _plain(where) if exc.reason in {"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"} else ""
        return Failure(Exit.UNTRUSTED, f"no TLS with {where}: {_reason(exc)}{hint}")
    # A reset may also come behind TLS, in the handshake of a WebSocket.
    cut = tieline.ConnectionLost if where.startswith("wss:") else tieline.ConnectionLost | ConnectionResetError
    if where.startswith(("tls:", "wss:")) and isinstance(exc, cut):
        return Failure(Exit.UNTRUSTED, f"no TLS with {where}: the connection ended in the handshake{_plain(where)}")
    if is_proxied and isinstance(exc, OSError):
        return Failure(Exit.UNREACHABLE, f"{text}{_proxy_hint(exc)}")
    if isinstance(exc, socket.gaierror):
        return Failure(Exit.UNREACHABLE, f"{text}; check the name in {where}")
    if where.startswith("cmd:") and isinstance(exc, OSError):
        return Failure(Exit.UNREACHABLE, f"cannot start {where}: {text}")
    if isinstance(exc, ConnectionRefusedError | FileNotFoundError):
        return Failure(Exit.UNREACHABLE, f"{text}; is the server running, and listening there?")
    if isinstance(exc, TimeoutError):
        return Failure(Exit.UNREACHABLE, f"{text}; is it the right host? (--timeout gives it longer)")
    if isinstance(exc, OSError):
        return Failure(Exit.UNREACHABLE, text)
    return Failure(Exit.USAGE, text)


def _plain(where: str) -> str:
    """Return what to do where there is no TLS."""
    plain, secured = ("ws", "wss") if where.startswith("wss:") else ("tcp", "tls")
    return f"; if the server does not speak TLS, use {plain}:// instead of {secured}://"


def _proxy_hint(exc: OSError) -> str:
    """Return what to do about an *exc* of dialling through a proxy."""
    if isinstance(exc, tieline.SOCKSFailure | tieline.HTTPConnectError) and _wants_password(exc):
        return "; they go into its URL: socks5://USER:PASSWORD@HOST:PORT"
    if isinstance(exc, tieline.SOCKSProtocolError | tieline.HTTPConnectError):
        return "; tieline proxy-check tells what the proxy is"
    if isinstance(exc, tieline.SOCKSError):
        return ""
    if isinstance(exc, TimeoutError):
        return "; do the proxy and the server answer? (--timeout gives them longer)"
    if isinstance(exc, socket.gaierror):
        return "; check the name of the proxy"
    if isinstance(exc, ConnectionRefusedError | FileNotFoundError):
        return "; is the proxy running, and listening there?"
    return ""


def _wants_password(exc: tieline.SOCKSFailure | tieline.HTTPConnectError) -> bool:
    """Return whether a proxy refuses who asks, and not what is asked for."""
    if isinstance(exc, tieline.HTTPConnectError):
        return exc.status in (401, 407)
    return exc.code == 0xFF or "password" in exc.meaning


def not_listening(exc: Exception, where: str) -> Failure:
    """Return the failure for what listening on *where* raised."""
    text = _text(exc)
    if isinstance(exc, OSError) and "in use" in text:
        return Failure(Exit.UNREACHABLE, f"{text}; end the program that has it, or listen elsewhere (port 0 finds one)")
    if isinstance(exc, OSError):
        return Failure(Exit.UNREACHABLE, text)
    return Failure(Exit.USAGE, f"cannot listen on {where}: {text}")


def talk_failed(exc: Exception, where: str) -> Failure:
    """Return the failure for what a call, or anything else on an open connection, raised."""
    if isinstance(exc, tieline.RPCError):
        return _answered(exc, where)
    if isinstance(exc, TimeoutError):
        return Failure(Exit.TIMEOUT, f"no reply from {where} in time (--timeout gives it longer)")
    if isinstance(exc, tieline.ConnectionLost):
        return _lost(exc, where)
    if isinstance(exc, tieline.RemoteProtocolError):
        return Failure(Exit.LOST, f"{where} broke the protocol: {exc}")
    if isinstance(exc, tieline.ClosedError | OSError):
        return Failure(Exit.LOST, f"{where}: {_text(exc)}")
    return Failure(Exit.USAGE, f"cannot be sent: {exc}")  # our own message is at fault


def _answered(exc: tieline.RPCError, where: str) -> Failure:
    code = {NO_SUCH_METHOD: Exit.NO_METHOD, INVALID_ARGUMENTS: Exit.ARGUMENTS}.get(exc.code, Exit.ANSWERED_ERROR)
    data = "" if exc.data is None else f", data: {as_json(exc.data)}"
    if len(data) > _SHOWN_DATA:
        data = f"{data[:_SHOWN_DATA]}... (all of it with --json)"
    return Failure(code, f"{where} answered with an error: {exc.message} (code {exc.code}){data}")


def _lost(exc: tieline.ConnectionLost, where: str) -> Failure:
    import ssl

    causes = list(_causes(exc))
    for cause in causes:
        if isinstance(cause, ssl.SSLError):
            wanted = "; it wants a certificate of yours: --tls-cert" if "CERTIFICATE_REQUIRED" in str(cause) else ""
            return Failure(Exit.UNTRUSTED, f"{where} ended the connection: {_reason(cause)}{wanted}")
    told = str(exc)
    for cause in causes:
        if str(cause) not in told:
            told = f"{told}; {cause}"
    hint = ""
    if not where.startswith("cmd:") and any(
        isinstance(cause, tieline.EndOfStream | tieline.StreamReset | tieline.StreamTruncated) for cause in causes
    ):
        hint = "; if it speaks TLS or another framing, say tls:// or --framing"
    return Failure(Exit.LOST, f"{where}: {told}{hint}")


def _causes(exc: BaseException) -> Iterator[BaseException]:
    seen = exc.__cause__
    while seen is not None:
        yield seen
        seen = seen.__cause__


def _text(exc: Exception) -> str:
    """Return what an exception says, without the number of an OSError."""
    if isinstance(exc, OSError) and exc.strerror:
        return exc.strerror if exc.filename is None else f"{exc.strerror}: {exc.filename!r}"
    return str(exc)


def _reason(exc: OSError) -> str:
    """Return OpenSSL's reason in lower case, without where in its code that was."""
    reason: str | None = getattr(exc, "reason", None)
    return (reason or str(exc)).replace("_", " ").lower()


def _untrusted(exc: Exception) -> str:
    message: str = getattr(exc, "verify_message", "") or str(exc)
    message = message.rstrip(".")
    if "mismatch" in message.lower():
        return f"{message}; --server-hostname says whose certificate it should be"
    if "issuer" in message or "self-signed" in message or "self signed" in message:
        return f"{message}; if the authority is your own, name it with --tls-ca FILE"
    return message
