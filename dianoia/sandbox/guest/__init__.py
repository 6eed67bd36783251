"""What runs on the far side of the sandbox: the warm process, its walls, and a program's harness.

Nothing here is imported by the process that asks; `dianoia.sandbox.sandbox` starts it. It uses the
standard library only, since no package is visible inside.
"""
