"""The inside of the sandbox: the warm process (`zygote`), its walls, and the processes of a program and of its tests.

`dianoia.sandbox.sandbox` starts it as a process of its own and imports none of it. It uses the standard library only, since
no package is visible inside.
"""
