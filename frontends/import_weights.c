#include "import_config.h"
#include "json/text.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* In the order of preference. */
static const struct {
  const char *name;
  bool index;
} candidates[] = {
    {"model.safetensors", false}, {"model.safetensors.index.json", true}, {"open_clip_model.safetensors", false},
    {"pytorch_model.bin", false}, {"pytorch_model.bin.index.json", true}, {"open_clip_pytorch_model.bin", false},
};

enum { CANDIDATE_COUNT = sizeof candidates / sizeof *candidates };

/* A file that an index names, and the range of its tensors among the weights, sorted by name. */
struct shard {
  const char *name;
  size_t begin, end;
};

struct shards {
  const struct config *index;
  const char *folder;
  struct weights *weights;
  struct shard shards[WEIGHTS_FILES_MAX];
  int count, last; /* last: the one that was asked for last, which is mostly the next one too */
};

static struct shard *find(struct shards *s, const char *name) {
  for (int i = 0; i < s->count; i++) {
    struct shard *shard = &s->shards[(s->last + i) % s->count];
    if (strcmp(shard->name, name) != 0) continue;
    s->last = (int)(shard - s->shards);
    return shard;
  }
  return NULL;
}

static int compare_names(const void *a, const void *b) {
  return strcmp(((const struct weight *)a)->name, ((const struct weight *)b)->name);
}

static enum status read_shard(struct shards *s, const char *name) {
  const struct config *index = s->index;
  if (s->count == WEIGHTS_FILES_MAX)
    return diag_fail(index->diag, STATUS_INPUT, "%s: more than %d files", index->file, WEIGHTS_FILES_MAX);
  struct shard *shard = &s->shards[s->count++];
  *shard = (struct shard){.name = name, .begin = s->weights->count};
  TRY(weights_read(arena_printf(index->arena, "%s/%s", s->folder, name), s->weights, index->diag));
  shard->end = s->weights->count;
  if (shard->end > shard->begin)
    qsort(s->weights->tensors + shard->begin, shard->end - shard->begin, sizeof *s->weights->tensors, compare_names);
  return STATUS_OK;
}

static bool has_tensor(const struct shards *s, const struct shard *shard, const char *name) {
  const struct weight key = {.name = name};
  size_t count = shard->end - shard->begin;
  return count && bsearch(&key, s->weights->tensors + shard->begin, count, sizeof key, compare_names);
}

/* Each file that the index names, once, in the order of first mention. */
static enum status read_shards(struct shards *s) {
  const cJSON *map = config_get(s->index, "weight_map"), *item;
  if (!cJSON_IsObject(map)) return config_reject(s->index, "weight_map", "an object of tensor names and files");
  cJSON_ArrayForEach(item, map) {
    const char *name = cJSON_IsString(item) ? item->valuestring : "";
    if (!*name || strpbrk(name, "/\\") || *name == '.')
      return diag_fail(s->index->diag, STATUS_INPUT, "%s: weight_map.%s: expected the name of a file in the same folder",
                       s->index->file, item->string);
    if (!find(s, name)) TRY(read_shard(s, name));
  }
  cJSON_ArrayForEach(item, map) {
    const struct shard *shard = find(s, item->valuestring);
    if (!has_tensor(s, shard, item->string))
      return diag_fail(s->index->diag, STATUS_INPUT, "%s: weight_map.%s: %s has no tensor of this name", s->index->file,
                       item->string, shard->name);
  }
  return weights_index(s->weights, s->index->file, s->index->diag);
}

enum status config_weights(const char *folder, struct weights *weights, struct arena *arena, const char **out_file,
                           struct diag *diag) {
  struct config index;
  struct stat info;
  const char *expected = "";
  for (int i = 0; i < CANDIDATE_COUNT; i++) {
    *out_file = arena_printf(arena, "%s/%s", folder, candidates[i].name);
    expected = arena_printf(arena, "%s%s%s", expected, i ? i + 1 < CANDIDATE_COUNT ? ", " : " or " : "", candidates[i].name);
    if (stat(*out_file, &info) != 0) continue;
    if (!candidates[i].index) return weights_open(*out_file, weights, diag);
    enum status status = config_open(folder, candidates[i].name, arena, &index, diag);
    struct shards shards = {.index = &index, .folder = folder, .weights = weights};
    if (status == STATUS_OK) status = read_shards(&shards);
    config_close(&index);
    return status;
  }
  return diag_fail(diag, STATUS_INPUT, "%s: no weights in this folder: expected %s", folder, expected);
}
