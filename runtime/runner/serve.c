#define _GNU_SOURCE
#include "serve.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "model.h"

enum { HELLO = 1, LOAD = 2, RUN = 3 };
enum { SENTENCE = 1024, KEY_BYTES = 256, KEY_SECONDS = 10, IDLE_SECONDS = 600, DRAIN_SECONDS = 15 };

struct header {
  uint32_t kind;
  int32_t status;
  uint64_t bytes;
};

struct client {
  int socket;
  const struct server* server;
  struct model model;
  int loaded;
};

static int receive(int socket, void* data, uint64_t bytes) {
  for (char* at = data; bytes;) {
    const ssize_t got = recv(socket, at, bytes < (1u << 30) ? (size_t)bytes : (1u << 30), 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return 1;
    at += got;
    bytes -= (uint64_t)got;
  }
  return 0;
}

static int transmit(int socket, const void* data, uint64_t bytes) {
  for (const char* at = data; bytes;) {
    const ssize_t sent = send(socket, at, bytes < (1u << 30) ? (size_t)bytes : (1u << 30), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) return 1;
    at += sent;
    bytes -= (uint64_t)sent;
  }
  return 0;
}

static int answer(const struct client* client, uint32_t kind, const void* data, uint64_t bytes) {
  const struct header header = {kind, 0, bytes};
  return transmit(client->socket, &header, sizeof header) || transmit(client->socket, data, bytes);
}

/* Send a sentence with a status; returns 1, which ends the connection. */
static int refuse(const struct client* client, uint32_t kind, const char* format, ...) {
  char text[SENTENCE];
  va_list values;
  va_start(values, format);
  vsnprintf(text, sizeof text, format, values);
  va_end(values);
  const struct header header = {kind, 1, strlen(text)};
  if (!transmit(client->socket, &header, sizeof header)) transmit(client->socket, text, strlen(text));
  return 1;
}

/* Compare in a time that does not tell how much of the key is right. */
static int same_key(const char* key, const char* given, uint64_t bytes) {
  const size_t length = strlen(key);
  unsigned char differs = length != bytes;
  for (size_t i = 0; i < length; ++i) differs |= (unsigned char)(key[i] ^ given[bytes ? i % bytes : 0]);
  return !differs;
}

static int greet(struct client* client) {
  struct header header;
  char given[KEY_BYTES] = {0};
  if (receive(client->socket, &header, sizeof header)) return 1;
  if (header.kind != HELLO || header.bytes > sizeof given) return refuse(client, HELLO, "the first message is no key");
  if (receive(client->socket, given, header.bytes)) return 1;
  if (!same_key(client->server->key, given, header.bytes)) {
    sleep(1);
    return refuse(client, HELLO, "the key is wrong");
  }
  return answer(client, HELLO, NULL, 0);
}

/* Copy bytes of the connection into a file that has no name once it is loaded. */
static int store_library(struct client* client, uint64_t bytes, char* path) {
  static char piece[1 << 16];
  const int file = mkstemp(path);
  if (file < 0) return refuse(client, LOAD, "no file can be made for the library: %s", strerror(errno));
  while (bytes) {
    const size_t part = bytes < sizeof piece ? (size_t)bytes : sizeof piece;
    if (receive(client->socket, piece, part)) break;
    if (write(file, piece, part) != (ssize_t)part) {
      close(file);
      return refuse(client, LOAD, "the library cannot be stored: %s", strerror(errno));
    }
    bytes -= part;
  }
  close(file);
  return bytes != 0;
}

static int answer_steps(const struct client* client) {
  const tilewright_model* info = client->model.info;
  char* text = NULL;
  size_t bytes = 0;
  FILE* stream = open_memstream(&text, &bytes);
  if (!stream) return refuse(client, LOAD, "out of memory");
  for (int32_t i = 0; i < info->num_steps; ++i) {
    const tilewright_step* step = &info->steps[i];
    fprintf(stream, "%s\t%s\t%.17g\t%.17g\n", step->name, step->kernel, step->flops, step->bytes);
  }
  fclose(stream);
  const int failed = answer(client, LOAD, text, bytes);
  free(text);
  return failed;
}

static int load(struct client* client, uint64_t bytes) {
  char error[SENTENCE], path[512];
  int32_t threads;
  const char* folder = getenv("TMPDIR");
  if (client->loaded) return refuse(client, LOAD, "a library is loaded already");
  if (bytes < sizeof threads || receive(client->socket, &threads, sizeof threads)) return 1;
  snprintf(path, sizeof path, "%s/tilewright-XXXXXX", folder && *folder ? folder : "/tmp");
  const int failed = store_library(client, bytes - sizeof threads, path);
  if (!failed) client->loaded = !model_open(&client->model, path, threads, error, sizeof error);
  unlink(path);
  if (failed) return 1;
  return client->loaded ? answer_steps(client) : refuse(client, LOAD, "%s", error);
}

/* Receive the inputs; *left counts the bytes of the message that are still to come. */
static int receive_inputs(struct client* client, uint64_t* left) {
  struct model* model = &client->model;
  const int64_t* shapes[256] = {0};
  int64_t dims[256][8];
  if (model->info->num_inputs > 256) return refuse(client, RUN, "more than 256 inputs");
  for (int32_t i = 0; i < model->info->num_inputs; ++i) {
    const tilewright_tensor* input = &model->info->inputs[i];
    const uint64_t dims_bytes = 8 * (uint64_t)input->rank;
    if (input->rank > 8 || *left < dims_bytes) return refuse(client, RUN, "the message is too short for the inputs");
    if (receive(client->socket, dims[i], dims_bytes)) return 1;
    *left -= dims_bytes;
    for (int32_t axis = 0; axis < input->rank; ++axis) {
      const int64_t known = input->shape[axis];
      if (dims[i][axis] < 0 || dims[i][axis] > input->largest[axis] || (known >= 0 && known != dims[i][axis])) {
        return refuse(client, RUN, "input '%s' has a shape the model does not take", input->name);
      }
    }
    const uint64_t bytes = tensor_bytes(input, dims[i]);
    if (bytes > input->bytes || *left < bytes) return refuse(client, RUN, "the message is too short for the inputs");
    if (receive(client->socket, model->inputs[i], bytes)) return 1;
    *left -= bytes;
    shapes[i] = dims[i];
  }
  if (*left) return refuse(client, RUN, "the message is longer than the inputs");
  if (model->set_shapes(model->instance, shapes)) return refuse(client, RUN, "%s", model->error(model->instance));
  return 0;
}

static int answer_outputs(const struct client* client, const double* times, uint64_t time_bytes) {
  const struct model* model = &client->model;
  const int32_t count = model->info->num_outputs;
  int64_t dims[8];
  struct header header = {RUN, 0, time_bytes};
  for (int32_t i = 0; i < count; ++i) {
    const tilewright_tensor* output = &model->info->outputs[i];
    if (output->rank > 8) return refuse(client, RUN, "an output has more than 8 dimensions");
    model->output_shape(model->instance, i, dims);
    header.bytes += 8 * (uint64_t)output->rank + tensor_bytes(output, dims);
  }
  if (transmit(client->socket, &header, sizeof header) || transmit(client->socket, times, time_bytes)) return 1;
  for (int32_t i = 0; i < count; ++i) {
    const tilewright_tensor* output = &model->info->outputs[i];
    model->output_shape(model->instance, i, dims);
    if (transmit(client->socket, dims, 8 * (uint64_t)output->rank) ||
        transmit(client->socket, model->outputs[i], tensor_bytes(output, dims))) {
      return 1;
    }
  }
  return 0;
}

static int run(struct client* client, uint64_t bytes) {
  struct {
    uint32_t repeat, profile;
  } how;
  char error[SENTENCE];
  if (!client->loaded) return refuse(client, RUN, "no library is loaded");
  if (bytes < sizeof how || receive(client->socket, &how, sizeof how)) return 1;
  bytes -= sizeof how;
  if (!how.repeat || how.repeat > 1000000) return refuse(client, RUN, "the number of runs is 1 to 1000000");
  const uint64_t steps = how.profile ? (uint64_t)client->model.info->num_steps : 0;
  const uint64_t time_bytes = sizeof(double) * how.repeat * (1 + steps);
  if (time_bytes > client->server->limit) return refuse(client, RUN, "so many runs of so many steps exceed the limit");
  if (receive_inputs(client, &bytes)) return 1;
  double* times = malloc(time_bytes);
  int failed = !times;
  if (failed) refuse(client, RUN, "out of memory");
  for (uint32_t i = 0; i < how.repeat && !failed; ++i) {
    double* each = how.profile ? times + how.repeat + i * steps : NULL;
    failed = model_run(&client->model, &times[i], each, error, sizeof error);
    if (failed) refuse(client, RUN, "%s", error);
  }
  failed = failed || answer_outputs(client, times, time_bytes);
  free(times);
  return failed;
}

static int answer_next(struct client* client) {
  struct header header;
  if (receive(client->socket, &header, sizeof header)) return 1;
  if (header.bytes > client->server->limit) {
    return refuse(client, header.kind, "a message of %llu bytes exceeds the limit of %llu: start the runner with a larger -l",
                  (unsigned long long)header.bytes, (unsigned long long)client->server->limit);
  }
  if (header.kind == LOAD) return load(client, header.bytes);
  if (header.kind == RUN) return run(client, header.bytes);
  return refuse(client, header.kind, "a message of an unknown kind");
}

/* Take what the client still sends, for a while: closing a socket with unread bytes would throw the last answer away. */
static void drain(int socket) {
  static char piece[1 << 16];
  const struct timeval patience = {5, 0};
  const time_t end = time(NULL) + DRAIN_SECONDS;
  shutdown(socket, SHUT_WR);
  setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  while (time(NULL) < end && recv(socket, piece, sizeof piece, 0) > 0) continue;
}

static void attend(const struct server* server, int socket) {
  static struct client client;
  const struct timeval soon = {KEY_SECONDS, 0}, idle = {IDLE_SECONDS, 0};
  const int on = 1;
  client.socket = socket;
  client.server = server;
  /* Who has not shown the key yet keeps others waiting for a short time only. */
  setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof soon);
  setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &idle, sizeof idle);
  setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (!greet(&client)) {
    setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &idle, sizeof idle);
    while (!answer_next(&client)) continue;
  }
  model_close(&client.model);
  drain(socket);
}

static int listen_at(const struct server* server) {
  struct addrinfo hints = {0}, *found;
  const int on = 1;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  const int code = getaddrinfo(server->address, server->port, &hints, &found);
  if (code) {
    fprintf(stderr, "cannot listen at %s:%s: %s\n", server->address, server->port, gai_strerror(code));
    return -1;
  }
  int listener = socket(found->ai_family, found->ai_socktype, found->ai_protocol);
  if (listener >= 0) setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (listener < 0 || bind(listener, found->ai_addr, found->ai_addrlen) || listen(listener, 4)) {
    fprintf(stderr, "cannot listen at %s:%s: %s\n", server->address, server->port, strerror(errno));
    if (listener >= 0) close(listener);
    listener = -1;
  }
  freeaddrinfo(found);
  return listener;
}

static int port_of(int listener) {
  struct sockaddr_storage address;
  socklen_t bytes = sizeof address;
  if (getsockname(listener, (struct sockaddr*)&address, &bytes)) return 0;
  return ntohs(address.ss_family == AF_INET6 ? ((struct sockaddr_in6*)&address)->sin6_port
                                             : ((struct sockaddr_in*)&address)->sin_port);
}

int serve(const struct server* server) {
  const int listener = listen_at(server);
  if (listener < 0) return 1;
  printf("listening at %s, port %d\n", server->address, port_of(listener));
  fflush(stdout);
  for (;;) {
    const int socket = accept(listener, NULL, NULL);
    if (socket < 0) continue;
    /* In a process of its own: what a library does there ends with it. One at a time: times are not disturbed. */
    const pid_t child = fork();
    if (child == 0) {
      close(listener);
      attend(server, socket);
      _exit(0);
    }
    close(socket);
    if (child > 0) waitpid(child, NULL, 0);
  }
}
