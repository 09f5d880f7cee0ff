"""`python -m local` runs the system on this machine; `make help` lists what else there is."""

import argparse
import sys
from collections.abc import Callable
from typing import NoReturn

from local.errors import LocalStackError
from local.signals import interrupt_once

Arguments = argparse.Namespace


def main() -> int:
    """The exit code: of `order`, 0 if it was confirmed; of the stack, 0 if it was stopped by Ctrl-C or SIGTERM."""
    interrupt_once()
    if sys.stdout is None or sys.stderr is None:  # closed by whoever started us, who does not want to know
        return 1
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]  # where the terminal knows only ASCII
    parser = _parser()
    arguments, others = parser.parse_known_args()
    if others and arguments.do is not _psql:
        parser.error(f"unrecognized arguments: {' '.join(others)}")
    arguments.others = others
    try:
        return int(arguments.do(arguments))
    except (LocalStackError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except KeyboardInterrupt:
        if arguments.do in (_run, _sam):
            sys.stdout.write("stopped\n")
        return 0 if arguments.do in (_run, _sam) else 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m local", description=__doc__, allow_abbrev=False)
    parser.add_argument("-q", "--quiet", action="store_true", help="don't show orders and errors as they come")
    parser.set_defaults(do=_run)
    commands = parser.add_subparsers(metavar="command")

    def command(do: Callable[[Arguments], int], name: str, text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
        added.set_defaults(do=do)
        return added

    def on_aws(added: argparse.ArgumentParser) -> argparse.ArgumentParser:
        added.add_argument("--stack", help="name of a stack on AWS; without it, the one that `make run` runs")
        return added

    sending = command(_order, "order", "send an order to the running system and follow it to its end")
    sending.add_argument("token_in", help="symbol or mint of the token to sell, such as SOL")
    sending.add_argument("token_out", help="symbol or mint of the token to buy, such as USDC")
    sending.add_argument("amount", help="how much to sell, such as 10 or 0.25")
    sending.add_argument("fields", nargs="*", help="others, such as orderType=limit limitPrice=150.5 slippageBps=10")
    watching = command(_watch, "watch", "show an order's statuses as they come, until it has ended")
    watching.add_argument("order", help="its orderId or its streamUrl")
    watching.add_argument("--json", action="store_true", help="the messages as they are on the wire, one a line")
    command(_cancel, "cancel", "cancel an order, which is possible until it is submitted").add_argument("order")
    launching = command(_launch, "launch", "launch a token on the mock market: from then on it can be traded")
    launching.add_argument("token", help="NOVA or ORBIT")
    on_aws(command(_status, "status", "what the system is at: orders, queues, last errors"))
    showing = on_aws(command(_show, "show", "an order's whole story: journal, log, rows"))
    showing.add_argument("order_id")
    on_aws(command(_pause, "pause", "halt the engine: no orders are accepted, workers and watcher rest"))
    on_aws(command(_resume, "resume", "have a paused engine go on"))
    rewriting = on_aws(command(_rewrite, "rewrite-history", "write outcomes to PostgreSQL again, from the journal"))
    rewriting.add_argument("since", help="of the orders that were closed since then, such as 2026-11-23T12:00:00Z")
    rewriting.add_argument("--after", default="", help="how far an earlier run has come")
    command(_psql, "psql", "psql on the order history; takes its arguments, such as -c 'SELECT 1'")
    command(_stop, "stop", "stop the running system")
    invoking = command(_invoke, "invoke", "invoke a function in this process, on the running system")
    invoking.add_argument("function", help="the function's folder, such as submit")
    invoking.add_argument("event", help="a JSON file, such as events/submit.json")
    keys = command(_keys, "keys", "create, list or revoke API keys, or rotate the secret of the streams' tokens")
    keys.add_argument("action", choices=("create", "list", "revoke", "rotate-streams"))
    keys.add_argument("key_id", nargs="?", default="", help="of the key to revoke")
    keys.add_argument("--owner", default="", help="of the key to create: a-z, 0-9 and -")
    keys.add_argument("--scopes", default="trade,read", help="of the key to create: trade,read")
    on_aws(keys)
    command(_sam, "sam", "run the system for the containers of `sam local`, which need `make build` first")
    return parser


# What they import takes a while to load; imported there, Ctrl-C is no traceback then either.


def _run(arguments: Arguments) -> NoReturn:
    from local.run import run

    run(quiet=arguments.quiet)


def _order(arguments: Arguments) -> int:
    from local.order import order

    return order(arguments.token_in, arguments.token_out, arguments.amount, arguments.fields)


def _watch(arguments: Arguments) -> int:
    from local.order import watch

    return watch(arguments.order, arguments.json)


def _cancel(arguments: Arguments) -> int:
    from local.order import cancel

    return cancel(arguments.order)


def _launch(arguments: Arguments) -> int:
    from local.operate import launch

    return launch(arguments.token)


def _status(arguments: Arguments) -> int:
    from local.operate import status

    return status(arguments.stack)


def _show(arguments: Arguments) -> int:
    from local.operate import show

    return show(arguments.order_id, arguments.stack)


def _pause(arguments: Arguments) -> int:
    from local.pause import pause

    return pause(arguments.stack)


def _resume(arguments: Arguments) -> int:
    from local.pause import resume

    return resume(arguments.stack)


def _rewrite(arguments: Arguments) -> int:
    from local.rewrite import rewrite_history

    return rewrite_history(arguments.since, arguments.after, arguments.stack)


def _psql(arguments: Arguments) -> NoReturn:
    from local.operate import psql

    psql(arguments.others)


def _stop(_arguments: Arguments) -> int:
    from local.operate import stop

    return stop()


def _invoke(arguments: Arguments) -> int:
    from local.invoke import invoke

    return invoke(arguments.function, arguments.event)


def _keys(arguments: Arguments) -> int:
    if arguments.key_id and arguments.action != "revoke":
        raise LocalStackError(f"{arguments.action} takes no further word")
    from local.keys import work_with_keys

    return work_with_keys(arguments.action, arguments.stack, arguments.owner, arguments.scopes, arguments.key_id)


def _sam(_arguments: Arguments) -> NoReturn:
    from local.sam import serve

    serve()


sys.exit(main())
