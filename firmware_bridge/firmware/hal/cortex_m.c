/* SPDX-License-Identifier: Apache-2.0 */
#include "cortex_m.h"

#include <stddef.h>
#include <string.h>

#define NVIC_ENABLE 0xE000E100U
#define NVIC_DISABLE 0xE000E180U
#define RESET_CONTROL REGISTER(0xE000ED0CU)
#define RESET_REQUEST 0x05FA0004U

extern uint32_t image_data_load, image_data_begin, image_data_end, image_bss_begin, image_bss_end;

int main(void);

void cortex_m_start(void)
{
    (void)memcpy(&image_data_begin, &image_data_load,
                 (size_t)((uintptr_t)&image_data_end - (uintptr_t)&image_data_begin));
    (void)memset(&image_bss_begin, 0, (size_t)((uintptr_t)&image_bss_end - (uintptr_t)&image_bss_begin));
    (void)main();
    cortex_m_fault();
}

/* Begin anew, stopped and silent: the host sees samples end and starts the device again. */
void cortex_m_fault(void)
{
    RESET_CONTROL = RESET_REQUEST;
    for (;;) {
    }
}

void cortex_m_tick(void)
{
    /* To have woken the processor is all. */
}

void cortex_m_unused(void)
{
}

void cortex_m_start_tick(uint32_t clocks)
{
    SYSTICK_RELOAD = clocks - 1U;
    SYSTICK_VALUE = 0U;
    SYSTICK_CONTROL = SYSTICK_ENABLE | SYSTICK_INTERRUPT | SYSTICK_PROCESSOR_CLOCK;
}

void cortex_m_enable_interrupt(uint32_t number)
{
    REGISTER(NVIC_ENABLE + (4U * (number / 32U))) = (uint32_t)1U << (number % 32U);
}

void cortex_m_disable_interrupt(uint32_t number)
{
    REGISTER(NVIC_DISABLE + (4U * (number / 32U))) = (uint32_t)1U << (number % 32U);
    __asm__ volatile("dsb\n\tisb" ::: "memory");
}

void cortex_m_sleep(void)
{
    __asm__ volatile("wfi" ::: "memory");
}
