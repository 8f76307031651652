#include "cmd/bench.h"
#include "cmd/layers.h"
#include "driver_json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static double column_median(const struct timings *timings, int column, double *scratch) {
  size_t width = (size_t)timings->phase_count + 1;
  for (size_t run = 0; run < timings->count; run++) scratch[run] = (double)timings->ticks[run * width + (size_t)column];
  sort_doubles(scratch, timings->count);
  return quantile(scratch, timings->count, 0.5) * timings->ns_per_tick * 1e-6;
}

static double outside_median(const struct timings *timings, double *scratch) {
  size_t width = (size_t)timings->phase_count + 1;
  for (size_t run = 0; run < timings->count; run++) {
    const uint64_t *row = timings->ticks + run * width;
    uint64_t inside = 0;
    for (int i = 0; i < timings->phase_count; i++) inside += row[i];
    scratch[run] = inside < row[timings->phase_count] ? (double)(row[timings->phase_count] - inside) : 0;
  }
  sort_doubles(scratch, timings->count);
  return quantile(scratch, timings->count, 0.5) * timings->ns_per_tick * 1e-6;
}

static double ratio(double part, double whole) {
  return whole > 0 ? part / whole : 0;
}

static void finish(struct phase_figures *figures, const struct timings *timings, double total_ms) {
  figures->share = ratio(figures->ms, total_ms);
  figures->gflops = ratio(figures->flops / 1e6, figures->ms);
  figures->gbps = ratio(figures->bytes / 1e6, figures->ms);
  figures->of_peak = ratio(figures->ms_at_peak, figures->ms);
  figures->of_read = ratio(figures->gbps * 1e9, quantile(timings->bandwidths, timings->round_count, 0.5));
}

/* Of one inference: batched work once an image, what images share once a group of them. */
static void work_of(const struct account_phase *phase, int64_t group, uint32_t batch, struct phase_figures *out) {
  double groups = (double)((batch + group - 1) / group), times = phase->batched ? batch : groups;
  out->flops = (double)phase->flops * times;
  out->bytes = (double)(phase->read_bytes + phase->write_bytes) * times + (double)phase->shared_bytes * groups;
}

/* Adds a phase's figures; work of two kinds of arithmetic is mixed. */
static void add_work(struct phase_figures *sum, const struct phase_figures *phase) {
  if (sum->flops <= 0)
    sum->executed_in = phase->executed_in;
  else if (phase->flops > 0 && strcmp(sum->executed_in, phase->executed_in) != 0)
    sum->executed_in = "mixed";
  sum->flops += phase->flops;
  sum->bytes += phase->bytes;
  sum->ms_at_peak += phase->ms_at_peak;
}

static bool alike(const struct account_phase *a, const struct account_phase *b, const char *a_kind, const char *b_kind) {
  return strcmp(a->kind, b->kind) == 0 && strcmp(a_kind, b_kind) == 0 && strcmp(a->precision, b->precision) == 0 &&
         a->flops == b->flops && a->read_bytes == b->read_bytes && a->write_bytes == b->write_bytes &&
         a->shared_bytes == b->shared_bytes;
}

static int longest_first(const void *a, const void *b) {
  double x = ((const struct phase_figures *)a)->ms, y = ((const struct phase_figures *)b)->ms;
  return (x < y) - (x > y);
}

static void make_kinds(const struct account *account, struct arena *arena, struct profile *profile) {
  size_t count = (size_t)profile->phase_count;
  const char **names = arena_array(arena, count + 1, sizeof *names);
  int *first = arena_array(arena, count + 1, sizeof *first);
  for (int i = 0; i < profile->phase_count; i++) {
    const struct phase_figures *phase = &profile->phases[i];
    names[i] = layer_kind(phase->name, arena);
    int at = 0;
    while (at < profile->kind_count && !alike(&account->phases[first[at]], &account->phases[i], names[first[at]], names[i]))
      at++;
    struct phase_figures *kind = &profile->kinds[at];
    if (at == profile->kind_count) {
      first[profile->kind_count++] = i;
      *kind = (struct phase_figures){.kind = phase->kind, .name = phase->name};
    } else {
      kind->name = names[i];
    }
    kind->count++;
    kind->ms += phase->ms;
    add_work(kind, phase);
  }
}

void profile_make(const struct timings *timings, const struct account *account, uint32_t batch, struct arena *arena,
                  struct profile *out_profile) {
  size_t count = (size_t)account->phase_count;
  struct profile profile = {.phase_count = account->phase_count,
                            .phases = arena_array(arena, count + 1, sizeof *profile.phases),
                            .kinds = arena_array(arena, count + 1, sizeof *profile.kinds)};
  double *scratch = arena_array(arena, timings->count, sizeof *scratch), peaks[ARITHMETIC_COUNT];
  peaks_quantile(timings, 0.5, peaks);
  profile.total = (struct phase_figures){.kind = "", .name = "total", .executed_in = "", .count = account->phase_count};
  profile.total.ms = column_median(timings, account->phase_count, scratch);
  for (int i = 0; i < account->phase_count; i++) {
    const struct account_phase *phase = &account->phases[i];
    enum arithmetic arithmetic = timings->operations->of_phases[i];
    struct phase_figures *figures = &profile.phases[i];
    *figures = (struct phase_figures){
        .kind = phase->kind, .name = phase->name, .executed_in = arithmetic_name(arithmetic), .count = 1};
    figures->ms = column_median(timings, i, scratch);
    work_of(phase, account->group, batch, figures);
    figures->ms_at_peak = ratio(figures->flops * 1e3, peaks[arithmetic]);
    finish(figures, timings, profile.total.ms);
    add_work(&profile.total, figures);
  }
  finish(&profile.total, timings, profile.total.ms);
  profile.outside_ms = outside_median(timings, scratch);
  profile.outside_share = ratio(profile.outside_ms, profile.total.ms);
  make_kinds(account, arena, &profile);
  for (int i = 0; i < profile.kind_count; i++) finish(&profile.kinds[i], timings, profile.total.ms);
  qsort(profile.kinds, (size_t)profile.kind_count, sizeof *profile.kinds, longest_first);
  *out_profile = profile;
}

static void print_heading(const char *what) {
  printf("\n%-14s %-40s %10s %6s %9s %5s %8s %8s %8s\n", what, "layer", "ms", "time", "GFLOP/s", "in", "of peak", "GB/s",
         "of read");
}

static void print_row(const struct phase_figures *figures) {
  char name[160];
  bool several = figures->count > 1 && figures->kind[0] != '\0';
  snprintf(name, sizeof name, several ? "%s x%d" : "%s", figures->name, figures->count);
  printf("%-14s %-40s %10.4f %5.1f%%", figures->kind, name, figures->ms, 100 * figures->share);
  if (figures->flops > 0)
    printf(" %9.1f %5s %7.1f%%", figures->gflops, figures->executed_in, 100 * figures->of_peak);
  else
    printf(" %9s %5s %8s", "-", "-", "-");
  printf(" %8.2f %7.1f%%\n", figures->gbps, 100 * figures->of_read);
}

void profile_print(const struct profile *profile, const struct timings *timings) {
  print_heading("phase");
  for (int i = 0; i < profile->phase_count; i++) print_row(&profile->phases[i]);
  print_heading("alike phases");
  for (int i = 0; i < profile->kind_count; i++) print_row(&profile->kinds[i]);
  printf("%-14s %-40s %10.4f %5.1f%%\n", "", "outside of phases", profile->outside_ms, 100 * profile->outside_share);
  print_row(&profile->total);
  printf("\nbandwidth    %.2f GB/s best, %.2f GB/s median, of reading memory that no cache holds, between the runs\n",
         timings->bandwidths[timings->round_count - 1] / 1e9, quantile(timings->bandwidths, timings->round_count, 0.5) / 1e9);
}

static void member(const char *name, double number) {
  printf(",\"%s\":", name);
  json_number(stdout, number);
}

static void print_json_row(const struct phase_figures *figures) {
  printf("{\"phase\":\"%s\",\"name\":", figures->kind);
  json_string(stdout, figures->name);
  printf(",\"count\":%d", figures->count);
  member("ms", figures->ms);
  member("share", figures->share);
  member("flops", figures->flops);
  member("gflops", figures->gflops);
  printf(",\"peak_precision\":\"%s\"", figures->executed_in);
  member("share_of_peak", figures->of_peak);
  member("bytes", figures->bytes);
  member("gbps", figures->gbps);
  member("share_of_bandwidth", figures->of_read);
  putchar('}');
}

static void print_json_rows(const char *key, const struct phase_figures *rows, int count) {
  printf(",\n\"%s\":[", key);
  for (int i = 0; i < count; i++) {
    fputs(i > 0 ? ",\n" : "\n", stdout);
    print_json_row(&rows[i]);
  }
  putchar(']');
}

void profile_print_json(const struct profile *profile, const struct timings *timings) {
  member("bandwidth_gbps", timings->bandwidths[timings->round_count - 1] / 1e9);
  member("bandwidth_median_gbps", quantile(timings->bandwidths, timings->round_count, 0.5) / 1e9);
  member("ns_per_tick", timings->ns_per_tick);
  print_json_rows("phases", profile->phases, profile->phase_count);
  print_json_rows("alike", profile->kinds, profile->kind_count);
  fputs(",\n\"total\":", stdout);
  print_json_row(&profile->total);
  member("outside_ms", profile->outside_ms);
  member("outside_share", profile->outside_share);
}
