/* Sleep and wake on a 32-bit word. */
#ifndef TILEWRIGHT_FUTEX_H
#define TILEWRIGHT_FUTEX_H

#include <linux/futex.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_futex /* 32-bit architectures born with a 64-bit time_t; no call here passes a time */
#define SYS_futex SYS_futex_time64
#endif

/* Sleep while *word is value; may also return for no reason. */
static inline void tw_futex_wait(_Atomic uint32_t* word, uint32_t value) {
  syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

static inline void tw_futex_wake(_Atomic uint32_t* word) {
  syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

#endif
