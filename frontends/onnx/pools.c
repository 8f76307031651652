/* MaxPool and AveragePool: first along the rows, then along the columns, as maxima and sums of strided slices. */
#include "onnx/importer.h"

#include <string.h>

enum { KERNEL_MAX = 64 };

/* Below every activation, and a number in decimal, too. */
static const float LOWEST = -0x1p126F;

struct pool_axis {
  int64_t in, kernel, stride, dilation, begin, end, out;
};

struct pool {
  bool largest, counts_padding;
  struct pool_axis axis[2];
};

static enum status pair(struct importer *im, const char *name, int64_t otherwise, size_t count, int64_t *out) {
  const OnnxSubset__Attribute *attribute = attribute_find(im, name);
  if (attribute != NULL && attribute->n_ints != count)
    return importer_fail(im, "%s has %zu entries, expected %zu", name, attribute->n_ints, count);
  for (size_t i = 0; i < count; i++) {
    out[i] = attribute != NULL ? attribute->ints[i] : otherwise;
    if (out[i] < otherwise || out[i] > 1 << 16) return importer_fail(im, "%s has an entry of %lld", name, (long long)out[i]);
  }
  return STATUS_OK;
}

/* How many windows there are, and how far they reach past the end. */
static enum status finish_axis(struct importer *im, struct pool_axis *axis, bool ceils) {
  int64_t reach = (axis->kernel - 1) * axis->dilation + 1, room = axis->in + axis->begin + axis->end - reach;
  if (axis->begin >= reach || axis->end >= reach) return importer_fail(im, "the padding is as wide as the kernel");
  if (axis->kernel < 1 || axis->kernel > KERNEL_MAX || room < 0)
    return importer_fail(im, "a kernel of %lld does not fit an extent of %lld", (long long)axis->kernel, (long long)axis->in);
  axis->out = room / axis->stride + 1;
  bool more = ceils && room % axis->stride != 0;
  /* A window that would begin behind the input is none. */
  if (more && axis->out * axis->stride < axis->in + axis->begin) axis->out++;
  return STATUS_OK;
}

static enum status read_pool(struct importer *im, const struct value *x, struct pool *out) {
  static const char *const read[] = {"auto_pad", "ceil_mode",     "count_include_pad", "dilations", "kernel_shape",
                                     "pads",     "storage_order", "strides",           NULL};
  int64_t kernel[2], stride[2], dilation[2], pads[4], ceils, counts;
  const char *auto_pad;
  TRY(attributes_check(im, read));
  TRY(attribute_string(im, "auto_pad", "NOTSET", &auto_pad));
  TRY(attribute_int(im, "ceil_mode", 0, &ceils));
  TRY(attribute_int(im, "count_include_pad", 0, &counts));
  if (strcmp(auto_pad, "NOTSET") != 0 && strcmp(auto_pad, "VALID") != 0)
    return importer_fail(im, "auto_pad '%.64s' is not supported", auto_pad);
  TRY(pair(im, "kernel_shape", 0, 2, kernel));
  TRY(pair(im, "strides", 1, 2, stride));
  TRY(pair(im, "dilations", 1, 2, dilation));
  TRY(pair(im, "pads", 0, 4, pads));
  *out = (struct pool){.largest = strcmp(im->node->op_type, "MaxPool") == 0, .counts_padding = counts != 0};
  for (int i = 0; i < 2; i++) {
    out->axis[i] = (struct pool_axis){x->shape.dim[i + 2], kernel[i], stride[i], dilation[i], pads[i], pads[i + 2], 0};
    TRY(finish_axis(im, &out->axis[i], ceils != 0));
  }
  return STATUS_OK;
}

/* Past the end, too, as far as the last window reaches. */
static int64_t padding_behind(const struct pool_axis *axis) {
  int64_t reach = (axis->out - 1) * axis->stride + (axis->kernel - 1) * axis->dilation + 1 - axis->begin - axis->in;
  return reach > 0 ? reach : 0;
}

static enum status pad(struct importer *im, const struct pool *pool, struct value **x) {
  const int64_t pads[8] = {
      0, 0, pool->axis[0].begin, pool->axis[1].begin, 0, 0, padding_behind(&pool->axis[0]), padding_behind(&pool->axis[1])};
  if (pads[2] + pads[3] + pads[6] + pads[7] == 0) return STATUS_OK;
  float *filler = arena_array(im->arena, 1, sizeof *filler);
  *filler = pool->largest ? LOWEST : 0;
  const char *name = node_output_name(im, 0);
  struct value *inputs[] = {*x, importer_ints(im, pads, 8, false),
                            importer_floats(im, arena_printf(im->arena, "%s.filler", name), &(struct shape){0}, filler)};
  return node_make(im, OP_pad, inputs, 3, arena_printf(im->arena, "%s.padded", name), x);
}

/* The largest or the sum of each window along one axis. */
static enum status pool_axis(struct importer *im, const struct pool *pool, int index, struct value **x) {
  const struct pool_axis *axis = &pool->axis[index];
  const char *name = node_output_name(im, 0);
  struct value *from = *x, *so_far = NULL;
  for (int64_t tap = 0; tap < axis->kernel; tap++) {
    int64_t start = tap * axis->dilation, end = start + (axis->out - 1) * axis->stride + 1;
    struct value *inputs[] = {from, importer_ints(im, &start, 1, false), importer_ints(im, &end, 1, false),
                              importer_ints(im, &(int64_t){index + 2}, 1, false), importer_ints(im, &axis->stride, 1, false)};
    struct value *part;
    TRY(node_make(im, OP_slice, inputs, 5, arena_printf(im->arena, "%s.tap", name), &part));
    struct value *both[] = {so_far, part};
    if (so_far != NULL) TRY(node_make(im, pool->largest ? OP_max : OP_add, both, 2, name, &part));
    so_far = part;
  }
  *x = so_far;
  return STATUS_OK;
}

/* Elements of window `o` that count. */
static int64_t counted(const struct pool *pool, const struct pool_axis *axis, int64_t o) {
  int64_t count = 0, low = pool->counts_padding ? -axis->begin : 0;
  int64_t high = pool->counts_padding ? axis->in + axis->end : axis->in;
  for (int64_t tap = 0; tap < axis->kernel; tap++) {
    int64_t at = o * axis->stride + tap * axis->dilation - axis->begin;
    count += at >= low && at < high;
  }
  return count;
}

static enum status divide(struct importer *im, const struct pool *pool, struct value **x) {
  const struct pool_axis *rows = &pool->axis[0], *columns = &pool->axis[1];
  struct shape shape = {.rank = 4, .dim = {1, 1, rows->out, columns->out}};
  float *share = arena_array(im->arena, (size_t)(rows->out * columns->out), sizeof *share);
  for (int64_t i = 0; i < rows->out; i++)
    for (int64_t j = 0; j < columns->out; j++)
      share[i * columns->out + j] = 1 / (float)(counted(pool, rows, i) * counted(pool, columns, j));
  const char *name = node_output_name(im, 0);
  struct value *inputs[] = {*x, importer_floats(im, arena_printf(im->arena, "%s.share", name), &shape, share)};
  return node_make(im, OP_mul, inputs, 2, name, x);
}

enum status import_pool(struct importer *im, enum op op) {
  (void)op;
  struct operand *x;
  struct value *value;
  struct pool pool;
  TRY(operand_required(im, 0, &x));
  TRY(operand_front(im, x));
  TRY(operand_value(im, x, false, &value));
  if (value->shape.rank != 4 || value->dtype != DTYPE_F32) return importer_fail(im, "is only supported on floats of rank 4");
  TRY(read_pool(im, value, &pool));
  TRY(pad(im, &pool, &value));
  for (int i = 0; i < 2; i++) TRY(pool_axis(im, &pool, i, &value));
  if (!pool.largest) TRY(divide(im, &pool, &value));
  return operand_set_value(im, 0, value, 0);
}
