/* How many images go through the layers together: as many as have an arena that caches hold, whatever the batch. */
#include "plan/plan.h"
#include "support/graph_build.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

static const int64_t MIB = 1 << 20;

/* exp(x @ w) @ v with x (N, rows, 16): values of rows * 4096 floats, of which one is in the other's memory. */
static void plan_wide(struct build *build, const char *type, int64_t batch_max, int64_t group, struct plan *out_plan) {
  build_init(build);
  struct value *x = build_input(build, "x", type);
  struct value *wide = BUILD(build, "wide", OP_mat_mul, x, build_random(build, "w", "float32[16,4096]", 1));
  wide = BUILD(build, "exp", OP_exp, wide);
  build_output(build, BUILD(build, "y", OP_mat_mul, wide, build_random(build, "v", "float32[4096,16]", 2)));
  const struct plan_options options = {.batch_max = batch_max, .group = group};
  cr_assert(plan_graph(&build->graph, &options, &build->arena, out_plan) == STATUS_OK, "%s", build->diag.message);
}

static void check(const char *type, int64_t batch_max, int64_t group, int64_t wanted_group, int64_t image_mib) {
  struct build build;
  struct plan plan;
  plan_wide(&build, type, batch_max, group, &plan);
  cr_expect(plan.group == wanted_group, "%s, batch %lld: %lld images together, not %lld", type, (long long)batch_max,
            (long long)plan.group, (long long)wanted_group);
  cr_expect(plan.arena_bytes >= wanted_group * image_mib * MIB, "%s: no room for %lld images", type, (long long)wanted_group);
  cr_expect(plan.arena_bytes < 2 * wanted_group * image_mib * MIB, "%s: room for more than %lld images", type,
            (long long)wanted_group);
  build_deinit(&build);
}

Test(groups, small_values_go_eight_at_a_time) {
  check("float32[N,64,16]", 8, 0, 8, 1);
  check("float32[N,64,16]", 1000, 0, 8, 1);
  check("float32[N,64,16]", 3, 0, 3, 1);
  check("float32[N,64,16]", 1, 0, 1, 1);
}

Test(groups, large_values_are_halved_until_they_fit) {
  check("float32[N,512,16]", 8, 0, 4, 8); /* 8 MiB and a little an image, in 40 MiB */
  check("float32[N,512,16]", 5, 0, 3, 8);
  check("float32[N,4096,16]", 8, 0, 1, 64);
}

Test(groups, a_group_that_is_asked_for_stays) {
  check("float32[N,512,16]", 8, 8, 8, 8);
}
