/* Which of a loop's units a task does: code that computes it when the loop runs. Every unit belongs to exactly one task,
 * whatever the number of tasks; what a unit computes does not depend on its task. */
#ifndef VITC_LLVM_SPLIT_H
#define VITC_LLVM_SPLIT_H

#include "llvm/emit.h"

/* With one thread a loop is one task. With more a long loop is several for each thread, so that whoever is slow leaves some of
 * its own to others. A short loop (rows, copies) is one for each: it ends before that could pay. */
enum { TASKS_PER_THREAD = 6 };

/* [begin, end) of task `index` of `tasks`: parts differ by one unit at most. */
void split_evenly(struct emit *e, emit_value units, emit_value index, emit_value tasks, emit_value *out_begin,
                  emit_value *out_end);

/* The same for a loop of TASKS_PER_THREAD tasks for each thread, or one when there is one thread. A thread's tasks come one
 * after the other and get smaller: 31, 25, 19, 14, 8 and 3 percent of its share. Others take from the end, so what they take is
 * little at a time, and all threads are done at nearly the same time though the first tasks are long. */
void split_shrinking(struct emit *e, emit_value units, emit_value index, emit_value threads, emit_value *out_begin,
                     emit_value *out_end);

#endif
