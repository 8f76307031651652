#include "interp/interp.h"

#include "interp/job.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* Without a tap, a large batch goes through in pieces, so that its activations do not all live at once. */
enum { PIECE_IMAGES = 8 };

struct slot {
  const struct value *value;
  size_t image_bytes;
  int last_use;     /* step; the number of steps for graph outputs */
  void *owned;      /* NULL for inputs and constants */
  const void *data; /* NULL until computed */
};

struct program {
  const struct graph *graph;
  struct arena arena;
  struct node *steps; /* plain nodes: the graph's, with the fused ones in order around their host */
  int step_count;
  struct slot *slots; /* by value id; values between fused nodes follow the graph's */
  int slot_count;
  int64_t batch, first, images; /* the piece: images [first, first + images) of the batch */
  const void *const *inputs;
  int threads;
  interp_tap *tap;
  void *tap_context;
  struct diag *diag;
};

static void add_slot(struct program *program, const struct value *value) {
  struct slot *slot = &program->slots[value->id];
  slot->value = value;
  slot->last_use = -1;
}

static int count_steps(const struct graph *graph) {
  int count = 0;
  for (const struct node *node = graph->first; node != NULL; node = node->next)
    count += node->prologue_count + 1 + node->epilogue_count;
  return count;
}

static enum status add_steps(struct program *program, const struct node *node) {
  struct graph shallow = *program->graph;
  shallow.arena = &program->arena;
  shallow.diag = program->diag;
  int count;
  struct node *plain = node_unfuse(node, &program->arena, &count);
  for (int i = 0; i < count; i++) {
    if (i < count - 1) {
      TRY(infer_node(&shallow, &plain[i]));
      plain[i].outputs[0]->id = program->slot_count++;
      add_slot(program, plain[i].outputs[0]);
    }
    program->steps[program->step_count++] = plain[i];
  }
  return STATUS_OK;
}

static void find_last_uses(struct program *program) {
  for (int i = 0; i < program->step_count; i++) {
    const struct node *step = &program->steps[i];
    for (int j = 0; j < step->input_count; j++)
      if (step->inputs[j] != NULL) program->slots[step->inputs[j]->id].last_use = i;
    /* An output that nothing reads still lives for the step that writes it. */
    for (int j = 0; j < step->output_count; j++)
      if (step->outputs[j] != NULL) program->slots[step->outputs[j]->id].last_use = i;
  }
  for (int i = 0; i < program->graph->output_count; i++)
    program->slots[program->graph->outputs[i]->id].last_use = program->step_count;
}

static enum status build_program(struct program *program) {
  const struct graph *graph = program->graph;
  int steps = count_steps(graph);
  program->steps = arena_array(&program->arena, (size_t)steps, sizeof *program->steps);
  program->slots = arena_array(&program->arena, (size_t)graph->value_count + (size_t)steps, sizeof *program->slots);
  program->slot_count = graph->value_count;
  for (const struct value *value = graph->values; value != NULL; value = value->next) add_slot(program, value);
  for (const struct node *node = graph->first; node != NULL; node = node->next) TRY(add_steps(program, node));
  find_last_uses(program);
  for (int i = 0; i < program->slot_count; i++) {
    struct slot *slot = &program->slots[i];
    slot->image_bytes = (size_t)shape_elements(&slot->value->shape) * dtype_size(slot->value->dtype);
    slot->data = slot->value->data;
  }
  return STATUS_OK;
}

static bool per_image(const struct value *value) {
  return value->batched && value->data == NULL;
}

static void tap_slot(const struct program *program, const struct slot *slot) {
  if (program->tap != NULL && slot->value->id < program->graph->value_count)
    program->tap(program->tap_context, slot->value, slot->data, program->images);
}

static void bind_inputs(struct program *program) {
  for (int i = 0; i < program->graph->input_count; i++) {
    struct slot *slot = &program->slots[program->graph->inputs[i]->id];
    size_t skipped = per_image(slot->value) ? (size_t)program->first * slot->image_bytes : 0;
    slot->data = (const char *)program->inputs[i] + skipped;
    tap_slot(program, slot);
  }
}

static enum status allocate(struct program *program, struct slot *slot) {
  size_t images = per_image(slot->value) ? (size_t)program->images : 1, bytes;
  if (!__builtin_mul_overflow(images, slot->image_bytes, &bytes)) slot->owned = malloc(bytes);
  if (slot->owned == NULL)
    return diag_fail(program->diag, STATUS_SYSTEM, "%s: out of memory for %zu x %zu bytes of '%s'", program->graph->file,
                     images, slot->image_bytes, slot->value->name);
  slot->data = slot->owned;
  return STATUS_OK;
}

static void release(struct slot *slot) {
  if (slot->owned == NULL) return;
  free(slot->owned);
  slot->owned = NULL;
  slot->data = NULL;
}

static struct job_operand operand_of(const struct program *program, const struct value *value) {
  if (value == NULL) return (struct job_operand){NULL, 0};
  const struct slot *slot = &program->slots[value->id];
  return (struct job_operand){(void *)(uintptr_t)slot->data, per_image(value) ? slot->image_bytes : 0};
}

static enum status run_step(struct program *program, int index) {
  const struct node *step = &program->steps[index];
  struct arena scratch;
  arena_init(&scratch);
  struct job job = {.node = step, .images = 1};
  job.inputs = arena_array(&scratch, (size_t)step->input_count, sizeof *job.inputs);
  job.outputs = arena_array(&scratch, (size_t)step->output_count, sizeof *job.outputs);
  enum status status = STATUS_OK;
  for (int i = 0; i < step->input_count; i++) job.inputs[i] = operand_of(program, step->inputs[i]);
  for (int i = 0; i < step->output_count && status == STATUS_OK; i++) {
    if (step->outputs[i] == NULL) continue;
    if (per_image(step->outputs[i])) job.images = program->images;
    status = allocate(program, &program->slots[step->outputs[i]->id]);
    job.outputs[i] = operand_of(program, step->outputs[i]);
  }
  if (status == STATUS_OK) job_run(&job, program->threads);
  arena_deinit(&scratch);
  for (int i = 0; i < step->output_count && status == STATUS_OK; i++)
    if (step->outputs[i] != NULL) tap_slot(program, &program->slots[step->outputs[i]->id]);
  return status;
}

static void release_dead(struct program *program, int index) {
  const struct node *step = &program->steps[index];
  for (int i = 0; i < step->input_count; i++)
    if (step->inputs[i] != NULL && program->slots[step->inputs[i]->id].last_use == index)
      release(&program->slots[step->inputs[i]->id]);
  for (int i = 0; i < step->output_count; i++)
    if (step->outputs[i] != NULL && program->slots[step->outputs[i]->id].last_use == index)
      release(&program->slots[step->outputs[i]->id]);
}

static enum status run_piece(struct program *program, void *const *outputs) {
  const struct graph *graph = program->graph;
  bind_inputs(program);
  for (int i = 0; i < program->step_count; i++) {
    TRY(run_step(program, i));
    release_dead(program, i);
  }
  for (int i = 0; i < graph->output_count; i++) {
    const struct slot *slot = &program->slots[graph->outputs[i]->id];
    bool images = per_image(slot->value);
    memcpy((char *)outputs[i] + (images ? (size_t)program->first * slot->image_bytes : 0), slot->data,
           images ? (size_t)program->images * slot->image_bytes : slot->image_bytes);
  }
  for (int i = 0; i < program->slot_count; i++) release(&program->slots[i]);
  return STATUS_OK;
}

enum status interp_run(const struct graph *graph, int64_t batch, const void *const *inputs, void *const *outputs, int threads,
                       interp_tap *tap, void *tap_context, struct diag *diag) {
  assert(batch >= 1 && threads >= 1);
  struct program program = {.graph = graph,
                            .batch = batch,
                            .inputs = inputs,
                            .threads = threads,
                            .tap = tap,
                            .tap_context = tap_context,
                            .diag = diag};
  arena_init(&program.arena);
  enum status status = build_program(&program);
  int64_t piece = tap != NULL ? batch : threads > PIECE_IMAGES ? threads : PIECE_IMAGES;
  while (program.first < batch && status == STATUS_OK) {
    program.images = batch - program.first < piece ? batch - program.first : piece;
    status = run_piece(&program, outputs);
    program.first += program.images;
  }
  for (int i = 0; i < program.slot_count && program.slots != NULL; i++) release(&program.slots[i]);
  arena_deinit(&program.arena);
  return status;
}
