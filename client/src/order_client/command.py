"""The command `orders`."""

import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from order_client.async_client import DEFAULT_URL, AsyncClient, order_id_of
from order_client.models import FINAL, NewOrder
from order_client.output import EXIT_CODES, OutputLost, guard, run
from order_client.verbs import Verbs
from order_client.wire import aware

app = typer.Typer(
    name="orders",
    help="Submit, watch, cancel and list orders of an order execution engine.",
    epilog="\b\nExamples:\n"
    "  orders submit SOL USDC 1.5\n"
    "  orders submit SOL USDC 1.5 --type limit --limit-price 151\n"
    "  orders list --status confirmed --json | head -3\n"
    "  ORDERS_URL=https://api.example.org ORDERS_KEY_FILE=~/key orders tokens\n"
    f"\n{EXIT_CODES}",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def one_of(*values: str) -> Callable[[str], list[str]]:
    """What a shell offers for an option. The engine decides what it takes; a later one may take more."""
    return lambda incomplete: [value for value in values if value.startswith(incomplete)]


def _order_id(text: str) -> str:
    try:
        order_id = order_id_of(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is no orderId") from error
    return text if "://" in text else order_id


def _time(text: str) -> datetime:
    try:
        return aware(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is no time with an offset, such as 2026-11-22T14:30:00Z") from error


Url = Annotated[str, typer.Option(envvar="ORDERS_URL", help="Where the engine's API is.")]
Key = Annotated[
    str | None,
    typer.Option(envvar="ORDERS_KEY", help="API key, if one is needed; other users of this machine may see it here."),
]
KeyFile = Annotated[
    Path | None, typer.Option(envvar="ORDERS_KEY_FILE", help="File with the API key, or with the whole header.")
]
Deadline = Annotated[
    float, typer.Option(envvar="ORDERS_DEADLINE", min=0, help="Seconds for repeating what fails; 0: no repeat.")
]
Json = Annotated[bool, typer.Option("--json", help="One JSON object a line, as on the wire.")]
OrderId = Annotated[str, typer.Argument(parser=_order_id, metavar="ORDER_ID")]
TokenIn = Annotated[str, typer.Argument(help="Symbol or mint of the token to sell.")]
TokenOut = Annotated[str, typer.Argument(help="Symbol or mint of the token to buy.")]
AmountIn = Annotated[str, typer.Argument(help="How much to sell.")]
Type = Annotated[
    str | None,
    typer.Option("--type", autocompletion=one_of("market", "limit", "stop", "takeProfit", "sniper"), metavar="TYPE"),
]
Slippage = Annotated[int | None, typer.Option(help="How far the swap may end below its quote, in 1/100 %.")]
Impact = Annotated[int | None, typer.Option(help="Take no quote that moves the price by more, in 1/100 %.")]


def _verbs(url: str, key: str | None, key_file: Path | None, deadline: float, as_json: bool) -> Verbs:
    if not key and key_file:
        try:
            words = key_file.expanduser().read_text().split()
        except (OSError, UnicodeDecodeError) as error:
            raise typer.BadParameter(f"the key file can't be read: {type(error).__name__}") from error
        if not words:
            raise typer.BadParameter("the key file is empty")
        key = words[-1]
    try:
        client = AsyncClient(url, key, deadline=deadline)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    return Verbs(client, as_json)


@app.command(
    epilog="\b\nExamples:\n"
    "  orders submit SOL USDC 1.5\n"
    "  orders submit SOL USDC 1.5 --type limit --limit-price 151 --expires-at 2026-12-01T12:00:00Z\n"
    "  orders submit SOL USDC 10 --type stop --trigger-price 140 --slippage-bps 300 --no-watch\n"
    "  orders submit SOL USDC 0.1 --count 100 --concurrency 10\n"
    f"\n{EXIT_CODES}"
)
def submit(
    token_in: TokenIn,
    token_out: TokenOut,
    amount_in: AmountIn,
    order_type: Type = None,
    limit_price: Annotated[str | None, typer.Option(help="The least that one TOKEN_IN nets, in TOKEN_OUT.")] = None,
    trigger_price: Annotated[str | None, typer.Option(help="Of a stop or takeProfit.")] = None,
    slippage_bps: Slippage = None,
    max_price_impact_bps: Impact = None,
    min_amount_out: Annotated[str | None, typer.Option(help="At least this much of TOKEN_OUT, or no swap.")] = None,
    time_in_force: Annotated[str | None, typer.Option(autocompletion=one_of("gtc", "fok", "gtd"))] = None,
    expires_at: Annotated[datetime | None, typer.Option(parser=_time, metavar="TIME", help="With its offset.")] = None,
    client_order_id: Annotated[
        str | None, typer.Option(help="The same id and order twice is one order. Drawn if none is given.")
    ] = None,
    watch: Annotated[bool, typer.Option(help="Follow the order until it has ended.")] = True,
    count: Annotated[int, typer.Option(min=1, help="Submit so many such orders, and sum up.")] = 1,
    concurrency: Annotated[int, typer.Option(min=1, max=100, help="So many at once.")] = 10,
    as_json: Json = False,
    url: Url = DEFAULT_URL,
    key: Key = None,
    key_file: KeyFile = None,
    deadline: Deadline = 30.0,
) -> None:
    """Submit an order and show its life: it is sold as a whole, or not at all.

    A submit that fails is repeated for half a minute, and the order placed once.
    """
    if count > 1 and client_order_id:
        raise typer.BadParameter("many orders can't have one --client-order-id")
    order = NewOrder(
        token_in=token_in,
        token_out=token_out,
        amount_in=amount_in,
        order_type=order_type,
        limit_price=limit_price,
        trigger_price=trigger_price,
        slippage_bps=slippage_bps,
        max_price_impact_bps=max_price_impact_bps,
        min_amount_out=min_amount_out,
        time_in_force=time_in_force,
        expires_at=expires_at,
        client_order_id=client_order_id,
    )
    verbs = _verbs(url, key, key_file, deadline, as_json)
    work = verbs.submit_many(order, count, concurrency, watch) if count > 1 else verbs.submit(order, watch)
    raise typer.Exit(run(work, verbs.in_flight))


@app.command(
    epilog="\b\nExamples:\n"
    "  orders watch 0d9c1f2e-5d0f-4f0c-8b1c-3c1f1d1f9a52\n"
    "  orders watch --json --after 3 0d9c1f2e-5d0f-4f0c-8b1c-3c1f1d1f9a52\n"
    f"\n{EXIT_CODES}"
)
def watch(
    orders: Annotated[list[str], typer.Argument(parser=_order_id, metavar="ORDER_ID...", help="Or one streamUrl.")],
    after: Annotated[int, typer.Option(min=0, help="Leave out statuses up to this sequence.")] = 0,
    as_json: Json = False,
    url: Url = DEFAULT_URL,
    key: Key = None,
    key_file: KeyFile = None,
    deadline: Deadline = 30.0,
) -> None:
    """Show the statuses of orders as they come, until all have ended. A connection that breaks is opened again."""
    if len(orders) > 1 and any("://" in one for one in orders):
        raise typer.BadParameter("a streamUrl is watched alone")
    raise typer.Exit(run(_verbs(url, key, key_file, deadline, as_json).watch(orders, after)))


@app.command(epilog=f"\b\nExample:\n  orders cancel 0d9c1f2e-5d0f-4f0c-8b1c-3c1f1d1f9a52\n\n{EXIT_CODES}")
def cancel(
    order_id: OrderId,
    as_json: Json = False,
    url: Url = DEFAULT_URL,
    key: Key = None,
    key_file: KeyFile = None,
    deadline: Deadline = 30.0,
) -> None:
    """Cancel an order, which is possible until it is submitted to a venue. Exit code 3: it is too late."""
    raise typer.Exit(run(_verbs(url, key, key_file, deadline, as_json).cancel(order_id)))


@app.command(epilog=f"\b\nExample:\n  orders get --json 0d9c1f2e-5d0f-4f0c-8b1c-3c1f1d1f9a52\n\n{EXIT_CODES}")
def get(
    order_id: OrderId,
    as_json: Json = False,
    url: Url = DEFAULT_URL,
    key: Key = None,
    key_file: KeyFile = None,
    deadline: Deadline = 30.0,
) -> None:
    """Show an order and its statuses so far."""
    raise typer.Exit(run(_verbs(url, key, key_file, deadline, as_json).get(order_id)))


@app.command(
    name="list",
    epilog="\b\nExamples:\n"
    "  orders list --status failed --code SLIPPAGE_EXCEEDED\n"
    "  orders list --token-in SOL --token-out USDC --from 2026-11-01T00:00:00Z --most 0 --json\n"
    "  orders list --client-order-id my-order-1\n"
    f"\n{EXIT_CODES}",
)
def list_orders(
    status: Annotated[str | None, typer.Option(autocompletion=one_of("pending", "open", *sorted(FINAL)))] = None,
    order_type: Type = None,
    venue: Annotated[str | None, typer.Option(autocompletion=one_of("raydium", "meteora"))] = None,
    token_in: Annotated[str | None, typer.Option(help="With --token-out.")] = None,
    token_out: Annotated[str | None, typer.Option(help="With --token-in.")] = None,
    code: Annotated[str | None, typer.Option(help="Why it failed, such as SLIPPAGE_EXCEEDED.")] = None,
    created_from: Annotated[
        datetime | None, typer.Option("--from", parser=_time, metavar="TIME", help="Created then or later.")
    ] = None,
    created_before: Annotated[
        datetime | None, typer.Option("--to", parser=_time, metavar="TIME", help="Created before that.")
    ] = None,
    client_order_id: Annotated[str | None, typer.Option(help="The newest order with it; alone.")] = None,
    most: Annotated[int, typer.Option(min=0, help="Show so many at the most; 0: all there are.")] = 50,
    as_json: Json = False,
    url: Url = DEFAULT_URL,
    key: Key = None,
    key_file: KeyFile = None,
    deadline: Deadline = 30.0,
) -> None:
    """List orders, newest first, those that are under way too."""
    filters = {
        "status": status,
        "order_type": order_type,
        "venue": venue,
        "token_in": token_in,
        "token_out": token_out,
        "code": code,
        "created_from": created_from,
        "created_before": created_before,
        "client_order_id": client_order_id,
        "limit": None if client_order_id else min(most or 200, 200),
    }
    raise typer.Exit(run(_verbs(url, key, key_file, deadline, as_json).list(most, filters)))


@app.command(epilog=f"\b\nExample:\n  orders quote SOL USDC 10\n\n{EXIT_CODES}")
def quote(
    token_in: TokenIn,
    token_out: TokenOut,
    amount_in: AmountIn,
    slippage_bps: Slippage = None,
    max_price_impact_bps: Impact = None,
    as_json: Json = False,
    url: Url = DEFAULT_URL,
    key: Key = None,
    key_file: KeyFile = None,
    deadline: Deadline = 30.0,
) -> None:
    """Show what each venue gives for an amount now. Exit code 1: none gives a quote."""
    verbs = _verbs(url, key, key_file, deadline, as_json)
    raise typer.Exit(run(verbs.quote(token_in, token_out, amount_in, slippage_bps, max_price_impact_bps)))


@app.command(epilog=f"\b\nExample:\n  orders tokens --json\n\n{EXIT_CODES}")
def tokens(
    as_json: Json = False,
    url: Url = DEFAULT_URL,
    key: Key = None,
    key_file: KeyFile = None,
    deadline: Deadline = 30.0,
) -> None:
    """List the tokens that can be traded."""
    raise typer.Exit(run(_verbs(url, key, key_file, deadline, as_json).tokens()))


def main() -> None:
    """Run the command, and exit."""
    try:
        guard()
        app()
    except OutputLost as lost:
        sys.exit(lost.code)
