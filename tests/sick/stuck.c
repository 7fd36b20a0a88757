/*
 * Stages hangs for the scenarios of this folder. One program, several parts:
 *
 *   stuck serve MOUNTPOINT          a FUSE server with one directory and one big file in it, /file. It answers everything
 *                                   but reads and the flush of the file and, after SIGUSR1, nothing at all. Says "ready"
 *                                   when mounted. Its end frees everybody who waits for it; it ends by itself after
 *                                   LIFE_S seconds, whatever became of the scenario.
 *   stuck hold lock FILE [WORD...]  on SIGUSR1 one thread reads the mapped FILE through /proc/self/mem: the kernel waits
 *                                   for the page with this process's memory lock held for reading. Another one maps
 *                                   memory: a queued writer, behind which every further reader waits.
 *   stuck hold fault FILE [WORD...] on SIGUSR1 one thread writes to the mapped FILE, which is on a frozen file system;
 *                                   another one unmaps it, holding the memory lock for writing.
 *   stuck hold exec FILE [WORD...]  on SIGUSR1 it runs itself again, with FILE open and close-on-exec: hangs inside
 *                                   execve, in the flush of FILE.
 *
 * WORDs only make a command line. The protocol is that of linux/fuse.h; no library is needed.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ROOT = 1, FILE_NODE = 2 };
#define FILE_BYTES (1ULL << 30)
#define LIFE_S 300

static volatile sig_atomic_t dead;
static void on_usr1(int signal) { (void)signal; dead = 1; }

static void die(const char *what)
{
	perror(what);
	exit(1);
}

/* Best effort: a request that was given up meanwhile has no receiver. */
static void answer(int fd, uint64_t unique, int error, const void *body, size_t bytes)
{
	char out[4096];
	struct fuse_out_header head = { .len = sizeof head + bytes, .error = error, .unique = unique };

	memcpy(out, &head, sizeof head);
	if (bytes)
		memcpy(out + sizeof head, body, bytes);
	if (write(fd, out, head.len) < 0 && errno != ENOENT)
		die("answer");
}

static struct fuse_attr attr_of(uint64_t node)
{
	struct fuse_attr a = { .ino = node, .nlink = 1, .blksize = 4096 };

	a.mode = node == ROOT ? S_IFDIR | 0755 : S_IFREG | 0644;
	a.size = node == ROOT ? 0 : FILE_BYTES;
	return a;
}

static void serve_one(int fd, char *in)
{
	struct fuse_in_header *h = (void *)in;

	if (dead)
		return;
	switch (h->opcode) {
	case FUSE_INIT: {
		struct fuse_init_in *i = (void *)(in + sizeof *h);
		struct fuse_init_out o = { .major = FUSE_KERNEL_VERSION, .minor = FUSE_KERNEL_MINOR_VERSION,
			.max_readahead = i->max_readahead, .max_background = 1000, .max_write = 4096 };
		answer(fd, h->unique, 0, &o, sizeof o);
		break;
	}
	case FUSE_GETATTR: {
		struct fuse_attr_out o = { .attr = attr_of(h->nodeid) };
		answer(fd, h->unique, 0, &o, sizeof o);
		break;
	}
	case FUSE_LOOKUP:
		if (!strcmp(in + sizeof *h, "file")) {
			struct fuse_entry_out o = { .nodeid = FILE_NODE, .attr = attr_of(FILE_NODE) };
			answer(fd, h->unique, 0, &o, sizeof o);
		} else {
			answer(fd, h->unique, -ENOENT, NULL, 0);
		}
		break;
	case FUSE_OPEN:
	case FUSE_OPENDIR: {
		struct fuse_open_out o = { .fh = h->nodeid };
		answer(fd, h->unique, 0, &o, sizeof o);
		break;
	}
	case FUSE_STATFS: {
		struct fuse_statfs_out o = { .st = { .blocks = 1000, .bfree = 500, .bavail = 500, .bsize = 4096, .namelen = 255 } };
		answer(fd, h->unique, 0, &o, sizeof o);
		break;
	}
	case FUSE_READ:
	case FUSE_FLUSH:
	case FUSE_INTERRUPT:
	case FUSE_FORGET:
	case FUSE_BATCH_FORGET:
		break; /* never answered, or not to be answered */
	case FUSE_RELEASE:
	case FUSE_RELEASEDIR:
		answer(fd, h->unique, 0, NULL, 0);
		break;
	default:
		answer(fd, h->unique, -ENOSYS, NULL, 0);
	}
}

static int serve(const char *at)
{
	static char in[1 << 17];
	char options[128];
	struct sigaction usr1 = { .sa_handler = on_usr1 };
	int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		die("/dev/fuse");
	sigaction(SIGUSR1, &usr1, NULL);
	snprintf(options, sizeof options, "fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other", fd);
	if (mount("stuck", at, "fuse.stuck", MS_NOSUID | MS_NODEV, options))
		die("mount");
	puts("ready");
	fflush(stdout);
	alarm(LIFE_S);
	for (;;) {
		ssize_t n = read(fd, in, sizeof in);
		if (n < 0 && errno != EINTR && errno != EAGAIN && errno != ENOENT)
			return errno == ENODEV ? 0 : 1; /* unmounted or aborted */
		if (n > 0)
			serve_one(fd, in);
	}
}

static int file;
static char *mapped;

static void *read_through_mem(void *unused)
{
	char byte;
	int mem = open("/proc/self/mem", O_RDONLY);

	pread(mem, &byte, 1, (off_t)mapped);
	return unused;
}

static void *write_to_map(void *unused)
{
	*(volatile char *)mapped = 1;
	return unused;
}

static void *map_memory(void *unused)
{
	mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return unused;
}

static void *unmap(void *unused)
{
	munmap(mapped, 4096);
	return unused;
}

static void start(void *(*body)(void *))
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, body, NULL))
		die("pthread_create");
}

static _Noreturn void hold(const char *how, const char *path, char **argv)
{
	int exec = !strcmp(how, "exec"), fault = !strcmp(how, "fault"), signal;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	file = open(path, (fault ? O_RDWR : O_RDONLY) | (exec ? O_CLOEXEC : 0));
	if (file < 0)
		die(path);
	mapped = exec ? NULL : mmap(NULL, 4096, PROT_READ | (fault ? PROT_WRITE : 0), MAP_SHARED, file, 0);
	if (mapped == MAP_FAILED)
		die("mmap");
	/* While healthy, in a call that a reader can recognise. */
	sigwait(&set, &signal);
	if (exec) {
		execv("/proc/self/exe", argv);
		die("execv");
	}
	/* The first thread is the one that queues: it needs no new memory for that, as a new thread would. */
	start(fault ? write_to_map : read_through_mem);
	usleep(50000);
	if (fault)
		unmap(NULL);
	else
		map_memory(NULL);
	for (;;)
		pause();
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "serve"))
		return serve(argv[2]);
	if (argc >= 4 && !strcmp(argv[1], "hold"))
		hold(argv[2], argv[3], argv);
	fprintf(stderr, "usage: see the head of stuck.c\n");
	return 2;
}
