"""A seccomp filter: the kernel refuses system calls that no judged program needs.

In: which of two sets of rules. Out: the filter is in force for this process and its children, and cannot be removed. It is a
list of refused calls, not of allowed ones, since it is one wall among others; calls newer than the list (numbers above
`_LAST_NUMBER`) are refused too. For x86-64 and arm64, with numbers as in the kernel's `unistd.h`. Other architectures have no
filter, and so no sandbox.
"""

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Collection

from dianoia.sandbox.guest import system_calls as linux

_ARCHITECTURE = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
"""By machine: the audit number of its calls, its column in `_CALLS`."""

# name: (x86-64, arm64); None where the architecture has no such call.
_CALLS: dict[str, tuple[int | None, int | None]] = {
    # network: without socket there is nothing to bind, connect or send on but a pair of sockets
    "socket": (41, 198),
    # other processes
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "kcmp": (312, 272),
    "pidfd_open": (434, 434),
    "pidfd_getfd": (438, 438),
    "pidfd_send_signal": (424, 424),
    "move_pages": (279, 239),
    "migrate_pages": (256, 238),
    # namespaces and mounts
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    # memory and objects that no limit of a process counts
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "shmget": (29, 194),
    "shmat": (30, 196),
    "shmctl": (31, 195),
    "semget": (64, 190),
    "semctl": (66, 191),
    "semop": (65, 193),
    "semtimedop": (220, 192),
    "msgget": (68, 186),
    "msgsnd": (69, 189),
    "msgrcv": (70, 188),
    "msgctl": (71, 187),
    "mq_open": (240, 180),
    "mq_unlink": (241, 181),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    # large or rarely used parts of the kernel
    "io_setup": (206, 0),  # takes of what the whole machine has
    "modify_ldt": (154, None),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "fanotify_init": (300, 262),
    "inotify_init": (253, None),
    "inotify_init1": (294, 26),
    "inotify_add_watch": (254, 27),
    "personality": (135, 92),
    # the machine
    "syslog": (103, 116),
    "acct": (163, 89),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "reboot": (169, 142),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "adjtimex": (159, 171),
    "clock_adjtime": (305, 266),
    "iopl": (172, None),
    "ioperm": (173, None),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
}
# Refused too if no namespace hides the user's other processes and files.
_ALONE: dict[str, tuple[int | None, int | None]] = {
    "fork": (57, None),
    "vfork": (58, None),
    "kill": (62, 129),
    "tkill": (200, 130),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    "setpgid": (109, 154),
    "setsid": (112, 157),
    "setpriority": (141, 140),
    "sched_setparam": (142, 118),
    "sched_setscheduler": (144, 119),
    "sched_setaffinity": (203, 122),
    "sched_setattr": (314, 274),
    "ioprio_set": (251, 30),
    # Landlock protects contents and names of files, not their owners, modes and times
    "chmod": (90, None),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
    "chown": (92, None),
    "lchown": (94, None),
    "fchown": (93, 55),
    "fchownat": (260, 54),
    "utime": (132, None),
    "utimes": (235, None),
    "futimesat": (261, None),
    "utimensat": (280, 88),
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
    "removexattr": (197, 14),
    "lremovexattr": (198, 15),
    "fremovexattr": (199, 16),
    "truncate": (76, 45),
    # A change of user resets PR_SET_PDEATHSIG, by which the program ends with the warm process.
    "setuid": (105, 146),
    "setgid": (106, 144),
    "setreuid": (113, 145),
    "setregid": (114, 143),
    "setgroups": (116, 159),
    "setresuid": (117, 147),
    "setresgid": (119, 149),
    "setfsuid": (122, 151),
    "setfsgid": (123, 152),
    # A lock on a file that a program may only read blocks others that lock it too.
    "flock": (73, 32),
    # A socket of a pair could be connected elsewhere, or pass open files on.
    "bind": (49, 200),
    "connect": (42, 203),
    "listen": (50, 201),
    "accept": (43, 202),
    "accept4": (288, 242),
    "sendmsg": (46, 211),
    "sendmmsg": (307, 269),
    "recvmsg": (47, 212),
    "recvmmsg": (299, 243),
    # what is mounted on the machine
    "statmount": (457, 457),
    "listmount": (458, 458),
}
_FCNTL, _IOCTL = (72, 25), (16, 29)
# These make the kernel signal a process of the program's choice, or block others that open a file.
_REFUSED_FCNTL = {
    "F_SETOWN": 8,
    "F_SETSIG": 10,
    "F_SETOWN_EX": 15,
    "F_SETLEASE": 1024,
    "F_NOTIFY": 1026,
}
# What Python needs for its streams. Other requests change the attributes of files, or drive devices.
_ALLOWED_IOCTL = {
    "TCGETS": 0x5401,
    "TCGETS2": 0x802C542A,
    "TIOCGWINSZ": 0x5413,
    "FIONREAD": 0x541B,
    "FIONBIO": 0x5421,
    "FIONCLEX": 0x5450,
    "FIOCLEX": 0x5451,
}
# `PR_SET_PDEATHSIG` ends a program together with its warm process, so nothing may be set but the names of threads and of
# ranges of memory.
_ALLOWED_PRCTL = {
    "PR_GET_PDEATHSIG": 2,
    "PR_GET_DUMPABLE": 3,
    "PR_SET_NAME": 15,
    "PR_GET_NAME": 16,
    "PR_GET_SECCOMP": 21,
    "PR_CAPBSET_READ": 23,
    "PR_GET_SECUREBITS": 27,
    "PR_GET_NO_NEW_PRIVS": 39,
    "PR_SET_VMA": 0x53564D41,
}
_CLONE, _CLONE3 = (56, 220), (435, 435)
_TGKILL, _PRLIMIT = (234, 131), (302, 261)
_SOCKETPAIR, _SENDTO, _PRCTL = (53, 199), (44, 206), (157, 167)
_AF_UNIX, _SOCKET_TYPE, _SOCK_STREAM = 1, 0xF, 1
_LAST_NUMBER = 462
_NEW_NAMESPACES = (
    linux.CLONE_NEWNS
    | linux.CLONE_NEWCGROUP
    | linux.CLONE_NEWUTS
    | linux.CLONE_NEWIPC
    | linux.CLONE_NEWUSER
    | linux.CLONE_NEWPID
    | linux.CLONE_NEWNET
    | linux.CLONE_NEWTIME
)

# Opcodes of the Berkeley packet filter: load a word of the call, jump if equal / greater / any bit set, return. Offsets are
# those of struct seccomp_data; an argument is 8 bytes, its low half first.
_LOAD, _AND, _JEQ, _JGT, _JSET, _RETURN = 0x20, 0x54, 0x15, 0x25, 0x45, 0x06
_NUMBER_AT, _ARCHITECTURE_AT, _FIRST_ARGUMENT_AT, _SECOND_ARGUMENT_AT = 0, 4, 16, 24
_FIFTH_ARGUMENT_AT = 48
_ALLOW, _REFUSE, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_PR_SET_SECCOMP, _MODE_FILTER = 22, 2

_Instruction = tuple[int, int, int, int]


def apply(alone: bool) -> None:
    """Put the filter in force for this process.

    Args:
        alone: the program may neither fork nor signal any other process.

    Raises:
        OSError: the kernel or the architecture has no seccomp filter.
    """
    program = b"".join(struct.pack("HBBI", *line) for line in filter_program(alone))
    code = ctypes.create_string_buffer(program, len(program))
    # struct sock_fprog: the number of instructions, then their address
    head = struct.pack("HxxxxxxQ", len(program) // 8, ctypes.addressof(code))
    buffer = ctypes.create_string_buffer(head, len(head))
    if linux.prctl3(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.addressof(buffer)) < 0:
        raise OSError(ctypes.get_errno(), "prctl SECCOMP: the kernel takes no filter")


def filter_program(alone: bool) -> list[_Instruction]:
    """Return the filter's instructions, each (opcode, jump if true, jump if false, value).

    Jumps count instructions to skip. Every `_when` block tests one call number and returns, or falls through to the next.
    """
    if platform.machine() not in _ARCHITECTURE:
        raise OSError(f"seccomp: no call numbers known for {platform.machine()}")
    # A call by another architecture's numbers (32 bit on x86-64) kills the process: the numbers below mean other calls there.
    audit, column = _ARCHITECTURE[platform.machine()]
    calls = _CALLS | (_ALONE if alone else {})
    program = [(_LOAD, 0, 0, _ARCHITECTURE_AT), (_JEQ, 1, 0, audit), (_RETURN, 0, 0, _KILL)]
    program += [(_LOAD, 0, 0, _NUMBER_AT), (_JGT, 0, 1, _LAST_NUMBER), _refuse(errno.ENOSYS)]
    program += _when(_CLONE3[column], [_refuse(errno.ENOSYS)])  # the C library falls back to clone
    for numbers in calls.values():
        number = numbers[column]
        if number is not None:
            program += _when(number, [_refuse()])
    program += _when(_CLONE[column], _clone_rule(alone))
    program += _when(_FCNTL[column], _second_argument(_REFUSED_FCNTL.values(), allowed=False))
    program += _when(_IOCTL[column], _second_argument(_ALLOWED_IOCTL.values(), allowed=True))
    if alone:
        program += _when(_TGKILL[column], _only_first_argument(os.getpid()))
        program += _when(_PRLIMIT[column], _only_first_argument(0))
        program += _when(_PRCTL[column], _listed(_ALLOWED_PRCTL.values(), _FIRST_ARGUMENT_AT))
        program += _when(_SOCKETPAIR[column], _only_streams())
        program += _when(_SENDTO[column], _without_address())
    return [*program, (_RETURN, 0, 0, _ALLOW)]


def _refuse(number: int = errno.EPERM) -> _Instruction:
    """Return the instruction that ends the filter: the call fails with an error number."""
    return (_RETURN, 0, 0, _REFUSE | number)


def _when(number: int, then: list[_Instruction]) -> list[_Instruction]:
    """Return instructions that run `then`, which has to return, for the call with this number."""
    return [(_JEQ, 0, len(then), number), *then]


def _clone_rule(alone: bool) -> list[_Instruction]:
    """Return the rule for `clone`: threads always, processes unless `alone`, never a new namespace. It ends with a return."""
    load = (_LOAD, 0, 0, _FIRST_ARGUMENT_AT)
    namespaces: list[_Instruction] = [load, (_JSET, 0, 1, _NEW_NAMESPACES), _refuse()]
    threads: list[_Instruction] = [(_JSET, 1, 0, linux.CLONE_THREAD), _refuse()] if alone else []
    return [*namespaces, *threads, (_RETURN, 0, 0, _ALLOW)]


def _second_argument(listed: Collection[int], allowed: bool) -> list[_Instruction]:
    """Allow a call whose second argument is listed and refuse all others; the other way round unless `allowed`."""
    return _listed(listed, _SECOND_ARGUMENT_AT, allowed)


def _only_streams() -> list[_Instruction]:
    """Refuse a pair of sockets that is no connected stream: a datagram socket can send to any address."""
    family = [(_LOAD, 0, 0, _FIRST_ARGUMENT_AT), (_JEQ, 1, 0, _AF_UNIX), _refuse()]
    socket_type = [(_LOAD, 0, 0, _SECOND_ARGUMENT_AT), (_AND, 0, 0, _SOCKET_TYPE)]
    return [*family, *socket_type, (_JEQ, 1, 0, _SOCK_STREAM), _refuse(), (_RETURN, 0, 0, _ALLOW)]


def _without_address() -> list[_Instruction]:
    """Refuse `sendto` with an address, the fifth argument, in either of its halves; `send` has none."""
    low, high = (_LOAD, 0, 0, _FIFTH_ARGUMENT_AT), (_LOAD, 0, 0, _FIFTH_ARGUMENT_AT + 4)
    refuse = [(_JEQ, 1, 0, 0), _refuse()]
    return [low, *refuse, high, *refuse, (_RETURN, 0, 0, _ALLOW)]


def _listed(listed: Collection[int], at: int, allowed: bool = True) -> list[_Instruction]:
    """Allow the listed values of the argument at an offset and refuse all others; the other way round unless `allowed`."""
    then, otherwise = (_RETURN, 0, 0, _ALLOW), _refuse()
    if not allowed:
        then, otherwise = otherwise, then
    # A hit skips the other values and the return for values that are not listed.
    hits = [(_JEQ, len(listed) - index, 0, value) for index, value in enumerate(listed)]
    return [(_LOAD, 0, 0, at), *hits, otherwise, then]


def _only_first_argument(value: int) -> list[_Instruction]:
    """Refuse a call unless its first argument is this value: the process's own id, or 0 for the process itself."""
    load = (_LOAD, 0, 0, _FIRST_ARGUMENT_AT)
    return [load, (_JEQ, 1, 0, value & 0xFFFFFFFF), _refuse(), (_RETURN, 0, 0, _ALLOW)]
