"""`python -m local` runs the system on this machine, `python -m local order SOL USDC 10` sends it an order."""

import argparse
import sys

from local.errors import LocalStackError
from local.signals import interrupt_once


def main() -> int:
    """The exit code: of `order`, 0 if it was confirmed; of the stack, 0 if it was stopped by Ctrl-C or SIGTERM."""
    interrupt_once()
    parser = argparse.ArgumentParser(prog="python -m local", description=__doc__)
    commands = parser.add_subparsers(dest="command", metavar="command")
    sending = commands.add_parser("order", help="send an order to the running system and follow it to its end")
    sending.add_argument("token_in", help="symbol or mint of the token to sell, such as SOL")
    sending.add_argument("token_out", help="symbol or mint of the token to buy, such as USDC")
    sending.add_argument("amount", help="how much to sell, such as 10 or 0.25")
    invoking = commands.add_parser("invoke", help="invoke a function in this process, on the running system")
    invoking.add_argument("function", help="the function's folder, such as submit")
    invoking.add_argument("event", help="a JSON file, such as events/submit.json")
    commands.add_parser("sam", help="run the system for the containers of `sam local`, which need `make build` first")
    arguments = parser.parse_args()
    try:
        # Loading these takes a while; imported here, Ctrl-C is no traceback then either.
        from local.order import order
        from local.run import run

        if arguments.command == "order":
            return order(arguments.token_in, arguments.token_out, arguments.amount)
        if arguments.command == "invoke":
            from local.invoke import invoke

            return invoke(arguments.function, arguments.event)
        if arguments.command == "sam":
            from local.sam import serve

            serve()
        run()
    except LocalStackError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except KeyboardInterrupt:
        return 130 if arguments.command == "order" else 0


sys.exit(main())
