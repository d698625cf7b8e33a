"""Pages of our own, where there is no board to show: what is wrong, and what to do about it.

The web app itself would say that the server may be down, and try for ever.
"""

import base64
import hashlib
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from msgspec import Struct
from starlette.responses import HTMLResponse

from tensordeck.access import Caller
from tensordeck.board.address import Member
from tensordeck.errors import NotFound, PermissionDenied, TensordeckError, Unauthenticated
from tensordeck.names import ResourceName

if TYPE_CHECKING:
    from jinja2 import Template

__all__ = ["problem_page"]

_HOME: Final = ("All instances", "/")


class Step(Struct, frozen=True):
    """Something to do about it.

    Attributes:
        title: What it is good for.
        text: How.
        code: What to type.
    """

    title: str
    text: str
    code: str = ""


class Problem(Struct, frozen=True):
    """What a page says.

    Attributes:
        title: In a few words.
        text: In a sentence or two.
        subject: The resource it is about.
        steps: What to do.
        links: (title, path) of pages that help.
        look_again: Whether the page reloads itself: what is missing may be on its way.
    """

    title: str
    text: str
    subject: str = ""
    steps: tuple[Step, ...] = ()
    links: tuple[tuple[str, str], ...] = (_HOME,)
    look_again: bool = False


def problem_page(
    error: TensordeckError, *, member: Member | None = None, caller: Caller | None = None
) -> HTMLResponse:
    """A page for an error.

    Args:
        error: What is wrong.
        member: The experiment that it is about, if it is known.
        caller: Who is signed in, if somebody is.
    """
    if isinstance(error, Unauthenticated):
        problem = _signed_out(member)
    elif isinstance(error, PermissionDenied):
        problem = _forbidden(error, member, caller)
    elif isinstance(error, NotFound) and member:
        problem = _missing(member)
    else:
        problem = Problem("There is no board at this address", error.message)
    style, style_hash = _style()
    text = _template().render(problem=problem, style=style)
    return HTMLResponse(
        text,
        error.http_status,
        {
            "Content-Security-Policy": "default-src 'none'; img-src data:; "
            f"style-src 'sha256-{style_hash}'; base-uri 'none'; frame-ancestors 'none'",
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "same-origin",
            "Cache-Control": "no-store",
        },
    )


def _signed_out(member: Member | None) -> Problem:
    target = f" {member.experiment}" if member else ""
    return Problem(
        title="Sign in to see this board",
        text="Boards are for people whom this server knows, and this browser is not signed in.",
        steps=(
            Step(
                "On the machine that the server runs on",
                "This prints the board's address and opens it in your browser, signed in:",
                f"tensordeck open{target}",
            ),
            Step(
                "In another browser",
                "This prints a link that signs in any browser. Pass it on like a password:",
                "tensordeck sign-in",
            ),
        ),
        links=(),
    )


def _forbidden(error: PermissionDenied, member: Member | None, caller: Caller | None) -> Problem:
    who = f"You are signed in as {caller.principal}. " if caller else ""
    return Problem(
        title="This board is not shared with you",
        text=f"{who}{error.message}",
        subject=member.tensorboard if member else "",
        steps=(
            Step(
                "Ask whoever owns the instance",
                "They can give you a role that holds this permission:",
                "aiplatform.tensorboards.recordAccess",
            ),
        ),
    )


def _missing(member: Member) -> Problem:
    name = ResourceName.parse(member.experiment)
    instance = name.parent
    return Problem(
        title="There is no such experiment yet",
        text="It may not have been uploaded so far, its name may be spelled differently, or it "
        "was deleted.",
        subject=member.experiment,
        steps=(
            Step(
                "Upload a log directory into it",
                "With this command, live while the training runs:",
                f"tensordeck upload ./logs --experiment {name.id} "
                f"--tensorboard {instance.id} --follow",
            ),
            Step(
                "Or from Python",
                "With the official client; run the program with tensordeck exec:",
                f"from google.cloud import aiplatform\n\n"
                f'aiplatform.init(project="{name.project}", location="{name.location}")\n'
                f"aiplatform.upload_tb_log(\n"
                f'    tensorboard_id="{instance.id}",\n'
                f'    tensorboard_experiment_name="{name.id}",\n'
                f'    logdir="./logs",\n'
                f")",
            ),
        ),
        links=(("This instance's experiments", "/" + quote(str(instance), safe="/@:")), _HOME),
        look_again=True,
    )


@cache
def _style() -> tuple[str, str]:
    """The style sheet, and its hash for the Content-Security-Policy."""
    style = (resources.files("tensordeck.board") / "static" / "problem.css").read_text()
    return style, base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()


@cache
def _template() -> "Template":
    # Jinja takes 50 ms to import, and most visitors never see these pages.
    from jinja2 import Environment, PackageLoader, StrictUndefined  # noqa: PLC0415

    environment = Environment(
        loader=PackageLoader("tensordeck.board"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("problem.html")
