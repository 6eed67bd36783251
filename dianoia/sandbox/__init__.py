"""Work in processes that can be killed: untrusted programs behind walls, and workers with limits.

`sandbox` runs one program behind walls, or many in a pool; `program` has their records, `guest` is what runs inside. `workers` runs
a trusted function on untrusted input, within limits of time and memory; `worker_fork_server` is its far side. `interpreter`
starts the processes.
"""
