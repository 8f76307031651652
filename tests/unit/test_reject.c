/* Broken models and weights. A case is NAME.json or NAME.safetensors in tests/reject with NAME.err, the one line that a user
 * must get. */
#include "base/arena.h"
#include "frontend.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static enum status load(const char *path, struct diag *diag) {
  struct arena arena;
  struct weights weights;
  struct graph graph;
  arena_init(&arena);
  size_t length = strlen(path);
  enum status status = length > 5 && !strcmp(path + length - 5, ".json") ? frontend_load(path, &arena, &weights, &graph, diag)
                                                                         : weights_open(path, &weights, diag);
  weights_close(&weights);
  arena_deinit(&arena);
  return status;
}

static void read_line(const char *path, char *line, size_t size) {
  FILE *file = fopen(path, "r");
  cr_assert(file && fgets(line, (int)size, file), "%s: no line in it", path);
  line[strcspn(line, "\n")] = 0;
  fclose(file);
}

static void check_case(const char *name) {
  char path[300], expected[1024];
  snprintf(path, sizeof path, "%s.err", name);
  read_line(path, expected, sizeof expected);
  snprintf(path, sizeof path, "%s.json", name);
  if (access(path, F_OK) != 0) snprintf(path, sizeof path, "%s.safetensors", name);
  struct diag diag = {0};
  enum status status = load(path, &diag);
  cr_expect(status == STATUS_INPUT && diag.status == STATUS_INPUT, "%s: status %d, expected 3", path, status);
  cr_expect(!strcmp(diag.message, expected), "%s:\n  expected %s\n  found    %s", path, expected, diag.message);
}

Test(reject, every_case_gives_its_line) {
  int cases = 0;
  cr_assert(chdir(VITC_SOURCE_DIR "/tests/reject") == 0);
  DIR *folder = opendir(".");
  cr_assert(folder);
  for (const struct dirent *entry; (entry = readdir(folder));) {
    char name[256];
    size_t length = strlen(entry->d_name);
    if (length <= 4 || strcmp(entry->d_name + length - 4, ".err")) continue;
    snprintf(name, sizeof name, "%.*s", (int)(length - 4), entry->d_name);
    check_case(name);
    cases++;
  }
  closedir(folder);
  cr_assert(cases > 100, "%d cases", cases);
}

/* Every beginning of a good model: an error, or (without its last newline) the model. */
static void check_prefixes(const char *source, const char *name) {
  char folder[] = "/tmp/test-reject-XXXXXX", path[64];
  struct span file;
  struct diag diag = {0};
  cr_assert(mkdtemp(folder) && span_map_file(source, &file, &diag) == STATUS_OK);
  snprintf(path, sizeof path, "%s/%s", folder, name);
  for (size_t size = 0; size + 1 < file.size; size++) {
    FILE *cut = fopen(path, "wb");
    cr_assert(cut && fwrite(file.data, 1, size, cut) == size && fclose(cut) == 0);
    diag = (struct diag){0};
    cr_assert(load(path, &diag) == STATUS_INPUT, "%s: %zu bytes of %zu are accepted", source, size, file.size);
    cr_assert(!strncmp(diag.message, path, strlen(path)), "%s", diag.message);
  }
  cr_assert(unlink(path) == 0 && rmdir(folder) == 0);
  span_unmap(&file);
}

Test(reject, every_cut_of_a_graph) {
  check_prefixes(VITC_SOURCE_DIR "/tests/golden/tiny_vit.json", "cut.json");
}

Test(reject, every_cut_of_a_blob) {
  check_prefixes(VITC_SOURCE_DIR "/tests/reject/good.safetensors", "cut.safetensors");
}

Test(reject, folders_and_missing_files) {
  struct diag diag = {0};
  cr_assert(chdir(VITC_SOURCE_DIR "/tests") == 0);
  cr_expect(load("none.json", &diag) == STATUS_INPUT);
  cr_expect(!strcmp(diag.message, "none.json: cannot open: No such file or directory"), "%s", diag.message);
  diag = (struct diag){0};
  cr_expect(load("reject", &diag) == STATUS_INPUT);
  cr_expect(!strcmp(diag.message, "reject: is a directory, expected a file"), "%s", diag.message);
}
