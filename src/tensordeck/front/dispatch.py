"""From a decoded call to a reply: who, may they, the service's method, the operation around it.

Both transports end here, so that a rule holds for both or for neither.
"""

import logging
import secrets
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, Literal

from tensordeck import errors, protos
from tensordeck.access import Access, Caller
from tensordeck.front.method import Method, Version
from tensordeck.services.call import Call
from tensordeck.telemetry.request_id import request_id
from tensordeck.telemetry.tracing import step, told_with_commit

log: Final = logging.getLogger("tensordeck.front")

Transport = Literal["grpc", "rest"]
Tell = Callable[[bytes | BaseException | None], None]
Begin = Callable[[bytes, Caller, Tell], None]


class Dispatcher:
    """Runs methods of the table against services.

    Args:
        access: Who may call what.
        services: Service objects by the name the table uses, e.g. `TensorboardService`.
        finish: Wraps the result of a long-running method into a finished operation:
            `(resource name, result, metadata type, call) -> Operation`.
    """

    def __init__(
        self,
        access: Access,
        services: Mapping[str, object],
        finish: Callable[[str, Any, str, Call], Any],
    ) -> None:
        self._access = access
        self._services = services
        self._finish = finish

    def serves(self, method: Method) -> bool:
        """Whether there is a service for the method."""
        return method.service in self._services

    def handler(self, method: Method) -> Callable[[Any, Call], Any]:
        """The service's own method.

        Raises:
            AttributeError: If the service lacks it: the table and the service disagree.
        """
        handler: Callable[[Any, Call], Any] = getattr(
            self._services[method.service], method.attribute
        )
        return handler

    def authenticate(self, authorization: str | None) -> Caller:
        """Says who calls; comes before anything else is read.

        Raises:
            errors.Unauthenticated: If the header's value is missing or no good.
        """
        try:
            return self._access.authenticate(authorization)
        except errors.TensordeckError:
            raise
        except Exception as error:
            raise internal(error, "authentication") from error

    def remembered(self, authorization: str | None) -> Caller | None:
        """As `authenticate` for a credential seen a moment ago, without waiting for anything."""
        return self._access.remembered(authorization)

    def beginner(self, method: Method, version: Version, transport: Transport) -> Begin | None:
        """How calls of a method begin that are answered later.

        Returns:
            None if the service can't; else a function of the request's bytes, the caller, and a
            function that is told the reply's bytes, or the error, or None if the call must go
            through `call`. It is told in some thread, and perhaps before the first one returns;
            neither waits or raises.
        """
        begin = getattr(self._services[method.service], f"begin_{method.attribute}", None)
        if begin is None:
            return None
        check, permission = self._access.check, method.permission
        step_name = _step_name(method)

        def submit_bytes(request: bytes, caller: Caller, tell: Tell) -> None:
            def authorize(resource: str) -> None:
                check(caller, permission, resource)

            tell = told_with_commit(step_name, tell)
            begin(request, Call(caller, version, transport, authorize), tell)

        def submit(request: bytes, caller: Caller, tell: Tell) -> None:
            tell = told_with_commit(step_name, tell)
            try:
                message = protos.parse(method.request, request)
                for resource in _resources(message, method.resource):
                    check(caller, permission, resource)
                call = Call(caller, version, transport)
                begin(message, call, lambda reply: tell(_encoded(reply)))
            except Exception as error:  # noqa: BLE001 -- told, whatever it is
                tell(error)

        return submit_bytes if method.raw else submit

    def call(
        self,
        method: Method,
        request: bytes | protos.Message,
        caller: Caller,
        version: Version,
        transport: Transport,
    ) -> protos.Message | Iterator[protos.Message]:
        """Runs one call.

        Args:
            method: The row.
            request: Wire bytes (gRPC), or the message that REST put together.
            caller: From `authenticate`.
            version: `v1` or `v1beta1`.
            transport: `grpc` or `rest`.

        Returns:
            The reply; an iterator of replies for a streaming method. To gRPC it may be a
            `protos.Encoded`, which serializes like a message.

        Raises:
            errors.TensordeckError: Whatever is wrong, with a message for the caller.
        """
        try:

            def authorize(resource: str) -> None:
                self._access.check(caller, method.permission, resource)

            call = Call(caller, version, transport, authorize)
            if method.raw:
                data = request if isinstance(request, bytes) else request.SerializeToString()
                with step(_step_name(method)):
                    reply = self.handler(method)(data, call)
            else:
                if isinstance(request, bytes):
                    request = protos.parse(method.request, request)
                for resource in _resources(request, method.resource):
                    authorize(resource)
                with step(_step_name(method)):
                    reply = self.handler(method)(request, call)
                if method.long_running:
                    name = getattr(reply, "name", "") or _resources(request, method.resource)[0]
                    reply = self._finish(name, reply, method.long_running, call)
        except errors.TensordeckError:
            raise
        except Exception as error:
            raise internal(error, method.name) from error
        if transport == "rest" and isinstance(reply, protos.Encoded):
            reply = reply.message()
        result: protos.Message | Iterator[protos.Message] = reply
        return result


def _encoded(reply: protos.Message | BaseException | None) -> bytes | BaseException | None:
    if reply is None or isinstance(reply, BaseException):
        return reply
    data: bytes = reply.SerializeToString()
    return data


def _step_name(method: Method) -> str:
    """What the service's part of a call is called in a trace."""
    return f"{method.service}.{method.attribute}"


def internal(error: BaseException, what: str) -> errors.Internal:
    """Logs a bug under the request's id, or a number, and returns the error that shows only it."""
    number = request_id() or secrets.token_hex(4)
    log.error("internal error %s in %s", number, what, exc_info=error)
    return errors.Internal(
        f"Tensordeck failed in {what} through a fault of its own. "
        f"The server's log has the cause under {number}."
    )


def _resources(request: Any, path: str) -> list[str]:
    """The text at a dotted field path, or the texts of a repeated field."""
    value = request
    for field in path.split(".") if path else ():
        value = getattr(value, field)
    if not path or isinstance(value, str):
        return [value if path else ""]
    return list(value)
