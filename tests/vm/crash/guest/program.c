/*
 * What a guest needs besides busybox: a program that crashes in user space, each way by the CPU's own exception,
 * a
 * reader of /dev/kmsg that ends when there is no more, and the two clocks read at one moment.
 *
 *   program segfault|execute|undefined|divide|protection|breakpoint|kmsg|clocks
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
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
	fprintf(stderr, "program: no such thing, or it did not crash: %s\n", what);
	return 2;
}
