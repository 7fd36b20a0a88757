/* The floor under a snapshot: reads from /proc what a snapshot reads of every task, and throws it away.
 *
 *     cc -O2 -o floor floor.c && ./floor
 *
 * The same files, with as few system calls as there can be: one open directory for each process, one read for each
 * file (the files of one record end with the first short read), a readlink for each link. No parsing, no text, no
 * archive, no sockets, no guard against a process that hangs. Whatever a program costs above this, it adds itself.
 *
 *   once       stat, status, wchan, oom_score_adj, cgroup, exe, cwd, root, io, limits, cmdline, environ of each
 *              process (of kernel threads the first three), and every link of its fd directory; for files of a path
 *              also fdinfo (at most 5,000), for pipes and devices how they were opened (fstatat)
 *   each thread beyond the first: stat and wchan
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FDINFO_MAX 5000
#define PF_KTHREAD 0x00200000UL

static char buf[128 * 1024];
static unsigned long bytes, reads, links, processes, threads, descriptors, fdinfo;

static ssize_t file(int dir, const char *name, size_t cap)
{
	int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0)
		return -1;
	ssize_t n = read(fd, buf, cap);
	close(fd);
	if (n > 0)
		bytes += n;
	reads++;
	return n;
}

static ssize_t target(int dir, const char *name)
{
	ssize_t n = readlinkat(dir, name, buf, 4096);
	if (n >= 0)
		buf[n] = 0;
	links++;
	return n;
}

/* The numbers of a directory, at most `max`. */
static size_t numbers(int dir, unsigned **list, size_t *room)
{
	static char dents[32 * 1024];
	size_t count = 0;
	long n;
	while ((n = syscall(SYS_getdents64, dir, dents, sizeof dents)) > 0) {
		for (long at = 0; at < n;) {
			unsigned short length;
			memcpy(&length, dents + at + 16, sizeof length);
			const char *name = dents + at + 19;
			if (*name >= '0' && *name <= '9') {
				if (count == *room) {
					*room = *room ? *room * 2 : 4096;
					*list = realloc(*list, *room * sizeof **list);
					if (!*list)
						exit(1);
				}
				(*list)[count++] = strtoul(name, NULL, 10);
			}
			at += length;
		}
	}
	return count;
}

static void open_files(int dir)
{
	static unsigned *fds;
	static size_t room;
	int fd_dir = openat(dir, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd_dir < 0)
		return;
	size_t count = numbers(fd_dir, &fds, &room);
	for (size_t i = 0; i < count; i++) {
		char name[32];
		struct stat st;
		snprintf(name, sizeof name, "%u", fds[i]);
		if (target(fd_dir, name) < 0)
			continue;
		descriptors++;
		if (!strncmp(buf, "socket:", 7) || !strncmp(buf, "anon_inode:", 11) || !strcmp(buf, "/dev/null"))
			continue;
		if (buf[0] == '/' && strncmp(buf, "/dev/", 5) && fdinfo < FDINFO_MAX) {
			fdinfo++;
			snprintf(name, sizeof name, "fdinfo/%u", fds[i]);
			file(dir, name, 1024);
		} else {
			fstatat(fd_dir, name, &st, AT_SYMLINK_NOFOLLOW);
		}
	}
	close(fd_dir);
}

static void more_threads(int dir, unsigned pid)
{
	static unsigned *tids;
	static size_t room;
	int tasks = openat(dir, "task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (tasks < 0)
		return;
	size_t count = numbers(tasks, &tids, &room);
	for (size_t i = 0; i < count; i++) {
		char name[32];
		if (tids[i] == pid)
			continue;
		threads++;
		snprintf(name, sizeof name, "%u/stat", tids[i]);
		file(tasks, name, 2048);
		snprintf(name, sizeof name, "%u/wchan", tids[i]);
		file(tasks, name, 256);
	}
	close(tasks);
}

int main(void)
{
	unsigned *pids = NULL;
	size_t room = 0;
	int proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (proc < 0)
		return 1;
	size_t count = numbers(proc, &pids, &room);
	for (size_t i = 0; i < count; i++) {
		char name[32];
		unsigned long flags = 0, number = 0;
		snprintf(name, sizeof name, "%u", pids[i]);
		int dir = openat(proc, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (dir < 0)
			continue;
		processes++;
		file(dir, "status", 4096);
		ssize_t n = file(dir, "stat", 2048);
		if (n > 0) {
			buf[n] = 0;
			char *end = strrchr(buf, ')');
			if (end)
				sscanf(end + 1, " %*c %*d %*d %*d %*d %*d %lu %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %lu", &flags, &number);
		}
		file(dir, "wchan", 256);
		if (!(flags & PF_KTHREAD)) {
			file(dir, "oom_score_adj", 64);
			file(dir, "cgroup", 16384);
			target(dir, "exe");
			target(dir, "cwd");
			target(dir, "root");
			file(dir, "io", 512);
			file(dir, "limits", 4096);
			file(dir, "cmdline", 8192);
			file(dir, "environ", 65536);
			open_files(dir);
		}
		if (number > 1)
			more_threads(dir, pids[i]);
		close(dir);
	}
	printf("{\"processes\": %lu, \"threads\": %lu, \"descriptors\": %lu, \"reads\": %lu, \"links\": %lu}\n", processes,
	       threads, descriptors, reads, links);
	return 0;
}
