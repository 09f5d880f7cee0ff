"""The whole system on one machine: `python -m local`.

MiniStack stands in for AWS and an embedded PostgreSQL for RDS; the template that is deployed to them is the one that
is deployed to AWS.
"""
