#include "vitc/host.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static uint64_t word_at(const uint8_t *bytes) {
  uint64_t word = 0;
  for (unsigned i = 0; i < 8; i++) word |= (uint64_t)bytes[i] << 8 * i;
  return word;
}

/* FNV-1a over 64-bit little-endian words; the last one is filled up with zero bytes. */
static uint64_t hash_words(const uint8_t *bytes, uint64_t count) {
  uint64_t hash = 0xcbf29ce484222325u, whole = count - count % 8;
  for (uint64_t at = 0; at < whole; at += 8) hash = (hash ^ word_at(bytes + at)) * 0x100000001b3u;
  if (whole < count) {
    uint8_t last[8] = {0};
    memcpy(last, bytes + whole, (size_t)(count - whole));
    hash = (hash ^ word_at(last)) * 0x100000001b3u;
  }
  return hash;
}

static int map_file(const vitc_model *model, int file, int check_hash, const void **out_weights) {
  struct stat info;
  if (fstat(file, &info) != 0) return -1;
  if (!S_ISREG(info.st_mode) || info.st_size <= 0 || (uint64_t)info.st_size != model->weights_bytes ||
      model->weights_bytes > SIZE_MAX) {
    errno = EINVAL;
    return -1;
  }
  void *weights = mmap(NULL, (size_t)model->weights_bytes, PROT_READ, MAP_SHARED, file, 0);
  if (weights == MAP_FAILED) return -1;
  if (check_hash && hash_words(weights, model->weights_bytes) != model->weights_hash) {
    munmap(weights, (size_t)model->weights_bytes);
    errno = EINVAL;
    return -1;
  }
  *out_weights = weights;
  return 0;
}

int vitc_weights_map(const vitc_model *model, const char *path, int check_hash, const void **out_weights) {
  if (!model || !path || !out_weights) {
    errno = EINVAL;
    return -1;
  }
  *out_weights = NULL;
  int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return -1;
  int result = map_file(model, file, check_hash, out_weights), error = errno;
  close(file);
  errno = error;
  return result;
}

void vitc_weights_unmap(const vitc_model *model, const void *weights) {
  if (model && weights) munmap((void *)(uintptr_t)weights, (size_t)model->weights_bytes);
}
