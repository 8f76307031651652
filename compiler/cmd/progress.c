#include "cmd/progress.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

/* What the signal handler reads. It runs in the thread that does the work, between any two instructions. */
static const char *volatile current_label;
static volatile size_t current_done, current_total;
static volatile sig_atomic_t seconds;
static bool active;

static void append(char *line, size_t size, const char *text) {
  size_t used = strlen(line);
  size_t length = strlen(text);
  if (length > size - 1 - used) length = size - 1 - used;
  memcpy(line + used, text, length);
  line[used + length] = '\0';
}

/* snprintf is not safe in a signal handler. */
static void append_number(char *line, size_t size, size_t number) {
  char digits[24];
  size_t at = sizeof digits - 1;
  digits[at] = '\0';
  do digits[--at] = (char)('0' + number % 10);
  while ((number /= 10) > 0);
  append(line, size, digits + at);
}

static void on_alarm(int signal_number) {
  (void)signal_number;
  int saved = errno;
  char line[160] = "\r\033[Kvitc: ";
  seconds++;
  append(line, sizeof line - 40, current_label);
  if (current_total > 0) {
    append(line, sizeof line, ", ");
    append_number(line, sizeof line, current_done);
    append(line, sizeof line, " of ");
    append_number(line, sizeof line, current_total);
  }
  append(line, sizeof line, ", ");
  append_number(line, sizeof line, (size_t)seconds);
  append(line, sizeof line, " s");
  ssize_t written = write(STDERR_FILENO, line, strlen(line));
  (void)written;
  errno = saved;
}

static void set_timer(int interval) {
  const struct itimerval timer = {.it_interval = {.tv_sec = interval}, .it_value = {.tv_sec = interval}};
  setitimer(ITIMER_REAL, &timer, NULL);
}

void progress_begin(const char *label) {
  if (!isatty(STDERR_FILENO)) return;
  current_label = label;
  current_done = current_total = 0;
  seconds = 0;
  active = true;
  struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
  sigemptyset(&action.sa_mask);
  sigaction(SIGALRM, &action, NULL);
  set_timer(1);
}

void progress_count(size_t done, size_t total) {
  current_done = done;
  current_total = total;
}

void progress_clear(void) {
  if (!active || seconds == 0) return;
  ssize_t written = write(STDERR_FILENO, "\r\033[K", 4);
  (void)written;
}

void progress_end(void) {
  if (!active) return;
  set_timer(0);
  progress_clear();
  active = false;
}
