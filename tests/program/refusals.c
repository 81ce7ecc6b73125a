/* Preloaded into the program under test: a file system that refuses to sync directories, or to lock one file.

   REFUSE_DIRECTORY_SYNC=ERRNO  fsync of a directory fails with this number
   REFUSE_LOCK_OF=FILE          flock of this file fails with EOPNOTSUPP */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

int fsync(int fd) {
    const char *refused = getenv("REFUSE_DIRECTORY_SYNC");
    struct stat found;
    if (refused && !fstat(fd, &found) && S_ISDIR(found.st_mode)) {
        errno = atoi(refused);
        return -1;
    }
    int (*next)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    return next(fd);
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
