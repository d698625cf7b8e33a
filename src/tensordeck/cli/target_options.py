"""The options of `exec` and `env` that say which server is meant."""

import argparse

from tensordeck.cli.endpoint import locate
from tensordeck.redirect.endpoint import Endpoint

__all__ = ["add_to", "endpoint_of", "parser"]


def parser(command: str, usage: str, description: str, epilog: str) -> argparse.ArgumentParser:
    """A parser for one command, with these options in it."""
    result = argparse.ArgumentParser(
        prog=f"tensordeck {command}",
        usage=f"tensordeck {command} {usage}",
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_to(result)
    return result


def add_to(target: argparse.ArgumentParser) -> None:
    """Adds the options."""
    group = target.add_argument_group("which server")
    group.add_argument(
        "--data-dir",
        metavar="DIR",
        help="data directory of a server on this machine "
        "[env TENSORDECK_DATA_DIR; default ./tensordeck-data]",
    )
    group.add_argument(
        "--port",
        type=int,
        metavar="N",
        help="its port [default: the one it says it listens on, else 6060]",
    )
    group.add_argument("--url", metavar="URL", help="a remote server instead [env TENSORDECK_URL]")
    group.add_argument(
        "--credentials",
        metavar="FILE",
        help="credentials for it: an owner.json, or a key from `tensordeck keys create` "
        "[env TENSORDECK_CREDENTIALS; default: the data directory's owner.json]",
    )
    group.add_argument(
        "--ca",
        metavar="FILE",
        help="PEM bundle that its certificate is checked against "
        "[env TENSORDECK_CA; default: the data directory's, for a URL the public authorities]",
    )


def endpoint_of(options: argparse.Namespace) -> Endpoint:
    """The server that parsed options mean. Raises as `endpoint.locate`."""
    return locate(
        data_dir=options.data_dir,
        port=options.port,
        url=options.url,
        credentials=options.credentials,
        ca=options.ca,
    )
