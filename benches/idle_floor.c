/* What one HTTP request a second costs at least: sleeps, connects, asks, reads the answer, closes; nothing else.
 *
 *   idle_floor PORT        127.0.0.1; until it is killed
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    static const char request[] = "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n";
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    struct timespec second = { 1, 0 };
    char answer[4096];

    if (argc != 2) {
        fprintf(stderr, "idle_floor PORT\n");
        return 2;
    }
    to.sin_port = htons(atoi(argv[1]));
    for (;;) {
        int fd;

        nanosleep(&second, NULL);
        fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof(to)) || send(fd, request, strlen(request), 0) < 0 ||
            recv(fd, answer, sizeof(answer), 0) <= 0) {
            perror("idle_floor");
            return 1;
        }
        close(fd);
    }
}
