"""One outside system per module; each knows the ports, the domain and one SDK, and no other adapter."""
