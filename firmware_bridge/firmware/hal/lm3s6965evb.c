/* Stellaris LM3S6965 evaluation board, as QEMU plays it: UART0, SysTick to wake, and as clock the watchdog,
 * which is the only timer there whose count can be read: it never barks.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "common.h"
#include "cortex_m.h"
#include "hal.h"

/* QEMU: the PLL's 200 MHz over 16, which is what the clock's register holds after reset. */
#define CLOCK_KHZ 12500U
#define CLOCKS_2_US 25U /* in two microseconds */

#define CLOCK_GATES REGISTER(0x400FE104U)
#define GATE_UART0 0x00000001U
#define WATCHDOG_GATE REGISTER(0x400FE100U)
#define GATE_WATCHDOG 0x00000008U

#define UART_DATA REGISTER(0x4000C000U)
#define UART_FLAGS REGISTER(0x4000C018U)
#define UART_DIVIDER REGISTER(0x4000C024U)
#define UART_FRACTION REGISTER(0x4000C028U)
#define UART_LINE REGISTER(0x4000C02CU)
#define UART_CONTROL REGISTER(0x4000C030U)
#define UART_MASK REGISTER(0x4000C038U)
#define UART_CLEAR REGISTER(0x4000C044U)
#define UART_BUSY 0x08U
#define UART_NOTHING_RECEIVED 0x10U
#define UART_SENDING_FULL 0x20U
#define UART_8N1 0x60U
#define UART_ON 0x301U
#define UART_RECEIVE 0x10U
#define UART_INTERRUPT 5U

#define WATCHDOG_LOAD REGISTER(0x40000000U)
#define WATCHDOG_VALUE REGISTER(0x40000004U)
#define WATCHDOG_CONTROL REGISTER(0x40000008U)
#define WATCHDOG_LOCK REGISTER(0x40000C00U)
#define WATCHDOG_KEY 0x1ACCE551U
#define WATCHDOG_COUNT 1U /* without reset */

const char hal_board[] = "LM3S6965";

static void receive(void);

typedef struct {
    cortex_m_vectors system;
    handler interrupts[44];
} vectors;

__attribute__((section(".vectors"), used)) static const vectors table = {
    VECTORS, {[UART_INTERRUPT] = receive}};

static void receive(void)
{
    UART_CLEAR = UART_RECEIVE;
    while ((UART_FLAGS & UART_NOTHING_RECEIVED) == 0U) {
        common_received((uint8_t)UART_DATA);
    }
}

void hal_init(void)
{
    common_begin();
    CLOCK_GATES |= GATE_UART0;
    WATCHDOG_GATE |= GATE_WATCHDOG;
    WATCHDOG_LOCK = WATCHDOG_KEY;
    WATCHDOG_LOAD = 0xFFFFFFFFU;
    WATCHDOG_CONTROL = WATCHDOG_COUNT;
    cortex_m_start_tick(CLOCK_KHZ);
    cortex_m_enable_interrupt(UART_INTERRUPT);
}

uint32_t hal_clock_us(void)
{
    /* 32 bits of 80 ns are 343 s; the main loop looks once a millisecond. */
    static uint32_t last = 0xFFFFFFFFU;
    static uint32_t rest = 0U;
    static uint32_t us = 0U;
    const uint32_t now = WATCHDOG_VALUE; /* counts down */
    const uint64_t passed = (2U * (uint64_t)(uint32_t)(last - now)) + rest;
    last = now;
    us += (uint32_t)(passed / CLOCKS_2_US);
    rest = (uint32_t)(passed % CLOCKS_2_US);
    return us;
}

uint32_t hal_uart_send(const uint8_t *bytes, uint32_t count)
{
    uint32_t sent = 0U;
    while ((sent < count) && ((UART_FLAGS & UART_SENDING_FULL) == 0U)) {
        UART_DATA = bytes[sent];
        sent++;
    }
    return sent;
}

bool hal_uart_idle(void)
{
    return (UART_FLAGS & UART_BUSY) == 0U;
}

void hal_uart_set_baud(uint32_t baud)
{
    /* Sixteen clocks a bit, the divider in 64ths. */
    const uint32_t divider = ((CLOCK_KHZ * 4000U) + (baud / 2U)) / baud;
    UART_CONTROL = 0U;
    UART_DIVIDER = divider >> 6U;
    UART_FRACTION = divider & 63U;
    UART_LINE = UART_8N1;
    UART_MASK = UART_RECEIVE;
    UART_CONTROL = UART_ON;
}
