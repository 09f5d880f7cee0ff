"""Translations between the outside and the use cases: bodies, messages, batches, problem documents."""
