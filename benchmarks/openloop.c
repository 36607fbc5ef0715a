/* An open-loop HTTP client: requests leave at a fixed rate whether or not earlier ones are answered, and each latency
 * counts from the moment its request was due, so that a stall is charged to every request that it delays.
 *
 *   openloop PORT PATH CONTENT-TYPE BODY-FILE RATE[1/s] SECONDS DRAIN[s]
 *
 * One thread, epoll, keep-alive connections to 127.0.0.1, as many as requests are under way (at most MOST).
 * Prints one line of JSON. HTTP/1.1 with content-length or chunked answers; nothing else is understood. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 1000, ROOM = 1 << 16, STATUSES = 600 };

struct link {
    int fd, busy;
    size_t sent, got;
    double due;
    char answer[ROOM];
};

static struct link *links;
static int opened, poller;
static char *message;
static size_t length;
static struct sockaddr_in server = {.sin_family = AF_INET};
static double *latencies;
static long answered, broken, statuses[STATUSES];

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

static void drop(struct link *link) {
    if (link->fd >= 0) close(link->fd);
    link->fd = -1;
    link->busy = 0;
}

static void fail(struct link *link) {
    broken++;
    drop(link);
}

static void push(struct link *link) {
    while (link->sent < length) {
        ssize_t n = write(link->fd, message + link->sent, length - link->sent);
        if (n < 0 && errno == EAGAIN) return;
        if (n < 0) {
            fail(link);
            return;
        }
        link->sent += n;
    }
}

/* Whether the answer is whole: 1; not yet: 0. */
static int whole(struct link *link) {
    link->answer[link->got] = 0;
    char *end = strstr(link->answer, "\r\n\r\n");
    if (!end) return 0;
    char *size = strcasestr(link->answer, "\r\ncontent-length:");
    if (size && size < end) return link->got >= (size_t)(end + 4 - link->answer) + strtoul(size + 17, NULL, 10);
    return link->got >= 7 && !memcmp(link->answer + link->got - 5, "0\r\n\r\n", 5);
}

static void pull(struct link *link) {
    for (;;) {
        ssize_t n = read(link->fd, link->answer + link->got, ROOM - 1 - link->got);
        if (n < 0 && errno == EAGAIN) break;
        if (n <= 0) {
            if (link->busy) fail(link);
            else drop(link);
            return;
        }
        link->got += n;
    }
    if (!link->busy || !whole(link)) return;
    int status = atoi(link->answer + 9);
    statuses[status > 0 && status < STATUSES ? status : 0]++;
    latencies[answered++] = (now() - link->due) * 1e3;
    link->busy = 0;
    if (strcasestr(link->answer, "\r\nconnection: close")) drop(link);
}

static int start(struct link *link) {
    int one = 1;
    link->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    setsockopt(link->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(link->fd, (struct sockaddr *)&server, sizeof server) < 0 && errno != EINPROGRESS) return 0;
    struct epoll_event wanted = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = link};
    return epoll_ctl(poller, EPOLL_CTL_ADD, link->fd, &wanted) == 0;
}

static void ask(double due) {
    struct link *link = NULL;
    for (int i = 0; i < opened && !link; i++)
        if (!links[i].busy && links[i].fd >= 0) link = &links[i];
    for (int i = 0; i < MOST && !link; i++)
        if (links[i].fd < 0) link = &links[i], opened = i >= opened ? i + 1 : opened;
    if (!link) {
        broken++;
        return;
    }
    link->busy = 1;
    link->sent = link->got = 0;
    link->due = due;
    if (link->fd < 0) {
        if (!start(link)) fail(link);
    } else
        push(link);
}

static void wait_until(double moment) {
    struct epoll_event found[64];
    double left = moment - now();
    struct timespec most = {.tv_nsec = left <= 0 ? 0 : left < 0.5 ? (long)(left * 1e9) : 500000000};
    struct pollfd any = {.fd = poller, .events = POLLIN};
    ppoll(&any, 1, &most, NULL); /* epoll_wait counts whole milliseconds */
    int n = epoll_wait(poller, found, 64, 0);
    for (int i = 0; i < n; i++) {
        struct link *link = found[i].data.ptr;
        if (link->fd >= 0 && link->busy && (found[i].events & EPOLLOUT)) push(link);
        if (link->fd >= 0 && (found[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))) pull(link);
    }
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double percentile(double share) {
    return answered ? latencies[(long)(share * (answered - 1))] : 0;
}

static void read_message(char **args) {
    FILE *file = fopen(args[4], "rb");
    if (!file) exit(2);
    fseek(file, 0, SEEK_END);
    long size = ftell(file);
    rewind(file);
    message = malloc(size + 4096);
    length = snprintf(message, 4096, "POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: %s\r\nContent-Length: %ld\r\n\r\n",
                      args[2], args[3], size);
    length += fread(message + length, 1, size, file);
    fclose(file);
}

int main(int count, char **args) {
    if (count != 8) return 2;
    signal(SIGPIPE, SIG_IGN);
    read_message(args);
    double rate = atof(args[5]), seconds = atof(args[6]), drain = atof(args[7]);
    long wanted = rate * seconds, asked = 0;
    server.sin_port = htons(atoi(args[1]));
    server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    links = calloc(MOST, sizeof *links);
    latencies = calloc(wanted + 1, sizeof *latencies);
    for (int i = 0; i < MOST; i++) links[i].fd = -1;
    poller = epoll_create1(0);
    double begun = now(), last = begun + seconds + drain;
    while (answered + broken < wanted && now() < last) {
        while (asked < wanted && begun + asked / rate <= now()) ask(begun + asked / rate), asked++;
        double next = asked < wanted ? begun + asked / rate : now() + 0.01;
        wait_until(next < last ? next : last);
    }
    qsort(latencies, answered, sizeof *latencies, ascending);
    printf("JSON {\"seconds\": %.6f, \"p50_ms\": %.3f, \"p90_ms\": %.3f, \"p99_ms\": %.3f, \"broken\": %ld, \"statuses\": {",
           now() - begun, percentile(.5), percentile(.9), percentile(.99), wanted - answered);
    const char *comma = "";
    for (int i = 0; i < STATUSES; i++)
        if (statuses[i]) printf("%s\"%d\": %ld", comma, i, statuses[i]), comma = ", ";
    printf("}}\n");
    return 0;
}
