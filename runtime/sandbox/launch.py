"""Becomes a worker: `python -I -S launch.py <the interpreter's binary> <its arguments>`.

The interpreter itself lets a program touch nothing. These are the walls behind it, for the day on which it has a hole: no environment, no files but its
own libraries, no sockets, no other processes, no rights to gain, and an end with the process that started it. Standard library only: it knows no package.
"""

import ctypes
import os
import platform
import resource
import struct
import sys

MAX_ADDRESS_SPACE = 2 * 2**30
"""Bytes. The interpreter's own limit is lower; this one holds also for what it forgets to count."""
MAX_FILES = 64
UNFIT = 78
"""Exit status when a wall cannot be built: there is no worker then."""

# linux/prctl.h
PR_SET_PDEATHSIG, PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = 1, 22, 38
SIGKILL, SECCOMP_MODE_FILTER = 9, 2
# linux/audit.h, linux/seccomp.h, linux/filter.h
ARCHES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
ALLOW, KILL, ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
LOAD, EQUAL, AT_LEAST, HAS, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
EPERM, ENOSYS = 1, 38
CLONE_THREAD = 0x00010000
X32 = 0x40000000
# linux/landlock.h; the numbers of these calls are the same everywhere
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
VERSION, PATH_BENEATH = 1, 1
EXECUTE, READ_FILE, READ_DIR = 1 << 0, 1 << 2, 1 << 3
FILE_RIGHTS = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1, 5: (1 << 16) - 1}
"""All rights over files each version of Landlock knows: what is named here and granted to nobody is refused."""
LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/etc/ld.so.cache", "/usr/share/zoneinfo")

# What a worker has no use for, by number: (x86_64, aarch64); -1 where the architecture has no such call.
REFUSED: dict[str, tuple[int, int]] = {
    "socket": (41, 198),
    "socketpair": (53, 199),
    "connect": (42, 203),
    "bind": (49, 200),
    "listen": (50, 201),
    "accept": (43, 202),
    "accept4": (288, 242),
    "sendto": (44, 206),
    "sendmsg": (46, 211),
    "sendmmsg": (307, 269),
    "recvmsg": (47, 212),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "kill": (62, 129),
    "tkill": (200, 130),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    "pidfd_open": (434, 434),
    "pidfd_getfd": (438, 438),
    "pidfd_send_signal": (424, 424),
    "execveat": (322, 281),
    "memfd_create": (319, 279),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "setns": (308, 268),
    "unshare": (272, 97),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "keyctl": (250, 219),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "kexec_load": (246, 104),
    "open_by_handle_at": (304, 265),
    "name_to_handle_at": (303, 264),
    "personality": (135, 92),
    "setuid": (105, 146),
    "setgid": (106, 144),
    "shmget": (29, 194),
    "msgget": (68, 186),
    "mq_open": (240, 180),
    "fork": (57, -1),
    "vfork": (58, -1),
}
CLONE, CLONE3, TGKILL = (56, 220), 435, (234, 131)

_libc = ctypes.CDLL(None, use_errno=True)


def main(binary: str, arguments: list[str]) -> None:
    """Build the walls and become the interpreter; does not return."""
    parent = os.getppid()
    _prctl(PR_SET_PDEATHSIG, SIGKILL)
    if os.getppid() != parent:
        sys.exit(UNFIT)  # it went before it could be told
    os.closerange(3, 4096)
    for limit, most in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, MAX_FILES),
        (resource.RLIMIT_AS, MAX_ADDRESS_SPACE),
    ):
        resource.setrlimit(limit, (most, most))
    os.chdir("/")
    _prctl(PR_SET_NO_NEW_PRIVS, 1)
    _close_files(binary)
    _close_calls()
    os.execve(binary, [binary, *arguments], {})  # noqa: S606 - there is no shell to want


def _prctl(*arguments: int) -> None:
    if _libc.prctl(*(ctypes.c_ulong(argument) for argument in (*arguments, *(0,) * (5 - len(arguments))))) != 0:
        raise OSError(ctypes.get_errno(), f"prctl {arguments[0]}")


def _call(number: int, *arguments: object) -> int:
    return int(_libc.syscall(ctypes.c_long(number), *arguments))


def _close_files(binary: str) -> None:
    """Landlock: reading and executing the binary and the system's libraries, and nothing else. Without it in the kernel, the other walls stand."""
    version = _call(CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(VERSION))
    if version < 1:
        return
    rights = FILE_RIGHTS[min(version, max(FILE_RIGHTS))]
    attributes = struct.pack("Q", rights)
    ruleset = _call(CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), ctypes.c_uint32(0))
    if ruleset < 0:
        raise OSError(ctypes.get_errno(), "landlock_create_ruleset")
    for path in (binary, *LIBRARIES):
        if os.path.exists(path):
            _grant(ruleset, path)
    if _call(RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint32(0)) != 0:
        raise OSError(ctypes.get_errno(), "landlock_restrict_self")
    os.close(ruleset)


def _grant(ruleset: int, path: str) -> None:
    place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    rights = EXECUTE | READ_FILE | (READ_DIR if os.path.isdir(path) else 0)
    rule = struct.pack("=Qi", rights, place)
    failed = _call(ADD_RULE, ctypes.c_int(ruleset), ctypes.c_int(PATH_BENEATH), rule, ctypes.c_uint32(0)) != 0
    os.close(place)
    if failed:
        raise OSError(ctypes.get_errno(), f"landlock_add_rule {path}")


def _close_calls() -> None:
    """Seccomp: calls to the kernel a worker has no use for fail; other architectures' calls kill it. Raises OSError."""
    program = b"".join(_filter(platform.machine()))
    buffer = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("HP", len(program) // 8, ctypes.addressof(buffer))
    if _libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, header, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "seccomp")


def _filter(machine: str) -> list[bytes]:
    """The filter as instructions of classic BPF, over {number at 0, architecture at 4, first argument at 16}."""
    if machine not in ARCHES:
        raise OSError(ENOSYS, f"there is no filter for {machine}")
    column = list(ARCHES).index(machine)

    def step(code: int, value: int, *, yes: int = 0, no: int = 0) -> bytes:
        return struct.pack("HBBI", code, yes, no, value)

    program = [step(LOAD, 4), step(EQUAL, ARCHES[machine], yes=1), step(RETURN, KILL), step(LOAD, 0)]
    if machine == "x86_64":
        program += [step(AT_LEAST, X32, no=1), step(RETURN, KILL)]
    for numbers in REFUSED.values():
        number = numbers[column]
        if number >= 0:
            program += [step(EQUAL, number, no=1), step(RETURN, ERRNO | EPERM)]
    program += [step(EQUAL, CLONE3, no=1), step(RETURN, ERRNO | ENOSYS)]  # its flags cannot be looked at; the library falls back to clone
    program += [step(EQUAL, CLONE[column], no=4), step(LOAD, 16), step(HAS, CLONE_THREAD, no=1), step(RETURN, ALLOW), step(RETURN, ERRNO | EPERM)]
    program += [step(EQUAL, TGKILL[column], no=3), step(LOAD, 16), step(EQUAL, os.getpid(), yes=1), step(RETURN, ERRNO | EPERM)]  # it may abort itself
    return [*program, step(RETURN, ALLOW)]


if __name__ == "__main__":
    try:
        main(sys.argv[1], sys.argv[2:])
    except (OSError, ValueError) as error:
        sys.stderr.write(f"a worker for code steps cannot be walled in: {error}\n")
        sys.exit(UNFIT)
