/*
 * What a guest needs besides busybox: a program that crashes in user space, each way by the CPU's own exception, a
 * reader of /dev/kmsg that ends when there is no more, the two clocks read at one moment, what takes all processes
 * or a CPU away, and one with very many descriptors.
 *
 *   program segfault|execute|undefined|divide|protection|breakpoint|kmsg|clocks|exhaust|spin|descriptors
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static volatile int zero;
static int *volatile nowhere = (int *)16;
static void (*volatile no_code)(void) = (void (*)(void))16;

static int dump_kmsg(void)
{
	char record[8192];
	ssize_t n;
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK);

	if (fd < 0) {
		perror("/dev/kmsg");
		return 1;
	}
	while ((n = read(fd, record, sizeof(record))) > 0 || (n < 0 && errno == EPIPE)) {
		if (n > 0)
			fwrite(record, 1, n, stdout);
	}
	return 0;
}

static int print_clocks(void)
{
	struct timespec wall, up;

	clock_gettime(CLOCK_REALTIME, &wall);
	clock_gettime(CLOCK_MONOTONIC, &up);
	printf("%lld.%09ld %lld.%09ld\n", (long long)wall.tv_sec, wall.tv_nsec, (long long)up.tv_sec, up.tv_nsec);
	return 0;
}

static int write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);
	int bad = fd < 0 || write(fd, text, strlen(text)) < 0;

	if (bad)
		perror(path);
	if (fd >= 0)
		close(fd);
	return bad;
}

/* Whether the watch's history tells of a snapshot. */
static int captured(void)
{
	static char history[1 << 20];
	int fd = open("/store/snapshots/history.jsonl", O_RDONLY);
	ssize_t n = fd < 0 ? -1 : read(fd, history, sizeof(history) - 1);

	if (fd >= 0)
		close(fd);
	if (n <= 0)
		return 0;
	history[n] = 0;
	return strstr(history, "\"what\":\"captured\"") != NULL;
}

/*
 * Takes every process number that the kernel has left, has it warn, and waits for the snapshot: good if it came
 * while no process could be had.
 */
static int exhaust(void)
{
	static pid_t taken[40000];
	struct timespec step = { 0, 100 * 1000 * 1000 };
	int n = 0, failed, tries;
	pid_t pid;

	/* The lowest number that the kernel takes for two CPUs is below that. */
	if (write_text("/proc/sys/kernel/pid_max", "1200"))
		return 1;
	while (n < 40000 && (pid = fork()) >= 0) {
		if (pid == 0) {
			pause();
			_exit(0);
		}
		taken[n++] = pid;
	}
	failed = n == 40000 || errno != EAGAIN;
	fprintf(stderr, "%d processes, then: %s\n", n, strerror(errno));
	failed |= write_text("/proc/lastgasp_fault", "warn");
	for (tries = 0; !captured() && tries < 600; tries++)
		nanosleep(&step, NULL);
	failed |= !captured();
	pid = fork();
	if (pid == 0)
		_exit(0);
	failed |= pid >= 0;
	while (n > 0)
		kill(taken[--n], SIGKILL);
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
	return failed | write_text("/proc/sys/kernel/pid_max", "32768");
}

/* Keeps the last CPU from everybody else for 15 s, at the highest real-time priority. */
static int spin(void)
{
	struct sched_param highest = { .sched_priority = 99 };
	struct timespec now, end;
	cpu_set_t last;

	CPU_ZERO(&last);
	CPU_SET(sysconf(_SC_NPROCESSORS_ONLN) - 1, &last);
	if (write_text("/proc/sys/kernel/sched_rt_runtime_us", "-1") || sched_setaffinity(0, sizeof(last), &last) ||
	    sched_setscheduler(0, SCHED_FIFO, &highest)) {
		perror("spin");
		return 1;
	}
	clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_sec += 15;
	do
		clock_gettime(CLOCK_MONOTONIC, &now);
	while (now.tv_sec < end.tv_sec);
	return 0;
}

/* Opens 50,000 descriptors, says so in the file "open", and waits to be killed. */
static int descriptors(void)
{
	struct rlimit limit = { 50100, 50100 };
	int n;

	if (setrlimit(RLIMIT_NOFILE, &limit)) {
		perror("setrlimit");
		return 1;
	}
	for (n = 0; n < 50000; n++) {
		if (open("/bin/program", O_RDONLY) < 0) {
			perror("/bin/program");
			return 1;
		}
	}
	close(creat("/tmp/open", 0600));
	pause();
	return 0;
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";

	if (!strcmp(what, "segfault"))
		*nowhere = 1;
	else if (!strcmp(what, "execute"))
		no_code();
	else if (!strcmp(what, "undefined"))
		__asm__ volatile("ud2");
	else if (!strcmp(what, "divide"))
		zero = 7 / zero;
	else if (!strcmp(what, "protection"))
		__asm__ volatile("hlt");
	else if (!strcmp(what, "breakpoint"))
		__asm__ volatile("int3");
	else if (!strcmp(what, "kmsg"))
		return dump_kmsg();
	else if (!strcmp(what, "clocks"))
		return print_clocks();
	else if (!strcmp(what, "exhaust"))
		return exhaust();
	else if (!strcmp(what, "spin"))
		return spin();
	else if (!strcmp(what, "descriptors"))
		return descriptors();
	fprintf(stderr, "program: no such thing, or it did not crash: %s\n", what);
	return 2;
}
