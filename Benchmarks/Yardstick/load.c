// load: a load generator for our JSON protocol: one thread, one epoll loop, one JSON object on stdout.
//
//   load connect --port P [--pid S] --n 10000 [--rooms 100 | --no-join]    opens N connections, then holds them idle
//   load fanout  --port P [--pid S] --n 1000 (--rate R | --window W) [--publishers K]   N members of one room
//   load rooms   --port P [--pid S] --n 1000 --rooms 100 (--rate | --window)   members publish to their own room
//   load echo    --port P [--pid S] --n 100 (--rate | --window)            everybody asks for echoes
//   load cross   --port A,B --pid S,T --n 2 (--rate | --window)            one room over two nodes, published on the first
//
// Open loop (--rate: messages a second of all publishers): a message carries the time when it was due, so a late
// generator or a stalled server shows in the latency. Closed loop (--window): that many messages of each publisher are
// on their way; one is done when every member has it. --seconds are measured after --warmup.
// Every message is numbered by its publisher and every member keeps account of each publisher: `lost`, `duplicated` and
// `reordered` are exact. A message counts by the mark in its payload, `#` publisher (4 hex digits) number (8) time (16)
// `#`, wherever that stands, so it does not matter what a server puts around the payload.
// CPU of --pid is read from the process's own clock (all its threads, nanoseconds), memory from smaps_rollup. While it
// measures, the generator looks for messages every --spin microseconds and never sleeps in the kernel: a server pays
// nothing for waking it, as it would not for a client on another machine.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { RECEIVE = 256 * 1024, LONGEST = 1 << 20, EVENTS = 1024, MARK = 30, SERVERS = 8, BINS = 64 * 44 };

enum state { CLOSED, CONNECTING, UPGRADING, JOINING, READY };

// What one member has seen of one publisher: the highest number and which of the 64 up to it.
struct account {
    uint64_t recent;
    uint32_t highest;
};

struct connection {
    int fd, server, room;
    enum state state;
    bool joins, wasReady;
    uint64_t begun, received;    // when it was opened; different messages
    struct account *accounts;    // one a publisher of its room
    char *in, *out;              // an unfinished frame; bytes that the socket did not take yet
    size_t inCount, inCapacity, outCount, outDone, outCapacity;
};

struct publisher {
    struct connection *connection;
    int room, place;  // place among the publishers of its room
    uint32_t sent, done;
    bool mayGoOn;
    uint32_t *arrived;  // closed loop: deliveries of the messages on their way, and when they left
    uint64_t *left;
};

struct room {
    int members, publishers;
    char *request;  // the text of a request, with the mark still open
    size_t count, mark;
};

struct histogram {
    uint64_t bins[BINS], count, highest;
    double sum;
};

static struct {
    const char *mode;
    int ports[SERVERS], pids[SERVERS], servers, processes, aside;
    int n, rooms, publishers, window, sources, opening;
    double rate, seconds, warmup, hold, spin;
    size_t payload;
    bool noJoin;
} options = {.n = 1000, .rooms = 100, .publishers = 1, .sources = 8, .opening = 100, .seconds = 4, .warmup = 1,
             .hold = 5, .spin = 20, .payload = 100};

static struct connection *connections;
static struct publisher *publishers;
static struct room *rooms;
static int connectionCount, publisherCount, roomCount;
static uint32_t ring;  // places for messages on their way, a power of two; 0 in open loop
static uint32_t *waiting;  // publishers whose window has opened
static uint32_t waitingCount;
static int poller, opening;
static char *received;

static bool isSpinning, isMeasuring;
static uint64_t lastLook, idle, measureFrom = UINT64_MAX, measureTo, lastArrival;
static struct {
    uint64_t ready, failed, closed, strange, unique, duplicated, reordered, timeouts;
    uint64_t delivered, published, reads, wire;  // while it was measured
} counts;
static struct histogram local, crossed, handshakes, lateness;

static void fail(const char *format, ...) {
    va_list list;
    va_start(list, format);
    fputs("load: ", stderr);
    vfprintf(stderr, format, list);
    fputc('\n', stderr);
    exit(2);
}

static void *checked(void *memory) {
    if (!memory) fail("no memory");
    return memory;
}

static uint64_t nanoseconds(clockid_t clock) {
    struct timespec time;
    if (clock_gettime(clock, &time)) return 0;
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}
static uint64_t now(void) { return nanoseconds(CLOCK_MONOTONIC); }

// MARK: Histogram: 64 bins a power of two, right within 1.6 %, nanoseconds

static void record(struct histogram *histogram, uint64_t value) {
    int shift = value < 128 ? 0 : 57 - __builtin_clzll(value), bin = shift * 64 + (int)(value >> shift);
    histogram->bins[bin < BINS ? bin : BINS - 1]++;
    histogram->count++;
    histogram->sum += (double)value;
    if (value > histogram->highest) histogram->highest = value;
}

static double quantile(const struct histogram *histogram, double q) {
    uint64_t wanted = (uint64_t)(q * (double)histogram->count + 0.999999), sum = 0;
    for (int bin = 0; bin < BINS && histogram->count; bin++) {
        if ((sum += histogram->bins[bin]) < wanted) continue;
        int shift = bin < 128 ? 0 : bin / 64 - 1;
        uint64_t edge = (((uint64_t)(bin - 64 * shift) + 1) << shift) - 1;
        return (double)(edge < histogram->highest ? edge : histogram->highest) / 1e3;
    }
    return (double)histogram->highest / 1e3;
}

// MARK: The servers' processes

static double cpu_seconds(int pid) {
    clockid_t clock;
    return pid && !clock_getcpuclockid(pid, &clock) ? (double)nanoseconds(clock) * 1e-9 : 0;
}
static double servers_cpu(void) {
    double sum = 0;
    for (int i = 0; i < options.processes; i++) sum += cpu_seconds(options.pids[i]);
    return sum;
}
// User and system time in clock ticks: how much of the work was the kernel's.
static void servers_ticks(double ticks[2]) {
    ticks[0] = ticks[1] = 0;
    for (int i = 0; i < options.processes; i++) {
        char line[1024], *end;
        unsigned long user = 0, system = 0;
        snprintf(line, sizeof line, "/proc/%d/stat", options.pids[i]);
        FILE *file = fopen(line, "r");
        if (file && fgets(line, sizeof line, file) && (end = strrchr(line, ')')))
            sscanf(end + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system);
        if (file) fclose(file);
        ticks[0] += (double)user, ticks[1] += (double)system;
    }
}
static double servers_pss(void) {  // bytes
    double sum = 0;
    for (int i = 0; i < options.processes; i++) {
        char line[256];
        long kilobytes;
        snprintf(line, sizeof line, "/proc/%d/smaps_rollup", options.pids[i]);
        FILE *file = fopen(line, "r");
        while (file && fgets(line, sizeof line, file))
            if (sscanf(line, "Pss: %ld", &kilobytes) == 1) sum += (double)kilobytes * 1024;
        if (file) fclose(file);
    }
    return sum;
}

// What the kernel holds for everything, sockets of both ends of our connections too.
static double kernel_memory(void) {
    char line[256];
    long kilobytes = 0;
    FILE *file = fopen("/proc/meminfo", "r");
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "Slab: %ld", &kilobytes) == 1) break;
    if (file) fclose(file);
    return (double)kilobytes * 1024;
}

// MARK: Hexadecimal, eight digits at a time

static void put_hex(char *at, uint64_t value, int digits) {
    for (int i = digits - 1; i >= 0; i--, value >>= 4) at[i] = "0123456789abcdef"[value & 15];
}
static uint64_t hex8(const char *at) {
    uint64_t x;
    memcpy(&x, at, 8);
    x = __builtin_bswap64((x & 0x0f0f0f0f0f0f0f0f) + 9 * (x >> 6 & 0x0101010101010101));
    x = (x | x >> 4) & 0x00ff00ff00ff00ff;
    x = (x | x >> 8) & 0x0000ffff0000ffff;
    return (x | x >> 16) & 0xffffffff;
}

// MARK: Sending

static void gone(struct connection *c) {
    if (c->fd < 0) return;
    close(c->fd);
    c->fd = -1;
    if (c->state == READY) counts.closed++;
    else counts.failed++, opening--;
    c->state = CLOSED;
}

static bool flush(struct connection *c) {
    while (c->outDone < c->outCount) {
        ssize_t sent = send(c->fd, c->out + c->outDone, c->outCount - c->outDone, MSG_NOSIGNAL);
        if (sent < 0 && errno == EAGAIN) return true;
        if (sent < 0) {
            gone(c);
            return false;
        }
        c->outDone += (size_t)sent;
    }
    c->outDone = c->outCount = 0;
    return true;
}

static char *reserve(struct connection *c, size_t count) {
    if (c->outCount + count > c->outCapacity) {
        c->outCapacity = 2 * (c->outCount + count);
        c->out = checked(realloc(c->out, c->outCapacity));
    }
    return c->out + c->outCount;
}

static const uint32_t mask = 0x3d21fa37;

static void append_frame(struct connection *c, int opcode, const char *text, size_t count) {
    unsigned char *out = (unsigned char *)reserve(c, count + 14);
    size_t header = count < 126 ? 2 : count < 65536 ? 4 : 10;
    out[0] = (unsigned char)(0x80 | opcode);
    out[1] = (unsigned char)(0x80 | (header == 2 ? count : header == 4 ? 126 : 127));
    for (size_t i = 2; i < header; i++) out[i] = (unsigned char)(count >> (8 * (header - 1 - i)));
    memcpy(out + header, &mask, 4);
    unsigned char *to = out + header + 4;
    size_t i = 0;
    for (; i + 8 <= count; i += 8) {
        uint64_t word;
        memcpy(&word, text + i, 8);
        word ^= (uint64_t)mask << 32 | mask;
        memcpy(to + i, &word, 8);
    }
    for (; i < count; i++) to[i] = (unsigned char)text[i] ^ (unsigned char)(mask >> 8 * (i & 3));
    c->outCount += header + 4 + count;
}

static void publish(uint32_t number, uint64_t time) {
    struct publisher *p = &publishers[number];
    struct room *room = &rooms[p->room];
    p->sent++;
    char *mark = room->request + room->mark;
    put_hex(mark + 1, number, 4);
    put_hex(mark + 5, p->sent, 8);
    put_hex(mark + 13, time, 16);
    append_frame(p->connection, 1, room->request, room->count);
    if (ring) {
        p->arrived[p->sent & (ring - 1)] = 0;
        p->left[p->sent & (ring - 1)] = time;
    }
    if (isMeasuring) counts.published++;
}

// MARK: Receiving

static void advance(uint32_t number) {
    struct publisher *p = &publishers[number];
    uint32_t before = p->done, members = (uint32_t)rooms[p->room].members;
    while (p->done < p->sent && p->arrived[(p->done + 1) & (ring - 1)] >= members) p->done++;
    if (p->done == before || p->mayGoOn) return;
    p->mayGoOn = true;
    waiting[waitingCount++] = number;
}

static void delivered(struct connection *c, const char *mark, uint64_t time) {
    uint64_t head = hex8(mark + 1);  // publisher and half of the number
    uint32_t number = (uint32_t)(head >> 16), sequence = (uint32_t)hex8(mark + 5);
    uint64_t sent = hex8(mark + 13) << 32 | hex8(mark + 21);
    struct publisher *p = number < (uint32_t)publisherCount ? &publishers[number] : NULL;
    if (!p || p->room != c->room || !sequence || sequence > p->sent) {
        counts.strange++;
        return;
    }
    lastArrival = time;
    struct account *account = &c->accounts[p->place];
    if (sequence > account->highest) {
        uint32_t step = sequence - account->highest;
        account->recent = step < 64 ? account->recent << step | 1 : 1;
        account->highest = sequence;
    } else {
        uint32_t back = account->highest - sequence;
        if (back < 64 && account->recent >> back & 1) {
            counts.duplicated++;
            return;
        }
        counts.reordered++;
        // Too long ago to know whether it is the first: not counted as received, which shows as a loss, too.
        if (back >= 64) return;
        account->recent |= (uint64_t)1 << back;
    }
    c->received++;
    counts.unique++;
    if (isMeasuring) counts.delivered++;
    if (sent >= measureFrom && sent < measureTo)
        record(p->connection->server == c->server ? &local : &crossed, time > sent ? time - sent : 0);
    if (ring && sequence > p->done) {
        p->arrived[sequence & (ring - 1)]++;
        if (sequence == p->done + 1) advance(number);
    }
}

static void became_ready(struct connection *c, uint64_t time) {
    c->state = READY;
    c->wasReady = true;
    counts.ready++;
    opening--;
    record(&handshakes, time - c->begun);
}

static void message(struct connection *c, const char *at, size_t count, uint64_t time) {
    // The mark stands where it stood in the message before, nearly always.
    static size_t usual;
    if (usual + MARK <= count && at[usual] == '#' && at[usual + MARK - 1] == '#') return delivered(c, at + usual, time);
    const char *end = at + count, *mark = at;
    while (mark + MARK <= end && (mark = memchr(mark, '#', (size_t)(end - mark)))) {
        if (mark + MARK <= end && mark[MARK - 1] == '#') {
            usual = (size_t)(mark - at);
            return delivered(c, mark, time);
        }
        mark++;
    }
    if (c->state == JOINING && memmem(at, count, "\"room_joined\"", 13)) became_ready(c, time);
    else if (memmem(at, count, "\"error\"", 7)) counts.strange++;
}

// Handles the whole frames of a read; how many bytes they were.
static size_t frames(struct connection *c, char *at, size_t count, uint64_t time) {
    size_t done = 0;
    while (count - done >= 2 && c->fd >= 0) {
        unsigned char *frame = (unsigned char *)at + done;
        size_t length = frame[1], header = 2;
        if (length >= 126) {
            header = length == 126 ? 4 : 10;
            if (count - done < header) break;
            length = 0;
            for (size_t i = 2; i < header; i++) length = length << 8 | frame[i];
        }
        // No server may mask, and ours does not break messages into fragments.
        if (frame[1] & 0x80 || length > LONGEST || !(frame[0] & 0x80)) {
            counts.strange++;
            gone(c);
            return count;
        }
        if (count - done < header + length) break;
        char *payload = (char *)frame + header;
        done += header + length;
        switch (frame[0] & 15) {
        case 1: message(c, payload, length, time); break;
        case 9:
            append_frame(c, 10, payload, length);
            flush(c);
            break;
        case 8: gone(c); return count;
        default: break;
        }
    }
    return done;
}

static size_t upgraded(struct connection *c, char *at, size_t count, uint64_t time) {
    char *end = memmem(at, count, "\r\n\r\n", 4);
    if (!end) return 0;
    // The answer to the key that every request of this program carries.
    if (count < 12 || memcmp(at, "HTTP/1.1 101", 12) || !memmem(at, count, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", 28)) {
        gone(c);
        return count;
    }
    c->state = JOINING;
    if (c->joins) {
        char text[128];
        int size = snprintf(text, sizeof text, "{\"type\":\"join_room\",\"data\":{\"room\":\"r%d\"}}", c->room);
        append_frame(c, 1, text, (size_t)size);
        flush(c);
    } else {
        became_ready(c, time);
    }
    return (size_t)(end - at) + 4;
}

static void read_from(struct connection *c, bool isEnding) {
    while (c->fd >= 0) {
        size_t before = c->inCount;
        if (before) memcpy(received, c->in, before);
        ssize_t got = recv(c->fd, received + before, RECEIVE, 0);
        if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
        if (got <= 0) return gone(c);
        uint64_t time = now();
        if (isMeasuring) counts.reads++, counts.wire += (uint64_t)got;
        size_t total = before + (size_t)got, used = 0;
        if (c->state == UPGRADING) used = upgraded(c, received, total, time);
        if (c->state >= JOINING) used += frames(c, received + used, total - used, time);
        c->inCount = total - used;
        if (c->inCount > c->inCapacity) c->in = checked(realloc(c->in, c->inCapacity = 2 * c->inCount));
        if (c->inCount) memcpy(c->in, received + used, c->inCount);
        if (got < RECEIVE && !isEnding) return;
    }
}

// MARK: Connecting

static void open_connection(struct connection *c) {
    static uint32_t source;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0) fail("socket: %s", strerror(errno));
    int one = 1;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    struct sockaddr_in address = {.sin_family = AF_INET};
    if (options.sources > 0) {
        setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
        address.sin_addr.s_addr = htonl(0x7f000002 + source++ % (uint32_t)options.sources);
        if (bind(c->fd, (struct sockaddr *)&address, sizeof address)) fail("bind: %s", strerror(errno));
    }
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons((uint16_t)options.ports[c->server]);
    c->begun = now();
    c->state = CONNECTING;
    opening++;
    if (connect(c->fd, (struct sockaddr *)&address, sizeof address) && errno != EINPROGRESS) return gone(c);
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = c};
    epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &event);
}

static void connected(struct connection *c) {
    static const char request[] =
        "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    c->state = UPGRADING;
    memcpy(reserve(c, sizeof request), request, sizeof request - 1);
    c->outCount += sizeof request - 1;
    flush(c);
}

// MARK: The loop

static void turn(uint64_t until) {
    static struct epoll_event events[EVENTS];
    uint64_t begun = now(), time = begun;
    struct timespec timeout = {0};
    if (isSpinning) {
        uint64_t next = lastLook + (uint64_t)(options.spin * 1e3);
        if (next > until) next = until;
        while (time < next) time = now();
    } else if (until > time) {
        timeout.tv_sec = (time_t)((until - time) / 1000000000u);
        timeout.tv_nsec = (long)((until - time) % 1000000000u);
    }
    int ready = epoll_pwait2(poller, events, EVENTS, &timeout, NULL);
    // Looking in vain is idleness, and so is sleeping.
    idle += (ready <= 0 || !isSpinning ? now() : time) - begun;
    for (int i = 0; i < ready; i++) {
        struct connection *c = events[i].data.ptr;
        uint32_t flags = events[i].events;
        if (c->fd < 0) continue;
        if (c->state == CONNECTING) {
            if (flags & (EPOLLERR | EPOLLHUP)) gone(c);
            else if (flags & EPOLLOUT) connected(c);
        } else if ((flags & EPOLLOUT) && !flush(c)) {
            continue;
        }
        bool isEnding = flags & (EPOLLRDHUP | EPOLLHUP | EPOLLERR);
        if (c->fd >= 0 && (isEnding || flags & EPOLLIN)) read_from(c, isEnding);
    }
    lastLook = now();
}

static void pass(double seconds) {
    uint64_t end = now() + (uint64_t)(seconds * 1e9);
    while (now() < end) turn(end);
}

// Opens all connections, so many at a time; the seconds that it took.
static double open_all(void) {
    uint64_t begun = now(), latest = begun + 60000000000u;
    int next = 0;
    while ((next < connectionCount || opening > 0) && now() < latest) {
        while (next < connectionCount && opening < options.opening) open_connection(&connections[next++]);
        turn(now() + 10000000);
    }
    double seconds = (double)(now() - begun) * 1e-9;
    for (int i = 0; i < connectionCount; i++)
        if (connections[i].fd >= 0 && connections[i].state != READY) gone(&connections[i]);
    return seconds;
}

// MARK: Modes

static bool is(const char *mode) { return !strcmp(options.mode, mode); }

static void write_request(struct room *room, int number) {
    char *text = room->request = checked(malloc(options.payload + 160));
    size_t count;
    if (is("echo")) count = (size_t)sprintf(text, "{\"type\":\"echo\",\"data\":");
    else count = (size_t)sprintf(text, "{\"type\":\"broadcast\",\"data\":{\"room\":\"r%d\",\"type\":\"m\",\"payload\":", number);
    count += (size_t)sprintf(text + count, "{\"m\":\"");
    room->mark = count;
    size_t filled = options.payload - 8;  // what stands between the quotes
    memset(text + count, 'x', filled);
    memset(text + count, '0', MARK);
    text[count] = text[count + MARK - 1] = '#';
    count += filled;
    room->count = count + (size_t)sprintf(text + count, is("echo") ? "\"}}" : "\"}}}");
}

// Members, publishers, and each member's accounts of its room's publishers.
static void prepare(void) {
    bool connects = is("connect"), everybodyPublishes = is("rooms") || is("echo");
    roomCount = is("echo") ? options.n : connects || is("rooms") ? options.rooms : 1;
    publisherCount = connects ? 0 : everybodyPublishes ? options.n : options.publishers;
    connectionCount = options.n + (everybodyPublishes ? 0 : publisherCount);
    if (publisherCount > 65536) fail("at most 65,536 publishers");
    if (!connects && options.rate <= 0)
        for (ring = 2; ring < 2 * (uint32_t)options.window + 2;) ring *= 2;
    connections = checked(calloc((size_t)connectionCount, sizeof *connections));
    publishers = checked(calloc((size_t)publisherCount + 1, sizeof *publishers));
    waiting = checked(calloc((size_t)publisherCount + 1, sizeof *waiting));
    rooms = checked(calloc((size_t)roomCount, sizeof *rooms));
    for (int i = 0; i < connectionCount; i++) {
        struct connection *c = &connections[i];
        c->fd = -1;
        c->room = i < options.n ? i % roomCount : (i - options.n) % roomCount;
        c->server = i < options.n ? i % options.servers : 0;
        c->joins = i < options.n && !is("echo") && !options.noJoin;
    }
    for (int i = 0; i < publisherCount; i++) {
        struct publisher *p = &publishers[i];
        p->connection = &connections[everybodyPublishes ? i : options.n + i];
        p->room = p->connection->room;
        p->place = rooms[p->room].publishers++;
        p->arrived = ring ? checked(calloc(ring, sizeof *p->arrived)) : NULL;
        p->left = ring ? checked(calloc(ring, sizeof *p->left)) : NULL;
    }
    for (int i = 0; i < options.n; i++)
        connections[i].accounts = checked(calloc((size_t)rooms[connections[i].room].publishers + 1, sizeof(struct account)));
    for (int i = 0; i < roomCount; i++) write_request(&rooms[i], i);
}

static void print_latency(const char *name, const struct histogram *h) {
    printf("\"%s\":{\"count\":%lu,\"mean\":%.1f,\"p50\":%.1f,\"p90\":%.1f,\"p99\":%.1f,\"p999\":%.1f,\"max\":%.1f},", name,
           h->count, h->count ? h->sum / (double)h->count / 1e3 : 0, quantile(h, .5), quantile(h, .9), quantile(h, .99),
           quantile(h, .999), (double)h->highest / 1e3);
}

static int run_connect(void) {
    double pss = servers_pss(), kernel = kernel_memory(), cpu = servers_cpu();
    uint64_t idleBefore = idle;
    double seconds = open_all(), busy = seconds - (double)(idle - idleBefore) * 1e-9;
    double opened = (double)counts.ready, connecting = servers_cpu() - cpu;
    pass(1);
    double memory = servers_pss() - pss;
    kernel = kernel_memory() - kernel;
    cpu = servers_cpu();
    uint64_t begun = now();
    pass(options.hold);
    double holding = (servers_cpu() - cpu) / ((double)(now() - begun) * 1e-9);
    printf("{\"mode\":\"connect\",\"n\":%d,\"connected\":%.0f,\"failed\":%lu,\"closed\":%lu,\"strange\":%lu,", options.n, opened,
           counts.failed, counts.closed, counts.strange);
    print_latency("handshake_us", &handshakes);
    printf("\"connections_per_s\":%.0f,\"server_cpu_us_per_connection\":%.2f,\"server_cpu_percent\":%.1f,"
           "\"generator_percent\":%.1f,\"pss_bytes_per_connection\":%.0f,"
           "\"kernel_bytes_per_connection\":%.0f,\"idle_cpu_percent\":%.3f}\n",
           opened / seconds, opened > 0 ? connecting * 1e6 / opened : 0, connecting / seconds * 100, busy / seconds * 100,
           opened > 0 ? memory / opened : 0, opened > 0 ? kernel / opened : 0, holding * 100);
    return counts.failed || counts.closed || counts.strange ? 3 : 0;
}

// Publishes what is due (open loop) or what the windows allow (closed loop).
static void publish_due(uint64_t begun, uint64_t *due) {
    static uint64_t number;
    if (ring) {
        for (uint32_t i = 0; i < waitingCount; i++) {
            struct publisher *p = &publishers[waiting[i]];
            p->mayGoOn = false;
            if (p->connection->fd < 0) continue;
            uint64_t time = now();
            while (p->sent - p->done < (uint32_t)options.window) publish(waiting[i], time);
            flush(p->connection);
        }
        waitingCount = 0;
        return;
    }
    uint64_t time = now();
    while (*due <= time && time < measureTo) {
        uint32_t who = (uint32_t)(number++ % (uint64_t)publisherCount);
        if (publishers[who].connection->fd >= 0) {
            if (isMeasuring) record(&lateness, time - *due);
            publish(who, *due);
            flush(publishers[who].connection);
        }
        *due = begun + (uint64_t)((double)number * 1e9 / options.rate);
        time = now();
    }
}

// Closed loop: gives a message up after two seconds, so that the loss ends the run and not the window.
static void give_up(uint64_t time) {
    for (int i = 0; i < publisherCount; i++) {
        struct publisher *p = &publishers[i];
        uint32_t before = p->done;
        while (p->done < p->sent && time > p->left[(p->done + 1) & (ring - 1)] + 2000000000u) p->done++, counts.timeouts++;
        if (p->done == before || p->mayGoOn) continue;
        p->mayGoOn = true;
        waiting[waitingCount++] = (uint32_t)i;
    }
}

static uint64_t expected(void) {
    uint64_t sum = 0, *sent = checked(calloc((size_t)roomCount, sizeof *sent));
    for (int i = 0; i < publisherCount; i++) sent[publishers[i].room] += publishers[i].sent;
    for (int i = 0; i < options.n; i++) sum += connections[i].wasReady ? sent[connections[i].room] : 0;
    free(sent);
    return sum;
}

static int run_traffic(void) {
    open_all();
    if (counts.failed) fail("%lu of %d connections failed", counts.failed, connectionCount);
    for (int i = 0; i < options.n; i++) rooms[connections[i].room].members++;
    pass(0.5);

    uint64_t begun = now(), due = begun, nextCheck = begun, wall = 0, idleBefore = 0;
    measureFrom = begun + (uint64_t)(options.warmup * 1e9);
    measureTo = measureFrom + (uint64_t)(options.seconds * 1e9);
    double cpu = 0, aside = 0, before[2] = {0}, after[2];
    isSpinning = options.spin > 0;
    for (int i = 0; ring && i < publisherCount; i++) {
        publishers[i].mayGoOn = true;
        waiting[waitingCount++] = (uint32_t)i;
    }
    for (;;) {
        uint64_t time = now();
        if (time >= measureTo) break;
        if (!isMeasuring && time >= measureFrom) {
            isMeasuring = true;
            servers_ticks(before);
            cpu = servers_cpu(), aside = cpu_seconds(options.aside), idleBefore = idle, wall = now();
        }
        publish_due(begun, &due);
        if (ring && time >= nextCheck) {
            nextCheck = time + 100000000;
            give_up(time);
        }
        uint64_t until = isMeasuring ? measureTo : measureFrom;
        if (ring) until = waitingCount ? 0 : until < nextCheck ? until : nextCheck;
        else if (due < until) until = due;
        turn(until);
    }
    isMeasuring = isSpinning = false;
    double seconds = (double)(now() - wall) * 1e-9, used = servers_cpu() - cpu;
    servers_ticks(after);
    double user = after[0] - before[0], kernel = after[1] - before[1];
    double asideUsed = cpu_seconds(options.aside) - aside, busy = seconds - (double)(idle - idleBefore) * 1e-9;

    // The rest: until all is there or nothing has come for a second.
    uint64_t wanted = expected(), last = now() + 10000000000u;
    lastArrival = now();
    while (counts.unique < wanted && now() < last && now() < lastArrival + 1000000000u) turn(now() + 20000000);
    long lost = (long)(wanted - counts.unique);

    double deliveries = (double)counts.delivered, published = (double)counts.published;
    printf("{\"mode\":\"%s\",\"n\":%d,\"publishers\":%d,\"rooms\":%d,\"payload\":%zu,", options.mode, options.n, publisherCount,
           roomCount, options.payload);
    printf(ring ? "\"window\":%.0f," : "\"rate\":%.0f,", ring ? (double)options.window : options.rate);
    printf("\"seconds\":%.3f,\"published_per_s\":%.1f,\"deliveries_per_s\":%.1f,\"expected\":%lu,\"received\":%lu,\"lost\":%ld,"
           "\"duplicated\":%lu,\"reordered\":%lu,\"timeouts\":%lu,\"strange\":%lu,\"closed\":%lu,\"failed\":%lu,",
           seconds, published / seconds, deliveries / seconds, wanted, counts.unique, lost, counts.duplicated,
           counts.reordered, counts.timeouts, counts.strange, counts.closed, counts.failed);
    print_latency("latency_us", &local);
    if (options.servers > 1) print_latency("cross_latency_us", &crossed);
    if (!ring) print_latency("generator_lateness_us", &lateness);
    printf("\"cpu_us_per_delivery\":%.4f,\"cpu_us_per_message\":%.3f,\"aside_cpu_us_per_message\":%.3f,"
           "\"server_cpu_percent\":%.1f,\"kernel_percent\":%.0f,\"generator_percent\":%.1f,\"deliveries_per_read\":%.2f,"
           "\"wire_bytes_per_delivery\":%.1f}\n",
           deliveries > 0 ? used * 1e6 / deliveries : 0, published > 0 ? used * 1e6 / published : 0,
           published > 0 ? asideUsed * 1e6 / published : 0, used / seconds * 100,
           user + kernel > 0 ? kernel / (user + kernel) * 100 : 0, busy / seconds * 100,
           counts.reads ? deliveries / (double)counts.reads : 0, deliveries > 0 ? (double)counts.wire / deliveries : 0);
    return lost || counts.duplicated || counts.reordered || counts.timeouts || counts.strange || counts.closed ? 3 : 0;
}

// MARK: Arguments

static int list(const char *value, int *to) {
    int count = 0;
    for (const char *at = value; at && *at && count < SERVERS; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL)
        to[count++] = atoi(at);
    return count;
}

int main(int count, char **arguments) {
    options.mode = count > 1 ? arguments[1] : "";
    if (!is("connect") && !is("fanout") && !is("rooms") && !is("echo") && !is("cross"))
        fail("connect, fanout, rooms, echo or cross? The head of load.c says more");
    for (int i = 2; i < count; i++) {
        const char *name = arguments[i];
        if (!strcmp(name, "--no-join")) {
            options.noJoin = true;
            continue;
        }
        const char *value = ++i < count ? arguments[i] : "";
        if (!strcmp(name, "--port")) options.servers = list(value, options.ports);
        else if (!strcmp(name, "--pid")) options.processes = list(value, options.pids);
        else if (!strcmp(name, "--aside")) options.aside = atoi(value);  // a process apart: Redis
        else if (!strcmp(name, "--n")) options.n = atoi(value);
        else if (!strcmp(name, "--rooms")) options.rooms = atoi(value);
        else if (!strcmp(name, "--publishers")) options.publishers = atoi(value);
        else if (!strcmp(name, "--rate")) options.rate = atof(value);
        else if (!strcmp(name, "--window")) options.window = atoi(value);
        else if (!strcmp(name, "--payload")) options.payload = (size_t)atol(value);
        else if (!strcmp(name, "--seconds")) options.seconds = atof(value);
        else if (!strcmp(name, "--warmup")) options.warmup = atof(value);
        else if (!strcmp(name, "--hold")) options.hold = atof(value);
        else if (!strcmp(name, "--spin")) options.spin = atof(value);
        else if (!strcmp(name, "--sources")) options.sources = atoi(value);
        else if (!strcmp(name, "--opening")) options.opening = atoi(value);
        else fail("unknown option %s", name);
    }
    if (!options.servers || options.n < 1 || options.rooms < 1 || options.publishers < 1) fail("--port is missing, or a count is 0");
    if (options.payload < MARK + 8 || options.payload > LONGEST / 2) fail("--payload from %d to %d", MARK + 8, LONGEST / 2);
    if (options.rate <= 0 && options.window < 1) options.window = 1;
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    poller = epoll_create1(EPOLL_CLOEXEC);
    received = checked(malloc(RECEIVE + LONGEST + 64));
    prepare();
    return is("connect") ? run_connect() : run_traffic();
}
