/* Preloaded into a server: fsync and fdatasync fail once the file exists that
 * WARPLINE_TEST_FSYNC names, as a disk fails that has lost what it was given.
 *     cc -shared -fPIC -o fsync_fails.so fsync_fails.c -ldl
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static int fails(void) {
    const char *trigger = getenv("WARPLINE_TEST_FSYNC");
    return trigger != NULL && access(trigger, F_OK) == 0;
}

static int sync_by(const char *name, int file) {
    if (fails()) {
        errno = EIO;
        return -1;
    }
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    return real(file);
}

int fsync(int file) { return sync_by("fsync", file); }

int fdatasync(int file) { return sync_by("fdatasync", file); }
