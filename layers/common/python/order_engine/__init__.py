"""Order execution engine: routes a swap to the better venue, executes it once, and tells everybody who watches."""
