#include "import.h"

#include <stdio.h>
#include <string.h>

/* The text from `*text` to the next '|', which is stepped over; NULL after the last. */
static const char *next_spelling(struct arena *arena, const char **text) {
  if (!*text) return NULL;
  const char *bar = strchr(*text, '|');
  const char *spelling = bar ? arena_strndup(arena, *text, (size_t)(bar - *text)) : arena_strdup(arena, *text);
  *text = bar ? bar + 1 : NULL;
  return spelling;
}

static const char *expand(struct arena *arena, const char *prefix, const char *path, int64_t block, const char *suffix) {
  const char *number = strchr(path, '#');
  if (*path == '^') {
    path++;
    prefix = "";
  }
  size_t length = strlen(path);
  const char *dot = !suffix || (length && path[length - 1] == '_') ? "" : ".";
  if (!suffix) suffix = "";
  if (!number) return arena_printf(arena, "%s%s%s%s", prefix, path, dot, suffix);
  return arena_printf(arena, "%s%.*s%lld%s%s%s", prefix, (int)(number - path), path, (long long)block, number + 1, dot, suffix);
}

void tensors_init(struct tensors *tensors, const char *file, const struct import_options *options, struct arena *arena,
                  struct weights *weights, struct diag *diag) {
  *tensors = (struct tensors){.weights = weights,
                              .file = file,
                              .prefix = "",
                              .random = options->init_random,
                              .seed = options->seed,
                              .arena = arena,
                              .diag = diag};
  if (!tensors->random) tensors->used = arena_array(arena, weights->count, sizeof *tensors->used);
}

const char *tensors_spell(const struct tensors *tensors, const char *spellings, int64_t block, const char *suffix) {
  const char *first = NULL;
  for (const char *path; (path = next_spelling(tensors->arena, &spellings));) {
    const char *key = expand(tensors->arena, tensors->prefix, path, block, suffix);
    if (!first) first = key;
    if (tensors->random || weights_find(tensors->weights, key)) return key;
  }
  return first;
}

const char *tensors_module(const struct tensors *tensors, const char *spellings, int64_t block, const char *suffix) {
  const char *key = tensors_spell(tensors, spellings, block, suffix);
  size_t length = strlen(key) - strlen(suffix);
  if (length && key[length - 1] == '.') length--;
  return arena_strndup(tensors->arena, key, length);
}

const struct weight *tensors_find(const struct tensors *tensors, const char *spellings, int64_t block, const char *suffix) {
  return tensors->random ? NULL : weights_find(tensors->weights, tensors_spell(tensors, spellings, block, suffix));
}

bool tensors_find_prefix(struct tensors *tensors, const char *prefixes, const char *spellings, const char *suffix) {
  for (const char *prefix; (prefix = next_spelling(tensors->arena, &prefixes));) {
    tensors->prefix = prefix;
    if (tensors->random || tensors_find(tensors, spellings, 0, suffix)) return true;
  }
  tensors->prefix = "";
  return false;
}

const char *shape_text(struct arena *arena, const struct shape *shape) {
  const char *text = "[";
  for (int i = 0; i < shape->rank; i++) text = arena_printf(arena, "%s%s%lld", text, i ? ", " : "", (long long)shape->dim[i]);
  return arena_printf(arena, "%s]", text);
}

static enum status draw(struct tensors *tensors, const char *key, const struct shape *shape, enum tensor_role role,
                        const void **out_data) {
  int64_t count = shape_elements(shape), fan_in = 1;
  for (int i = 1; i < shape->rank; i++) fan_in *= shape->dim[i];
  float *data = arena_array(&tensors->weights->arena, (size_t)count, sizeof *data);
  random_tensor(data, count, tensors->seed, key, role, fan_in);
  *out_data = data;
  return STATUS_OK;
}

/* The weight of this key, which must be of floats and of this shape. */
static enum status expect(struct tensors *tensors, const char *key, const struct shape *shape, const char *origin,
                          const struct weight **out_weight) {
  const struct weight *weight = weights_find(tensors->weights, key);
  const char *expected = shape_text(tensors->arena, shape);
  if (!weight) {
    const char *nearest = weights_nearest(tensors->weights, key);
    return diag_fail(tensors->diag, STATUS_INPUT, "%s: no tensor %s %s, which %s has%s%s", tensors->file, key, expected, origin,
                     nearest ? "; the nearest is " : "", nearest ? nearest : "");
  }
  if (!shape_equal(&weight->shape, shape))
    return diag_fail(tensors->diag, STATUS_INPUT, "%s: %s is %s, but %s has %s", tensors->file, key,
                     shape_text(tensors->arena, &weight->shape), origin, expected);
  if (weight_graph_dtype(weight) != DTYPE_F32)
    return diag_fail(tensors->diag, STATUS_INPUT, "%s: %s is %s, but a weight is of floats", tensors->file, key,
                     dtype_name(weight->dtype));
  tensors->used[weight - tensors->weights->tensors] = true;
  *out_weight = weight;
  return STATUS_OK;
}

enum status tensors_take(struct tensors *tensors, const char *key, const struct shape *shape, enum tensor_role role,
                         const char *origin, const void **out_data) {
  const struct weight *weight;
  if (tensors->random) return draw(tensors, key, shape, role, out_data);
  TRY(expect(tensors, key, shape, origin, &weight));
  TRY(weights_check_finite(weight, tensors->file, tensors->diag));
  *out_data = weight_elements(weight, DTYPE_F32, &tensors->weights->arena);
  return STATUS_OK;
}

enum status tensors_constant(struct tensors *tensors, struct graph *graph, const char *key, const struct shape *shape,
                             enum tensor_role role, const char *origin, struct value **out_value) {
  const struct weight *weight;
  const void *data;
  if (tensors->random) {
    TRY(draw(tensors, key, shape, role, &data));
    *out_value = graph_add_constant(graph, key, DTYPE_F32, shape, data);
    return STATUS_OK;
  }
  TRY(expect(tensors, key, shape, origin, &weight));
  *out_value = graph_add_constant(graph, key, DTYPE_F32, shape, weight->data);
  (*out_value)->deferred = true;
  (*out_value)->stored = weight->dtype;
  return STATUS_OK;
}

/* A name from a file, with its control characters masked. */
static const char *printable(struct arena *arena, const char *name) {
  char *text = arena_strdup(arena, name);
  for (char *c = text; *c; c++)
    if ((unsigned char)*c < 32 || *c == 127) *c = '?';
  return text;
}

void tensors_list(const struct tensors *tensors) {
  if (tensors->random) return;
  for (size_t i = 0; i < tensors->weights->count; i++) {
    const struct weight *weight = &tensors->weights->tensors[i];
    fprintf(stderr, "vitc: %-8s %s %s %s\n", tensors->used[i] ? "used" : "not used", printable(tensors->arena, weight->name),
            dtype_name(weight->dtype), shape_text(tensors->arena, &weight->shape));
  }
}

void tensors_pass_over(struct tensors *tensors, const char *key) {
  const struct weight *weight = tensors->random ? NULL : weights_find(tensors->weights, key);
  if (weight) tensors->used[weight - tensors->weights->tensors] = true;
}

/* Buffers that a state dict carries and no model computes with. */
static bool is_bookkeeping(const char *name) {
  size_t length = strlen(name);
  static const char *const endings[] = {"position_ids", "num_batches_tracked", "relative_position_index"};
  for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
    size_t ending = strlen(endings[i]);
    if (length >= ending && strcmp(name + length - ending, endings[i]) == 0) return true;
  }
  return false;
}

void tensors_warn_unused(const struct tensors *tensors) {
  enum { NAMED = 8 };
  size_t unused = 0;
  if (tensors->random) return;
  for (size_t i = 0; i < tensors->weights->count; i++) {
    const struct weight *weight = &tensors->weights->tensors[i];
    if (tensors->used[i] || is_bookkeeping(weight->name)) continue;
    if (unused == 0) fprintf(stderr, "vitc: %s: not used by this model:", tensors->file);
    if (unused < NAMED)
      fprintf(stderr, "%s %s %s", unused ? "," : "", printable(tensors->arena, weight->name),
              shape_text(tensors->arena, &weight->shape));
    unused++;
  }
  if (unused > NAMED) fprintf(stderr, " and %zu more", unused - NAMED);
  if (unused) fputc('\n', stderr);
}
