"""What a machine has and lacks, and what a recipe would need of it: `dianoia doctor`.

`machine_checks`, `package_checks` and `recipe_checks` return `Finding`s; the command prints them. Nothing is changed, and
nothing here decides what a run does. PyTorch is only imported in a process of its own (`package_checks.probe_torch`).
"""

from dianoia.doctor.finding import Finding, Status

__all__ = ["Finding", "Status"]
