/* tilewright-runner: runs compiled libraries on a board that has nothing but a C library. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model.h"
#include "serve.h"

static const char USAGE[] =
    "tilewright-runner run LIBRARY [-t THREADS] [-r REPEAT] [-o PREFIX] [INPUT.bin ...]\n"
    "    Run a library on raw tensors of the largest sizes, in order (zeros where none are given);\n"
    "    output number i goes to PREFIX<i>.bin.\n"
    "tilewright-runner serve [-a ADDRESS] [-p PORT] [-l MIB]\n"
    "    Take libraries and tensors from 'tilewright run --remote'. The key is read from the environment variable\n"
    "    TILEWRIGHT_KEY. Nothing is encrypted: for trusted networks only. The address is 127.0.0.1 unless given.\n";

static int read_input(const char* path, const tilewright_tensor* tensor, void* data) {
  FILE* file = fopen(path, "rb");
  if (!file) {
    perror(path);
    return 1;
  }
  const size_t got = fread(data, 1, (size_t)tensor->bytes, file);
  const int more = fgetc(file) != EOF;
  fclose(file);
  if (got == tensor->bytes && !more) return 0;
  fprintf(stderr, "%s: input '%s' has %llu bytes\n", path, tensor->name, (unsigned long long)tensor->bytes);
  return 1;
}

static int write_output(const char* prefix, int32_t at, const tilewright_tensor* tensor, const void* data) {
  char path[4096];
  snprintf(path, sizeof path, "%s%d.bin", prefix, (int)at);
  FILE* file = fopen(path, "wb");
  const int failed = !file || fwrite(data, 1, (size_t)tensor->bytes, file) != tensor->bytes;
  if ((file && fclose(file)) || failed) {
    perror(path);
    return 1;
  }
  return 0;
}

static int run_files(struct model* model, int repeat, const char* prefix, char** files, int count) {
  char error[1024];
  double seconds, best = 1e30;
  const tilewright_model* info = model->info;
  if (count && count != info->num_inputs) {
    fprintf(stderr, "the model has %d inputs and %d files are given\n", (int)info->num_inputs, count);
    return 1;
  }
  for (int i = 0; i < count; ++i) {
    if (read_input(files[i], &info->inputs[i], model->inputs[i])) return 1;
  }
  for (int i = 0; i < repeat; ++i) {
    if (model_run(model, &seconds, NULL, error, sizeof error)) {
      fprintf(stderr, "%s\n", error);
      return 1;
    }
    if (seconds < best) best = seconds;
  }
  for (int32_t i = 0; prefix && i < info->num_outputs; ++i) {
    if (write_output(prefix, i, &info->outputs[i], model->outputs[i])) return 1;
  }
  printf("%s for %s: %.3f ms, the best of %d\n", info->name, info->target, 1e3 * best, repeat);
  return 0;
}

/* The value of an option, or NULL where the next argument is another. */
static const char* value_of(const char* name, int* at, int count, char** words) {
  if (strcmp(words[*at], name) || *at + 1 >= count) return NULL;
  return words[++*at];
}

static int run_command(int count, char** words) {
  struct model model;
  char error[1024];
  int threads = 0, repeat = 1, at = 0;
  const char *library = NULL, *prefix = NULL, *value;
  for (; at < count; ++at) {
    if ((value = value_of("-t", &at, count, words))) threads = atoi(value);
    else if ((value = value_of("-r", &at, count, words))) repeat = atoi(value);
    else if ((value = value_of("-o", &at, count, words))) prefix = value;
    else if (!library) library = words[at];
    else break;
  }
  if (!library || repeat < 1) {
    fputs(USAGE, stderr);
    return 2;
  }
  int failed = model_open(&model, library, threads, error, sizeof error);
  if (failed) fprintf(stderr, "%s: %s\n", library, error);
  failed = failed || run_files(&model, repeat, prefix, words + at, count - at);
  model_close(&model);
  return failed;
}

static int serve_command(int count, char** words) {
  struct server server = {"127.0.0.1", "9180", getenv("TILEWRIGHT_KEY"), (uint64_t)1024 << 20};
  const char* value;
  for (int at = 0; at < count; ++at) {
    if ((value = value_of("-a", &at, count, words))) server.address = value;
    else if ((value = value_of("-p", &at, count, words))) server.port = value;
    else if ((value = value_of("-l", &at, count, words))) server.limit = strtoull(value, NULL, 10) << 20;
    else {
      fputs(USAGE, stderr);
      return 2;
    }
  }
  if (!server.key || strlen(server.key) < 8 || strlen(server.key) > 256) {
    fputs("TILEWRIGHT_KEY is to hold a key of 8 to 256 characters\n", stderr);
    return 2;
  }
  return serve(&server);
}

int main(int argc, char** argv) {
  if (argc > 2 && !strcmp(argv[1], "run")) return run_command(argc - 2, argv + 2);
  if (argc > 1 && !strcmp(argv[1], "serve")) return serve_command(argc - 2, argv + 2);
  fputs(USAGE, stderr);
  return 2;
}
