#include "frontend.h"

#include "json/json.h"

#include <ctype.h>
#include <string.h>

#define FRONTEND(name, probe, load, description)                                                                           \
  bool probe(const char *source, const struct import_options *options);                                                    \
  enum status load(const char *source, const struct import_options *options, struct arena *arena, struct weights *weights, \
                   struct graph *out_graph, struct diag *diag);
#include "frontends.def"
#undef FRONTEND

static const struct frontend frontends[] = {
#define FRONTEND(name, probe, load, description) {name, description, probe, load},
#include "frontends.def"
#undef FRONTEND
};

enum { FRONTEND_COUNT = sizeof frontends / sizeof *frontends };

const struct frontend *frontend_at(int index) {
  return index >= 0 && index < FRONTEND_COUNT ? &frontends[index] : NULL;
}

enum status frontend_load(const char *path, struct arena *arena, struct weights *out_weights, struct graph *out_graph,
                          struct diag *diag) {
  weights_init(out_weights);
  *out_graph = (struct graph){0};
  return json_load(path, arena, out_weights, out_graph, diag);
}

enum status frontend_import(const char *source, const struct import_options *options, struct arena *arena,
                            struct weights *out_weights, struct graph *out_graph, struct diag *diag) {
  weights_init(out_weights);
  *out_graph = (struct graph){0};
  for (int i = 0; i < FRONTEND_COUNT; i++)
    if (frontends[i].probe(source, options)) return frontends[i].import(source, options, arena, out_weights, out_graph, diag);
  char known[512] = "";
  for (int i = 0; i < FRONTEND_COUNT; i++) {
    size_t used = strlen(known);
    snprintf(known + used, sizeof known - used, "%s%s", i ? ", " : "", frontends[i].description);
  }
  if (!source) return diag_fail(diag, STATUS_USAGE, "no source: expected one of %s", known);
  struct span span;
  TRY(span_map_file(source, &span, diag));
  span_unmap(&span);
  return diag_fail(diag, STATUS_INPUT, "%s: not a model that can be imported: expected %s", source, known);
}

const char *frontend_identifier(struct arena *arena, const char *path) {
  size_t length = strlen(path);
  while (length && path[length - 1] == '/') length--;
  size_t start = length;
  while (start && path[start - 1] != '/') start--;
  size_t stop = length;
  for (size_t i = length; i > start + 1; i--)
    if (path[i - 1] == '.') {
      stop = i - 1;
      break;
    }
  if (start == stop) return "model";
  bool digit = path[start] >= '0' && path[start] <= '9';
  char *name = arena_printf(arena, "%s%.*s", digit ? "m" : "", (int)(stop - start < 128 ? stop - start : 128), path + start);
  for (char *c = name; *c; c++)
    if ((unsigned char)*c >= 128 || !isalnum((unsigned char)*c)) *c = '_';
  return name;
}

enum { NEAREST_LENGTH_MAX = 120 };

/* Levenshtein distance, or `limit` when it is at least that. */
static size_t edit_distance(const char *a, size_t a_length, const char *b, size_t b_length, size_t limit) {
  size_t row[NEAREST_LENGTH_MAX + 1];
  if (a_length > b_length + limit || b_length > a_length + limit) return limit;
  for (size_t j = 0; j <= b_length; j++) row[j] = j;
  for (size_t i = 1; i <= a_length; i++) {
    size_t diagonal = row[0], best = row[0] = i;
    for (size_t j = 1; j <= b_length; j++) {
      size_t change = diagonal + (a[i - 1] != b[j - 1]), insert = row[j - 1] + 1, erase = row[j] + 1;
      diagonal = row[j];
      row[j] = change < insert ? (change < erase ? change : erase) : (insert < erase ? insert : erase);
      if (row[j] < best) best = row[j];
    }
    if (best >= limit) return limit;
  }
  return row[b_length] < limit ? row[b_length] : limit;
}

const char *frontend_nearest(const char *name, const char *(*names)(const void *context, size_t i), const void *context,
                             size_t count) {
  size_t length = strlen(name);
  const char *nearest = NULL;
  if (length > NEAREST_LENGTH_MAX) return NULL;
  /* A third of the name may differ: "blocks.0.norm1.wieght" is a typo, "x" for "y" is not. */
  size_t limit = length / 3 + (length > 1);
  for (size_t i = 0; i < count && limit; i++) {
    const char *other = names(context, i);
    size_t other_length = strlen(other);
    if (!other_length || other_length > NEAREST_LENGTH_MAX) continue;
    size_t distance = edit_distance(name, length, other, other_length, limit);
    if (distance >= limit) continue;
    nearest = other;
    limit = distance;
  }
  return nearest;
}
