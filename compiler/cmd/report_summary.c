#include "cmd/page.h"
#include "cmd/report.h"

#include <inttypes.h>
#include <string.h>

static void tile_begin(FILE *page, const char *name) {
  fprintf(page, "<div><span>%s</span><b>", name);
}

static void tile_end(FILE *page) {
  fputs("</b></div>\n", page);
}

static void tiles(FILE *page, const struct account *account) {
  fputs("<div class=\"tiles\">\n", page);
  tile_begin(page, "parameters");
  page_count(page, account->parameters);
  tile_end(page);
  tile_begin(page, "work of one image");
  page_flops(page, (double)account->flops);
  tile_end(page);
  tile_begin(page, "weights");
  page_bytes(page, account->weights_bytes);
  tile_end(page);
  tile_begin(page, "arena");
  page_bytes(page, account->arena_bytes);
  tile_end(page);
  tile_begin(page, "products in");
  page_text(page, account->precision);
  tile_end(page);
  fputs("</div>\n", page);
}

static void row(FILE *page, const char *name, const char *text) {
  fprintf(page, "<tr><td>%s</td><td class=\"w\">", name);
  page_text(page, text);
  fputs("</td></tr>\n", page);
}

static void value_rows(FILE *page, const char *name, const struct account_value *values, int count) {
  for (int i = 0; i < count; i++) {
    fprintf(page, "<tr><td>%s</td><td class=\"w\">", name);
    page_text(page, values[i].name);
    fputs(": ", page);
    page_text(page, values[i].dtype);
    fputc(' ', page);
    page_text(page, values[i].shape);
    fputs("</td></tr>\n", page);
  }
}

static void object_rows(FILE *page, const struct report *report) {
  const struct loaded *loaded = &report->machine.loaded;
  row(page, "object", report->object);
  fputs("<tr><td>CPU paths</td><td class=\"w\">", page);
  for (int i = 0; load_level_at(loaded, i) != NULL; i++) {
    if (i > 0) fputs(", ", page);
    page_text(page, load_level_at(loaded, i));
  }
  fputs("</td></tr>\n<tr><td>weights</td><td class=\"w\">", page);
  fputs(loaded->model.weights_external != 0 ? "in a file of their own" : "in the object", page);
  fputs("</td></tr>\n", page);
  for (uint32_t i = 1; i < loaded->object.section_count; i++) {
    const struct elf_section *section = &loaded->object.sections[i];
    if (!elf_executable(section)) continue;
    fputs("<tr><td>code</td><td class=\"w\">", page);
    page_bytes(page, (int64_t)section->size);
    fputs("</td></tr>\n", page);
  }
}

/* Products by precision, with the bytes of their weights. */
static void precision_rows(FILE *page, const struct account *account) {
  for (int precision = 0; precision < PRECISION_COUNT; precision++) {
    const char *name = precision_name((enum precision)precision);
    int count = 0;
    int64_t bytes = 0;
    for (int i = 0; i < account->product_count; i++) {
      if (strcmp(account->products[i].precision, name) != 0) continue;
      count++;
      bytes += account->products[i].bytes;
    }
    if (count == 0) continue;
    fprintf(page, "<tr><td>in %s</td><td class=\"w\">%d products, weights of ", name, count);
    page_bytes(page, bytes);
    fputs("</td></tr>\n", page);
  }
}

void report_summary(FILE *page, const struct report *report) {
  const struct account *account = &report->account;
  page_section(page, "summary", "Summary");
  tiles(page, account);
  fputs("<div class=\"scroll\"><table>\n", page);
  row(page, "graph", report->graph);
  if (report->object != NULL) object_rows(page, report);
  value_rows(page, "input", account->inputs, account->input_count);
  value_rows(page, "output", account->outputs, account->output_count);
  fputs("<tr><td>nodes</td><td class=\"w\">", page);
  page_count(page, account->nodes_as_given);
  fputs(" as given, ", page);
  page_count(page, account->node_count);
  fputs(" as compiled, ", page);
  page_count(page, account->step_count);
  fputs(" steps</td></tr>\n<tr><td>as given</td><td class=\"w\">", page);
  page_flops(page, (double)account->flops_as_given);
  fputs(" an image</td></tr>\n<tr><td>batch</td><td class=\"w\">up to ", page);
  page_count(page, account->batch_max);
  fputs(", ", page);
  page_count(page, account->group);
  fputs(" at a time through the layers</td></tr>\n", page);
  precision_rows(page, account);
  fputs("</table></div>\n", page);
  page_section_end(page);
}
