/* What every Cortex-M shares: the start after reset, the table of vectors, the tick that wakes the main loop.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CORTEX_M_H
#define CORTEX_M_H

#include <stdint.h>

#define REGISTER(address) (*(volatile uint32_t *)(address))
#define SYSTICK_CONTROL REGISTER(0xE000E010U)
#define SYSTICK_RELOAD REGISTER(0xE000E014U)
#define SYSTICK_VALUE REGISTER(0xE000E018U)
#define SYSTICK_ENABLE 1U
#define SYSTICK_INTERRUPT 2U
#define SYSTICK_PROCESSOR_CLOCK 4U

typedef void (*handler)(void);

/* A board puts one of these, filled by VECTORS, into section .vectors, and its own interrupts behind it. */
typedef struct {
    const uint32_t *stack;
    handler system[15];
} cortex_m_vectors;

extern const uint32_t image_stack_top;
void cortex_m_start(void);
void cortex_m_fault(void);
void cortex_m_tick(void);
void cortex_m_unused(void);

/* Reset; NMI, hard fault, memory, bus, usage; four unused; SVC, debug, one unused, PendSV; SysTick. */
#define VECTORS                                                                                                      \
    {                                                                                                                \
        &image_stack_top,                                                                                            \
        {                                                                                                            \
            cortex_m_start, cortex_m_fault, cortex_m_fault, cortex_m_fault, cortex_m_fault, cortex_m_fault, 0, 0, 0, \
                0, cortex_m_unused, cortex_m_unused, 0, cortex_m_unused, cortex_m_tick                               \
        }                                                                                                            \
    }

/* Wake the main loop once a millisecond, of so many processor clocks. */
void cortex_m_start_tick(uint32_t clocks);

void cortex_m_enable_interrupt(uint32_t number);
void cortex_m_disable_interrupt(uint32_t number);

/* Until an interrupt; one that came just before wakes with the next tick. */
void cortex_m_sleep(void);

#endif
