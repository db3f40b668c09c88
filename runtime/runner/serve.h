/* Serve one client after the other: take a library, run it on tensors that are sent, send back times and outputs.
 *
 * For trusted networks only: what is sent is run, and nothing is encrypted. A client must know the key.
 *
 * A message is a header, then its bytes; numbers are little-endian.
 *
 *   uint32 kind, int32 status, uint64 bytes
 *
 *   HELLO   the key                                     -> empty
 *   LOAD    int32 threads, the library                  -> a line for each step: name, kernel, flops, bytes, by tabs
 *   RUN     uint32 repeat, uint32 profile, then for each input int64 dims[rank] and its elements
 *           -> double seconds[repeat], for a profile double steps[repeat][num_steps], then for each output
 *              int64 dims[rank] and its elements
 *
 * An answer has the kind of its question. A status that is not 0 comes with a sentence and ends the connection.
 */
#ifndef TILEWRIGHT_RUNNER_SERVE_H
#define TILEWRIGHT_RUNNER_SERVE_H

#include <stdint.h>

struct server {
  const char* address;
  const char* port;
  const char* key;
  uint64_t limit; /* bytes of a message at the most */
};

/* Serve until the process is ended. Returns 1 where it cannot listen. */
int serve(const struct server* server);

#endif
