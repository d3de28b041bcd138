// yardstick: the cheapest WebSocket server that one thread can be for our JSON protocol's rooms and echo.
//
// What the machine allows, to compare the node with: no limits, no authentication, no heartbeats, no presence, one room
// a client, and requests are scanned for the one shape that `load` sends. A broadcast is encoded once and the same bytes
// go to every member by send(). When that happens is the mode:
//   send      at once: one send() a message and member, one send() an answer
//   coalesce  at the end of the loop turn: what the turn has read goes out with one send() a member
// A member whose socket is full keeps the rest in a backlog; above 4 MiB it is dropped.
//
//   yardstick --port 7001 [--mode send|coalesce]
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { RECEIVE = 256 * 1024, LONGEST_FRAME = 1 << 20, BACKLOG = 4 << 20, EVENTS = 1024, BUCKETS = 4096 };

// Bytes that grow.
struct bytes {
    char *at;
    size_t count, capacity;
};

// A part of bytes that somebody else owns.
struct text {
    const char *at;
    size_t count;
};

struct room {
    struct text name;
    struct room *next;  // of the same hash
    int *members;       // descriptors, dense: a broadcast walks nothing else
    uint32_t count, capacity;
    struct bytes pending;  // coalesce: the frames of this turn
};

struct client {
    struct room *room;
    uint32_t position;  // among the room's members
    bool isConnected, isUpgraded;
    struct bytes unfinished;  // what was read and is not yet a whole frame
    struct bytes backlog;     // what the socket did not take
};

static bool coalesces;
static int poller;
static struct client *clients;   // by descriptor
static uint8_t *isBacklogged;    // by descriptor; one byte, so that a walk over a room's members stays in the cache
static struct room *rooms[BUCKETS];
static struct room **touched;  // coalesce: rooms with pending frames
static size_t touchedCount, touchedCapacity;
static int *closing;  // closed at the end of the turn, so that no descriptor is used twice in one
static size_t closingCount;
static struct bytes answers;  // to what one read has brought
static char *received;

static void *checked(void *memory) {
    if (!memory) {
        perror("yardstick");
        exit(1);
    }
    return memory;
}

static void append(struct bytes *bytes, const void *at, size_t count) {
    if (!count) return;
    if (bytes->count + count > bytes->capacity) {
        bytes->capacity = 2 * (bytes->count + count);
        bytes->at = checked(realloc(bytes->at, bytes->capacity));
    }
    memcpy(bytes->at + bytes->count, at, count);
    bytes->count += count;
}

static void release(struct bytes *bytes) {
    free(bytes->at);
    *bytes = (struct bytes){0};
}

static struct text text(const char *zero_terminated) { return (struct text){zero_terminated, strlen(zero_terminated)}; }

// MARK: Rooms

static struct room *room_named(struct text name) {
    uint32_t hash = 2166136261u;
    for (size_t i = 0; i < name.count; i++) hash = (hash ^ (unsigned char)name.at[i]) * 16777619u;
    struct room **place = &rooms[hash % BUCKETS];
    for (; *place; place = &(*place)->next)
        if ((*place)->name.count == name.count && !memcmp((*place)->name.at, name.at, name.count)) return *place;
    struct room *room = *place = checked(calloc(1, sizeof *room));
    char *copy = checked(malloc(name.count + 1));
    memcpy(copy, name.at, name.count);
    room->name = (struct text){copy, name.count};
    return room;
}

static void leave(int fd) {
    struct room *room = clients[fd].room;
    if (!room) return;
    int last = room->members[--room->count];
    room->members[clients[fd].position] = last;
    clients[last].position = clients[fd].position;
    clients[fd].room = NULL;
}

static void join(int fd, struct room *room) {
    leave(fd);
    if (room->count == room->capacity) {
        room->capacity = room->capacity ? 2 * room->capacity : 16;
        room->members = checked(realloc(room->members, room->capacity * sizeof *room->members));
    }
    clients[fd].room = room;
    clients[fd].position = room->count;
    room->members[room->count++] = fd;
}

// MARK: Sending

static void drop(int fd) {
    if (!clients[fd].isConnected) return;
    leave(fd);
    release(&clients[fd].unfinished);
    release(&clients[fd].backlog);
    clients[fd].isConnected = false;
    isBacklogged[fd] = false;
    closing[closingCount++] = fd;
}

static void keep(int fd, const char *at, size_t count) {
    // The end of the connection comes back as an event: nobody is dropped while a room's members are walked.
    if (clients[fd].backlog.count + count > BACKLOG) {
        shutdown(fd, SHUT_RDWR);
        return;
    }
    append(&clients[fd].backlog, at, count);
    isBacklogged[fd] = true;
}

static void send_to(int fd, const char *at, size_t count) {
    if (isBacklogged[fd]) return keep(fd, at, count);
    ssize_t sent = send(fd, at, count, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent == (ssize_t)count) return;
    if (sent < 0 && errno != EAGAIN) return;
    size_t taken = sent < 0 ? 0 : (size_t)sent;
    keep(fd, at + taken, count - taken);
}

static void send_backlog(int fd) {
    struct bytes *backlog = &clients[fd].backlog;
    ssize_t sent = send(fd, backlog->at, backlog->count, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent <= 0) return;
    backlog->count -= (size_t)sent;
    memmove(backlog->at, backlog->at + sent, backlog->count);
    if (backlog->count) return;
    release(backlog);
    isBacklogged[fd] = false;
}

static void append_frame(struct bytes *out, int opcode, const struct text *parts, int count) {
    size_t length = 0;
    for (int i = 0; i < count; i++) length += parts[i].count;
    unsigned char header[10] = {(unsigned char)(0x80 | opcode)};
    size_t size = 2;
    if (length < 126) {
        header[1] = (unsigned char)length;
    } else {
        size = length < 65536 ? 4 : 10;
        header[1] = length < 65536 ? 126 : 127;
        for (size_t i = 2; i < size; i++) header[i] = (unsigned char)(length >> (8 * (size - 1 - i)));
    }
    append(out, header, size);
    for (int i = 0; i < count; i++) append(out, parts[i].at, parts[i].count);
}

static void broadcast(struct room *room, const struct text *parts, int count) {
    if (coalesces && !room->pending.count) {
        if (touchedCount == touchedCapacity) {
            touchedCapacity = 2 * touchedCapacity + 16;
            touched = checked(realloc(touched, touchedCapacity * sizeof(struct room *)));
        }
        touched[touchedCount++] = room;
    }
    append_frame(&room->pending, 1, parts, count);
    if (coalesces) return;
    for (uint32_t i = 0; i < room->count; i++) send_to(room->members[i], room->pending.at, room->pending.count);
    room->pending.count = 0;
}

static void end_turn(void) {
    for (size_t t = 0; t < touchedCount; t++) {
        struct room *room = touched[t];
        for (uint32_t i = 0; i < room->count; i++) send_to(room->members[i], room->pending.at, room->pending.count);
        room->pending.count = 0;
    }
    touchedCount = 0;
    for (size_t i = 0; i < closingCount; i++) close(closing[i]);
    closingCount = 0;
}

static void send_answers(int fd) {
    if (answers.count && clients[fd].isConnected) send_to(fd, answers.at, answers.count);
    answers.count = 0;
}

static void answer(int fd, const struct text *parts, int count) {
    append_frame(&answers, 1, parts, count);
    if (!coalesces) send_answers(fd);
}

// MARK: Requests, in the one shape that `load` writes them

static bool begins(struct text message, const char *with) {
    size_t count = strlen(with);
    return message.count >= count && !memcmp(message.at, with, count);
}

// What stands between `before` and the next quote.
static struct text quoted(struct text message, const char *before) {
    const char *at = memmem(message.at, message.count, before, strlen(before));
    if (!at) return (struct text){"", 0};
    at += strlen(before);
    const char *end = memchr(at, '"', message.count - (size_t)(at - message.at));
    return (struct text){at, end ? (size_t)(end - at) : 0};
}

// {"type":"echo","data":D} is answered with D as a JSON string.
static void echo(int fd, struct text data) {
    static struct bytes string;
    string.count = 0;
    size_t done = 0;
    for (size_t i = 0; i < data.count; i++) {
        if (data.at[i] != '"' && data.at[i] != '\\') continue;
        append(&string, data.at + done, i - done);
        append(&string, "\\", 1);
        done = i;
    }
    append(&string, data.at + done, data.count - done);
    struct text parts[] = {text("{\"type\":\"echo\",\"data\":{\"original\":\""), {string.at, string.count}, text("\"}}")};
    answer(fd, parts, 3);
}

static void request(int fd, struct text message) {
    static const char broadcasts[] = "{\"type\":\"broadcast\",", echoes[] = "{\"type\":\"echo\",\"data\":";
    if (begins(message, broadcasts)) {
        // {"type":"broadcast","data":{"room":R,"type":T,"payload":P}}
        struct text data = {message.at + sizeof broadcasts - 1, message.count - sizeof broadcasts + 1};
        const char *payload = memmem(data.at, data.count, "\"payload\":", 10);
        if (!payload || message.at + message.count < payload + 12) return;
        payload += 10;
        struct text name = quoted(data, "\"room\":\"");
        struct text parts[] = {
            text("{\"type\":\""), quoted(data, "\"type\":\""), text("\",\"data\":"),
            {payload, (size_t)(message.at + message.count - 2 - payload)}, text(",\"room\":\""), name, text("\"}"),
        };
        broadcast(room_named(name), parts, 7);
    } else if (begins(message, echoes)) {
        echo(fd, (struct text){message.at + sizeof echoes - 1, message.count - sizeof echoes});
    } else if (begins(message, "{\"type\":\"join_room\"")) {
        struct text name = quoted(message, "\"room\":\"");
        join(fd, room_named(name));
        struct text parts[] = {text("{\"type\":\"room_joined\",\"data\":{\"room\":\""), name, text("\"}}")};
        answer(fd, parts, 3);
    }
}

// MARK: Reading

static uint32_t rotate(uint32_t x, int n) { return x << n | x >> (32 - n); }

// The accept key of a handshake: base64 of the SHA-1 of the client's key and RFC 6455's constant (60 bytes in all).
static void accept_key(const char key[24], char out[28]) {
    unsigned char block[128] = {0};
    memcpy(block, key, 24);
    memcpy(block + 24, "258EAFA5-E914-47DA-95CA-C5AB0DC85B11", 36);
    block[60] = 0x80;
    block[126] = 480 >> 8, block[127] = 480 & 255;
    uint32_t h[5] = {0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0};
    for (int half = 0; half < 2; half++) {
        uint32_t w[80], a = h[0], b = h[1], c = h[2], d = h[3], e = h[4];
        for (int i = 0; i < 16; i++) {
            memcpy(&w[i], block + 64 * half + 4 * i, 4);
            w[i] = ntohl(w[i]);
        }
        for (int i = 16; i < 80; i++) w[i] = rotate(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
        for (int i = 0; i < 80; i++) {
            uint32_t f = i < 20   ? ((b & c) | (~b & d)) + 0x5A827999
                         : i < 40 ? (b ^ c ^ d) + 0x6ED9EBA1
                         : i < 60 ? ((b & c) | (b & d) | (c & d)) + 0x8F1BBCDC
                                  : (b ^ c ^ d) + 0xCA62C1D6;
            uint32_t next = rotate(a, 5) + f + e + w[i];
            e = d, d = c, c = rotate(b, 30), b = a, a = next;
        }
        h[0] += a, h[1] += b, h[2] += c, h[3] += d, h[4] += e;
    }
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    unsigned char digest[21] = {0};
    for (int i = 0; i < 20; i++) digest[i] = (unsigned char)(h[i / 4] >> (24 - 8 * (i % 4)));
    for (int i = 0; i < 7; i++) {
        uint32_t group = (uint32_t)digest[3 * i] << 16 | (uint32_t)digest[3 * i + 1] << 8 | digest[3 * i + 2];
        for (int j = 0; j < 4; j++) out[4 * i + j] = digits[group >> (18 - 6 * j) & 63];
    }
    out[27] = '=';
}

// How many bytes of the read were the handshake; 0 when it isn't whole.
static size_t upgrade(int fd, struct text read) {
    static const char name[] = "Sec-WebSocket-Key: ";
    const char *end = memmem(read.at, read.count, "\r\n\r\n", 4);
    if (!end) return 0;
    const char *key = memmem(read.at, read.count, name, sizeof name - 1);
    if (!key || key + sizeof name - 1 + 24 > end) {
        drop(fd);
        return read.count;
    }
    char accepted[28];
    accept_key(key + sizeof name - 1, accepted);
    char head[256];
    int size = snprintf(head, sizeof head,
                        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                        "Sec-WebSocket-Accept: %.28s\r\n\r\n", accepted);
    clients[fd].isUpgraded = true;
    send_to(fd, head, (size_t)size);
    return (size_t)(end - read.at) + 4;
}

// Handles the whole frames of a read; returns how many bytes they were.
static size_t frames(int fd, char *at, size_t count) {
    size_t done = 0;
    while (count - done >= 6 && clients[fd].isConnected) {
        unsigned char *frame = (unsigned char *)at + done;
        size_t length = frame[1] & 127, header = 2;
        if (length >= 126) {
            header = length == 126 ? 4 : 10;
            if (count - done < header) break;
            length = 0;
            for (size_t i = 2; i < header; i++) length = length << 8 | frame[i];
        }
        if (!(frame[1] & 128) || length > LONGEST_FRAME) {
            drop(fd);
            return count;
        }
        if (count - done < header + 4 + length) break;
        uint32_t mask;
        memcpy(&mask, frame + header, 4);
        char *payload = (char *)frame + header + 4;
        uint64_t wide = (uint64_t)mask << 32 | mask, word;
        size_t i = 0;
        for (; i + 8 <= length; i += 8) {
            memcpy(&word, payload + i, 8);
            word ^= wide;
            memcpy(payload + i, &word, 8);
        }
        for (; i < length; i++) payload[i] = (char)(payload[i] ^ (char)(mask >> 8 * (i & 3)));
        done += header + 4 + length;
        struct text part = {payload, length};
        switch (frame[0] & 15) {
        case 1: request(fd, part); break;
        case 9: append_frame(&answers, 10, &part, 1); break;
        case 8: drop(fd); return count;
        default: break;
        }
    }
    return done;
}

static void read_from(int fd) {
    struct bytes *unfinished = &clients[fd].unfinished;
    while (clients[fd].isConnected) {
        size_t before = unfinished->count;
        if (before) memcpy(received, unfinished->at, before);
        ssize_t got = recv(fd, received + before, RECEIVE, 0);
        if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
        if (got <= 0) return drop(fd);
        size_t total = before + (size_t)got, used = 0;
        if (!clients[fd].isUpgraded) used = upgrade(fd, (struct text){received, total});
        if (clients[fd].isUpgraded) used += frames(fd, received + used, total - used);
        send_answers(fd);
        if (!clients[fd].isConnected) return;
        unfinished->count = 0;
        if (used < total) append(unfinished, received + used, total - used);
        else if (before) release(unfinished);
        if (got < RECEIVE) return;  // edge-triggered: that was all
    }
}

static void accept_from(int listener) {
    for (int i = 0; i < 64; i++) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), one = 1;
        if (fd < 0) return;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        clients[fd] = (struct client){.isConnected = true};
        struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.fd = fd};
        epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
    }
}

int main(int count, char **arguments) {
    int port = 7001;
    for (int i = 1; i < count; i += 2) {
        const char *name = arguments[i], *value = i + 1 < count ? arguments[i + 1] : "";
        if (!strcmp(name, "--port")) port = atoi(value);
        else if (!strcmp(name, "--mode") && !strcmp(value, "coalesce")) coalesces = true;
        else if (strcmp(name, "--mode") || strcmp(value, "send"))
            return fprintf(stderr, "usage: yardstick [--port N] [--mode send|coalesce]\n"), 64;
    }
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max = files.rlim_max < 1 << 20 ? files.rlim_max : 1 << 20;
    setrlimit(RLIMIT_NOFILE, &files);
    // Zeroed pages that are touched as descriptors come.
    clients = checked(calloc(files.rlim_cur, sizeof *clients));
    isBacklogged = checked(calloc(files.rlim_cur, sizeof *isBacklogged));
    closing = checked(calloc(files.rlim_cur, sizeof *closing));
    received = checked(malloc(RECEIVE + LONGEST_FRAME + 64));

    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 4096)) return perror("listen"), 1;
    poller = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener};
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event);

    static struct epoll_event events[EVENTS];
    for (;;) {
        int ready = epoll_wait(poller, events, EVENTS, -1);
        for (int i = 0; i < ready; i++) {
            int fd = events[i].data.fd;
            if (fd == listener) {
                accept_from(listener);
                continue;
            }
            if (!clients[fd].isConnected) continue;
            if ((events[i].events & EPOLLOUT) && isBacklogged[fd]) send_backlog(fd);
            if (events[i].events & (EPOLLHUP | EPOLLERR | EPOLLRDHUP)) drop(fd);
            else if (events[i].events & EPOLLIN) read_from(fd);
        }
        end_turn();
    }
}
