/* Crowds and odd tasks for the scenarios of this folder. Says "ready" on standard output when it is, and then
 * waits until it is killed: all that it made goes with it.
 *
 *   crowd threads N          one process with N threads
 *   crowd sockets N          N sockets in one process, connected in pairs
 *   crowd files N DIR        N open files in one process, removed, with a control character in their name
 *   crowd processes N        N processes, children of this one
 *   crowd blocked            in uninterruptible sleep until it is killed: the parent of a vfork
 *   crowd slow               the same again and again, for some milliseconds each time
 *   crowd busy               uses a CPU
 *   crowd writer FILE        writes and syncs
 *   crowd named HEX          with a name of any bytes
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void ready(void)
{
    printf("ready %d\n", getpid());
    fflush(stdout);
}

static void *wait_for_ever(void *unused)
{
    for (;;)
        pause();
    return unused;
}

static void descriptors(rlim_t n)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        die("getrlimit");
    /* More than the hard limit takes CAP_SYS_RESOURCE. */
    if (limit.rlim_max < n)
        limit.rlim_max = n;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        die("setrlimit");
}

static void threads(long n)
{
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 16384);
    for (long i = 1; i < n; i++) {
        pthread_t id;
        int error = pthread_create(&id, &attr, wait_for_ever, NULL);
        if (error != 0) {
            fprintf(stderr, "thread %ld: %s\n", i, strerror(error));
            exit(1);
        }
    }
}

static void sockets(long n)
{
    descriptors(n + 64);
    for (long i = 0; i < n; i += 2) {
        int pair[2];
        if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0)
            die("socketpair");
    }
}

static void files(long n, const char *dir)
{
    char path[4096];
    descriptors(n + 64);
    for (long i = 0; i < n; i++) {
        snprintf(path, sizeof path, "%s/odd\n\x1b[2J\xf0\x9f\xa6\x80\x7f%ld", dir, i);
        if (open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600) < 0)
            die("open");
        unlink(path);
    }
}

/* The parent of a vfork sleeps in state D (TASK_KILLABLE) until the child has ended; SIGKILL ends both. */
static void vfork_for(long milliseconds)
{
    pid_t child = vfork();
    if (child < 0)
        die("vfork");
    if (child == 0) {
        /* Not inherited: without, it would outlive a parent that is killed. */
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        struct timespec t = { milliseconds / 1000, milliseconds % 1000 * 1000000 };
        nanosleep(&t, NULL);
        _exit(0);
    }
    waitpid(child, NULL, 0);
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    long n = argc > 2 ? atol(argv[2]) : 0;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (strcmp(what, "threads") == 0) {
        threads(n);
    } else if (strcmp(what, "sockets") == 0) {
        sockets(n);
    } else if (strcmp(what, "files") == 0 && argc > 3) {
        files(n, argv[3]);
    } else if (strcmp(what, "processes") == 0) {
        for (long i = 0; i < n; i++) {
            pid_t child = fork();
            if (child < 0)
                die("fork");
            if (child == 0) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                wait_for_ever(NULL);
            }
        }
    } else if (strcmp(what, "blocked") == 0) {
        ready();
        /* Ten minutes: longer than any scenario, and an end by itself. */
        vfork_for(600000);
    } else if (strcmp(what, "slow") == 0) {
        ready();
        for (;;)
            vfork_for(7);
    } else if (strcmp(what, "busy") == 0) {
        ready();
        for (volatile unsigned long i = 0;; i++)
            ;
    } else if (strcmp(what, "writer") == 0 && argc > 2) {
        static char block[65536];
        int fd = open(argv[2], O_RDWR | O_CREAT, 0600);
        if (fd < 0)
            die("open");
        ready();
        for (;;) {
            if (pwrite(fd, block, sizeof block, 0) < 0 || fdatasync(fd) != 0)
                die("write");
            block[0]++;
        }
    } else if (strcmp(what, "named") == 0 && argc > 2) {
        char name[64] = "";
        for (size_t i = 0; argv[2][2 * i] != 0 && argv[2][2 * i + 1] != 0 && i < sizeof name - 1; i++)
            sscanf(argv[2] + 2 * i, "%2hhx", (unsigned char *)&name[i]);
        prctl(PR_SET_NAME, name);
    } else {
        fprintf(stderr, "what?\n");
        return 2;
    }
    ready();
    wait_for_ever(NULL);
}
