/* Preloaded into the program under test: a system that refuses requests.

   REFUSE_DIRECTORY_SYNC=ERRNO    fsync of a directory fails with this number
   REFUSE_ONLY=N                  only the Nth of these calls fails, counted from 0, and says so
   REFUSE_LOCK_OF=FILE            flock of this file fails with EOPNOTSUPP
   REFUSE_CHOWN=ERRNO             chown and fchown fail with this number
   CHANGES_OF=FILE                writes, syncs and changes of the size of this file are counted, from 0
   DIE_AT=N                       the process is killed before the Nth of them
   FULL_AT=N                      the Nth of them and all later ones fail with ENOSPC
   CLOCK_SAYS=SECONDS             the time of the system is always this many seconds after 1970

   These are refused by the kernel, so that also requests that do not go through the C library are:

   REFUSE_NEW_FILES=ERRNO         no file and no directory can be created
   REFUSE_PUBLIC_FILES=ERRNO      no file and no directory can be created that others than its owner could use
   REFUSE_LINK=ERRNO              no file can get a second name
   REFUSE_RENAME_NOREPLACE=ERRNO  renameat2 fails with this number if it has flags
   REFUSE_RESERVATION=ERRNO       no file can reserve space
   REFUSE_SEEK=ERRNO              no file can be positioned elsewhere than at its start
   REFUSE_CONNECT=ERRNO           no connection can be made */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static atomic_int calls, changes;

/* Counts a change of the file that is watched. Returns whether it is refused. */
static int is_refused_change(int fd) {
    const char *watched = getenv("CHANGES_OF"), *die = getenv("DIE_AT"), *full = getenv("FULL_AT");
    struct stat found, other;
    if (!watched || fstat(fd, &found) || stat(watched, &other) || found.st_dev != other.st_dev ||
        found.st_ino != other.st_ino)
        return 0;
    int number = atomic_fetch_add(&changes, 1);
    if (die && number == atoi(die)) kill(getpid(), SIGKILL);
    if (!full || number < atoi(full)) return 0;
    errno = ENOSPC;
    return 1;
}

ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t offset) {
    if (is_refused_change(fd)) return -1;
    ssize_t (*next)(int, const void *, size_t, off64_t) =
        (ssize_t (*)(int, const void *, size_t, off64_t))dlsym(RTLD_NEXT, "pwrite64");
    return next(fd, bytes, length, offset);
}

int ftruncate64(int fd, off64_t length) {
    if (is_refused_change(fd)) return -1;
    int (*next)(int, off64_t) = (int (*)(int, off64_t))dlsym(RTLD_NEXT, "ftruncate64");
    return next(fd, length);
}

int fdatasync(int fd) {
    if (is_refused_change(fd)) return -1;
    int (*next)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    return next(fd);
}

int fsync(int fd) {
    if (is_refused_change(fd)) return -1;
    const char *refused = getenv("REFUSE_DIRECTORY_SYNC"), *only = getenv("REFUSE_ONLY");
    struct stat found;
    if (refused && !fstat(fd, &found) && S_ISDIR(found.st_mode) &&
        (!only || atomic_fetch_add(&calls, 1) == atoi(only))) {
        if (only && write(2, "(refused)\n", 10) < 0) abort();
        errno = atoi(refused);
        return -1;
    }
    int (*next)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    return next(fd);
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    const char *says = getenv("CLOCK_SAYS");
    if (says && clock == CLOCK_REALTIME) {
        time->tv_sec = atoll(says);
        time->tv_nsec = 999999999;
        return 0;
    }
    int (*next)(clockid_t, struct timespec *) =
        (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    return next(clock, time);
}

int chown(const char *path, uid_t owner, gid_t group) {
    const char *refused = getenv("REFUSE_CHOWN");
    if (refused) {
        errno = atoi(refused);
        return -1;
    }
    int (*next)(const char *, uid_t, gid_t) = (int (*)(const char *, uid_t, gid_t))dlsym(RTLD_NEXT, "chown");
    return next(path, owner, group);
}

int fchown(int fd, uid_t owner, gid_t group) {
    const char *refused = getenv("REFUSE_CHOWN");
    if (refused) {
        errno = atoi(refused);
        return -1;
    }
    int (*next)(int, uid_t, gid_t) = (int (*)(int, uid_t, gid_t))dlsym(RTLD_NEXT, "fchown");
    return next(fd, owner, group);
}

int flock(int fd, int operation) {
    const char *refused = getenv("REFUSE_LOCK_OF");
    struct stat found, other;
    if (refused && !fstat(fd, &found) && !stat(refused, &other) && found.st_dev == other.st_dev &&
        found.st_ino == other.st_ino) {
        errno = EOPNOTSUPP;
        return -1;
    }
    int (*next)(int, int) = (int (*)(int, int))dlsym(RTLD_NEXT, "flock");
    return next(fd, operation);
}

static struct sock_filter program[256];
static unsigned short length;

static void add(unsigned short code, unsigned value, unsigned char if_true, unsigned char if_false) {
    program[length++] = (struct sock_filter){code, if_true, if_false, value};
}

/* The lower half of an argument, on a machine that stores it first. */
#define ARGUMENT(n) offsetof(struct seccomp_data, args[n])
#define LOAD(offset) add(BPF_LD | BPF_W | BPF_ABS, offset, 0, 0)

/* Refuses a request if the argument `tested`, of which the bits `any` are looked at, has one of them, and the argument
   `second` has one of the bits `also`. A mask of 0 looks at nothing. */
static void refuse(long number, int error, int tested, unsigned any, int second, unsigned also) {
    unsigned char rest = 1 + (any ? 2 : 0) + (also ? 2 : 0);
    LOAD(offsetof(struct seccomp_data, nr));
    add(BPF_JMP | BPF_JEQ | BPF_K, number, 0, rest);
    if (any) {
        rest -= 2;
        LOAD(ARGUMENT(tested));
        add(BPF_JMP | BPF_JSET | BPF_K, any, 0, rest);
    }
    if (also) {
        rest -= 2;
        LOAD(ARGUMENT(second));
        add(BPF_JMP | BPF_JSET | BPF_K, also, 0, rest);
    }
    add(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error, 0, 0);
}

#define CREATES (O_CREAT | (O_TMPFILE & ~O_DIRECTORY))
#define OTHERS 077

static void refuse_new(int error, unsigned modes) {
    refuse(SYS_openat, error, 2, CREATES, 3, modes);
    refuse(SYS_mkdirat, error, 2, modes, 0, 0);
#ifdef SYS_open
    refuse(SYS_open, error, 1, CREATES, 2, modes);
    refuse(SYS_creat, error, 1, modes, 0, 0);
    refuse(SYS_mkdir, error, 1, modes, 0, 0);
#endif
}

__attribute__((constructor)) static void refuse_in_the_kernel(void) {
    const char *refused;
    if ((refused = getenv("REFUSE_NEW_FILES"))) refuse_new(atoi(refused), 0);
    if ((refused = getenv("REFUSE_PUBLIC_FILES"))) refuse_new(atoi(refused), OTHERS);
    if ((refused = getenv("REFUSE_RENAME_NOREPLACE"))) refuse(SYS_renameat2, atoi(refused), 4, ~0u, 0, 0);
    if ((refused = getenv("REFUSE_RESERVATION"))) refuse(SYS_fallocate, atoi(refused), 0, 0, 0, 0);
    if ((refused = getenv("REFUSE_SEEK"))) refuse(SYS_lseek, atoi(refused), 1, ~0u, 0, 0);
    if ((refused = getenv("REFUSE_LINK"))) {
        refuse(SYS_linkat, atoi(refused), 0, 0, 0, 0);
#ifdef SYS_link
        refuse(SYS_link, atoi(refused), 0, 0, 0, 0);
#endif
    }
    if ((refused = getenv("REFUSE_CONNECT"))) refuse(SYS_connect, atoi(refused), 0, 0, 0, 0);
    if (!length) return;
    add(BPF_RET | BPF_K, SECCOMP_RET_ALLOW, 0, 0);
    struct sock_fprog filter = {length, program};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter)) abort();
}
