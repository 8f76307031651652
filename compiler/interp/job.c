#include "interp/job.h"

#include "interp/split.h"

#include <pthread.h>
#include <stdatomic.h>

/* Below this many operations, starting a thread costs more than it saves. */
enum { WORK_MIN = 1 << 18, THREADS_MAX = 256 };

struct shared_job {
  const struct job *job;
  struct split split;
  int64_t parts; /* of each image */
  atomic_llong next;
};

static void *image_data(const struct job_operand *operand, int64_t image) {
  return operand->data == NULL ? NULL : (char *)operand->data + (size_t)image * operand->image_bytes;
}

static void run_item(const struct shared_job *shared, int64_t item, const void **inputs, void **outputs) {
  const struct job *job = shared->job;
  int64_t image = item / shared->parts, part = item % shared->parts, rows = shared->split.rows;
  for (int i = 0; i < job->node->input_count; i++) inputs[i] = image_data(&job->inputs[i], image);
  for (int i = 0; i < job->node->output_count; i++) outputs[i] = image_data(&job->outputs[i], image);
  if (shared->parts == 1) {
    op_info(job->node->op)->eval(job->node, inputs, outputs);
    return;
  }
  int64_t first = rows * part / shared->parts, end = rows * (part + 1) / shared->parts;
  split_eval(job->node, &shared->split, first, end - first, inputs, outputs[0]);
}

static void *work(void *context) {
  struct shared_job *shared = context;
  const struct node *node = shared->job->node;
  int64_t items = shared->job->images * shared->parts;
  struct arena scratch;
  arena_init(&scratch);
  const void **inputs = arena_array(&scratch, (size_t)node->input_count, sizeof *inputs);
  void **outputs = arena_array(&scratch, (size_t)node->output_count, sizeof *outputs);
  for (int64_t item; (item = atomic_fetch_add(&shared->next, 1)) < items;) run_item(shared, item, inputs, outputs);
  arena_deinit(&scratch);
  return NULL;
}

static bool worth_threads(const struct job *job) {
  int64_t operations = node_flops(job->node);
  return operations >= WORK_MIN || operations * job->images >= WORK_MIN;
}

void job_run(const struct job *job, int threads) {
  struct shared_job shared = {.job = job, .parts = 1};
  pthread_t workers[THREADS_MAX];
  int started = 0;
  if (threads > THREADS_MAX) threads = THREADS_MAX;
  if (threads > 1 && worth_threads(job)) {
    shared.split = split_of(job->node);
    if (job->images % threads != 0) shared.parts = shared.split.rows < threads ? shared.split.rows : threads;
    /* A thread that does not start leaves its share to the others. */
    while (started < threads - 1 && started < job->images * shared.parts - 1 &&
           pthread_create(&workers[started], NULL, work, &shared) == 0)
      started++;
  }
  work(&shared);
  for (int i = 0; i < started; i++) pthread_join(workers[i], NULL);
}
