#include "passes/passes.h"

#include "ir/ops.h"

#include <string.h>
#include <time.h>

static const struct pass_info PASSES[] = {
#define PASS(id, name, description) {name, description, pass_##id},
#include "passes/passes.def"
#undef PASS
};

enum { PASS_COUNT = sizeof PASSES / sizeof PASSES[0] };

const struct pass_info *pass_at(int index) {
  return index >= 0 && index < (int)PASS_COUNT ? &PASSES[index] : NULL;
}

static bool pass_exists(const char *name) {
  for (size_t i = 0; i < PASS_COUNT; i++)
    if (strcmp(PASSES[i].name, name) == 0) return true;
  return false;
}

static enum status unknown_pass(struct graph *graph, const char *name, bool or_all) {
  const char *list = or_all ? "all" : "";
  for (size_t i = 0; i < PASS_COUNT; i++) {
    bool listed = false;
    for (size_t j = 0; j < i; j++) listed = listed || strcmp(PASSES[i].name, PASSES[j].name) == 0;
    if (!listed) list = arena_printf(graph->arena, "%s%s%s", list, list[0] != '\0' ? ", " : "", PASSES[i].name);
  }
  return diag_fail(graph->diag, STATUS_USAGE, "there is no pass '%s': expected one of %s", name, list);
}

static bool pass_enabled(const struct pass_info *pass, const struct pass_options *options) {
  if (pass->run == pass_u8_input) return options->input_u8;
  for (int i = 0; i < options->disabled_count; i++)
    if (strcmp(options->disabled[i], pass->name) == 0) return false;
  return true;
}

static double milliseconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec * 1e3 + (double)now.tv_nsec * 1e-6;
}

enum status run_passes(struct graph *graph, const struct pass_options *options) {
  bool dump_all = options->dump_after != NULL && strcmp(options->dump_after, "all") == 0;
  for (int i = 0; i < options->disabled_count; i++)
    if (!pass_exists(options->disabled[i])) return unknown_pass(graph, options->disabled[i], false);
  if (options->dump_after != NULL && !dump_all && !pass_exists(options->dump_after))
    return unknown_pass(graph, options->dump_after, true);

  for (size_t i = 0; i < PASS_COUNT; i++) {
    const struct pass_info *pass = &PASSES[i];
    if (!pass_enabled(pass, options)) continue;
    double start = milliseconds();
    TRY(pass->run(graph));
    double passed = milliseconds() - start;
    /* A pass infers the nodes that it makes; the first that did not fit has left its message. */
    if (graph->diag->status != STATUS_OK) return graph->diag->status;
    TRY(verify_graph(graph, pass->name));
    if (options->time_stream != NULL) fprintf(options->time_stream, "%-20s %9.3f ms\n", pass->name, passed);
    if (dump_all || (options->dump_after != NULL && strcmp(options->dump_after, pass->name) == 0)) {
      fprintf(options->dump_stream, "; after %s\n", pass->name);
      print_graph(graph, options->dump_stream);
    }
  }
  return STATUS_OK;
}
