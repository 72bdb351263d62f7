/* SPDX-License-Identifier: Apache-2.0 */
#include "common.h"

#include "../core/ring.h"
#include "cortex_m.h"
#include "hal.h"

#define RECEIVED_BYTES 256U /* six milliseconds at 460800 baud; the main loop looks once a millisecond */

static ring received;
static uint8_t received_bytes[RECEIVED_BYTES];

void common_begin(void)
{
    ring_init(&received, received_bytes, RECEIVED_BYTES);
}

void common_received(uint8_t byte)
{
    (void)ring_put(&received, &byte, 1U);
}

uint32_t hal_uart_receive(uint8_t *bytes, uint32_t room)
{
    uint32_t count = 0U;
    while ((count < room) && ring_take(&received, &bytes[count])) {
        count++;
    }
    return count;
}

void hal_delay_us(uint32_t us)
{
    const uint32_t begun = hal_clock_us();
    while ((hal_clock_us() - begun) <= us) {
    }
}

void hal_wait(void)
{
    cortex_m_sleep();
}
