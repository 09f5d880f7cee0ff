"""Mock Raydium and Meteora, and the chain that they settle on."""
