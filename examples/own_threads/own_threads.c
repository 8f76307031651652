/* A program that has a thread pool already lets the model use it: vitc_parallel is one function. No vitc runtime is linked.
 *
 *   cc -O2 -include digits.h examples/own_threads/own_threads.c digits.o -lpthread -o own_threads
 *
 * Runs a synthetic image on 1 and on 4 threads and checks that the outputs have the same bits. */
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { THREADS = 4 };

/* One loop at a time: its tasks are counted out under the lock, by the workers and by the caller. */
struct pool {
  pthread_mutex_t lock;
  pthread_cond_t work, done;
  pthread_t workers[THREADS - 1];
  vitc_task task;
  void *context;
  uint32_t next, count, unfinished;
  bool stop;
};

/* Runs tasks of the current loop until none is left. Called, and returns, with the lock held. */
static void work_through(struct pool *pool) {
  while (pool->next < pool->count) {
    uint32_t index = pool->next++;
    vitc_task task = pool->task;
    void *context = pool->context;
    pthread_mutex_unlock(&pool->lock);
    task(context, index);
    pthread_mutex_lock(&pool->lock);
    if (--pool->unfinished == 0) pthread_cond_signal(&pool->done);
  }
}

static void *worker(void *argument) {
  struct pool *pool = argument;
  pthread_mutex_lock(&pool->lock);
  while (!pool->stop) {
    work_through(pool);
    if (!pool->stop) pthread_cond_wait(&pool->work, &pool->lock);
  }
  pthread_mutex_unlock(&pool->lock);
  return NULL;
}

/* The callback that the model calls: vitc_parallel.run. */
static void run_loop(void *argument, uint32_t count, vitc_task task, void *context) {
  struct pool *pool = argument;
  pthread_mutex_lock(&pool->lock);
  pool->task = task;
  pool->context = context;
  pool->next = 0;
  pool->count = pool->unfinished = count;
  pthread_cond_broadcast(&pool->work);
  work_through(pool);
  while (pool->unfinished > 0) pthread_cond_wait(&pool->done, &pool->lock);
  pthread_mutex_unlock(&pool->lock);
}

static bool start(struct pool *pool) {
  memset(pool, 0, sizeof *pool);
  pthread_mutex_init(&pool->lock, NULL);
  pthread_cond_init(&pool->work, NULL);
  pthread_cond_init(&pool->done, NULL);
  for (int i = 0; i < THREADS - 1; i++) {
    if (pthread_create(&pool->workers[i], NULL, worker, pool) != 0) return false;
  }
  return true;
}

static void stop(struct pool *pool) {
  pthread_mutex_lock(&pool->lock);
  pool->stop = true;
  pthread_cond_broadcast(&pool->work);
  pthread_mutex_unlock(&pool->lock);
  for (int i = 0; i < THREADS - 1; i++) pthread_join(pool->workers[i], NULL);
}

int main(void) {
  static float input[DIGITS_INPUT_ELEMENTS], alone[DIGITS_OUTPUT_ELEMENTS], together[DIGITS_OUTPUT_ELEMENTS];
  static struct pool pool;
  size_t arena_bytes = (DIGITS_ARENA_BYTES + (size_t)VITC_ALIGNMENT - 1) / VITC_ALIGNMENT * VITC_ALIGNMENT;
  void *arena = aligned_alloc(VITC_ALIGNMENT, arena_bytes);
  if (!arena || !start(&pool)) {
    fprintf(stderr, "out of memory or threads\n");
    return 1;
  }
  for (unsigned i = 0; i < DIGITS_INPUT_ELEMENTS; i++) input[i] = (float)(i * 37 % 100) / 50.0f - 1.0f;

  vitc_parallel parallel = {.run = run_loop, .pool = &pool, .threads = THREADS};
  int status = digits_run(input, alone, 1, arena, NULL);
  if (status == VITC_OK) status = digits_run(input, together, 1, arena, &parallel);
  stop(&pool);
  free(arena);
  if (status != VITC_OK) {
    fprintf(stderr, "the model returned %d\n", status);
    return 1;
  }
  bool equal = memcmp(alone, together, sizeof alone) == 0;
  printf("1 thread and %d threads of this program's own pool: %s\n", THREADS, equal ? "the same bits" : "DIFFERENT");
  return equal ? 0 : 1;
}
