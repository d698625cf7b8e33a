"""What the method table is made of: one RPC, and the HTTP rules that reach it (AIP-127)."""

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal

from msgspec import Struct

Version = Literal["v1", "v1beta1"]
VERSIONS: Final[tuple[Version, ...]] = ("v1", "v1beta1")

VERTEX: Final = "google.cloud.aiplatform"


class HttpRule(Struct, frozen=True):
    """How REST reaches a method.

    Attributes:
        verb: `GET`, `POST`, `PATCH`, `PUT` or `DELETE`.
        template: The path (AIP-127), e.g. `/{v}/{parent=projects/*/locations/*}/tensorboards`;
            `{v}` stands for each API version.
        body: The request field that the body fills, `*` for the whole request, empty for none.
    """

    verb: str
    template: str
    body: str = ""

    def pattern(self, version: str) -> re.Pattern[str]:
        """A regular expression over the raw (still escaped) path; groups are the variables."""
        template = self.template.replace("{v}", version)
        parts: list[str] = []
        position = 0
        for match in re.finditer(r"\{([a-z_.]+)=([^}]*)\}", template):
            parts.append(re.escape(template[position : match.start()]))
            inner = re.escape(match[2]).replace(r"\*\*", ".+").replace(r"\*", "[^/:]+")
            parts.append(f"(?P<{match[1].replace('.', '__')}>{inner})")
            position = match.end()
        parts.append(re.escape(template[position:]))
        return re.compile("".join(parts))


@dataclass(frozen=True)
class Method:
    """One RPC.

    Attributes:
        service: Full gRPC service name; Vertex services without version (`TensorboardService`).
        name: The RPC's name, e.g. `CreateTensorboard`.
        request: The request's message type.
        permission: The IAM permission that the caller needs.
        resource: The request's field that holds the resource it is needed for.
        http: Its REST rules.
        long_running: Type of the operation's metadata; empty if it answers at once.
        streaming: Whether it answers with a stream of messages.
        raw: Whether the service takes the request's wire bytes (hot path) and checks the
            permission itself.
    """

    service: str
    name: str
    request: str
    permission: str
    resource: str
    http: tuple[HttpRule, ...]
    long_running: str = ""
    streaming: bool = False
    raw: bool = False

    @cached_property
    def attribute(self) -> str:
        """The service's Python method."""
        return re.sub(r"(?<!^)(?=[A-Z])", "_", self.name).lower()

    @property
    def versioned(self) -> bool:
        """Whether it exists once for each API version."""
        return "." not in self.service

    def grpc_path(self, version: Version) -> str:
        """The gRPC path, e.g. `/google.cloud.aiplatform.v1.TensorboardService/GetTensorboard`."""
        if self.versioned:
            return f"/{VERTEX}.{version}.{self.service}/{self.name}"
        return f"/{self.service}/{self.name}"


def row(
    service: str,
    name: str,
    http: str,
    permission: str,
    *,
    body: str = "",
    resource: str = "",
    request: str = "",
    long_running: str = "",
    streaming: bool = False,
    raw: bool = False,
    more_http: tuple[HttpRule, ...] = (),
) -> Method:
    """Declares a method the short way.

    Args:
        service: As in `Method`.
        name: As in `Method`.
        http: Its first REST rule, `VERB template`.
        permission: As in `Method`.
        body: The body of the first rule.
        resource: As in `Method`; the first variable of the template unless told.
        request: As in `Method`; `{name}Request` unless told.
        long_running: As in `Method`.
        streaming: As in `Method`.
        raw: As in `Method`.
        more_http: Further REST rules.
    """
    verb, template = http.split(" ", 1)
    if not resource:
        variable = re.search(r"\{([a-z_.]+)=", template)
        resource = variable[1] if variable else ""
    return Method(
        service=service,
        name=name,
        request=request or f"{name}Request",
        permission=permission,
        resource=resource,
        http=(HttpRule(verb, template, body), *more_http),
        long_running=long_running,
        streaming=streaming,
        raw=raw,
    )
