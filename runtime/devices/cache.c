/* The folder is $TILEWRIGHT_CACHE, else tilewright in $XDG_CACHE_HOME or ~/.cache. A file is a header and the data; the
 * header holds the data's size and hash, so that a file that was cut off or changed counts as none. */
#define _POSIX_C_SOURCE 200809L
#include "cache.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC 0x3163776c69747763u
#define MOST_BYTES ((uint64_t)1 << 28)

/* FNV-1a (Fowler, Noll, Vo). */
static uint64_t hashed(uint64_t hash, const uint8_t* data, uint64_t bytes) {
  for (uint64_t i = 0; i < bytes; ++i) hash = (hash ^ data[i]) * 0x100000001b3u;
  return hash;
}

uint64_t tw_cache_key(const char* const* texts, const uint8_t* data, uint64_t bytes) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (; *texts; ++texts) hash = hashed(hash, (const uint8_t*)*texts, strlen(*texts) + 1);
  return hashed(hash, data, bytes);
}

/* Write the folder's path, made if it is not there; 0 where there is none. */
static int folder(char* path, size_t size) {
  const char* own = getenv("TILEWRIGHT_CACHE");
  const char* shared = getenv("XDG_CACHE_HOME");
  const char* home = getenv("HOME");
  int length;
  if (own && *own) {
    length = snprintf(path, size, "%s", own);
  } else if (shared && *shared) {
    length = snprintf(path, size, "%s/tilewright", shared);
  } else if (home && *home) {
    length = snprintf(path, size, "%s/.cache", home);
    if (length > 0 && (size_t)length < size) mkdir(path, 0700);
    length = snprintf(path, size, "%s/.cache/tilewright", home);
  } else {
    return 0;
  }
  if (length <= 0 || (size_t)length >= size) return 0;
  mkdir(path, 0700);
  struct stat found;
  return !stat(path, &found) && S_ISDIR(found.st_mode);
}

static int file_of(uint64_t key, char* path, size_t size) {
  char place[3000];
  if (!folder(place, sizeof place)) return 0;
  return snprintf(path, size, "%s/%016" PRIx64 ".bin", place, key) < (int)size;
}

uint8_t* tw_cache_load(uint64_t key, size_t* bytes) {
  char path[4096];
  FILE* file = file_of(key, path, sizeof path) ? fopen(path, "rb") : NULL;
  uint64_t header[3];
  uint8_t* data = NULL;
  if (file && fread(header, sizeof *header, 3, file) == 3 && header[0] == MAGIC && header[1] <= MOST_BYTES) {
    data = malloc(header[1] ? (size_t)header[1] : 1);
  }
  if (data && (fread(data, 1, (size_t)header[1], file) != header[1] || hashed(MAGIC, data, header[1]) != header[2])) {
    free(data);
    data = NULL;
  }
  if (data) *bytes = (size_t)header[1];
  if (file) fclose(file);
  return data;
}

void tw_cache_store(uint64_t key, const uint8_t* data, size_t bytes) {
  char path[4096], temporary[4200];
  if (bytes > MOST_BYTES || !file_of(key, path, sizeof path)) return;
  snprintf(temporary, sizeof temporary, "%s.%ld", path, (long)getpid());
  FILE* file = fopen(temporary, "wb");
  if (!file) return;
  const uint64_t header[3] = {MAGIC, bytes, hashed(MAGIC, data, bytes)};
  int written = fwrite(header, sizeof *header, 3, file) == 3 && fwrite(data, 1, bytes, file) == bytes;
  if (fclose(file)) written = 0;
  if (!written || rename(temporary, path)) remove(temporary);
}
