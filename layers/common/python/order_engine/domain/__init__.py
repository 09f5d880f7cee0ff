"""What an order is and what happens to it. Pure: no service, no clock, no chance."""
