/* Preloaded into the program under test: a file system that refuses to sync directories, to lock one file, or to change owners.

   REFUSE_DIRECTORY_SYNC=ERRNO  fsync of a directory fails with this number
   REFUSE_ONLY=N                only the Nth of these calls fails, counted from 0, and says so
   REFUSE_LOCK_OF=FILE          flock of this file fails with EOPNOTSUPP
   REFUSE_CHOWN=ERRNO           chown fails with this number
   REFUSE_NEW_FILES=ERRNO       no file and no directory can be created
   CLOCK_SAYS=SECONDS           the time of the system is always this many seconds after 1970 */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static atomic_int calls;

int fsync(int fd) {
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

int open64(const char *path, int flags, ...) {
    const char *refused = getenv("REFUSE_NEW_FILES");
    struct stat found;
    mode_t mode = 0;
    if (flags & O_CREAT) {
        va_list rest;
        va_start(rest, flags);
        mode = va_arg(rest, mode_t);
        va_end(rest);
        if (refused && stat(path, &found)) {
            errno = atoi(refused);
            return -1;
        }
    }
    int (*next)(const char *, int, ...) = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, "open64");
    return next(path, flags, mode);
}

int mkdir(const char *path, mode_t mode) {
    const char *refused = getenv("REFUSE_NEW_FILES");
    if (refused) {
        errno = atoi(refused);
        return -1;
    }
    int (*next)(const char *, mode_t) = (int (*)(const char *, mode_t))dlsym(RTLD_NEXT, "mkdir");
    return next(path, mode);
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
