/* Arm MPS2 with a Cortex-M3 (AN385), as QEMU plays it: UART0, the dual timer as clock, SysTick to wake. 25 MHz.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "common.h"
#include "cortex_m.h"
#include "hal.h"

#define CLOCK_MHZ 25U

#define UART_DATA REGISTER(0x40004000U)
#define UART_STATE REGISTER(0x40004004U)
#define UART_CONTROL REGISTER(0x40004008U)
#define UART_CLEAR REGISTER(0x4000400CU)
#define UART_DIVIDER REGISTER(0x40004010U)
#define UART_SENDING_FULL 1U
#define UART_RECEIVED 2U
#define UART_ON 0x0BU /* sending, receiving, interrupt when something came */
#define UART_RECEIVE_INTERRUPT 0U
#define UART_RECEIVE_CLEAR 2U

#define TIMER_LOAD REGISTER(0x40002000U)
#define TIMER_VALUE REGISTER(0x40002004U)
#define TIMER_CONTROL REGISTER(0x40002008U)
#define TIMER_FREE_32_BIT 0x82U

const char hal_board[] = "MPS2 AN385";

static void receive(void);

typedef struct {
    cortex_m_vectors system;
    handler interrupts[32];
} vectors;

__attribute__((section(".vectors"), used)) static const vectors table = {VECTORS, {receive}};

static void receive(void)
{
    UART_CLEAR = UART_RECEIVE_CLEAR;
    while ((UART_STATE & UART_RECEIVED) != 0U) {
        common_received((uint8_t)UART_DATA);
    }
}

void hal_init(void)
{
    common_begin();
    TIMER_LOAD = 0xFFFFFFFFU;
    TIMER_CONTROL = TIMER_FREE_32_BIT;
    cortex_m_start_tick(CLOCK_MHZ * 1000U);
    cortex_m_enable_interrupt(UART_RECEIVE_INTERRUPT);
}

uint32_t hal_clock_us(void)
{
    /* 32 bits of 40 ns are 171 s; the main loop looks once a millisecond. */
    static uint32_t last = 0xFFFFFFFFU;
    static uint32_t rest = 0U;
    static uint32_t us = 0U;
    const uint32_t now = TIMER_VALUE; /* counts down */
    const uint64_t passed = (uint64_t)(last - now) + rest;
    last = now;
    us += (uint32_t)(passed / CLOCK_MHZ);
    rest = (uint32_t)(passed % CLOCK_MHZ);
    return us;
}

uint32_t hal_uart_send(const uint8_t *bytes, uint32_t count)
{
    uint32_t sent = 0U;
    while ((sent < count) && ((UART_STATE & UART_SENDING_FULL) == 0U)) {
        UART_DATA = bytes[sent];
        sent++;
    }
    return sent;
}

bool hal_uart_idle(void)
{
    return (UART_STATE & UART_SENDING_FULL) == 0U;
}

void hal_uart_set_baud(uint32_t baud)
{
    UART_DIVIDER = (CLOCK_MHZ * 1000000U) / baud;
    UART_CONTROL = UART_ON;
}
