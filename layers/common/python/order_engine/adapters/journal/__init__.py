"""The journal in DynamoDB: orders, the clientOrderIds that are taken, and the orders' subscribers."""
