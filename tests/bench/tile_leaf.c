/* Preloaded into the rivals on virtual machines that offer AMX but leave CPUID's leaf 1Dh empty. oneDNN, inside of PyTorch and
   OpenVINO, reads there which palette it may configure; from an empty leaf it configures none, and its first instruction on
   tiles is illegal. With CPUID faulting, each CPUID of the process lands in the handler below, which answers the leaves 1Dh and
   1Eh as processors with AMX do (Intel's manual, volume 2A, CPUID) and all others as the machine does. */
#define _GNU_SOURCE
#include <asm/prctl.h>
#include <cpuid.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

enum { PALETTES_LEAF = 0x1d, PRODUCTS_LEAF = 0x1e };

struct registers {
  uint32_t a, b, c, d;
};

static struct registers answer(uint32_t leaf, uint32_t subleaf) {
  struct registers of = {0, 0, 0, 0};
  if (leaf == PALETTES_LEAF && subleaf == 0) {
    of.a = 1; /* the largest palette */
  } else if (leaf == PALETTES_LEAF && subleaf == 1) {
    of.a = 1024u << 16 | 8192; /* bytes of a tile and of all */
    of.b = 8u << 16 | 64;      /* tiles, bytes of a row */
    of.c = 16;                 /* rows */
  } else if (leaf == PRODUCTS_LEAF && subleaf == 0) {
    of.b = 64u << 8 | 16; /* columns in bytes, rows */
  } else if (leaf != PALETTES_LEAF && leaf != PRODUCTS_LEAF) {
    syscall(SYS_arch_prctl, ARCH_SET_CPUID, 1);
    __cpuid_count(leaf, subleaf, of.a, of.b, of.c, of.d);
    syscall(SYS_arch_prctl, ARCH_SET_CPUID, 0);
    if (leaf == 0 && of.a < PRODUCTS_LEAF) of.a = PRODUCTS_LEAF;
  }
  return of;
}

static void on_fault(int number, siginfo_t *info, void *context) {
  static const uint8_t cpuid[] = {0x0f, 0xa2};
  greg_t *saved = ((ucontext_t *)context)->uc_mcontext.gregs;
  (void)info;
  /* Any other fault happens again, and ends the process. */
  if (info->si_code != SI_KERNEL || memcmp((const void *)saved[REG_RIP], cpuid, sizeof cpuid) != 0) {
    signal(number, SIG_DFL);
    return;
  }
  struct registers of = answer((uint32_t)saved[REG_RAX], (uint32_t)saved[REG_RCX]);
  saved[REG_RAX] = of.a;
  saved[REG_RBX] = of.b;
  saved[REG_RCX] = of.c;
  saved[REG_RDX] = of.d;
  saved[REG_RIP] += (greg_t)sizeof cpuid;
}

__attribute__((constructor)) static void begin(void) {
  uint32_t a, b, c, d;
  unsetenv("LD_PRELOAD"); /* compilers that a rival starts have handlers of their own; exec ends the faulting */
  __cpuid_count(PALETTES_LEAF, 0, a, b, c, d);
  if (a != 0) return;
  struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_NODEFER};
  sigaction(SIGSEGV, &action, NULL);
  if (syscall(SYS_arch_prctl, ARCH_SET_CPUID, 0) != 0) perror("tile_leaf: no CPUID faulting");
}
