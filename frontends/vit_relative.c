/* BEiT's biases of attention: a table of one row for each distance between two patches of the grid, one column a head, and
 * three rows for the class token (to patches, from patches, to itself). */
#include "vit.h"

#include <math.h>
#include <string.h>

enum { CLASS_ROWS = 3 };

/* One coordinate of a resized table: the two rows that it lies between, and the share of the second. */
struct between {
  int64_t first, second;
  double share;
};

/* The ratio whose progression 1, 1 + q, 1 + q + q^2, ... reaches the edge of the new table where the old one ends, to the
 * precision that timm finds it. */
static double progression(int64_t in, int64_t count) {
  double left = 1.01, right = 1.5, q = left;
  while (right - left > 1e-6) {
    q = (left + right) / 2;
    if ((1 - pow(q, (double)(in / 2))) / (1 - q) > (double)(count / 2))
      right = q;
    else
      left = q;
  }
  return q;
}

/* timm, after BEiT's own code: the rows of the old table stand at distances that grow geometrically, as near patches matter
 * most. */
static void geometrically(struct arena *arena, struct between *out, int64_t in, int64_t count) {
  float *at = arena_array(arena, (size_t)in, sizeof *at);
  double q = progression(in, count), distance = 1;
  for (int64_t i = 0; i < in / 2; i++) {
    at[in / 2 + 1 + i] = (float)distance;
    at[in / 2 - 1 - i] = (float)-distance;
    distance += pow(q, (double)(i + 1));
  }
  for (int64_t i = 0; i < count; i++) {
    float x = (float)(i - count / 2);
    int64_t second = 0;
    while (second < in - 1 && at[second] < x) second++;
    int64_t first = second ? second - 1 : 0;
    float before = x > at[first] ? x - at[first] : 0, after = at[second] > x ? at[second] - x : 0;
    out[i] = (struct between){first, second, before + after > 0 ? (double)(before / (before + after)) : 1};
  }
}

static void resample_geometrically(struct arena *arena, const float *table, const int64_t *from, const int64_t *to,
                                   int64_t heads, float *out_table) {
  struct between *axes[2];
  for (int i = 0; i < 2; i++) {
    axes[i] = arena_array(arena, (size_t)to[i], sizeof *axes[i]);
    geometrically(arena, axes[i], from[i], to[i]);
  }
  for (int64_t y = 0; y < to[0]; y++)
    for (int64_t x = 0; x < to[1]; x++) {
      const struct between *down = &axes[0][y], *across = &axes[1][x];
      const float *above = table + down->first * from[1] * heads, *below = table + down->second * from[1] * heads;
      for (int64_t h = 0; h < heads; h++) {
        int64_t left = across->first * heads + h, right = across->second * heads + h;
        double upper = (double)above[left] + across->share * ((double)above[right] - (double)above[left]);
        double lower = (double)below[left] + across->share * ((double)below[right] - (double)below[left]);
        *out_table++ = (float)(upper + down->share * (lower - upper));
      }
    }
}

/* Row of the table for each pair of tokens: the class token, then the patches. */
static struct value *pairs(struct vit *vit) {
  struct graph *graph = vit->b.graph;
  const char *name = "relative_position_index";
  struct value *index = graph_find(graph, name);
  if (index) return index;
  int64_t width = vit->grid[1], patches = vit->grid[0] * width, tokens = patches + 1;
  int64_t distances = (2 * vit->grid[0] - 1) * (2 * width - 1);
  int64_t *rows = arena_array(graph->arena, (size_t)(tokens * tokens), sizeof *rows);
  rows[0] = distances + 2;
  for (int64_t i = 0; i < patches; i++) {
    rows[1 + i] = distances;
    rows[(1 + i) * tokens] = distances + 1;
    for (int64_t j = 0; j < patches; j++) {
      int64_t down = i / width - j / width + vit->grid[0] - 1, across = i % width - j % width + width - 1;
      rows[(1 + i) * tokens + 1 + j] = down * (2 * width - 1) + across;
    }
  }
  struct shape shape = builder_shape(1, tokens * tokens, 0, 0, 0);
  return graph_add_constant(graph, name, DTYPE_I64, &shape, rows);
}

static enum status table(struct vit *vit, const char *key, struct value **out_table) {
  const struct vit_config *config = vit->config;
  struct arena *arena = vit->b.graph->arena;
  int64_t from[2], to[2];
  vit_source_grid(config, from);
  for (int i = 0; i < 2; i++) {
    from[i] = 2 * from[i] - 1;
    to[i] = 2 * vit->grid[i] - 1;
  }
  struct shape shape = builder_shape(2, from[0] * from[1] + CLASS_ROWS, config->heads, 0, 0);
  if (from[0] == to[0] && from[1] == to[1]) return builder_constant(&vit->b, key, ROLE_TABLE, shape, out_table);
  const void *data;
  TRY(tensors_take(vit->tensors, key, &shape, ROLE_TABLE, vit->b.origin, &data));
  shape.dim[0] = to[0] * to[1] + CLASS_ROWS;
  float *resized = arena_array(arena, (size_t)shape_elements(&shape), sizeof *resized);
  if (config->family == &families[FAMILY_hf_beit])
    position_resample(data, 0, from[0], from[1], config->heads, resized, to[0], to[1], RESAMPLE_LINEAR);
  else
    resample_geometrically(arena, data, from, to, config->heads, resized);
  const float *class_rows = (const float *)data + from[0] * from[1] * config->heads;
  memcpy(resized + to[0] * to[1] * config->heads, class_rows, (size_t)(CLASS_ROWS * config->heads) * sizeof *resized);
  *out_table = builder_table(&vit->b, key, shape, resized);
  return STATUS_OK;
}

static enum status biases(struct vit *vit, enum part part, int64_t block, struct value **out_biases) {
  static const int64_t perm[] = {1, 0};
  struct builder *b = &vit->b;
  const char *key = vit_key(vit, part, block);
  int64_t tokens = 1 + vit->grid[0] * vit->grid[1], dims[] = {1, vit->config->heads, tokens, tokens};
  struct node *node;
  struct value *inputs[2];
  TRY(table(vit, key, &inputs[0]));
  inputs[1] = pairs(vit);
  struct value *x = builder_node(b, builder_join(b, key, "pairs"), OP_gather, inputs, 2, &node);
  node_set_int(b->graph, node, "axis", 0);
  x = builder_transpose(b, builder_join(b, key, "heads"), x, perm, 2);
  struct value *shape = builder_integers(b, builder_join(b, key, "shape"), 1, dims, 4, false);
  *out_biases = builder_binary(b, builder_join(b, key, "biases"), OP_reshape, x, shape);
  return STATUS_OK;
}

enum status vit_relative_biases(struct vit *vit, int64_t block, struct value **out_biases) {
  *out_biases = NULL;
  if (vit->config->shared_relative && !vit->shared_biases) TRY(biases(vit, PART_SHARED_RELATIVE, 0, &vit->shared_biases));
  if (vit->config->relative) TRY(biases(vit, PART_RELATIVE, block, out_biases));
  if (*out_biases && vit->shared_biases) {
    const char *name = builder_join(&vit->b, vit_key(vit, PART_RELATIVE, block), "sum");
    *out_biases = builder_binary(&vit->b, name, OP_add, *out_biases, vit->shared_biases);
  } else if (!*out_biases) {
    *out_biases = vit->shared_biases;
  }
  return STATUS_OK;
}
