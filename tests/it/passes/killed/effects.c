/*
 * Loaded into the program under test (LD_PRELOAD). It counts every call that can change something
 * outside the process. At the call that the test chooses, it kills or stops the process, cuts the
 * call short, or makes it fail. The program does not know about it.
 *
 * It counts calls that write or flush a file, create, rename or remove a name, or send on a network
 * socket. One sequence of numbers therefore covers the ledger, archive, catalog and portal. Standard
 * output and error, pipes and other descriptors do not count.
 *
 * From the environment:
 *   EFFECTS_LOG    file that gets a line per effect: its number, the call, its object
 *   EFFECTS_AT     the effect at which EFFECTS_DO applies
 *   EFFECTS_DO     kill: SIGKILL before it
 *                  torn: do the first half of it, then SIGKILL (a call without halves: as kill)
 *                  stop: SIGSTOP before it; it continues after a SIGCONT
 *                  fail: it fails with EFFECTS_ERRNO, and so do all after it
 *   EFFECTS_ERRNO  number of the error
 *   EFFECTS_ON     only effects on what contains this text are counted: a folder, or net:PORT/
 *   EFFECTS_CLOCK  seconds by which the clocks are ahead, from the start on
 *   EFFECTS_WALL   seconds by which the wall clock alone is ahead, from the start on; may be negative
 *   EFFECTS_JUMP   seconds by which the wall clock is ahead from EFFECTS_AT on, for an equal number
 *                  of effects; then it is right again
 *   EFFECTS_SLEPT  seconds by which all clocks are ahead once a stop is over
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum act { NOTHING, KILL, TORN, STOP, FAIL };

static enum act act;
static long at;
static int failure;
static const char *on;
static int log_fd = -1;
static long jump, slept;
static atomic_long count;
static atomic_long wall_ahead, all_ahead;

static long number(const char *name) {
    const char *text = getenv(name);
    return text ? atol(text) : 0;
}

__attribute__((constructor)) static void begin(void) {
    const char *what = getenv("EFFECTS_DO");
    const char *log = getenv("EFFECTS_LOG");
    at = number("EFFECTS_AT");
    failure = (int)number("EFFECTS_ERRNO");
    on = getenv("EFFECTS_ON");
    jump = number("EFFECTS_JUMP");
    slept = number("EFFECTS_SLEPT");
    all_ahead = number("EFFECTS_CLOCK");
    wall_ahead = number("EFFECTS_WALL");
    if (what && !strcmp(what, "kill")) act = KILL;
    if (what && !strcmp(what, "torn")) act = TORN;
    if (what && !strcmp(what, "stop")) act = STOP;
    if (what && !strcmp(what, "fail")) act = FAIL;
    if (log) {
        int fd = (int)syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND, 0600);
        /* A high number, in case the program relies on low ones. */
        log_fd = (int)syscall(SYS_fcntl, fd, F_DUPFD_CLOEXEC, 500);
        syscall(SYS_close, fd);
    }
}

/* Finds the name of the descriptor's object; returns 0 if it is not outside the process. */
static int outside(int fd, char *name, size_t size) {
    struct stat stat;
    if (fd == log_fd || fd <= 2 || fstat(fd, &stat)) return 0;
    if (S_ISSOCK(stat.st_mode)) {
        struct sockaddr_storage peer;
        socklen_t length = sizeof peer;
        if (getpeername(fd, (struct sockaddr *)&peer, &length)) return 0;
        /* The port has the same offset in both families. */
        if (peer.ss_family != AF_INET && peer.ss_family != AF_INET6) return 0;
        snprintf(name, size, "net:%d/", ntohs(((struct sockaddr_in *)&peer)->sin_port));
        return 1;
    }
    if (!S_ISREG(stat.st_mode) && !S_ISDIR(stat.st_mode)) return 0;
    char link[40];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = syscall(SYS_readlinkat, AT_FDCWD, link, name, size - 1);
    name[length > 0 ? length : 0] = 0;
    return 1;
}

static void die(void) {
    syscall(SYS_kill, syscall(SYS_getpid), SIGKILL);
    for (;;) pause();
}

enum turn { GO, HALF, REFUSED };

/* Counts one effect, and returns how to continue. */
static enum turn effect(const char *call, const char *name) {
    if (on && !strstr(name, on)) return GO;
    long mine = atomic_fetch_add(&count, 1) + 1;
    if (log_fd >= 0) {
        char line[4352];
        int length = snprintf(line, sizeof line, "%ld %s %s\n", mine, call, name);
        syscall(SYS_write, log_fd, line, length);
    }
    if (jump && mine == at) wall_ahead = jump;
    if (jump && mine == 2 * at) wall_ahead = 0;
    if (act == FAIL && at && mine >= at) {
        errno = failure;
        return REFUSED;
    }
    if (mine != at) return GO;
    if (act == KILL) die();
    if (act == STOP) {
        atomic_fetch_add(&all_ahead, slept);
        syscall(SYS_kill, syscall(SYS_getpid), SIGSTOP);
        /* When this call returns, the signal has taken effect. */
        syscall(SYS_sched_yield);
    }
    return act == TORN ? HALF : GO;
}

static enum turn on_fd(const char *call, int fd) {
    char name[4096];
    return outside(fd, name, sizeof name) ? effect(call, name) : GO;
}

static enum turn on_name(const char *call, const char *name) {
    enum turn turn = effect(call, name);
    if (turn == HALF) die();
    return turn;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

#define REFUSE_OR_HALVE(call, fd, half) \
    do {                                \
        switch (on_fd(call, fd)) {      \
        case REFUSED: return -1;        \
        case HALF:                      \
            half;                       \
            die();                      \
        case GO: break;                 \
        }                               \
    } while (0)

ssize_t write(int fd, const void *from, size_t size) {
    REFUSE_OR_HALVE("write", fd, REAL(write)(fd, from, size / 2));
    return REAL(write)(fd, from, size);
}

ssize_t pwrite64(int fd, const void *from, size_t size, off64_t place) {
    REFUSE_OR_HALVE("pwrite", fd, REAL(pwrite64)(fd, from, size / 2, place));
    return REAL(pwrite64)(fd, from, size, place);
}

ssize_t writev(int fd, const struct iovec *parts, int many) {
    REFUSE_OR_HALVE("writev", fd, REAL(write)(fd, parts[0].iov_base, parts[0].iov_len / 2));
    return REAL(writev)(fd, parts, many);
}

ssize_t send(int fd, const void *from, size_t size, int flags) {
    REFUSE_OR_HALVE("send", fd, REAL(send)(fd, from, size / 2, flags));
    return REAL(send)(fd, from, size, flags);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
    REFUSE_OR_HALVE("sendmsg", fd, (void)0);
    return REAL(sendmsg)(fd, message, flags);
}

int fsync(int fd) {
    REFUSE_OR_HALVE("fsync", fd, (void)0);
    return REAL(fsync)(fd);
}

int fdatasync(int fd) {
    REFUSE_OR_HALVE("fdatasync", fd, (void)0);
    return REAL(fdatasync)(fd);
}

int ftruncate64(int fd, off64_t size) {
    REFUSE_OR_HALVE("ftruncate", fd, (void)0);
    return REAL(ftruncate64)(fd, size);
}

int rename(const char *from, const char *to) {
    return on_name("rename", to) == REFUSED ? -1 : REAL(rename)(from, to);
}

int linkat(int from_at, const char *from, int to_at, const char *to, int flags) {
    return on_name("link", to) == REFUSED ? -1 : REAL(linkat)(from_at, from, to_at, to, flags);
}

int unlink(const char *name) { return on_name("unlink", name) == REFUSED ? -1 : REAL(unlink)(name); }

int unlinkat(int folder, const char *name, int flags) {
    return on_name("unlink", name) == REFUSED ? -1 : REAL(unlinkat)(folder, name, flags);
}

int mkdir(const char *name, mode_t mode) {
    return on_name("mkdir", name) == REFUSED ? -1 : REAL(mkdir)(name, mode);
}

static mode_t mode_of(int flags, va_list more) { return flags & O_CREAT ? va_arg(more, mode_t) : 0; }

/* Opening a file is an effect only if it creates the file. */
#define OPENING(flags, name)                                                          \
    if ((flags) & O_CREAT && access(name, F_OK) && on_name("create", name) == REFUSED) \
    return -1

int open(const char *name, int flags, ...) {
    va_list more;
    va_start(more, flags);
    mode_t mode = mode_of(flags, more);
    va_end(more);
    OPENING(flags, name);
    return REAL(open)(name, flags, mode);
}

int open64(const char *name, int flags, ...) {
    va_list more;
    va_start(more, flags);
    mode_t mode = mode_of(flags, more);
    va_end(more);
    OPENING(flags, name);
    return REAL(open64)(name, flags, mode);
}

int openat64(int folder, const char *name, int flags, ...) {
    va_list more;
    va_start(more, flags);
    mode_t mode = mode_of(flags, more);
    va_end(more);
    OPENING(flags, name);
    return REAL(openat64)(folder, name, flags, mode);
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    int answer = (int)syscall(SYS_clock_gettime, clock, time);
    if (!answer) time->tv_sec += all_ahead + (clock == CLOCK_REALTIME ? wall_ahead : 0);
    return answer;
}
