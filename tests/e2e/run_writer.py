"""One of many processes that log to one run, as light as the official client is heavy.

It does what that client does for a parameter: it sends the whole context with the etag of its last
reading, reads again and retries when it is refused over gRPC, and gives up after five attempts.
"""

import json
import re
import sys
import urllib.request

import grpc

from tensordeck import protos

STALE = re.compile(r"Specified Context `etag`: `(\d+)` does not match server `etag`: `(\d+)`")
SERVICE = "/google.cloud.aiplatform.v1.MetadataService"


class OverGrpc:
    """Reads and updates a context over gRPC."""

    def __init__(self, address: str, token: str) -> None:
        self._channel = grpc.insecure_channel(address)
        self._metadata = (("authorization", f"Bearer {token}"),)

    def get(self, name: str) -> object:
        return self._call("GetContext", name=name)

    def log(self, context: object, key: str, value: float) -> object:
        for attempt in range(1, 6):
            context.metadata.get_or_create_struct("_params")[key] = value
            try:
                return self._call("UpdateContext", context=context)
            except grpc.RpcError as error:
                refused = STALE.match(error.details())
                if attempt == 5 or not refused or not refused[1] < refused[2]:
                    raise
                context = self.get(context.name)
        raise AssertionError

    def _call(self, method: str, **fields: object) -> object:
        request = protos.message(f"{method}Request")(**fields)
        call = self._channel.unary_unary(
            f"{SERVICE}/{method}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=protos.message("Context").FromString,
        )
        return call(request, metadata=self._metadata, timeout=60)


class OverRest:
    """The same over REST, where that client knows no retries."""

    def __init__(self, address: str, token: str) -> None:
        self._address = address
        self._headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}

    def get(self, name: str) -> dict:
        return self._call("GET", name)

    def log(self, context: dict, key: str, value: float) -> dict:
        context["metadata"]["_params"][key] = value
        return self._call("PATCH", context["name"], context)

    def _call(self, verb: str, name: str, body: object = None) -> dict:
        request = urllib.request.Request(
            f"http://{self._address}/v1/{name}",
            method=verb,
            data=None if body is None else json.dumps(body).encode(),
            headers=self._headers,
        )
        with urllib.request.urlopen(request, timeout=60) as reply:
            return json.load(reply)


def main() -> None:
    transport, address, name, writer, count = sys.argv[1:]
    token = sys.stdin.readline().strip()
    run = (OverGrpc if transport == "grpc" else OverRest)(address, token)
    context = run.get(name)
    sys.stdout.write("READY\n")
    sys.stdout.flush()
    sys.stdin.readline()  # until all are ready
    for number in range(int(count)):
        context = run.log(context, f"{writer}-{number}", number)


if __name__ == "__main__":
    main()
