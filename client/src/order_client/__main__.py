"""`python -m order_client` is the command `orders`."""

from order_client.command import main

main()
