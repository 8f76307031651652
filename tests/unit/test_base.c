/* Arenas, the one error message, mapped files, and output files that appear whole or not at all. */
#include "base/arena.h"
#include "base/diag.h"
#include "base/span.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[64];
static char path[128];

static void make_folder(void) {
  snprintf(folder, sizeof folder, "/tmp/vitc-base-XXXXXX");
  cr_assert_not_null(mkdtemp(folder));
  snprintf(path, sizeof path, "%s/file", folder);
}

static void remove_folder(void) {
  DIR *listing = opendir(folder);
  for (struct dirent *entry; (entry = readdir(listing)) != NULL;) unlinkat(dirfd(listing), entry->d_name, 0);
  closedir(listing);
  rmdir(folder);
}

static int count_files(void) {
  int count = 0;
  DIR *listing = opendir(folder);
  for (struct dirent *entry; (entry = readdir(listing)) != NULL;) count += entry->d_name[0] != '.';
  closedir(listing);
  return count;
}

static void write_file(const char *text) {
  FILE *stream = fopen(path, "wb");
  cr_assert_not_null(stream);
  fputs(text, stream);
  fclose(stream);
}

static void expect_content(const char *text) {
  struct diag diag = {.status = STATUS_OK};
  struct span span;
  cr_assert_eq(span_map_file(path, &span, &diag), STATUS_OK, "%s", diag.message);
  cr_expect_eq(span.size, strlen(text));
  if (*text != '\0') cr_expect_arr_eq(span.data, text, strlen(text));
  span_unmap(&span);
}

Test(arena, aligns_and_zeroes) {
  struct arena arena;
  arena_init(&arena);
  for (size_t size = 0; size < 3000; size += 7) {
    unsigned char *bytes = arena_alloc(&arena, size);
    cr_expect_eq((uintptr_t)bytes % (size >= 64 ? 64 : 16), 0, "size %zu", size);
    for (size_t i = 0; i < size; i++) cr_assert_eq(bytes[i], 0);
    memset(bytes, 0xff, size);
  }
  arena_deinit(&arena);
}

Test(arena, keeps_what_it_gave) {
  struct arena arena;
  arena_init(&arena);
  char *first = arena_strdup(&arena, "first");
  unsigned char *large = arena_alloc(&arena, 1 << 20);
  memset(large, 0xff, 1 << 20);
  char *after = arena_alloc(&arena, 48);
  memset(after, 0xff, 48);
  cr_expect_str_eq(first, "first");
  cr_expect_eq(large[(1 << 20) - 1], 0xff);
  cr_expect_str_eq(arena_printf(&arena, "%s.%d", "name", 12), "name.12");
  cr_expect_str_eq(arena_strndup(&arena, "abcdef", 3), "abc");
  arena_deinit(&arena);
}

Test(arena, overflow_is_out_of_memory, .exit_code = STATUS_SYSTEM) {
  struct arena arena;
  arena_init(&arena);
  arena_array(&arena, SIZE_MAX / 2, 4);
}

Test(diag, keeps_the_first_message_on_one_line) {
  struct diag diag = {.status = STATUS_OK};
  cr_expect_eq(diag_fail(&diag, STATUS_INPUT, "%s: bad\nname\x7f", "a.json"), STATUS_INPUT);
  cr_expect_eq(diag_fail(&diag, STATUS_SYSTEM, "later"), STATUS_SYSTEM);
  cr_expect_eq(diag.status, STATUS_INPUT);
  cr_expect_str_eq(diag.message, "a.json: bad?name?");
}

Test(span, maps_a_file, .init = make_folder, .fini = remove_folder) {
  write_file("hello");
  expect_content("hello");
}

Test(span, empty_file, .init = make_folder, .fini = remove_folder) {
  write_file("");
  expect_content("");
}

static void expect_map_failure(const char *name, const char *message) {
  struct diag diag = {.status = STATUS_OK};
  struct span span;
  cr_expect_eq(span_map_file(name, &span, &diag), STATUS_INPUT);
  cr_expect_str_eq(diag.message, message);
  cr_expect_null(span.data);
}

Test(span, refuses_what_is_no_file, .init = make_folder, .fini = remove_folder) {
  expect_map_failure("/nonexistent/model.json", "/nonexistent/model.json: cannot open: No such file or directory");
  expect_map_failure("/tmp", "/tmp: is a directory, expected a file");
  expect_map_failure("/dev/null", "/dev/null: is not a regular file");
  cr_assert_eq(mkfifo(path, 0600), 0);
  char message[256];
  snprintf(message, sizeof message, "%s: is not a regular file", path);
  expect_map_failure(path, message);
}

Test(output, appears_at_commit, .init = make_folder, .fini = remove_folder) {
  struct diag diag = {.status = STATUS_OK};
  struct output output;
  write_file("old");
  cr_assert_eq(output_open(&output, path, &diag), STATUS_OK, "%s", diag.message);
  fputs("new content", output.stream);
  expect_content("old");
  cr_assert_eq(output_commit(&output, &diag), STATUS_OK, "%s", diag.message);
  output_discard(&output);
  expect_content("new content");
  cr_expect_eq(count_files(), 1);
}

Test(output, discarded_leaves_nothing, .init = make_folder, .fini = remove_folder) {
  struct diag diag = {.status = STATUS_OK};
  struct output output;
  cr_assert_eq(output_open(&output, path, &diag), STATUS_OK);
  fputs("half", output.stream);
  output_discard(&output);
  cr_expect_eq(count_files(), 0);
}

Test(output, signals_leave_nothing, .init = make_folder, .fini = remove_folder) {
  static const int ends[] = {SIGINT, SIGTERM, SIGHUP};
  for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
    int status;
    pid_t child = fork();
    cr_assert_geq(child, 0);
    if (child == 0) {
      struct diag diag = {.status = STATUS_OK};
      struct output first, second;
      char other[140];
      snprintf(other, sizeof other, "%s.other", path);
      signal(ends[i], SIG_DFL);
      if (output_open(&first, path, &diag) == STATUS_OK && output_open(&second, other, &diag) == STATUS_OK &&
          count_files() == 2)
        raise(ends[i]);
      _exit(0);
    }
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_expect(WIFSIGNALED(status) && WTERMSIG(status) == ends[i], "signal %d: status %d", ends[i], status);
    cr_expect_eq(count_files(), 0);
  }
}

Test(output, follows_the_umask, .init = make_folder, .fini = remove_folder) {
  struct diag diag = {.status = STATUS_OK};
  struct output output;
  umask(027);
  cr_assert_eq(output_open(&output, path, &diag), STATUS_OK);
  cr_assert_eq(output_commit(&output, &diag), STATUS_OK);
  struct stat info;
  cr_assert_eq(stat(path, &info), 0);
  cr_expect_eq(info.st_mode & 0777, 0640);
}

Test(output, keeps_a_symbolic_link, .init = make_folder, .fini = remove_folder) {
  struct diag diag = {.status = STATUS_OK};
  struct output output;
  struct stat info;
  char link[140];
  write_file("old");
  snprintf(link, sizeof link, "%s.link", path);
  cr_assert_eq(symlink(path, link), 0);
  cr_assert_eq(output_open(&output, link, &diag), STATUS_OK);
  fputs("through", output.stream);
  cr_assert_eq(output_commit(&output, &diag), STATUS_OK);
  expect_content("through");
  cr_assert_eq(lstat(link, &info), 0);
  cr_expect(S_ISLNK(info.st_mode));
}

Test(output, full_disk_is_an_error) {
  struct diag diag = {.status = STATUS_OK};
  struct output output;
  cr_assert_eq(output_open(&output, "/dev/full", &diag), STATUS_OK, "%s", diag.message);
  fputs("something", output.stream);
  cr_expect_eq(output_commit(&output, &diag), STATUS_SYSTEM);
  cr_expect_str_eq(diag.message, "/dev/full: cannot write: No space left on device");
}

Test(output, unwritable_is_an_error) {
  struct diag diag = {.status = STATUS_OK};
  struct output output;
  cr_expect_eq(output_open(&output, "/nonexistent/out.o", &diag), STATUS_SYSTEM);
  cr_expect_str_eq(diag.message, "/nonexistent/out.o: cannot write: No such file or directory");
  output_discard(&output);
  diag = (struct diag){.status = STATUS_OK};
  cr_expect_eq(output_open(&output, "/tmp", &diag), STATUS_SYSTEM);
  cr_expect_str_eq(diag.message, "/tmp: cannot write: Is a directory");
}
