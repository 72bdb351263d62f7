/* Arm MPS2 with a Cortex-M3 (AN385), as QEMU plays it: vectors, start, semihosting, SysTick at 25 MHz.
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdbool.h>
#include <string.h>

#include "place.h"

#define SYSTICK ((volatile uint32_t *)0xE000E010U) /* control, reload, value */
#define SYSTICK_MASK 0x00FFFFFFU                   /* 24 bits, counting down */
#define SYSTICK_NS 40U
#define SYSTICK_RUN 5U                             /* enabled, by the processor's clock, no interrupt */
#define PAINT 0xA5A5A5A5U
#define PAINTED_BYTES 16384U
#define SPARED_BYTES 256U /* below what calls place_begin: its own frame */
#define SEMIHOSTING_WRITE0 0x04U
#define SEMIHOSTING_EXIT 0x20U
#define APPLICATION_EXIT 0x20026U

extern uint32_t image_data_load, image_data_begin, image_data_end, image_bss_begin, image_bss_end, image_stack_top;

int main(void);
void place_start(void);
static void place_fault(void);

static uint32_t begun;
static uint32_t ticks;
static bool painted;

typedef struct {
    uint32_t *stack;
    void (*handlers[6])(void);
} vectors;

/* Reset, NMI, hard fault, memory, bus, usage. */
__attribute__((section(".vectors"), used)) static const vectors table = {
    &image_stack_top, {place_start, place_fault, place_fault, place_fault, place_fault, place_fault}};

static void semihosting(uint32_t operation, const void *argument)
{
    register uint32_t r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
}

static void leave(uint32_t code)
{
    const uint32_t block[2] = {APPLICATION_EXIT, code};
    semihosting(SEMIHOSTING_EXIT, block);
    for (;;) {
    }
}

static void place_fault(void)
{
    place_put("fault\n");
    leave(2U);
}

void place_start(void)
{
    (void)memcpy(&image_data_begin, &image_data_load,
                 (size_t)((uintptr_t)&image_data_end - (uintptr_t)&image_data_begin));
    (void)memset(&image_bss_begin, 0, (size_t)((uintptr_t)&image_bss_end - (uintptr_t)&image_bss_begin));
    SYSTICK[1] = SYSTICK_MASK;
    SYSTICK[2] = 0U;
    SYSTICK[0] = SYSTICK_RUN;
    leave((uint32_t)main());
}

void place_put(const char *text)
{
    semihosting(SEMIHOSTING_WRITE0, text);
}

void place_begin(void)
{
    if (!painted) {
        uint32_t here = 0U;
        const uintptr_t end = (uintptr_t)&here - SPARED_BYTES;
        for (uintptr_t at = (uintptr_t)&image_stack_top - PAINTED_BYTES; at < end; at += sizeof(uint32_t)) {
            *(volatile uint32_t *)at = PAINT;
        }
        painted = true;
    }
    begun = SYSTICK[2];
}

void place_end(void)
{
    ticks += (begun - SYSTICK[2]) & SYSTICK_MASK;
}

void place_report(uint32_t frames)
{
    uintptr_t at = (uintptr_t)&image_stack_top - PAINTED_BYTES;
    while (*(volatile uint32_t *)at == PAINT) {
        at += sizeof(uint32_t);
    }
    place_put("nanoseconds a frame (in QEMU, where an instruction takes one: instructions): ");
    place_put_number((ticks / frames) * SYSTICK_NS);
    place_put("\nbytes of stack, this program's own included: ");
    place_put_number((uint32_t)((uintptr_t)&image_stack_top - at));
    place_put("\n");
}
