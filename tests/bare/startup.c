/* Reset code and output for programs on Arm's MPS2 boards under QEMU: no operating system, semihosting for words out. */
#include <stdint.h>
#include <string.h>

extern uint8_t stack_end[], data_begin[], data_end[], data_source[], zero_begin[], zero_end[];
int main(void);

static int host(int operation, const void* argument) {
  register int r0 __asm__("r0") = operation;
  register const void* r1 __asm__("r1") = argument;
  __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
  return r0;
}

void write_word(const char* text) { host(4, text); }

static void leave(int code) {
  const uint32_t reason[2] = {0x20026, (uint32_t)code}; /* ADP_Stopped_ApplicationExit */
  host(0x20, reason);
  for (;;) {
  }
}

static void fault(void) {
  write_word("fault\n");
  leave(3);
}

void reset(void) {
  *(volatile uint32_t*)0xE000ED88 |= 0xFu << 20; /* switch the floating-point unit on */
  __asm__ volatile("dsb\n isb");
  memcpy(data_begin, data_source, (size_t)(data_end - data_begin));
  memset(zero_begin, 0, (size_t)(zero_end - zero_begin));
  leave(main());
}

__attribute__((section(".vectors"), used)) static void* const vectors[16] = {
    stack_end, (void*)reset, (void*)fault, (void*)fault, (void*)fault, (void*)fault, (void*)fault};
