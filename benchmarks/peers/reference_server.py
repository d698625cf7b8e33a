"""A server that only decodes and encodes: the yardstick for reads of whole series.

    python -m benchmarks.peers.reference_server PORT KEY CERTIFICATE POINTS

gRPC over TLS, with the protobuf library: it decodes ReadTensorboardTimeSeriesData, encodes an
answer that lies ready in its memory, and sends it. It looks nothing up and checks no credential.
"""

import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
from benchmarks.peers.clients import values

from tensordeck import protos


def answer(points: int) -> Any:
    """The series that clients of `long_series` write."""
    reply = protos.message("ReadTensorboardTimeSeriesDataResponse")()
    data = reply.time_series_data
    data.tensorboard_time_series_id, data.value_type = "loss", 1
    for step, value in enumerate(values.curve(0, points)):
        point = data.values.add(step=step)
        point.scalar.value = value
        point.wall_time.seconds, point.wall_time.nanos = 1_760_000_000, step % 1_000 * 1_000_000
    return reply


class _Handlers(grpc.GenericRpcHandler):
    def __init__(self, reply: Any) -> None:
        decode = protos.message("ReadTensorboardTimeSeriesDataRequest").FromString
        self._handler = grpc.unary_unary_rpc_method_handler(
            lambda _request, _context: reply, decode, type(reply).SerializeToString
        )

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        return self._handler


def main() -> None:
    port, key, certificate, points = sys.argv[1:]
    server = grpc.server(ThreadPoolExecutor(4), handlers=(_Handlers(answer(int(points))),))
    pair = (Path(key).read_bytes(), Path(certificate).read_bytes())
    server.add_secure_port(f"localhost:{port}", grpc.ssl_server_credentials([pair]))
    server.start()
    print("ready", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
