#include "base/span.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TEMPORARY_TRIES = 100, SUFFIX_BYTES = 32, TEMPORARIES_MAX = 8 };

/* What a signal that ends the process takes with it. Whoever exchanges a path for NULL owns it. */
static _Atomic(char *) temporaries[TEMPORARIES_MAX];

static void on_end(int number) {
  for (int i = 0; i < TEMPORARIES_MAX; i++) {
    char *path = atomic_exchange(&temporaries[i], NULL);
    if (path != NULL) unlink(path);
  }
  raise(number); /* the action is the default one again */
}

/* Signals that someone ignores or handles stay theirs. */
static void catch_ends(void) {
  static const int ends[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE};
  for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
    struct sigaction action;
    if (sigaction(ends[i], NULL, &action) != 0 || (action.sa_flags & SA_SIGINFO) || action.sa_handler != SIG_DFL) continue;
    action = (struct sigaction){.sa_handler = on_end, .sa_flags = (int)SA_RESETHAND | SA_NODEFER};
    sigemptyset(&action.sa_mask);
    sigaction(ends[i], &action, NULL);
  }
}

static void remember(char *path) {
  catch_ends();
  for (int i = 0; i < TEMPORARIES_MAX; i++) {
    char *none = NULL;
    if (atomic_compare_exchange_strong(&temporaries[i], &none, path)) return;
  }
}

/* A path that a signal has taken is left to it. */
static void forget(char *path) {
  for (int i = 0; i < TEMPORARIES_MAX && path != NULL; i++) {
    char *expected = path;
    if (!atomic_compare_exchange_strong(&temporaries[i], &expected, NULL)) continue;
    free(path);
    return;
  }
}

static enum status cannot_write(struct diag *diag, const char *path, int reason) {
  return diag_fail(diag, STATUS_SYSTEM, "%s: cannot write: %s", path, strerror(reason));
}

/* O_EXCL keeps off a file that is not ours; 0666 leaves the mode to the umask, which mkstemp does not. */
static int open_temporary(struct output *output) {
  size_t size = strlen(output->path) + SUFFIX_BYTES;
  output->temporary = malloc(size);
  if (output->temporary == NULL) return -1;
  for (int i = 0; i < TEMPORARY_TRIES; i++) {
    snprintf(output->temporary, size, "%s.%ld-%d.tmp", output->path, (long)getpid(), i);
    int descriptor = open(output->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (descriptor >= 0) remember(output->temporary);
    if (descriptor >= 0 || errno != EEXIST) return descriptor;
  }
  return -1;
}

static void release(struct output *output) {
  free(output->path);
  forget(output->temporary);
  *output = (struct output){NULL, NULL, NULL};
}

enum status output_open(struct output *output, const char *path, struct diag *diag) {
  *output = (struct output){NULL, NULL, NULL};
  struct stat info;
  bool exists = stat(path, &info) == 0;
  if (exists && S_ISDIR(info.st_mode)) return cannot_write(diag, path, EISDIR);
  /* /dev/stdout may be redirected to a regular file, which must not be replaced under the shell's descriptor. */
  bool direct = exists && (!S_ISREG(info.st_mode) || strncmp(path, "/dev/", 5) == 0);
  /* Renaming over a symbolic link would replace the link. */
  output->path = exists && !direct ? realpath(path, NULL) : strdup(path);
  if (output->path == NULL) return cannot_write(diag, path, errno);
  if (direct) {
    output->stream = fopen(path, "wb");
  } else {
    int descriptor = open_temporary(output);
    if (descriptor < 0) {
      free(output->temporary);
      output->temporary = NULL;
    } else {
      output->stream = fdopen(descriptor, "wb");
      if (output->stream == NULL) close(descriptor);
    }
  }
  if (output->stream != NULL) return STATUS_OK;
  int reason = errno;
  output_discard(output);
  return cannot_write(diag, path, reason);
}

/* Past the stream's buffer, which would take a copy of the last part of every piece. */
enum status output_write(struct output *output, const void *bytes, size_t size, struct diag *diag) {
  if (fflush(output->stream) != 0) return cannot_write(diag, output->path, errno);
  for (size_t done = 0; done < size;) {
    ssize_t count = write(fileno(output->stream), (const char *)bytes + done, size - done);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return cannot_write(diag, output->path, errno);
    done += (size_t)count;
  }
  return STATUS_OK;
}

enum status output_commit(struct output *output, struct diag *diag) {
  errno = 0;
  bool failed = fflush(output->stream) != 0 || ferror(output->stream) != 0;
  int reason = errno;
  if (fclose(output->stream) != 0 && !failed) {
    failed = true;
    reason = errno;
  }
  output->stream = NULL;
  if (!failed && output->temporary != NULL && rename(output->temporary, output->path) != 0) {
    failed = true;
    reason = errno;
  }
  if (failed) {
    enum status status = cannot_write(diag, output->path, reason != 0 ? reason : EIO);
    output_discard(output);
    return status;
  }
  release(output);
  return STATUS_OK;
}

void output_discard(struct output *output) {
  if (output->stream != NULL) fclose(output->stream);
  if (output->temporary != NULL) unlink(output->temporary);
  release(output);
}
