"""The limiter of provider keys: how many requests and tokens may go out, when, and whose turn it is.

`pace`, `adaptive`, `gate`, `key` and `book` are arithmetic that is told the time; `desk` answers for a whole cluster, `limiter` asks it.
"""
